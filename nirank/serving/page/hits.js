// One list of results: each with its rank and where it stands in the other list, its text, fields, picture and marks.

import { address } from "./address.js";
import { el } from "./dom.js";
import { grading } from "./judging.js";
import { matched } from "./marks.js";
import { shownImage } from "./pictures.js";
import { equals, narrowed } from "./settings.js";

/** Fields that a result shows before the others are unfolded, and characters of a value. */
const FIELDS = 4;
const LETTERS = 60;

/** The list of a system's hits. `other` is the other system's name or "", `side` is "a" or "b". */
export function hitList(result, { side, other, state, about, judged, explain }) {
  const of = { system: result.pipeline, side, other, state, about, judged, explain };
  return el(
    "ol",
    { class: "hits", role: "list", "aria-label": `Results of ${result.pipeline}` },
    result.hits.map((hit) => el("li", {}, card(hit, of))),
  );
}

function card(hit, of) {
  const name = hit.title || hit.id;
  const open = () => of.explain(hit.id, of.system, "document");
  return el(
    "article",
    {
      class: `hit ${hit.image ? "pictured" : ""}`,
      tabindex: 0,
      "aria-label": `${hit.rank}: ${name}`,
      "data-id": hit.id,
      "data-rank": hit.rank,
      "data-system": of.system,
    },
    el("div", { class: "place" }, el("span", { class: "rank" }, hit.rank), of.other && movement(hit, of)),
    hit.image && shownImage(hit.id, { class: "picture", side: 256, alt: `Picture of ${name}` }),
    el(
      "div",
      { class: "about" },
      el(
        "header",
        {},
        el(
          "h3",
          {},
          el(
            "a",
            {
              href: address({ why: hit.id, system: of.system }),
              tabindex: -1,
              onclick: (event) => {
                if (plain(event)) {
                  event.preventDefault();
                  open();
                }
              },
            },
            name,
          ),
        ),
        hit.title && hit.title !== hit.id && el("code", { class: "id" }, hit.id),
      ),
      hit.snippet && snippet(hit.snippet),
      fields(hit, of),
      tools(hit, of),
    ),
  );
}

const plain = (event) => event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey);

function snippet({ text, start, matches }) {
  return el(
    "p",
    { class: "snippet" },
    start > 0 && "… ",
    matched(text, matches, start),
    /[.!?…]["'”’)\]]?\s*$/.test(text) ? "" : " …",
  );
}

/** The movement of a rank: on the side of B from A to B, on the side of A the rank in B. */
function movement(hit, { side, other }) {
  const there = hit.places?.[other] ?? null;
  const [kind, text, told] = side === "b" ? moved(there, hit.rank, other) : found(there, hit.rank, other);
  return el(
    "button",
    { type: "button", class: `move ${kind}`, title: told, "aria-label": told, tabindex: -1, "data-move": kind },
    text,
  );
}

function moved(there, rank, other) {
  if (there === null) return ["new", "new", `not among what ${other} found`];
  if (there === rank) return ["same", "=", `at the same rank as in ${other}`];
  const up = there > rank;
  return [
    up ? "up" : "down",
    `${up ? "▲" : "▼"} ${Math.abs(there - rank)}`,
    `${up ? "up" : "down"} ${Math.abs(there - rank)}: ${other} has it at rank ${there}`,
  ];
}

function found(there, rank, other) {
  if (there === null) return ["gone", "only A", `not among what ${other} found`];
  return [there === rank ? "same" : "there", `B ${there}`, `${other} has it at rank ${there}`];
}

function fields(hit, { state }) {
  const all = Object.entries(hit.fields ?? {}).filter(
    ([name, value]) => value !== null && value !== "" && !(name === "title" && value === hit.title),
  );
  if (!all.length) return null;
  const pair = ([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, narrowing(name, value, state)));
  const rest = all.slice(FIELDS);
  const list = el("dl", { class: "fields" }, all.slice(0, FIELDS).map(pair));
  if (rest.length)
    list.append(
      el(
        "button",
        { type: "button", class: "chip", onclick: (event) => event.target.replaceWith(...rest.map(pair)) },
        `${rest.length} more`,
      ),
    );
  return list;
}

function narrowing(name, value, state) {
  const text = String(value);
  const letters = Array.from(text);
  const shown = letters.length > LETTERS ? `${letters.slice(0, LETTERS - 1).join("")}…` : text;
  if (letters.length > 200) return shown;
  const where = narrowed(state.where, equals(name, value));
  return el(
    "a",
    {
      href: address({ where, offset: null, why: null, system: null }),
      title: `Only documents where ${equals(name, value)}`,
    },
    shown,
  );
}

function tools(hit, of) {
  const number = el("span", { class: "number" }, score(hit.score));
  const why = of.state.q
    ? el(
        "button",
        {
          type: "button",
          class: "why",
          "aria-label": `Why ${score(hit.score)}`,
          "aria-keyshortcuts": "e",
          title: "Why this score (e)",
          onclick: () => of.explain(hit.id, of.system),
        },
        number,
        el("span", { class: "ask" }, "why?"),
      )
    : number;
  const alike = { q: null, image: null, like: hit.id, query: null, offset: null, why: null, system: null };
  const like = el("a", { class: "like", href: address(alike) }, "more like this");
  return el("footer", { class: "tools" }, why, like, of.judged && grading(hit.id, of.judged, hit.title || hit.id));
}

/** A score with as many digits as tell it apart; the server has null for one that is infinite. */
export function score(value) {
  if (value === null) return "∞";
  const size = Math.abs(value);
  return value.toFixed(size >= 1000 ? 1 : size >= 100 ? 2 : size >= 10 ? 3 : 4).replace("-", "−");
}
