"""Why a document has its score: parts that add up to it, marks in the texts, and matrices of matches."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nirank.data.types import Floats


@dataclass(frozen=True, slots=True)
class Mark:
    """A stretch of a text: `text[start:end]`, in characters, with the part of the score that falls to it."""

    start: int
    end: int
    weight: float = 0.0


@dataclass(frozen=True, slots=True, eq=False)
class Matches:
    """A matrix of matches: float32 `[rows, columns]`, with a label for each row (query) and column (document)."""

    rows: tuple[str, ...]
    columns: tuple[str, ...]
    values: Floats


@dataclass(frozen=True, slots=True, eq=False)
class Explanation:
    """A score, and the parts of which it is the sum.

    `parts` add up to `score` within float32's rounding; an explanation without parts is not explained further. Marks
    are of the query's text, of the document's text, and `matches` is what a model saw of the pair, if it is a matrix.
    """

    label: str
    score: float
    parts: tuple[Explanation, ...] = ()
    note: str = ""
    query_marks: tuple[Mark, ...] = ()
    document_marks: tuple[Mark, ...] = ()
    matches: Matches | None = None

    def leaves(self) -> Iterator[Explanation]:
        """All parts that have no parts of their own, in order; the explanation itself if it has none."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()
