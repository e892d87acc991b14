// The collection's queries: what each system has on them, and where the two differ most.

import { Refused, ask, path } from "./api.js";
import { address, go } from "./address.js";
import { el, put, svg } from "./dom.js";
import { bind } from "./keys.js";
import { say } from "./notices.js";
import { empty, loading, troubled } from "./states.js";
import { systems } from "./systems.js";

const MEASURE = "nDCG@10";
const MEASURES = ["nDCG@10", "AP", "RR", "P@10", "R@100", "nDCG@100"];
/** Orders of the list: the name in the address, what the list is sorted by. */
const SORTS = {
  difference: "largest differences",
  a: "A better than B",
  b: "B better than A",
  collection: "as the collection has them",
};
/** Milliseconds between two looks at a server that is still computing. */
const PAUSE = 700;
/** Milliseconds that a list is kept: documents may change. */
const FRESH = 60_000;

/** Columns that fill the picture of all differences: fewer are no wider. */
const FEWEST = 24;

let last = { key: "", list: null, until: 0 };

/** Shows the list. */
export async function showQueries({ about, state, main, signal }) {
  const view = { about, state, main, signal, ...systems(about, state) };
  put(main, loading(8));
  const list = await ready(view);
  if (list) draw(view, list);
}

/** The list once the server has computed it; `waited` is called with what there is before. */
async function measured(view, waited = () => {}) {
  for (;;) {
    const list = await listed(view);
    view.signal.throwIfAborted();
    if (list.ready) return list;
    waited(list);
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    view.signal.throwIfAborted();
  }
}

/** The same, or null where something went wrong, which is shown. */
async function ready(view) {
  const { main, signal, state } = view;
  try {
    return await measured(view, (list) =>
      put(main, empty("The systems are being measured", progress(list)), loading(6)),
    );
  } catch (error) {
    if (signal.aborted) return null;
    const again = () => go(state.measure ? { measure: null } : {}, { replace: true });
    if (error instanceof Refused) put(main, troubled("The queries cannot be compared", error.message, again));
    else if (error.name === "AbortError") put(main, troubled("Given up", "The server was busy.", again));
    else throw error;
    return null;
  }
}

const progress = ({ done, total }) =>
  total ? `${done} of ${total} searches are done.` : "Every query is searched by every system, once.";

async function listed({ state, a, b, signal }) {
  const asked = path("queries", {
    measure: state.measure ?? MEASURE,
    a,
    b: b || null,
    sort: state.sort ?? "difference",
  });
  if (last.key === asked && Date.now() < last.until) return last.list;
  const list = await ask(asked, { signal });
  if (list.ready) last = { key: asked, list, until: Date.now() + FRESH };
  return list;
}

function draw(view, list) {
  const { main, a, b } = view;
  const rows = list.queries.map((query) => row(query, view));
  const found = el("input", {
    type: "search",
    placeholder: "Filter the queries",
    "aria-label": "Filter the queries",
    oninput: ({ target }) => sieve(rows, list.queries, target.value),
  });
  put(
    main,
    el(
      "section",
      { class: "queries" },
      el("header", { class: "summary" }, means(list, view), b && spread(list.queries, view)),
      el(
        "div",
        { class: "controls" },
        choice("Measure", "measure", options(MEASURES, list.measure), list.measure),
        b && choice("Order", "sort", Object.entries(SORTS), view.state.sort ?? "difference"),
        found,
      ),
      list.notes?.length > 0 && el("p", { class: "soft" }, list.notes.join(" ")),
      Object.entries(list.failed ?? {}).map(([name, text]) => el("p", { class: "wrong" }, `${name}: ${text}`)),
      el(
        "table",
        { class: "list" },
        el(
          "thead",
          {},
          el(
            "tr",
            {},
            el("th", { scope: "col" }, "query"),
            el("th", { scope: "col", class: "n" }, letter("A", a)),
            b && [
              el("th", { scope: "col", class: "dots" }, el("span", { class: "unseen" }, "both")),
              el("th", { scope: "col", class: "n" }, letter("B", b)),
              el("th", { scope: "col", class: "n" }, "A − B"),
            ],
          ),
        ),
        el("tbody", {}, rows),
      ),
    ),
  );
  say(`${list.queries.length} queries`);
  bindKeys(rows);
}

const letter = (name, system) => [
  el("span", { class: `letter ${name.toLowerCase()}`, title: system }, name),
  el("span", { class: "unseen" }, ` ${system}`),
];

const options = (names, chosen) => (names.includes(chosen) ? names : [chosen, ...names]).map((name) => [name, name]);

function choice(label, key, pairs, chosen) {
  const change = ({ target }) => go({ [key]: target.value });
  return el(
    "label",
    { class: "picked" },
    label,
    el(
      "select",
      { onchange: change },
      pairs.map(([value, text]) => el("option", { value, selected: value === chosen }, text)),
    ),
  );
}

function means({ mean, measure, queries }, { a, b }) {
  const figure = (name, key) =>
    el(
      "div",
      { class: `figure ${key}` },
      el("span", { class: "letter" }, key.toUpperCase()),
      el("span", { class: "name" }, name),
      el("b", { class: "number" }, value(mean[name])),
    );
  const both = mean[a] !== null && mean[b] !== null && b;
  const better = (sign) => queries.filter(({ difference }) => sign * (difference ?? 0) > 1e-9).length;
  return el(
    "div",
    { class: "means" },
    el("h1", {}, measure),
    figure(a, "a"),
    b && figure(b, "b"),
    both &&
      el(
        "p",
        { class: "soft" },
        `A − B = ${gap(mean[a] - mean[b])}. `,
        `A is better on ${better(1)} queries, B on ${better(-1)}, of ${queries.length}.`,
      ),
  );
}

/** All differences as columns from A's largest gain to B's, each leading to its query. */
function spread(queries, view) {
  const sorted = queries.filter(({ difference }) => difference !== null).sort((x, y) => y.difference - x.difference);
  const most = Math.max(...sorted.map(({ difference }) => Math.abs(difference)), 1e-9);
  const [step, width] = [10, 10 * sorted.length];
  const share = `${100 * Math.min(1, sorted.length / FEWEST)}%`;
  const column = (query, place) => {
    const height = Math.max(0.6, (58 * Math.abs(query.difference)) / most);
    const title = `${query.text || query.id}: ${gap(query.difference)}`;
    const rect = svg(
      "rect",
      {
        x: place * step,
        y: query.difference >= 0 ? 60 - height : 60,
        width: step - 1,
        height,
        class: query.difference > 0 ? "a" : query.difference < 0 ? "b" : "same",
      },
      svg("title", {}, title),
    );
    return svg(
      "a",
      { href: link(query, view), tabindex: -1 },
      svg("rect", { x: place * step, y: 0, width: step, height: 120, class: "reach" }, svg("title", {}, title)),
      rect,
    );
  };
  return el(
    "figure",
    { class: "spread", style: { "--share": share } },
    svg(
      "svg",
      { viewBox: `0 0 ${width} 120`, preserveAspectRatio: "none", "aria-hidden": "true" },
      svg("line", { x1: 0, x2: width, y1: 60, y2: 60 }),
      sorted.map(column),
    ),
    el(
      "figcaption",
      {},
      el("span", {}, "A better"),
      el("span", { class: "soft" }, "each column is a query"),
      el("span", {}, "B better"),
    ),
  );
}

const link = ({ id, text }, { a, b, state }) =>
  address({
    view: null,
    q: text,
    query: id,
    a,
    b,
    measure: state.measure,
    sort: state.sort,
    offset: null,
    why: null,
    where: null,
  });

function row(query, view) {
  const { a, b } = view;
  const { text, id, values, difference } = query;
  const name = text ? el("a", { href: link(query, view) }, text) : el("span", { class: "soft" }, "a picture");
  return el(
    "tr",
    { "data-difference": difference ?? "" },
    el("td", {}, name, el("code", { class: "id" }, id)),
    el("td", { class: "n" }, value(values[a])),
    b && [
      el("td", { class: "dots" }, dumbbell(values[a], values[b])),
      el("td", { class: "n" }, value(values[b])),
      el(
        "td",
        { class: `n gap ${difference > 0 ? "a" : difference < 0 ? "b" : ""}` },
        difference === null ? "–" : gap(difference),
      ),
    ],
  );
}

/** Both values as points on a line from 0 to 1. */
function dumbbell(one, other) {
  if (one === null || other === null || Math.max(one, other) > 1) return null;
  const x = (each) => 4 + 92 * each;
  return svg(
    "svg",
    { viewBox: "0 0 100 14", "aria-hidden": "true" },
    svg("line", { class: "ground", x1: 4, x2: 96, y1: 7, y2: 7 }),
    svg("line", { class: one >= other ? "a" : "b", x1: x(one), x2: x(other), y1: 7, y2: 7 }),
    svg("circle", { class: "b", cx: x(other), cy: 7, r: 3.4 }),
    svg("circle", { class: "a", cx: x(one), cy: 7, r: 3.4 }),
  );
}

const value = (each) => (each === null || each === undefined ? "–" : each.toFixed(4).replace(/^0/, ""));
const gap = (each) =>
  Math.abs(each) < 5e-5 ? "0" : `${each < 0 ? "−" : "+"}${Math.abs(each).toFixed(4).replace(/^0/, "")}`;

function sieve(rows, queries, text) {
  const wanted = text.trim().toLowerCase();
  rows.forEach((each, place) => {
    each.hidden = !`${queries[place].text} ${queries[place].id}`.toLowerCase().includes(wanted);
  });
}

function bindKeys(rows) {
  const links = () =>
    rows
      .filter((each) => !each.hidden)
      .map((each) => each.querySelector("a"))
      .filter(Boolean);
  const step = (by) => () => {
    const all = links();
    const to = all[all.indexOf(document.activeElement) + by] ?? all.at(by > 0 ? 0 : -1);
    to?.focus();
    to?.scrollIntoView({ block: "nearest" });
  };
  bind({ ArrowDown: step(1), ArrowUp: step(-1), j: step(1), k: step(-1) });
}

/** Where the search is one of the list's: its values, and the queries before and behind it. Null elsewhere. */
export function neighbours(view) {
  const { about, state, signal } = view;
  if (!state.query || !about.queries || !about.judged) return null;
  const nav = el("nav", { class: "neighbours", "aria-label": "Queries of the collection" });
  measured(view).then(
    (list) => {
      if (!signal.aborted) tell(nav, list, view);
    },
    () => nav.remove(),
  );
  return nav;
}

function tell(nav, { queries, measure }, view) {
  const { a, b, state } = view;
  const place = queries.findIndex(({ id, text }) => id === state.query && text === state.q);
  if (place < 0) {
    nav.remove();
    return;
  }
  const { values, difference } = queries[place];
  const step = (to, rel, text) =>
    to
      ? el(
          "a",
          { rel, href: link(to, view), title: to.text, "aria-label": `${rel === "prev" ? "Previous" : "Next"} query` },
          text,
        )
      : null;
  const back = address({ view: "queries", a, b, measure: state.measure, sort: state.sort }, {});
  put(
    nav,
    step(queries[place - 1], "prev", "‹"),
    el("a", { href: back }, `query ${place + 1} of ${queries.length}`),
    step(queries[place + 1], "next", "›"),
    el("span", { class: "soft" }, measure),
    letterValue("a", values[a]),
    b && letterValue("b", values[b]),
    b && difference !== null && el("span", { class: "number soft" }, `A − B = ${gap(difference)}`),
  );
}

const letterValue = (key, each) =>
  el("span", { class: `${key} number` }, el("span", { class: "letter" }, key.toUpperCase()), value(each));
