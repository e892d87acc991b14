"""Explanations in the terminal: a tree of parts, and the document with its words in bold; and as JSON."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nirank.data.explanation import Explanation
from nirank.experiments.report import shown

if TYPE_CHECKING:
    from rich.text import Text
    from rich.tree import Tree

#: Parts that are shown at one level, the largest; and words of a text without marks around those with marks.
_PARTS = 20


def tree(explanation: Explanation) -> Tree:
    """A tree of parts, the largest first at each level, with what they are noted with."""
    from rich.tree import Tree

    root = Tree(_line(explanation))
    _grow(root, explanation)
    return root


def as_json(explanation: Explanation) -> dict[str, Any]:
    """The explanation as JSON has it: marks as begin, end and weight; a matrix as rows, columns and values."""
    matches = explanation.matches
    told: dict[str, Any] = {"label": explanation.label, "score": explanation.score, "note": explanation.note}
    told["parts"] = [as_json(part) for part in explanation.parts]
    for name in ("query_marks", "document_marks"):
        told[name] = [[mark.start, mark.end, mark.weight] for mark in getattr(explanation, name)]
    if matches is not None:
        told["matches"] = {"rows": matches.rows, "columns": matches.columns, "values": matches.values.tolist()}
    return {name: value for name, value in told.items() if value not in ("", [])}


def marked(explanation: Explanation) -> Text:
    """The document's text with marked words in bold, those that lower the score in italics."""
    text = shown("".join(" " if letter.isspace() else letter for letter in explanation.document or ""))
    for mark in explanation.document_marks:
        if mark.weight:
            text.stylize("bold" if mark.weight > 0 else "italic", mark.start, mark.end)
    return text


def _grow(branch: Tree, explanation: Explanation) -> None:
    largest = sorted(explanation.parts, key=lambda part: -abs(part.score))
    for part in largest[:_PARTS]:
        _grow(branch.add(_line(part)), part)
    if rest := largest[_PARTS:]:
        branch.add(shown(f"{sum(part.score for part in rest):.4f}  {len(rest)} smaller parts", style="dim"))


def _line(explanation: Explanation) -> Text:
    line = shown(f"{explanation.score:.4f}  ")
    line.append_text(shown(explanation.label, style="bold"))
    return line.append_text(shown(f"  {explanation.note}", style="dim")) if explanation.note else line
