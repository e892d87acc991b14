"""The tables of a comparison as plain text, which terminals and notebooks each draw in their way."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from nirank.data.explanation import Explanation
from nirank.differences.changed import Changes, told
from nirank.differences.documents import MovedDocument
from nirank.differences.figures import Measure, MovedQuery

#: The columns of the table of measures, and what each says of a row.
_MEASURES: tuple[tuple[str, Callable[[Measure], str]], ...] = (
    ("measure", lambda row: row.name),
    ("a", lambda row: f"{row.a:.4f}"),
    ("b", lambda row: f"{row.b:.4f}"),
    ("difference", lambda row: signed(row.difference)),
    ("95% interval", lambda row: f"{signed(row.low)} .. {signed(row.high)}"),
    ("p", lambda row: f"{row.p:.4f}"),
    ("found at 80%", lambda row: f"{row.detectable:.4f}" if math.isfinite(row.detectable) else "none"),
    ("by ties", lambda row: signed(row.parts.ties) if row.parts else ""),
    ("by rank changes", lambda row: signed(row.parts.ranks) if row.parts else ""),
    ("by new documents", lambda row: signed(row.parts.documents) if row.parts else ""),
)
_LEAVES = 8  # parts of an explanation that are shown, the largest


@dataclass(frozen=True)
class Shown:
    """A table to show: its title, its columns, its rows; `numbers` are the columns to be set to the right."""

    title: str
    columns: tuple[str, ...]
    rows: Sequence[Sequence[str]]
    numbers: tuple[str, ...] = ()


def tables(changes: Changes, measures: Sequence[Measure], moved: Sequence[MovedQuery]) -> list[Shown]:
    """The tables that have rows: what differs, the measures, the queries that moved, and their explanations."""
    explained = [
        _explanations(query, document)
        for query in moved
        for document in query.documents
        if document.why_a is not None or document.why_b is not None
    ]
    return [table for table in (_changes(changes), _measures(measures), _moved(moved), *explained) if table.rows]


def _changes(changes: Changes) -> Shown:
    rows = [(row.about, row.path, told(row.a), told(row.b)) for row in changes.rows]
    return Shown("What they were made from", ("about", "path", "a", "b"), rows)


def _measures(measures: Sequence[Measure]) -> Shown:
    queries = measures[0].queries if measures else 0
    columns = tuple(name for name, _ in _MEASURES)
    rows = [[cell(row) for _, cell in _MEASURES] for row in measures]
    return Shown(f"Measures over {queries:,} queries, b minus a", columns, rows, columns[1:])


def _moved(moved: Sequence[MovedQuery]) -> Shown:
    rows = [
        (row.query, f"{row.a:.4f}", f"{row.b:.4f}", signed(row.difference), "\n".join(map(_line, row.documents)))
        for row in moved
    ]
    documents = "documents: grade, rank in a and in b, part of the difference"
    title = f"What moved {moved[0].measure if moved else 'it'} most"
    return Shown(title, ("query", "a", "b", "difference", documents), rows, ("a", "b", "difference"))


def _explanations(query: MovedQuery, document: MovedDocument) -> Shown:
    """The scores that a document has in both pipelines, and their largest parts, side by side."""
    first, second = _leaves(document.why_a), _leaves(document.why_b)
    labels = dict.fromkeys([*first, *second])
    largest = sorted(labels, key=lambda label: -max(abs(first.get(label, 0.0)), abs(second.get(label, 0.0))))
    rows = [("score", *(_number(None if why is None else why.score) for why in (document.why_a, document.why_b)))]
    rows += [(label, _number(first.get(label)), _number(second.get(label))) for label in largest[:_LEAVES]]
    title = f"{document.id} for query {query.query}: its score in a and in b"
    return Shown(title, ("part", "a", "b"), rows, ("a", "b"))


def signed(number: float) -> str:
    """A difference with its sign and four digits; 0 without one."""
    return f"{number:+.4f}" if round(number, 4) else "0.0000"


def _line(document: MovedDocument) -> str:
    places = " -> ".join("not found" if rank is None else str(rank) for rank in (document.rank_a, document.rank_b))
    return f"{document.id} ({document.grade:g}): {places}, {signed(document.contribution)}"


def _leaves(explanation: Explanation | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for leaf in explanation.leaves() if explanation is not None and explanation.parts else ():
        found[leaf.label] = found.get(leaf.label, 0.0) + leaf.score
    return {label: part for label, part in found.items() if part}


def _number(part: float | None) -> str:
    return "" if part is None else f"{part:.4f}"
