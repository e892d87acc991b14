// Lines between two lists: where each document of the one stands in the other.

import { put, svg } from "./dom.js";

/** Draws the lines in the gap between two lists of results, again whenever their heights change. */
export function drawFlow(columns, left, right, signal) {
  const picture = svg("svg", { class: "flow", "aria-hidden": "true" });
  columns.append(picture);
  const draw = () => redraw(picture, columns, left, right);
  const observer = new ResizeObserver(draw);
  for (const each of [columns, left, right]) observer.observe(each);
  signal.addEventListener("abort", () => observer.disconnect());
  draw();
}

function redraw(picture, columns, left, right) {
  const whole = columns.getBoundingClientRect();
  const start = left.getBoundingClientRect().right - whole.left;
  const end = right.getBoundingClientRect().left - whole.left;
  const size = { left: `${start}px`, width: `${Math.max(0, end - start)}px`, height: `${whole.height}px` };
  for (const [key, value] of Object.entries(size)) picture.style.setProperty(key, value);
  const places = new Map([...right.querySelectorAll(".hit")].map((hit) => [hit.dataset.id, hit]));
  const pairs = [...left.querySelectorAll(".hit")]
    .map((hit) => [hit, places.get(hit.dataset.id)])
    .filter(([, other]) => other);
  put(picture, end - start < 12 ? [] : pairs.map(([from, to]) => line(from, to, whole.top, end - start)));
}

function line(from, to, top, width) {
  const [y, z] = [from, to].map((hit) => anchor(hit) - top);
  const change = Number(from.dataset.rank) - Number(to.dataset.rank);
  const way = change > 0 ? "up" : change < 0 ? "down" : "same";
  return svg("path", {
    class: way,
    "data-id": from.dataset.id,
    d: `M0 ${y}C${width / 2} ${y} ${width / 2} ${z} ${width} ${z}`,
  });
}

/** The height of the first line of a result. */
const anchor = (hit) => hit.getBoundingClientRect().top + 24;
