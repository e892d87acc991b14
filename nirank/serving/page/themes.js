// Light, dark, or as the system has it.

import { icon, put } from "./dom.js";
import { keep, kept } from "./kept.js";
import { say } from "./notices.js";

const THEMES = {
  auto: ["as the system has it", "M10 3a7 7 0 1 0 0 14Zm0 0a7 7 0 0 1 0 14"],
  light: ["light", "M10 6.5a3.5 3.5 0 1 0 0 7a3.5 3.5 0 0 0 0-7M10 2v1.5M10 16.500v1.500M2 10h1.500M16.500 10h1.500M4.300 4.300l1.100 1.100M14.600 14.600l1.100 1.100M4.300 15.700l1.100-1.100M14.600 5.400l1.100-1.100"],
  dark: ["dark", "M16.500 11.800A7 7 0 0 1 8.200 3.500a7 7 0 1 0 8.300 8.300Z"],
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
