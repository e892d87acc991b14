"""Queries, as texts or as weighted terms, to the numbers of terms."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import accumulate

import numpy as np
from numpy.typing import NDArray

from nirank.data.offsets import offsets_of
from nirank.data.terms import TermWeights
from nirank.data.types import Content, Floats
from nirank.errors import BadInput
from nirank.kit.text.analysis import Analyzer
from nirank.kit.text.contents import require_text
from nirank.kit.text.vocabulary import Vocabulary

_WORDS_REMEMBERED = 1 << 20


@dataclass(frozen=True, eq=False)
class QueryTerms:
    """The distinct terms of each query: those of query `i` are `terms[offsets[i]:offsets[i + 1]]`, rising.

    `weights` (float32) say how often each occurs in its query, or how much it counts; `tokens` is their sum (float32,
    `[queries]`).
    """

    offsets: NDArray[np.int64]
    terms: NDArray[np.int64]
    weights: Floats
    tokens: Floats

    def __len__(self) -> int:
        return len(self.tokens)

    def __getitem__(self, rows: slice | NDArray[np.int64]) -> QueryTerms:
        """Some of the queries."""
        chosen = np.arange(len(self))[rows]
        sizes = np.diff(self.offsets)[chosen]
        offsets = offsets_of(sizes)
        places = np.repeat(self.offsets[chosen] - offsets[:-1], sizes) + np.arange(offsets[-1])
        return QueryTerms(offsets, self.terms[places], self.weights[places], self.tokens[chosen])

    @property
    def rows(self) -> NDArray[np.int64]:
        """The query of each term, `[len(terms)]`."""
        return np.repeat(np.arange(len(self)), np.diff(self.offsets))

    def of(self, query: int) -> tuple[list[int], Floats]:
        """The terms of one query, and the weight of each."""
        here = slice(self.offsets[query], self.offsets[query + 1])
        return self.terms[here].tolist(), self.weights[here]


class QueryParser:
    """Texts to `QueryTerms`. Each distinct word is analysed and looked up once."""

    def __init__(self, vocabulary: Vocabulary, analyzer: Analyzer) -> None:
        self.vocabulary, self.analyzer = vocabulary, analyzer
        self._numbers: dict[str, int] = {}

    def __call__(self, asked: Sequence[Content] | TermWeights, first: int = 0) -> QueryTerms:
        """The terms of each query that the index knows.

        Raises `BadInput` for a query that is not text, where `first` is the number of the first, and for weighted terms
        that are below 0 or of another analysis.
        """
        if isinstance(asked, TermWeights):
            return self._weighted(asked)
        return self._counted(asked, first)

    def numbers(self, text: Content) -> list[int]:
        """The number of each word's term in a text, in order: -1 where it has none or the index does not know it.

        Raises `BadInput` for what is no text.
        """
        words = self.analyzer.words(text if isinstance(text, str) else require_text([text], "query")[0])
        try:
            return list(map(self._numbers.__getitem__, words))
        except KeyError:
            return list(map(self._numbers_of([words]).__getitem__, words))

    def _weighted(self, asked: TermWeights) -> QueryTerms:
        """Weights stand where counts would: what a term is worth is multiplied by either."""
        self._check(asked)
        numbers = self.vocabulary.find(asked.terms)
        kept = np.flatnonzero((numbers >= 0) & (asked.weights > 0))
        kept = kept[np.lexsort((numbers[kept], asked.rows[kept]))]
        rows, weights = asked.rows[kept], asked.weights[kept]
        offsets = offsets_of(np.bincount(rows, minlength=len(asked)))
        tokens = np.bincount(rows, weights, len(asked)).astype(np.float32)
        return QueryTerms(offsets, numbers[kept], weights, tokens)

    def _check(self, asked: TermWeights) -> None:
        own = self.analyzer.settings
        differs = [name for name in {**own, "rules": None} if asked.analysis.get(name) != own.get(name)]
        if differs:
            differences = ", ".join(
                f"{name} = {asked.analysis.get(name)!r} for the query, {own.get(name)!r} for the index"
                for name in differs
            )
            raise BadInput(f"query and index were analysed with different settings: {differences}. Give both the same.")
        if asked.weights.min(initial=0) < 0:
            worst = asked.terms[int(asked.weights.argmin())]
            raise BadInput(
                f"the query term {worst!r} has the weight {asked.weights.min()}; lexical search needs 0 or more."
            )

    def _counted(self, texts: Sequence[Content], first: int) -> QueryTerms:
        found = [self.analyzer.words(text) for text in require_text(texts, "query", first)]
        numbers = self._numbers_of(found)
        rows = [_counted(map(numbers.__getitem__, each)) for each in found]
        offsets = np.array([0, *accumulate(map(len, rows))], np.int64)
        terms = np.array([term for row in rows for term in row], np.int64)
        weights = np.array([count for row in rows for count in row.values()], np.float32)
        tokens = np.array([sum(row.values()) for row in rows], np.float32)
        return QueryTerms(offsets, terms, weights, tokens)

    def _numbers_of(self, found: list[list[str]]) -> dict[str, int]:
        """The number of each word's term, -1 where it has none or the index does not know it."""
        numbers = self._numbers
        if len(numbers) > _WORDS_REMEMBERED:
            self._numbers = numbers = {}  # another thread may be reading the old ones
        new = dict.fromkeys(word for each in found for word in each if word not in numbers)
        if new:
            # the empty term of a word that is left out is in no vocabulary
            terms = list(map(self.analyzer.term, new))
            numbers.update(zip(new, self.vocabulary.find(terms).tolist(), strict=True))
        return numbers


def _counted(numbers: Iterable[int]) -> dict[int, int]:
    """Each number and how often it occurs, rising; without -1."""
    counts: dict[int, int] = {}
    for number in sorted(numbers):  # a Counter takes three times as long for as few
        counts[number] = counts.get(number, 0) + 1
    counts.pop(-1, None)
    return counts
