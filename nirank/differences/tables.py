"""Tables of the differences of two runs, for a terminal."""

from __future__ import annotations

import math
from collections.abc import Iterator

from rich.table import Table

from nirank.data.explanation import Explanation
from nirank.differences.changed import told
from nirank.differences.documents import MovedDocument
from nirank.differences.found import Differences, Measure, MovedQuery
from nirank.experiments.report import shown

#: The columns of the table of measures, and what each says of a row.
COLUMNS = (
    ("measure", lambda row: row.name),
    ("a", lambda row: f"{row.a:.4f}"),
    ("b", lambda row: f"{row.b:.4f}"),
    ("difference", lambda row: signed(row.difference)),
    ("95% interval", lambda row: f"{signed(row.low)} .. {signed(row.high)}"),
    ("p", lambda row: f"{row.p:.4f}"),
    ("found at 80%", lambda row: detectable(row)),
    ("by ties", lambda row: signed(row.parts.ties) if row.parts else ""),
    ("by rank changes", lambda row: signed(row.parts.ranks) if row.parts else ""),
    ("by new documents", lambda row: signed(row.parts.documents) if row.parts else ""),
)
_LEAVES = 8  # parts of an explanation that are shown, the largest


def tables(found: Differences) -> Iterator[Table]:
    """The tables that have rows: what differs, the measures, the queries that moved, and their explanations."""
    if found.changes.rows:
        yield changes_table(found)
    if found.measures:
        yield measures_table(found)
    if found.moved:
        yield moved_table(found)
    for query in found.moved:
        for document in query.documents:
            if document.why_a is not None or document.why_b is not None:
                yield explanation_table(query, document)


def changes_table(found: Differences) -> Table:
    """What differs between the manifests, a row a path."""
    table = Table("about", title="What they were made from", title_justify="left")
    for name in ("path", "a", "b"):
        table.add_column(name, overflow="fold")
    for row in found.changes.rows:
        table.add_row(row.about, *(shown(text) for text in (row.path, told(row.a), told(row.b))))
    return table


def measures_table(found: Differences) -> Table:
    """Each measure of both runs, the difference with its test, and its parts."""
    title = f"Measures over {found.measures[0].queries:,} queries, b minus a"
    table = Table(title=title, title_justify="left")
    for name, _ in COLUMNS:
        table.add_column(name, justify="left" if name == "measure" else "right")
    for row in found.measures:
        table.add_row(*(shown(cell(row)) for _, cell in COLUMNS))
    return table


def moved_table(found: Differences) -> Table:
    """The queries that moved most, each with the documents that did it."""
    table = Table("query", title=f"What moved {found.moved[0].measure} most", title_justify="left")
    for name in ("a", "b", "difference"):
        table.add_column(name, justify="right")
    table.add_column("documents: grade, rank in a and in b, part of the difference", overflow="fold")
    for row in found.moved:
        documents = "\n".join(map(moved_line, row.documents))
        numbers = (f"{row.a:.4f}", f"{row.b:.4f}", signed(row.difference))
        table.add_row(shown(row.query), *numbers, shown(documents))
    return table


def explanation_table(query: MovedQuery, document: MovedDocument) -> Table:
    """The parts of the scores that a document has in both pipelines, side by side."""
    title = shown(f"{document.id} for query {query.query}: its score in a and in b")
    table = Table("part", title=title, title_justify="left")
    for name in ("a", "b"):
        table.add_column(name, justify="right")
    for label, one, other in side_by_side(document.why_a, document.why_b):
        table.add_row(shown(label), one, other)
    return table


def side_by_side(one: Explanation | None, other: Explanation | None) -> list[tuple[str, str, str]]:
    """The scores, and the largest parts by their labels: label, number in a, number in b."""
    first, second = _leaves(one), _leaves(other)
    labels = dict.fromkeys([*first, *second])
    largest = sorted(labels, key=lambda label: -max(abs(first.get(label, 0.0)), abs(second.get(label, 0.0))))
    rows = [("score", _score(one), _score(other))]
    return rows + [(label, _number(first.get(label)), _number(second.get(label))) for label in largest[:_LEAVES]]


def moved_line(document: MovedDocument) -> str:
    """A document that moved, in a line."""
    places = " -> ".join("not found" if rank is None else str(rank) for rank in (document.rank_a, document.rank_b))
    return f"{document.id} ({document.grade:g}): {places}, {signed(document.contribution)}"


def signed(number: float) -> str:
    """A difference with its sign and four digits; 0 without one."""
    return f"{number:+.4f}" if round(number, 4) else "0.0000"


def detectable(row: Measure) -> str:
    """The difference that could have been found."""
    return f"{row.detectable:.4f}" if math.isfinite(row.detectable) else "none"


def _leaves(explanation: Explanation | None) -> dict[str, float]:
    found: dict[str, float] = {}
    for leaf in explanation.leaves() if explanation is not None and explanation.parts else ():
        found[leaf.label] = found.get(leaf.label, 0.0) + leaf.score
    return found


def _score(explanation: Explanation | None) -> str:
    return "" if explanation is None else f"{explanation.score:.4f}"


def _number(part: float | None) -> str:
    return "" if part is None else f"{part:.4f}"
