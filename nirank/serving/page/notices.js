// What is said to the person: a notice above the results, a toast below them, and to a screen reader.

import { el, put } from "./dom.js";

/** Milliseconds that a toast stands; one with a button stands longer. */
const TOAST = 3500;
const TOAST_WITH_BUTTON = 8000;

/** Shows a notice above everything until it is closed; returns what closes it. */
export function notice(text, { kind = "error", actions = [] } = {}) {
  const close = () => box.remove();
  const buttons = actions.map(([label, act]) => el("button", { type: "button", onclick: () => act(close) }, label));
  const closer = el("button", { type: "button", class: "icon", "aria-label": "Close", onclick: close }, "×");
  const box = el(
    "div",
    { class: `notice ${kind}`, role: kind === "error" ? "alert" : "status" },
    el("p", {}, text),
    buttons,
    closer,
  );
  place("notices").append(box);
  return close;
}

/** Takes all notices away. */
export function quiet() {
  put(document.getElementById("notices"));
}

/** Says a sentence to screen readers alone. */
export function say(text) {
  document.getElementById("said").textContent = text;
}

/** Shows a sentence for some seconds, with one button if an action is given. */
export function toast(text, label = null, act = null) {
  const button =
    label &&
    el(
      "button",
      {
        type: "button",
        onclick: () => {
          box.remove();
          act();
        },
      },
      label,
    );
  const box = el("div", { class: "toast" }, el("span", {}, text), button);
  put(place("toasts"), box);
  say(text);
  setTimeout(() => box.remove(), label ? TOAST_WITH_BUTTON : TOAST);
}

/** Waits until a busy server is asked again, and counts down; raises AbortError where the question is given up. */
export function waiting(seconds, why, signal) {
  return new Promise((resolve, reject) => {
    const end = Date.now() + 1000 * seconds;
    const left = el("span", { class: "number" });
    const count = () => {
      left.textContent = ` Next try in ${Math.max(0, Math.ceil((end - Date.now()) / 1000))} s.`;
    };
    const timer = setInterval(() => {
      count();
      if (Date.now() >= end) finish(resolve);
    }, 100);
    const give = () => finish(() => reject(new DOMException("given up", "AbortError")));
    const box = el(
      "div",
      { class: "notice busy", role: "status" },
      el("p", {}, why, left),
      el("button", { type: "button", onclick: () => finish(resolve) }, "Try now"),
      el("button", { type: "button", onclick: give }, "Give up"),
    );
    const finish = (how) => {
      clearInterval(timer);
      box.remove();
      signal?.removeEventListener("abort", give);
      how();
    };
    signal?.addEventListener("abort", give);
    count();
    place("notices").append(box);
  });
}

/** The place for notices or toasts: in an open dialog, beside which nothing can be reached, one of its own. */
function place(name) {
  const dialog = document.querySelector("dialog[open]");
  if (!dialog) return document.getElementById(name);
  const made = dialog.querySelector(`.${name}`) ?? el("div", { class: name });
  dialog.prepend(made);
  return made;
}
