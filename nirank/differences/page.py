"""The differences of two runs as a piece of HTML, for notebooks; what is in ids and settings shows as text."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from nirank.differences.changed import told
from nirank.differences.found import Differences
from nirank.differences.tables import COLUMNS, moved_line, side_by_side, signed


def page(found: Differences) -> str:
    """All tables, with the sentences before them."""
    names = f"<p><b>a</b> {escape(found.names[0])}<br><b>b</b> {escape(found.names[1])}</p>"
    sentences = f"<ul>{''.join(f'<li>{escape(sentence)}</li>' for sentence in found.summary())}</ul>"
    return f"<div>{names}{sentences}{_changes(found)}{_measures(found)}{_moved(found)}{_explanations(found)}</div>"


def _changes(found: Differences) -> str:
    rows = [(row.about, row.path, told(row.a), told(row.b)) for row in found.changes.rows]
    return _table("What they were made from", ("about", "path", "a", "b"), rows)


def _measures(found: Differences) -> str:
    rows = [[cell(row) for _, cell in COLUMNS] for row in found.measures]
    return _table("Measures, b minus a", [name for name, _ in COLUMNS], rows)


def _moved(found: Differences) -> str:
    rows = [
        (row.query, f"{row.a:.4f}", f"{row.b:.4f}", signed(row.difference), "\n".join(map(moved_line, row.documents)))
        for row in found.moved
    ]
    measure = found.moved[0].measure if found.moved else ""
    return _table(f"What moved {measure} most", ("query", "a", "b", "difference", "documents"), rows)


def _explanations(found: Differences) -> str:
    return "".join(
        _table(f"{document.id} for query {row.query}", ("part", "a", "b"), side_by_side(document.why_a, document.why_b))
        for row in found.moved
        for document in row.documents
        if document.why_a is not None or document.why_b is not None
    )


def _table(title: str, names: Sequence[str], rows: Sequence[Iterable[str]]) -> str:
    """A table, or nothing where it has no rows."""
    if not rows:
        return ""
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    body = "".join(f"<tr>{''.join(f'<td>{_cell(cell)}</td>' for cell in row)}</tr>" for row in rows)
    return f"<table><caption>{escape(title)}</caption><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"


def _cell(text: str) -> str:
    return escape(text).replace("\n", "<br>")
