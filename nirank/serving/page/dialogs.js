// Dialogs of the browser's own kind, which keep the focus and give it back.

import { el } from "./dom.js";

const KEYS = [
  ["/", "to the search box"],
  ["↑ ↓", "to the result above or below"],
  ["← →", "to the same document in the other system"],
  ["Enter", "opens the document"],
  ["e", "why this score; again or Esc closes it"],
  ["0 1 2 3", "marks how relevant the document is"],
  ["Delete", "withdraws your mark"],
  ["n  p", "next and previous page; while a reason is shown, document"],
  ["[  ]", "previous and next query of the collection"],
  ["x", "exchanges the two systems"],
  ["d", "light, dark, or as the system has it"],
  ["?", "shows this"],
];

/** Opens a dialog with contents; resolves to its return value when it is closed ("" by Esc). */
export function open(contents, attributes = {}) {
  const dialog = el("dialog", attributes, contents);
  document.body.append(dialog);
  dialog.addEventListener("click", (event) => {
    if (event.target === dialog) dialog.close();
  });
  dialog.showModal();
  return new Promise((resolve) =>
    dialog.addEventListener("close", () => {
      dialog.remove();
      resolve(dialog.returnValue);
    }),
  );
}

/** Shows what the keys do. */
export function help() {
  const rows = KEYS.map(([keys, what]) => [
    el(
      "dt",
      {},
      keys
        .split(" ")
        .filter(Boolean)
        .map((key) => el("kbd", {}, key)),
    ),
    el("dd", {}, what),
  ]);
  const close = el("form", { method: "dialog" }, el("button", { class: "main" }, "Close"));
  return open(
    [
      el("h2", { id: "help-title" }, "Keys"),
      el("dl", { class: "keys" }, rows),
      el("p", { class: "soft" }, "A picture can be dropped anywhere on the page, or pasted, to search with it."),
      close,
    ],
    { class: "small", "aria-labelledby": "help-title" },
  );
}

/** Asks for a line of text; resolves to it, or to null where nothing is given. */
export async function askFor(
  title,
  text,
  { label, type = "text", value = "", button = "Continue", autocomplete = "off" },
) {
  const input = el("input", {
    type,
    value,
    autocomplete,
    required: true,
    maxlength: 200,
    "aria-label": label,
    placeholder: label,
  });
  const form = el(
    "form",
    { method: "dialog" },
    input,
    el(
      "div",
      { class: "buttons" },
      el("button", { type: "button", onclick: () => form.closest("dialog").close("") }, "Cancel"),
      el("button", { class: "main", value: "yes" }, button),
    ),
  );
  const closed = open([el("h2", { id: "ask-title" }, title), el("p", {}, text), form], {
    class: "small",
    "aria-labelledby": "ask-title",
  });
  input.focus();
  return (await closed) === "yes" && input.value.trim() ? input.value.trim() : null;
}

let asked = null;

/** Asks for the server's token, once for all questions that wait for it; resolves to null where none is given. */
export async function askForToken(again) {
  asked ??= askFor(
    "This server wants a token",
    again
      ? "The token was not right. Whoever started the server has it."
      : "Whoever started the server has it. It is kept until this tab is closed.",
    { label: "Token", type: "password", button: "Sign in" },
  );
  const token = await asked;
  asked = null;
  return token;
}
