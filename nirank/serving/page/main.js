// The page: asks what the server has, then shows the view that the address says.

import { Refused, ask } from "./api.js";
import { current, follow, go } from "./address.js";
import { el, put } from "./dom.js";
import { help } from "./dialogs.js";
import { bind, unbind } from "./keys.js";
import { startBox, showBox } from "./box.js";
import { showSearch, turnTo } from "./search.js";
import { showQueries } from "./queries.js";
import { showJudging } from "./pool.js";
import { showSettings } from "./settings.js";
import { systems } from "./systems.js";
import { nextTheme, showTheme } from "./themes.js";
import { troubled } from "./states.js";
import { quiet } from "./notices.js";

const VIEWS = { search: showSearch, queries: showQueries, judge: showJudging };
const main = document.getElementById("main");

let leaving = new AbortController();

/** Asks what there is; where there is no answer, that is shown, and can be asked again. */
async function begin() {
  let about;
  try {
    about = await ask("about");
  } catch (error) {
    if (!(error instanceof Refused)) throw error;
    put(main, troubled("The server cannot be asked", error.message, begin));
    return;
  }
  addViews(about);
  startBox(about);
  follow((event) => (event?.type === "popstate" && turnTo(current())) || show(about));
}

function addViews(about) {
  document.title = `${about.name} · nirank`;
  document.getElementById("name").textContent = about.name;
  document.querySelector('[data-view="queries"]').hidden = !(about.queries && about.judged);
  document.querySelector('[data-view="judge"]').hidden = !about.annotate;
  document.querySelector(".views").hidden = !document.querySelector(
    '[data-view]:not([hidden], [data-view="search"], body)',
  );
}

function show(about) {
  leaving.abort();
  leaving = new AbortController();
  const state = current();
  const view = VIEWS[state.view] ? state.view : "search";
  document.body.dataset.view = view;
  for (const link of document.querySelectorAll("[data-view]:is(a)")) {
    if (link.dataset.view === view) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  quiet();
  unbind();
  bind({ "?": help, d: nextTheme, "/": focusBox, x: () => exchange(about) });
  showBox(about, state);
  showSettings(about, state, view);
  VIEWS[view]({ about, state, main, signal: leaving.signal });
}

function focusBox() {
  const box = document.getElementById("query");
  box.focus();
  box.select();
}

function exchange(about) {
  const { a, b } = systems(about, current());
  if (b) go({ a: b, b: a, why: null, system: null });
}

showTheme();
document.getElementById("theme").addEventListener("click", nextTheme);
document.getElementById("help").addEventListener("click", help);
begin();
