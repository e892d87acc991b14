// A matrix of matches as a table of colours: rows are of the query, columns of the document.

import { el } from "./dom.js";
import { signed } from "./marks.js";

/** Columns that are shown before all are asked for. */
const COLUMNS = 40;

/** The matrix as a table; the stronger a colour the larger the number, which stands below while a pointer is on it. */
export function heatMap({ rows, columns, values }) {
  const most = Math.max(...values.map((row) => row.reduce((all, value) => Math.max(all, Math.abs(value)), 0)), 0);
  const told = el("p", { class: "told soft", "aria-hidden": "true" }, "Point at a cell to see its number.");
  const table = el("table", { class: "heat" });
  fill(table, { rows, columns, values, most }, COLUMNS);
  table.addEventListener("mouseover", ({ target }) => {
    if (target.dataset?.told) told.textContent = target.dataset.told;
  });
  const more =
    columns.length > COLUMNS &&
    el(
      "button",
      {
        type: "button",
        class: "chip",
        onclick: ({ target }) => {
          target.remove();
          fill(table, { rows, columns, values, most }, columns.length);
        },
      },
      `all ${columns.length} columns`,
    );
  return el(
    "div",
    { class: "matrix" },
    el("h4", {}, "matches"),
    el("div", { class: "wide", tabindex: 0, role: "region", "aria-label": "Matches of query and document" }, table),
    told,
    more,
  );
}

function fill(table, { rows, columns, values, most }, width) {
  const head = el(
    "tr",
    {},
    el("td"),
    columns.slice(0, width).map((name) => el("th", { scope: "col" }, el("span", {}, name))),
  );
  const lines = rows.map((name, place) =>
    el(
      "tr",
      {},
      el("th", { scope: "row" }, name),
      values[place].slice(0, width).map((value, column) => cell(value, most, name, columns[column])),
    ),
  );
  table.replaceChildren(el("thead", {}, head), el("tbody", {}, lines));
}

function cell(value, most, row, column) {
  const strength = `${most ? Math.round((90 * Math.abs(value)) / most) : 0}%`;
  return el(
    "td",
    {
      class: value < 0 ? "lowers" : "raises",
      style: { "--strength": strength },
      "data-told": `${row} × ${column}: ${signed(value)}`,
    },
    el("span", { class: "unseen" }, value.toFixed(2)),
  );
}
