// Why this score: parts that add up to it, the words that they are of, and the matrix that a model saw.

import { Refused, ask } from "./api.js";
import { current, note } from "./address.js";
import { el, put } from "./dom.js";
import { heatMap } from "./heat.js";
import { grading } from "./judging.js";
import { weighed, signed } from "./marks.js";
import { shownImage } from "./pictures.js";
import { loading, troubled } from "./states.js";

/** Parts that are shown at one level before the smaller ones are unfolded. */
const PARTS = 12;
/** What float32's rounding may leave, as a share of the sizes of all parts. */
const ROUNDING = 2 ** -20;

let drawer = null;

/** Closes what is open, where the address does not say any more that it is. */
export function closeWhy() {
  const dialog = drawer;
  drawer = null;
  dialog?.close();
}

/** Opens the drawer for a document's id; `part` is "why" (its score) or "document" (its fields and text first). */
export async function showWhy(view, answer, id, system, part = "why") {
  const shown = (drawer ??= opened());
  const results = answer.results.find(({ pipeline }) => pipeline === system) ?? answer.results[0];
  const hit = results.hits.find((each) => each.id === id) ?? { id };
  note({ why: id, system });
  const body = el("div", { class: "why-body" }, loading(3));
  put(shown, heading(view, answer, hit, system, part), body);
  shown.setAttribute("aria-label", `${hit.title || hit.id}, ${system}`);
  bindDrawer(shown, view, answer, hit, system, part);
  if (!shown.contains(document.activeElement)) shown.focus();
  const [record, why] = await Promise.all([
    settled(ask(`documents/${encodeURIComponent(id)}`)),
    explained(view, id, system),
  ]);
  if (!body.isConnected) return;
  const score = why && section("Why this score", told(why, "There is no explanation", reason), "reason");
  const content = section("Document", told(record, "The document cannot be shown", whole), "whole");
  put(body, part === "document" ? [content, score] : [score, content]);
}

/** What an answer shows, or why there is none. */
const told = (answer, title, shown) => (answer instanceof Error ? troubled(title, answer.message) : shown(answer));

const settled = (promise) =>
  promise.catch((error) => {
    if (error instanceof Refused || error.name === "AbortError") return error;
    throw error;
  });

function explained({ state }, document, pipeline) {
  return state.q ? settled(ask("explain", { body: { query: state.q, pipeline, document } })) : null;
}

/** A new drawer, a step in the history: the button "back" closes it, and to close it goes back. */
function opened() {
  const dialog = el("dialog", { class: "drawer keyed", tabindex: -1 });
  const stepped = !current().why;
  if (stepped) history.pushState(null, "", location.href);
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.addEventListener("close", () => {
    dialog.remove();
    refocus(dialog.dataset);
    if (drawer !== dialog) return;
    drawer = null;
    if (stepped) history.back();
    else note({ why: null, system: null });
  });
  dialog.showModal();
  return dialog;
}

/** Goes to the result that was shown. */
function refocus({ document: id, system }) {
  const hit = document.querySelector(`.hit[data-id="${CSS.escape(id)}"][data-system="${CSS.escape(system)}"]`);
  hit?.focus({ preventScroll: true });
  hit?.scrollIntoView({ block: "nearest" });
}

function heading(view, answer, hit, system, part) {
  const others = answer.results.map(({ pipeline }) => pipeline);
  const tab = (name, place) =>
    el(
      "button",
      {
        type: "button",
        class: `tab ${place ? "b" : "a"}`,
        "aria-pressed": String(name === system),
        onclick: () => showWhy(view, answer, hit.id, name, part),
      },
      el("span", { class: "letter", "aria-hidden": "true" }, place ? "B" : "A"),
      name,
    );
  return el(
    "header",
    {},
    el(
      "div",
      { class: "line" },
      el("p", { class: "soft" }, hit.rank ? `rank ${hit.rank} of ${system}` : `not on this page of ${system}`),
      el(
        "button",
        { type: "button", class: "icon", "aria-label": "Close", title: "Close (Esc)", onclick: () => drawer.close() },
        "×",
      ),
    ),
    el("h2", {}, hit.title || hit.id),
    el(
      "div",
      { class: "line" },
      others.length > 1
        ? el("div", { class: "tabs", role: "group", "aria-label": "The system" }, others.map(tab))
        : el("span"),
      view.judged && grading(hit.id, view.judged, hit.title || hit.id),
    ),
  );
}

function bindDrawer(dialog, view, answer, hit, system, part) {
  Object.assign(dialog.dataset, { document: hit.id, system });
  const hits = answer.results.find(({ pipeline }) => pipeline === system)?.hits ?? [];
  const step = (by) => {
    const to = hits[hits.findIndex(({ id }) => id === hit.id) + by];
    if (to) showWhy(view, answer, to.id, system, part);
  };
  const turn = (place) => {
    const to = answer.results[place];
    if (to && to.pipeline !== system) showWhy(view, answer, hit.id, to.pipeline, part);
  };
  const keys = {
    e: () => dialog.close(),
    n: () => step(1),
    p: () => step(-1),
    j: () => step(1),
    k: () => step(-1),
    ArrowLeft: () => turn(0),
    ArrowRight: () => turn(1),
  };
  for (const grade of [0, 1, 2, 3]) keys[grade] = () => view.judged?.toggle(hit.id, grade);
  dialog.onkeydown = (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !keys[event.key]) return;
    event.preventDefault();
    event.stopPropagation();
    keys[event.key]();
  };
}

function section(title, content, kind) {
  return el("section", { class: kind }, el("h3", {}, title), content);
}

/** An explanation as elements. */
function reason({ explanation, query, text, document }) {
  const { query_marks: asked = [], document_marks: marks = [], matches } = explanation;
  const marked = (name, content, places) =>
    el("div", { class: `marked ${name}` }, el("h4", {}, name), el("p", {}, weighed(content, places)));
  return [
    sum(explanation),
    query && asked.length > 0 && marked("query", query, asked),
    text && marks.length > 0 && marked("document", text, marks),
    (asked.length > 0 || marks.length > 0) &&
      el(
        "p",
        { class: "legend soft" },
        el("mark", { class: "raises" }, "raises"),
        " the score, ",
        el("mark", { class: "lowers" }, "lowers"),
        " it",
      ),
    patched(explanation, document) ?? (matches && heatMap(matches)),
  ];
}

/** The score as the sum of its parts, with whether they add up. */
function sum(explanation) {
  const { parts = [], score: total, note: said } = explanation;
  const all = everything(explanation).map((each) => each.score);
  const [least, greatest] = [Math.min(0, ...all), Math.max(0, ...all)];
  const scale = { "--zero": `${(-100 * least) / (greatest - least || 1)}%` };
  const added = parts.reduce((all, part) => all + part.score, 0);
  const sizes = parts.reduce((all, part) => all + Math.abs(part.score), Math.abs(total));
  const right = Math.abs(total - added) <= ROUNDING * sizes;
  const most = greatest - least;
  return el(
    "div",
    { class: "sum", style: scale, "data-score": total },
    el(
      "p",
      { class: "total" },
      el("span", { class: "number", "data-total": total }, signed(total).replace("+", "")),
      el("span", {}, explanation.label),
    ),
    said && el("p", { class: "soft" }, said),
    parts.length > 0 && tree(parts, most, 0),
    parts.length > 0 &&
      el(
        "p",
        { class: `adds ${right ? "right" : "wrong"}` },
        el(
          "span",
          {},
          right
            ? `${parts.length === 1 ? "The part is" : `The ${parts.length} parts add up to`} the score`
            : `The parts leave ${signed(total - added)} of the score`,
        ),
        el("span", { class: "number", "data-sum": added }, signed(added).replace("+", "")),
      ),
    parts.length === 0 && !said && el("p", { class: "soft" }, "This score is not made of parts."),
  );
}

const everything = (explanation) => [explanation, ...(explanation.parts ?? []).flatMap(everything)];
const leaves = (explanation) => (explanation.parts?.length ? explanation.parts.flatMap(leaves) : [explanation]);

function tree(parts, most, level) {
  const largest = [...parts].sort((a, b) => Math.abs(b.score) - Math.abs(a.score));
  const shown = Math.min(PARTS, largest.filter(({ score }) => score !== 0).length);
  const rest = largest.slice(shown);
  if (rest.length < 2)
    return el(
      "ul",
      { class: "parts" },
      largest.map((part) => row(part, most, level)),
    );
  return el(
    "ul",
    { class: "parts" },
    largest.slice(0, shown).map((part) => row(part, most, level)),
    smaller(rest, most, level),
  );
}

function row(part, most, level) {
  const line = [
    el("span", { class: "label" }, part.label, part.note && el("small", {}, ` ${part.note}`)),
    bar(part.score, most),
    el("span", { class: "number" }, signed(part.score)),
  ];
  const attributes = {
    class: "part",
    "data-score": part.score,
    "data-level": level,
    "data-places": (part.document_marks ?? []).map(([start]) => start).join(" "),
  };
  const node = part.parts?.length
    ? el(
        "li",
        attributes,
        el("details", { open: level < 2 }, el("summary", { class: "row" }, line), tree(part.parts, most, level + 1)),
      )
    : el("li", attributes, el("div", { class: "row" }, line));
  for (const [event, on] of [
    ["mouseenter", true],
    ["mouseleave", false],
  ])
    node.addEventListener(event, () => point(node, on));
  return node;
}

function smaller(rest, most, level) {
  const total = rest.reduce((all, part) => all + part.score, 0);
  const open = (event) => event.currentTarget.closest("li").replaceWith(...rest.map((part) => row(part, most, level)));
  return el(
    "li",
    { class: "part", "data-score": total, "data-level": level },
    el(
      "button",
      { type: "button", class: "row", onclick: open },
      el(
        "span",
        { class: "label soft" },
        rest.some(({ score }) => score !== 0)
          ? `${rest.length} smaller parts…`
          : `${rest.length} parts of 0: ${rest.map(({ label }) => label).join(", ")}`,
      ),
      bar(total, most),
      el("span", { class: "number" }, signed(total)),
    ),
  );
}

function bar(value, most) {
  return el(
    "span",
    { class: "beam", "aria-hidden": "true" },
    el("i", { class: value < 0 ? "lowers" : "raises", style: { "--share": most ? Math.abs(value) / most : 0 } }),
  );
}

/** Shows in the text where a part is, while a pointer is on it. */
function point(node, on) {
  const places = node.dataset.places.split(" ").filter(Boolean);
  for (const mark of document.querySelectorAll(".marked.document mark"))
    mark.classList.toggle("pointed", on && places.includes(mark.dataset.start));
}

/** The picture with what its patches bring, where parts are patches. */
function patched(explanation, id) {
  const patches = leaves(explanation)
    .map((leaf) => [/^patch, row (\d+), column (\d+)$/.exec(leaf.label), leaf.score])
    .filter(([place]) => place);
  if (!patches.length) return null;
  const most = Math.max(...patches.map(([, value]) => Math.abs(value)));
  const side = Math.max(...patches.map(([place]) => Math.max(Number(place[1]), Number(place[2]))));
  const cells = patches.map(([[, row, column], value]) =>
    el("i", {
      class: value < 0 ? "lowers" : "raises",
      title: signed(value),
      style: { "grid-row": row, "grid-column": column, "--strength": `${Math.round((75 * Math.abs(value)) / most)}%` },
    }),
  );
  return el(
    "div",
    { class: "patched" },
    shownImage(id, { side: 512 }),
    el("div", { class: "patches", style: { "--side": side } }, cells),
  );
}

/** A whole document: its picture, fields and text. */
function whole({ id, title, text, fields, image }) {
  const pairs = Object.entries(fields ?? {}).filter(([, value]) => value !== null && value !== "");
  return [
    image && shownImage(id, { side: 512, class: "large", alt: `Picture of ${title || id}` }),
    el(
      "dl",
      { class: "fields long" },
      [["id", id], ...pairs].map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))),
    ),
    text && el("p", { class: "text" }, text),
  ];
}
