// Judging by a pool: the first documents of all systems, one at a time, without which system found them or where.

import { Refused, ask, path } from "./api.js";
import { address, go } from "./address.js";
import { el, put } from "./dom.js";
import { exports, judgingAs } from "./exporting.js";
import { GRADES, Judged, annotator, named } from "./judging.js";
import { bind } from "./keys.js";
import { say } from "./notices.js";
import { shownImage } from "./pictures.js";
import { empty, loading, troubled } from "./states.js";

const DEPTH = 10;
/** Milliseconds between two looks at a server that is still searching. */
const PAUSE = 700;
const DEPTHS = [5, 10, 20, 50, 100];

/** Shows the pool of a query, or the choice of one. */
export async function showJudging({ about, state, main, signal }) {
  const view = { about, state, main, signal, depth: /^\d+$/.test(state.depth ?? "") ? Number(state.depth) : DEPTH };
  put(main, loading(4));
  try {
    if (!state.query && !state.q) await choose(view);
    else await judge(view);
  } catch (error) {
    if (signal.aborted) return;
    if (!(error instanceof Refused || error.name === "AbortError")) throw error;
    const told = error instanceof Refused ? error.message : "The server was busy.";
    put(
      main,
      troubled("The pool cannot be shown", told, () => go({}, { replace: true })),
    );
  }
}

/** The pools of the collection's queries, once the server has searched them all. */
async function pools({ about, depth, signal }) {
  if (!about.queries) return [];
  for (;;) {
    const answer = await ask(path("pool", { depth, annotator: annotator() }), { signal });
    if (answer.ready) return answer.queries;
    await new Promise((resolve) => setTimeout(resolve, PAUSE));
    signal.throwIfAborted();
  }
}

async function choose(view) {
  const { main, state } = view;
  const queries = await pools(view);
  if (view.signal.aborted) return;
  const input = el("input", {
    type: "search",
    id: "pool-query",
    placeholder: "Words to judge documents for",
    "aria-label": "Query",
    maxlength: 10000,
    required: true,
    value: state.q ?? "",
  });
  const form = el("form", { class: "own" }, input, el("button", { class: "main" }, "Judge"));
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const q = input.value.trim();
    if (q) go({ q, query: null });
  });
  put(
    main,
    el(
      "section",
      { class: "pool choose" },
      el("h1", {}, "Judge documents"),
      el(
        "p",
        { class: "soft" },
        "The first documents of every system are shown one at a time, in an order that does not say which system ",
        "found them, or where. What you mark is saved at once.",
      ),
      controls(view),
      form,
      queries.length > 0 && [
        el("h2", {}, "Queries of the collection"),
        el("ul", { class: "topics" }, queries.map(topic)),
      ],
    ),
  );
}

function topic({ id, text, pooled, judged }) {
  const left = pooled - judged;
  return el(
    "li",
    { class: left ? "" : "done" },
    el("a", { href: address({ query: id, q: null }) }, text || "a picture"),
    el("code", { class: "id" }, id),
    el("progress", { max: Math.max(pooled, 1), value: judged, "aria-label": "Judged" }),
    el("span", { class: "number soft" }, left ? `${judged} of ${pooled}` : "✓ all"),
  );
}

function controls(view) {
  const depths = DEPTHS.includes(view.depth) ? DEPTHS : [...DEPTHS, view.depth].sort((a, b) => a - b);
  const change = ({ target }) => go({ depth: target.value });
  return el(
    "div",
    { class: "controls" },
    el(
      "label",
      { class: "picked" },
      "Depth",
      el(
        "select",
        { onchange: change },
        depths.map((depth) => el("option", { value: depth, selected: depth === view.depth }, depth)),
      ),
    ),
    judgingAs(),
    exports(),
  );
}

async function judge(view) {
  const name = await named();
  if (view.signal.aborted) return;
  if (name === null) {
    put(
      view.main,
      troubled(
        "Judgments need a name",
        "Your name stands beside your judgments, so that those of several people can be told apart.",
        () => go({}, { replace: true }),
      ),
    );
    return;
  }
  const { state, depth, signal } = view;
  const pool = await ask(
    path("pool", { depth, query_id: state.query, query: state.query ? null : state.q, annotator: name }),
    { signal },
  );
  if (signal.aborted) return;
  const judged = new Judged(pool.query, pool.query_id);
  const work = { view, pool, judged, queue: pool.documents, done: [], read: new Map() };
  bind({
    s: () => skip(work),
    z: () => back(work),
    ArrowLeft: () => back(work),
    ArrowRight: () => skip(work),
    Backspace: () => back(work),
  });
  for (const grade of [0, 1, 2, 3]) bind({ [grade]: () => give(work, grade) });
  await next(work);
}

/** Shows the next document, and asks for the one behind it. */
async function next(work) {
  const { view, pool, queue, done } = work;
  const [size, count] = [pool.pooled, pool.judged + done.length];
  const top = [
    el(
      "header",
      { class: "task" },
      el("p", { class: "soft" }, "Is this document an answer to"),
      el("h1", {}, pool.query || pool.query_id),
      el(
        "div",
        { class: "progress" },
        el("progress", { max: Math.max(size, 1), value: count, "aria-label": "Judged" }),
        el("span", { class: "number" }, `${count} of ${size}`),
      ),
    ),
  ];
  if (!queue.length) {
    put(
      view.main,
      el("section", { class: "pool" }, top, finished(work, size), el("footer", { class: "foot" }, controls(view))),
    );
    return;
  }
  const place = el("article", { class: "sheet", "data-id": queue[0] }, loading(2));
  put(
    view.main,
    el("section", { class: "pool" }, top, place, buttons(work), el("footer", { class: "foot" }, controls(view))),
  );
  const shown = await read(work, queue[0]);
  if (queue[1]) read(work, queue[1]);
  if (!place.isConnected) return;
  if (shown instanceof Error)
    put(
      place,
      troubled("The document cannot be shown", shown.message, () => next(work)),
    );
  else {
    put(place, sheet(shown));
    say(shown.title || shown.id);
  }
}

/** A document, which is asked for once; resolves to the refusal where it cannot be had. */
function read({ view, read: known }, id) {
  const asked = () =>
    ask(`documents/${encodeURIComponent(id)}`, { signal: view.signal }).catch((error) => {
      known.delete(id);
      return error;
    });
  if (!known.has(id)) known.set(id, asked());
  return known.get(id);
}

function sheet({ id, title, text, fields, image }) {
  const pairs = Object.entries(fields ?? {}).filter(
    ([name, value]) => value !== null && value !== "" && name !== "title",
  );
  return [
    el("h2", {}, title || id),
    image && shownImage(id, { side: 512, class: "large", alt: `Picture of ${title || id}` }),
    text && el("p", { class: "text" }, text),
    pairs.length > 0 &&
      el(
        "dl",
        { class: "fields" },
        pairs.map(([name, value]) => el("div", {}, el("dt", {}, name), el("dd", {}, String(value)))),
      ),
  ];
}

function buttons(work) {
  const given = work.judged.grade(work.queue[0]);
  const grade = (told, number) =>
    el(
      "button",
      {
        type: "button",
        class: `grade large g${number}`,
        "data-grade": number,
        "aria-pressed": String(given === number),
        onclick: () => give(work, number),
      },
      el("b", {}, number),
      told,
    );
  const plain = (text, key, disabled, onclick) =>
    el("button", { type: "button", class: "plain", title: `${text} (${key})`, disabled, onclick }, text);
  return el(
    "div",
    { class: "answers", role: "group", "aria-label": "Relevance" },
    plain("Back", "z", !work.done.length, () => back(work)),
    GRADES.map(grade),
    plain("Later", "s", work.queue.length < 2, () => skip(work)),
  );
}

async function give(work, grade) {
  if (work.busy || !work.queue.length) return;
  work.busy = true;
  const [document] = work.queue;
  const saved = await work.judged.mark(document, grade);
  work.busy = false;
  if (!saved) return;
  work.done.push(work.queue.shift());
  await next(work);
}

async function back(work) {
  if (work.busy || !work.done.length) return;
  work.queue.unshift(work.done.pop());
  await next(work);
}

async function skip(work) {
  if (work.busy || work.queue.length < 2) return;
  work.queue.push(work.queue.shift());
  await next(work);
}

function finished({ view, pool }, size) {
  const onward = el("span");
  pools(view)
    .then((all) => following(onward, all, pool.query_id))
    .catch(() => onward.remove());
  return el(
    "div",
    { class: "empty" },
    el("h2", {}, size ? "All judged" : "Nothing to judge"),
    el(
      "p",
      {},
      size
        ? `You have judged all ${size} documents of the first ${view.depth} of every system.`
        : "No system finds a document for this query.",
    ),
    el(
      "p",
      { class: "onward" },
      onward,
      el("a", { class: "button", href: address({ query: null, q: null }) }, "Choose a query"),
      el(
        "a",
        { class: "button", href: address({ view: null, q: pool.query, query: pool.query_id ?? null, depth: null }) },
        "See the results",
      ),
    ),
  );
}

/** A link to the next query of the collection with documents to judge. */
function following(place, queries, id) {
  const here = queries.findIndex((each) => each.id === id);
  const to = [...queries.slice(here + 1), ...queries.slice(0, Math.max(here, 0))].find(
    ({ pooled, judged }) => judged < pooled,
  );
  if (to)
    place.replaceWith(
      el("a", { class: "button main", href: address({ query: to.id, q: null }) }, `Next: ${to.text || to.id}`),
    );
}
