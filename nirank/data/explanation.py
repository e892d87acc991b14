"""Why a document has its score: parts that add up to it, marks in the texts, and matrices of matches."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

from nirank.data.explanation_html import html
from nirank.data.types import Floats

#: The distance of 1 to the next number of float32.
_EPSILON = 2.0**-23


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
    `query` and `document` are these texts, where a pipeline has explained a pair of texts.
    """

    label: str
    score: float
    parts: tuple[Explanation, ...] = ()
    note: str = ""
    query_marks: tuple[Mark, ...] = ()
    document_marks: tuple[Mark, ...] = ()
    matches: Matches | None = None
    query: str | None = None
    document: str | None = None

    def leaves(self) -> Iterator[Explanation]:
        """All parts that have no parts of their own, in order; the explanation itself if it has none."""
        if not self.parts:
            yield self
        for part in self.parts:
            yield from part.leaves()

    @property
    def missing(self) -> float:
        """The score without the sum of its parts: 0 but for rounding; 0 also where there are no parts."""
        return self.score - math.fsum(part.score for part in self.parts) if self.parts else 0.0

    @property
    def rounding(self) -> float:
        """The largest `missing` that is only float32's rounding: of each part, and of each step of a sum of them."""
        sizes = abs(self.score) + math.fsum(abs(part.score) for part in self.parts)
        return _EPSILON * (4 + len(self.parts)) * sizes

    def adds_up(self) -> bool:
        """True where parts add up to the score, and theirs to theirs, within float32's rounding."""
        return abs(self.missing) <= self.rounding and all(part.adds_up() for part in self.parts)

    def is_of(self, score: float) -> bool:
        """True where this is such a score, but for what batches and orders of adding change: a thousandth of it."""
        return math.isclose(self.score, score, rel_tol=1e-3, abs_tol=1e-5)

    def __str__(self) -> str:
        """The score and its parts, a line each, parts of parts further to the right."""
        return "\n".join(self._lines(""))

    def _lines(self, indent: str) -> Iterator[str]:
        yield f"{indent}{self.score:10.4f}  {self.label}" + (f"  ({self.note})" if self.note else "")
        for part in self.parts:
            yield from part._lines(f"{indent}  ")

    def _repr_html_(self) -> str:
        return html(self)

    def noted(self, *notes: str) -> Explanation:
        """The same with notes behind its own; empty ones are left out."""
        return replace(self, note="; ".join(filter(None, (self.note, *notes))))

    def scaled(self, factor: float, label: str | None = None) -> Explanation:
        """The same times a factor: score, parts and marks; under another label, if one is given."""
        return replace(
            self,
            label=self.label if label is None else label,
            score=factor * self.score + 0.0,  # and no -0.0
            parts=tuple(part.scaled(factor) for part in self.parts),
            query_marks=tuple(replace(mark, weight=factor * mark.weight) for mark in self.query_marks),
            document_marks=tuple(replace(mark, weight=factor * mark.weight) for mark in self.document_marks),
        )

    def moved(self, by: int) -> Explanation:
        """The same with marks in the document so many characters further on: of a passage that begins there."""
        return self._marking(lambda mark: replace(mark, start=mark.start + by, end=mark.end + by))

    def cut(self, length: int) -> Explanation:
        """The same with marks in the first `length` characters of the document alone."""
        return self._marking(lambda mark: mark if mark.end <= length else None)

    def without_query_marks(self) -> Explanation:
        """The same without marks in the query, here and in the parts."""
        return replace(self, query_marks=(), parts=tuple(part.without_query_marks() for part in self.parts))

    def without_document_marks(self) -> Explanation:
        """The same without marks in the document, here and in the parts: of another text than its own."""
        return self._marking(lambda mark: None)

    def _marking(self, change: Callable[[Mark], Mark | None]) -> Explanation:
        """The same with the document's marks changed, or left out for None, here and in the parts."""
        marks = tuple(mark for mark in map(change, self.document_marks) if mark)
        return replace(self, document_marks=marks, parts=tuple(part._marking(change) for part in self.parts))

    @classmethod
    def summed(cls, label: str, score: float, parts: tuple[Explanation, ...]) -> Explanation:
        """The explanation of a sum: with the marks of all its parts, those of one place added up."""
        return cls(
            label,
            score,
            parts,
            query_marks=_together([mark for part in parts for mark in part.query_marks]),
            document_marks=_together([mark for part in parts for mark in part.document_marks]),
        )


def _together(marks: list[Mark]) -> tuple[Mark, ...]:
    """The marks by their places, each place once, with the sum of its weights."""
    weights: dict[tuple[int, int], float] = {}
    for mark in marks:
        place = mark.start, mark.end
        weights[place] = weights.get(place, 0.0) + mark.weight
    return tuple(Mark(*place, weights[place]) for place in sorted(weights))
