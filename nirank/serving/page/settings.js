// The row below the search box: which systems, and which documents.

import { go } from "./address.js";
import { el, icon, put } from "./dom.js";
import { systems } from "./systems.js";

const EXCHANGE = "M6 4 3 7l3 3M3 7h11M14 10l3 3-3 3M17 13H6";

/** Shows the choice of systems, and of documents where there are fields; nothing where there is nothing to choose. */
export function showSettings(about, state, view) {
  const row = document.getElementById("settings");
  const parts = [
    view !== "judge" && about.pipelines.length > 1 && choices(about, state),
    view === "search" && filter(about, state),
  ].filter(Boolean);
  row.hidden = parts.length === 0;
  put(row, parts);
}

function choices(about, state) {
  const { a, b } = systems(about, state);
  const names = about.pipelines.map(({ name }) => name);
  const change = (key) => (event) => go({ a, b, [key]: event.target.value, why: null, system: null });
  return el(
    "div",
    { class: "choices" },
    choice(
      "a",
      "System A",
      names.filter((name) => name !== b),
      a,
      change("a"),
    ),
    b &&
      el(
        "button",
        {
          type: "button",
          class: "icon",
          "aria-label": "Exchange the two systems",
          title: "Exchange the two systems (x)",
          "aria-keyshortcuts": "x",
          onclick: () => go({ a: b, b: a, why: null, system: null }),
        },
        icon(EXCHANGE),
      ),
    choice("b", "System B", ["", ...names.filter((name) => name !== a)], b, change("b")),
  );
}

function choice(key, label, names, chosen, onchange) {
  const options = names.map((name) =>
    el("option", { value: name, selected: name === chosen }, name || "none beside it"),
  );
  return el(
    "label",
    { class: `choice ${key}` },
    el("span", { class: "letter", "aria-hidden": "true" }, key.toUpperCase()),
    el("select", { "aria-label": label, id: `system-${key}`, onchange }, options),
  );
}

function filter(about, state) {
  if (!about.fields.length && !state.where) return null;
  const input = el("input", {
    id: "where",
    name: "where",
    value: state.where ?? "",
    placeholder: example(about.fields),
    maxlength: 2000,
    spellcheck: "false",
    autocapitalize: "off",
    "aria-label": "Only documents where",
  });
  const names = about.fields.map((name) =>
    el("button", { type: "button", class: "chip", onclick: () => write(input, written(name)) }, name),
  );
  const form = el(
    "form",
    { class: "filter" },
    el("label", { for: "where" }, "where"),
    input,
    state.where &&
      el(
        "button",
        {
          type: "button",
          class: "icon",
          "aria-label": "All documents",
          onclick: () => go({ where: null, offset: null }),
        },
        "×",
      ),
    el("span", { class: "names" }, el("span", { class: "soft" }, "fields"), names),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    go({ where: input.value.trim() || null, offset: null, why: null, system: null });
  });
  return form;
}

function write(input, text) {
  input.setRangeText(text, input.selectionStart, input.selectionEnd, "end");
  input.focus();
}

const example = (fields) =>
  fields.length ? `a condition, such as ${written(fields[0])} == '…'` : "a condition on fields";

/** A field as a condition names it: an identifier stands as it is. */
export const written = (name) => (/^[A-Za-z_]\w*$/.test(name) ? name : `field(${quoted(name)})`);

/** The condition that a field has a value. */
export const equals = (name, value) => `${written(name)} == ${literal(value)}`;

function literal(value) {
  if (typeof value === "boolean") return value ? "True" : "False";
  return typeof value === "number" ? String(value) : quoted(String(value));
}

function quoted(text) {
  const escaped = text.replaceAll("\\", "\\\\").replaceAll("'", "\\'").replaceAll("\n", "\\n").replaceAll("\r", "\\r");
  return `'${escaped}'`;
}

/** Adds a condition to those that there are. */
export const narrowed = (where, more) => (where ? `(${where}) and ${more}` : more);
