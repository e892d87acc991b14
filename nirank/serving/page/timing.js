// Where the milliseconds went: a bar, one colour a stage, and a legend. Bars side by side have one scale.

import { el } from "./dom.js";

const COLOURS = 8;

/** A colour's number for each stage of all results: the same stage has the same colour everywhere. */
export function colours(results) {
  const names = [...new Set(results.flatMap(({ milliseconds }) => milliseconds.stages.map(({ stage }) => stage)))];
  return new Map(names.map((name, number) => [name, number % COLOURS]));
}

/** The bar and the legend of one result; `longest` is the milliseconds that fill the whole width. */
export function timing({ milliseconds: { total, stages } }, longest, colours) {
  const named = stages.reduce((sum, { milliseconds }) => sum + milliseconds, 0);
  const rest = Math.max(0, total - named);
  const parts = [...stages, ...(rest > 0.02 * total ? [{ stage: "between stages", milliseconds: rest }] : [])];
  const colour = (stage) => `stage s${colours.get(stage) ?? "rest"}`;
  const bar = parts.map(({ stage, milliseconds }) =>
    el("i", { class: colour(stage), style: { "flex-grow": milliseconds }, title: `${stage}: ${shown(milliseconds)}` }),
  );
  const legend = parts.map(({ stage, milliseconds }) =>
    el("li", {}, el("i", { class: colour(stage) }), stage, " ", el("b", {}, shown(milliseconds))),
  );
  const width = `${Math.max(2, 100 * (longest ? total / longest : 1))}%`;
  return el(
    "details",
    { class: "timing" },
    el(
      "summary",
      { "aria-label": `${shown(total)}, by stage` },
      el("span", { class: "track", "aria-hidden": "true" }, el("span", { class: "stages", style: { width } }, bar)),
      el("span", { class: "number" }, shown(total)),
    ),
    el("ul", { class: "legend" }, legend),
  );
}

/** Milliseconds as people read them. */
export function shown(milliseconds) {
  if (milliseconds >= 1000) return `${(milliseconds / 1000).toFixed(2)} s`;
  if (milliseconds >= 10) return `${milliseconds.toFixed(0)} ms`;
  return milliseconds >= 0.1 ? `${milliseconds.toFixed(1)} ms` : `${(1000 * milliseconds).toFixed(0)} µs`;
}
