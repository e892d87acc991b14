// What is shown, kept in the address of the page, so that it can be shared and the button "back" works.

/** Names in the address: of the search (q, like, image), the systems (a, b), what is found, and the other views. */
const NAMES = [
  "view",
  "q",
  "like",
  "image",
  "a",
  "b",
  "where",
  "k",
  "offset",
  "why",
  "system",
  "query",
  "measure",
  "sort",
  "depth",
];

let listener = () => {};

/** The state that the address says: an object of texts, without what is not in it. */
export function current() {
  const search = new URLSearchParams(location.search);
  return Object.fromEntries(NAMES.filter((name) => search.has(name)).map((name) => [name, search.get(name)]));
}

/** The address with changes: null and undefined take a name away, others are put into it. */
export function address(changes, from = current()) {
  const state = { ...from, ...changes };
  const search = new URLSearchParams();
  for (const name of NAMES) if (state[name] !== null && state[name] !== undefined) search.set(name, state[name]);
  const text = search.toString();
  return location.pathname + (text ? `?${text}` : "");
}

/** Goes to the state with changes and shows it; `replace` leaves no step to go back to. */
export function go(changes, { replace = false, from = current() } = {}) {
  const to = address(changes, from);
  if (replace || to === location.pathname + location.search) history.replaceState(null, "", to);
  else history.pushState(null, "", to);
  listener();
}

/** Notes a change in the address without showing anything anew. */
export function note(changes) {
  history.replaceState(null, "", address(changes));
}

/** Calls a function now and, with the event if there is one, whenever the address has changed. Links of the page itself load nothing anew. */
export function follow(shown) {
  listener = shown;
  addEventListener("popstate", shown);
  document.addEventListener("click", stay);
  shown();
}

function stay(event) {
  const link = event.target.closest?.("a[href]");
  const plain = event.button === 0 && !(event.metaKey || event.ctrlKey || event.shiftKey || event.altKey);
  if (!link || !plain || link.download || link.target || link.hash) return;
  if (link.origin !== location.origin || link.pathname !== location.pathname) return;
  event.preventDefault();
  if (link.href !== location.href) history.pushState(null, "", link.href);
  listener();
}
