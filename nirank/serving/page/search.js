// The view of a search: one or two systems' results side by side, and the keys that go through them.

import { Refused, ask } from "./api.js";
import { address, go } from "./address.js";
import { el, put } from "./dom.js";
import { closeWhy, showWhy } from "./explaining.js";
import { exports, judgingAs } from "./exporting.js";
import { drawFlow } from "./flow.js";
import { hitList } from "./hits.js";
import { Judged } from "./judging.js";
import { bind } from "./keys.js";
import { say } from "./notices.js";
import { pictureOf } from "./picked.js";
import { neighbours } from "./queries.js";
import { empty, loading, missing, troubled } from "./states.js";
import { systems } from "./systems.js";
import { colours, timing } from "./timing.js";
import { start } from "./start.js";

/** Results of a page unless the address says otherwise. */
const K = 10;
/** Milliseconds after which it is shown that results are on their way. */
const PATIENCE = 150;

let last = { key: "", answer: null };
let drawn = null;

/** Has the next search asked for anew, even if it is the last one again. */
export function forget() {
  last = { key: "", answer: null };
}

/** Opens or closes the drawer, where nothing else of the address has changed; false where more has. */
export function turnTo(state) {
  if (drawn?.key !== apart(state) || drawn.view.signal.aborted) return false;
  if (state.why) showWhy(drawn.view, drawn.answer, state.why, state.system ?? drawn.view.a);
  else closeWhy();
  return true;
}

/** The state without what the drawer shows. */
const apart = (state) => JSON.stringify({ ...state, why: undefined, system: undefined });

/** Shows what the address asks for. */
export async function showSearch({ about, state, main, signal }) {
  closeWhy();
  drawn = null;
  if (!state.q && !state.like && !state.image) return start(about, state, main, signal);
  const view = {
    about,
    state,
    main,
    signal,
    ...systems(about, state),
    k: whole(state.k, K),
    offset: whole(state.offset, 0),
  };
  const answer = await answered(view);
  if (!answer || signal.aborted) return null;
  view.judged = about.annotate && state.q ? new Judged(state.q, state.query ?? null) : null;
  draw(view, answer);
  drawn = { key: apart(state), view, answer };
  view.judged?.read(signal).catch(() => say("The judgments of others cannot be shown."));
  if (state.why) showWhy(view, answer, state.why, state.system ?? view.a);
  return null;
}

const whole = (text, otherwise) => (/^\d+$/.test(text ?? "") ? Number(text) : otherwise);

/** The server's answer, or null where it was given up or has gone wrong, which is shown then. */
async function answered(view) {
  const { main, signal, state } = view;
  const body = question(view);
  if (!body) {
    put(
      main,
      empty("The picture is not here", "An address does not take a picture along: choose, drop or paste it again."),
    );
    return null;
  }
  const key = JSON.stringify(body);
  if (last.key === key) return last.answer;
  main.setAttribute("aria-busy", "true");
  const timer = setTimeout(() => {
    if (!signal.aborted)
      put(main, el("div", { class: `columns ${view.b ? "two" : "one"}` }, loading(), view.b && loading()));
  }, PATIENCE);
  try {
    last = { key, answer: await ask("search", { body, signal }) };
    return last.answer;
  } catch (error) {
    if (error.name === "AbortError" && signal.aborted) return null;
    put(main, el("h1", { class: "unseen" }, "No results"), refused(error, state));
    return null;
  } finally {
    clearTimeout(timer);
    main.removeAttribute("aria-busy");
  }
}

function question({ state, a, b, k, offset }) {
  const image = state.image ? pictureOf(state.image) : null;
  if (state.image && !image) return null;
  const what = image ? { image } : state.like ? { document: state.like } : { query: state.q };
  return { ...what, pipelines: b ? [a, b] : [a], k, offset, where: state.where ?? null, snippets: true };
}

function refused(error, state) {
  const again = () => go({}, { replace: true });
  if (error.name === "AbortError") return troubled("Given up", "The server was busy.", again);
  if (!(error instanceof Refused)) throw error;
  if (error.status === 404 && state.like) return troubled("There is no such document", error.message);
  if (error.status === 422 && state.where) return mistaken(error);
  const title = { 0: "No answer", 401: "Not signed in", 503: "The server is busy" }[error.status];
  return troubled(title ?? "The server refuses this search", error.message, again);
}

/** A condition that cannot be understood is shown where it was written. */
function mistaken(error) {
  const input = document.getElementById("where");
  input?.setAttribute("aria-invalid", "true");
  const all = el("a", { class: "button", href: address({ where: null, offset: null }) }, "Search all documents");
  return troubled("This search cannot be done", error.message, () => input?.focus(), {
    label: "Change the condition",
    more: input ? all : null,
  });
}

function draw(view, answer) {
  const { main, b, state } = view;
  const explain = (document, system, part) => showWhy(view, answer, document, system, part);
  const shades = colours(answer.results);
  const longest = Math.max(...answer.results.map(({ milliseconds }) => milliseconds.total));
  const lists = answer.results.map((result, place) => {
    const side = place ? "b" : "a";
    const other = b ? answer.results[1 - place].pipeline : "";
    return el(
      "section",
      { class: `column ${side}`, "data-side": side, "aria-label": result.pipeline },
      head(result, side, view, timing(result, longest, shades)),
      result.lost.length ? missing(result.lost) : null,
      result.hits.length ? hitList(result, { ...view, side, other, explain }) : nothing(state),
    );
  });
  const gallery = !b && answer.results[0].hits.some(({ image, snippet }) => image && !snippet);
  const columns = el(
    "div",
    { class: `columns ${b ? "two" : "one"} ${gallery ? "gallery" : ""}`, "data-shown": "a" },
    lists,
  );
  const named = state.q ? `Results for ${state.q}` : "Results by a picture";
  put(
    main,
    el("h1", { class: "unseen" }, named),
    neighbours(view),
    b && tabs(columns, answer),
    columns,
    pages(view, answer),
    view.judged && el("footer", { class: "foot controls" }, judgingAs(), exports()),
  );
  if (b) connect(columns, lists, view.signal);
  columns.addEventListener(
    "focusin",
    ({ target }) => target.closest(".hit") && light(columns, target.closest(".hit").dataset.id),
  );
  columns.addEventListener("mouseover", ({ target }) => light(columns, target.closest(".hit")?.dataset.id));
  bindKeys(view, answer, columns, explain);
  const counts = answer.results.map(({ pipeline, hits }) => `${pipeline}: ${hits.length} results`).join(", ");
  say(`${counts}. Arrow keys go through them.`);
  if (document.activeElement === document.body) main.querySelector(".hit")?.focus({ preventScroll: true });
}

function head({ pipeline }, side, { about, b }, bar) {
  const expression = about.pipelines.find(({ name }) => name === pipeline)?.expression;
  return el(
    "header",
    { class: "head" },
    el("h2", {}, b && el("span", { class: "letter", "aria-hidden": "true" }, side.toUpperCase()), pipeline),
    expression && el("code", { class: "expression", title: expression }, expression),
    bar,
  );
}

function nothing(state) {
  const all =
    state.where && el("p", {}, el("a", { href: address({ where: null, offset: null }) }, "Search all documents"));
  if (Number(state.offset) > 0)
    return empty("No further results", el("p", {}, el("a", { href: address({ offset: null }) }, "To the first page")));
  return empty(
    "Nothing found",
    state.where
      ? "No document of those that the condition lets pass."
      : "No document has any of these words for this system.",
    all,
  );
}

/** On a narrow page one list is shown at a time. */
function tabs(columns, { results }) {
  const tab = ({ pipeline }, place) => {
    const side = place ? "b" : "a";
    return el(
      "button",
      { type: "button", class: `tab ${side}`, "aria-pressed": String(!place), onclick: () => turn(columns, side) },
      el("span", { class: "letter", "aria-hidden": "true" }, side.toUpperCase()),
      pipeline,
    );
  };
  return el("div", { class: "tabs", role: "group", "aria-label": "Which system is shown" }, results.map(tab));
}

function turn(columns, side) {
  columns.dataset.shown = side;
  for (const tab of document.querySelectorAll(".tabs .tab"))
    tab.setAttribute("aria-pressed", String(tab.classList.contains(side)));
}

function connect(columns, [left, right], signal) {
  drawFlow(columns, left, right, signal);
  columns.addEventListener("click", ({ target }) => {
    const move = target.closest(".move");
    if (move) jump(columns, move.closest(".hit"));
  });
}

/** Goes to the same document in the other list; where it is not there, to what stands at its height. */
function jump(columns, hit) {
  const side = hit.closest(".column").dataset.side === "a" ? "b" : "a";
  const hits = [...columns.querySelectorAll(`.column.${side} .hit`)];
  const there =
    hits.find(({ dataset }) => dataset.id === hit.dataset.id) ??
    hits.find(({ dataset }) => dataset.rank === hit.dataset.rank) ??
    hits.at(-1);
  if (!there) return;
  turn(columns, side);
  focus(there);
}

function focus(hit) {
  hit.focus({ preventScroll: true });
  hit.scrollIntoView({
    block: "nearest",
    behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
  });
}

function light(columns, id) {
  for (const each of columns.querySelectorAll("[data-id]"))
    each.classList.toggle("lit", id !== undefined && each.dataset.id === id);
  columns.classList.toggle("lighting", id !== undefined);
}

function pages({ offset, k }, { results }) {
  const more = results.some((result) => result.more);
  const shown = Math.max(...results.map(({ hits }) => hits.length));
  if (!offset && !more) return null;
  const link = (to, rel, text) =>
    el("a", { class: "page", rel, href: address({ offset: to || null, why: null, system: null }) }, text);
  return el(
    "nav",
    { class: "pages", "aria-label": "Pages" },
    offset ? link(Math.max(0, offset - k), "prev", "‹ Previous") : el("span"),
    el("span", { class: "soft" }, shown ? `ranks ${offset + 1} to ${offset + shown}` : ""),
    more ? link(offset + k, "next", "Next ›") : el("span"),
  );
}

function bindKeys(view, answer, columns, explain) {
  const here = () => document.activeElement?.closest?.(".hit");
  const among = (hit) => [...hit.closest(".column").querySelectorAll(".hit")];
  const step = (by) => () => {
    const hit = here();
    const hits = hit ? among(hit) : [...columns.querySelectorAll(`.column.${columns.dataset.shown} .hit`)];
    const to = hit ? hits[hits.indexOf(hit) + by] : hits[0];
    if (!to) return false;
    focus(to);
    return true;
  };
  const on = (act) => () => {
    const hit = here();
    return hit ? act(hit) : false;
  };
  const side = (way) =>
    view.b
      ? on((hit) => (hit.closest(".column").dataset.side === way ? false : jump(columns, hit)))
      : step(way === "a" ? -1 : 1);
  const page = (rel) => () => document.querySelector(`.pages [rel=${rel}]`)?.click();
  bind({
    ArrowDown: step(1),
    ArrowUp: step(-1),
    j: step(1),
    k: step(-1),
    ArrowLeft: side("a"),
    ArrowRight: side("b"),
    n: page("next"),
    p: page("prev"),
    "[": () => document.querySelector(".neighbours [rel=prev]")?.click(),
    "]": () => document.querySelector(".neighbours [rel=next]")?.click(),
    Enter: (event) =>
      event.target.matches(".hit") ? explain(event.target.dataset.id, event.target.dataset.system, "document") : false,
    e: on((hit) => explain(hit.dataset.id, hit.dataset.system)),
  });
  if (!view.judged) return;
  const mark = (how) => on(({ dataset: { id } }) => void how(id));
  for (const grade of [0, 1, 2, 3]) bind({ [grade]: mark((id) => view.judged.toggle(id, grade)) });
  const withdraw = mark((id) => view.judged.mark(id, null));
  bind({ Delete: withdraw, Backspace: withdraw });
}
