// Light, dark, or as the system has it.

import { icon, put } from "./dom.js";
import { keep, kept } from "./kept.js";
import { say } from "./notices.js";

const RAYS =
  "M10 2v1.5M10 16.5v1.5M2 10h1.5M16.5 10h1.5M4.3 4.3l1.1 1.1M14.6 14.6l1.1 1.1M4.3 15.7l1.1-1.1M14.6 5.4l1.1-1.1";
const THEMES = {
  auto: ["as the system has it", "M10 3a7 7 0 1 0 0 14Zm0 0a7 7 0 0 1 0 14"],
  light: ["light", `M10 6.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 0 0 0-7${RAYS}`],
  dark: ["dark", "M16.5 11.8A7 7 0 0 1 8.2 3.5a7 7 0 1 0 8.3 8.3Z"],
};

/** Draws the switch as it stands. */
export function showTheme() {
  const theme = chosen();
  const button = document.getElementById("theme");
  const label = `Colours: ${THEMES[theme][0]}`;
  button.setAttribute("aria-label", label);
  button.title = `${label} (d)`;
  put(button, icon(THEMES[theme][1]));
}

/** Goes on to the next of the three. */
export function nextTheme() {
  const names = Object.keys(THEMES);
  const theme = names[(names.indexOf(chosen()) + 1) % names.length];
  keep("theme", theme === "auto" ? null : theme);
  if (theme === "auto") delete document.documentElement.dataset.theme;
  else document.documentElement.dataset.theme = theme;
  showTheme();
  say(`Colours: ${THEMES[theme][0]}`);
}

const chosen = () => document.documentElement.dataset.theme ?? "auto";
