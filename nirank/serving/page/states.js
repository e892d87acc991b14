// What stands where results would: while they are loading, where there are none, and where something went wrong.

import { el } from "./dom.js";

/** Rows that stand for results which are on their way. */
export function loading(rows = 6) {
  const row = () => el("div", { class: "ghost" }, el("i"), el("i"), el("i"));
  return el("div", { class: "ghosts", role: "status", "aria-label": "Loading" }, Array.from({ length: rows }, row));
}

/** A sentence that says what there is not, and what may be done. */
export function empty(title, ...more) {
  return el(
    "div",
    { class: "empty" },
    el("h2", {}, title),
    more.map((each) => (typeof each === "string" ? el("p", {}, each) : each)),
  );
}

/** A sentence that says that parts of the documents were not searched. */
export function missing(lost) {
  const text = `Not searched, for no answer came: ${lost.join(", ")}. Documents may be missing.`;
  return el("p", { class: "missing", role: "alert" }, text);
}

/** A sentence that says what went wrong, with a button that does `again`. */
export function troubled(title, text, again = null, { label = "Try again", more = null } = {}) {
  const button = again && el("button", { type: "button", class: "main", onclick: again }, label);
  return el(
    "div",
    { class: "empty trouble", role: "alert" },
    el("h2", {}, title),
    el("p", {}, text),
    el("p", { class: "onward" }, button, more),
  );
}
