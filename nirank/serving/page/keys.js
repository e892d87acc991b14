// Keys of the page. A key does nothing of this where a text is being written or a dialog of another kind is open.

let bound = {};

/** Adds keys: `{"e": function}`; a function gets the event. */
export function bind(keys) {
  Object.assign(bound, keys);
}

/** Forgets all keys. */
export function unbind() {
  bound = {};
}

document.addEventListener("keydown", (event) => {
  if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
  if (writing(event.target)) return;
  const dialog = document.querySelector("dialog[open]");
  if (dialog && !dialog.classList.contains("keyed")) return;
  const act = bound[event.key];
  if (!act || act(event) === false) return;
  event.preventDefault();
});

function writing(target) {
  return target.matches?.("input:not([type=checkbox]), select, textarea, [contenteditable]");
}
