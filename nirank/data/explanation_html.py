"""An explanation as a piece of HTML that needs nothing else: its parts as bars, marked texts, matches as a heat map.

What is given is an `Explanation` of `nirank.data.explanation`, which imports this module, or looks like one. Everything
that comes from a text is escaped.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import Any

#: Words of a document that a heat map has columns for; and rows of parts that are shown at one level.
COLUMNS, PARTS = 60, 40
_FOR, _AGAINST = "230,120,30", "60,110,220"  # colours of what raises a score, and of what lowers it
_TABLE = "border-collapse:collapse;font-size:90%"
_LONG_TEXT = "white-space:pre-wrap;overflow-wrap:anywhere;margin:.4em 0"


def html(explanation: Any) -> str:
    """The whole explanation: score and parts, both texts where they are known, and the matrix of matches."""
    texts = [
        (explanation.query, explanation.query_marks, "query"),
        (explanation.document, explanation.document_marks, "document"),
    ]
    marked = [
        f'<div style="{_LONG_TEXT}"><small>{what}</small><br>{marked_text(text, marks)}</div>'
        for text, marks, what in texts
        if text is not None
    ]
    matches = "" if explanation.matches is None else heat_map(explanation.matches)
    parts = f'<table style="{_TABLE}">{"".join(_rows(explanation))}</table>'
    return f'<div class="nirank-explanation">{parts}{"".join(marked)}{matches}</div>'


def marked_text(text: str, marks: Sequence[Any]) -> str:
    """A text with its marked stretches in colour, the stronger the more of the score falls to them, escaped.

    Where marks overlap their weights are added.
    """
    edges = sorted({0, len(text), *(edge for mark in marks for edge in (mark.start, mark.end))})
    weights = [sum(mark.weight for mark in marks if mark.start <= left < mark.end) for left, _ in pairwise(edges)]
    most = max(map(abs, weights), default=0.0)
    stretches = zip(pairwise(edges), weights, strict=True)
    return "".join(_stretch(_safe(text[left:right]), weight, most) for (left, right), weight in stretches)


def heat_map(matches: Any) -> str:
    """A matrix of matches as a table: the darker a cell the larger its number; of many columns the first."""
    columns, shown = matches.columns[:COLUMNS], matches.values[:, :COLUMNS].tolist()
    most = max((abs(value) for row in shown for value in row), default=0.0)
    head = "".join(f"<th>{_safe(name)}</th>" for name in columns)
    rows = "".join(
        f'<tr><th style="text-align:left">{_safe(name)}</th>{"".join(_cell(value, most) for value in row)}</tr>'
        for name, row in zip(matches.rows, shown, strict=True)
    )
    more = len(matches.columns) - len(columns)
    left_out = f"<small>and {more} more columns</small>" if more else ""
    table = f'<table style="{_TABLE}"><tr><th></th>{head}</tr>{rows}</table>'
    return f'<div style="overflow-x:auto">{table}{left_out}</div>'


def _rows(explanation: Any, level: int = 0, most: float | None = None) -> Iterator[str]:
    """A row of the table for the explanation, and one for each part of it, those of parts moved to the right."""
    most = most or max([abs(explanation.score), *(abs(leaf.score) for leaf in explanation.leaves())])
    yield (
        f'<tr><td style="text-align:right;padding-right:.6em">{explanation.score:.4f}</td>'
        f'<td style="min-width:6em">{_bar(explanation.score, most)}</td>'
        f'<td style="text-align:left;padding-left:{0.6 + level:.1f}em">{_safe(explanation.label)}'
        f' <small style="opacity:.7">{_safe(explanation.note)}</small></td></tr>'
    )
    for part in explanation.parts[:PARTS]:
        yield from _rows(part, level + 1, most)
    if len(explanation.parts) > PARTS:
        rest = explanation.parts[PARTS:]
        total = sum(part.score for part in rest)
        yield f'<tr><td style="text-align:right">{total:.4f}</td><td></td><td>{len(rest)} more parts</td></tr>'


def _bar(score: float, most: float) -> str:
    width = 6 * abs(score) / most if most else 0.0
    return f'<div style="height:.7em;width:{width:.2f}em;background:{_colour(score, 1.0)}"></div>'


def _stretch(text: str, weight: float, most: float) -> str:
    if not weight or not text:
        return text
    style = f"background:{_colour(weight, abs(weight) / most)};color:inherit"
    return f'<mark style="{style}" title="{weight:.4g}">{text}</mark>'


def _cell(value: float, most: float) -> str:
    strength = abs(value) / most if most else 0.0
    return f'<td style="background:{_colour(value, strength)}" title="{value:.4g}">{value:.2f}</td>'


def _colour(value: float, strength: float) -> str:
    return f"rgba({_FOR if value >= 0 else _AGAINST},{0.1 + 0.7 * strength:.2f})"


def _safe(text: str) -> str:
    """A text as HTML shows it; halves of surrogate pairs, which no file can hold, become question marks."""
    return escape(str(text).encode("utf-8", "replace").decode())
