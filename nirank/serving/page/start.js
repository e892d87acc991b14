// The first page: what there is to search, and queries to begin with.

import { ask, path } from "./api.js";
import { address } from "./address.js";
import { el, put } from "./dom.js";

/** Queries that are shown. */
const QUERIES = 8;

/** Shows the first page, and what was asked for is the box. */
export function start(about, state, main, signal) {
  const samples = el("div", { class: "samples" });
  put(
    main,
    el(
      "div",
      { class: "start" },
      el("h1", {}, about.name),
      el("p", { class: "soft" }, facts(about)),
      el(
        "ul",
        { class: "systems" },
        about.pipelines.map(({ name, expression }) =>
          el("li", {}, el("b", {}, name), expression !== name && el("code", {}, expression)),
        ),
      ),
      samples,
      el("p", { class: "hints soft" }, hints(about)),
    ),
  );
  document.getElementById("query").focus({ preventScroll: true });
  if (about.queries) suggest(samples, signal);
}

function hints({ annotate }) {
  const pairs = [
    ["/", "search"],
    ["↓", "results"],
    ["e", "why"],
    ...(annotate ? [["0 – 3", "judge"]] : []),
    ["?", "all keys"],
  ];
  return pairs.map(([key, what]) => el("span", {}, el("kbd", {}, key), " ", what));
}

function facts(about) {
  const count = (number, name) => `${number.toLocaleString("en")} ${name}${number === 1 ? "" : "s"}`;
  return [
    count(about.documents, about.images ? "picture" : "document"),
    count(about.pipelines.length, "system"),
    about.queries && count(about.queries, "query").replace("querys", "queries"),
  ]
    .filter(Boolean)
    .join(" · ");
}

async function suggest(samples, signal) {
  const { queries } = await ask(path("queries"), { signal }).catch(() => ({ queries: [] }));
  const texts = queries.filter(({ text }) => text).slice(0, QUERIES);
  if (texts.length)
    put(
      samples,
      el("h2", {}, "Queries of the collection"),
      el(
        "ul",
        {},
        texts.map(({ id, text }) => el("li", {}, el("a", { href: address({ q: text, query: id }) }, text))),
      ),
    );
}
