// Stretches of texts. Places are characters as Python counts them, so that an emoji is one; JavaScript counts two.

import { el } from "./dom.js";

/** A text with stretches `[start, end]` as <mark>; `shift` is where the text begins. */
export function matched(text, matches, shift = 0) {
  const letters = Array.from(text);
  const edges = matches.flat().map((place) => Math.min(Math.max(place - shift, 0), letters.length));
  const cuts = [0, ...edges, letters.length];
  return cuts.slice(1).map((end, number) => {
    const part = letters.slice(cuts[number], end).join("");
    return number % 2 ? el("mark", {}, part) : part;
  });
}

/** A text with what falls to its stretches `[start, end, weight]` as colours; weights of what overlaps are added. */
export function weighed(text, marks) {
  const letters = Array.from(text);
  const edges = [...new Set([0, letters.length, ...marks.flatMap(([start, end]) => [start, end])])].sort(
    (a, b) => a - b,
  );
  const stretches = edges.slice(1).map((end, number) => stretch(edges[number], end, marks));
  const most = Math.max(...stretches.map(({ weight }) => Math.abs(weight)), 0);
  return stretches.map((each) => coloured(letters.slice(each.start, each.end).join(""), each, most));
}

function stretch(start, end, marks) {
  const over = marks.filter(([from, to]) => from <= start && start < to);
  return { start, end, weight: over.reduce((sum, [, , weight]) => sum + weight, 0) };
}

function coloured(text, { start, end, weight }, most) {
  if (!weight || !text) return text;
  const strength = `${Math.round(12 + 58 * (Math.abs(weight) / most))}%`;
  return el(
    "mark",
    {
      class: weight > 0 ? "raises" : "lowers",
      style: { "--strength": strength },
      title: signed(weight),
      "data-start": start,
      "data-end": end,
    },
    text,
  );
}

/** A number with its sign and four decimals; 0 has no sign. */
export const signed = (value) => `${value < 0 ? "−" : value > 0 ? "+" : ""}${Math.abs(value).toFixed(4)}`;
