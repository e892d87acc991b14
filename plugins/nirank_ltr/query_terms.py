"""Queries as the compiled scan of documents reads them: distinct terms, terms in order, and neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.kit.text import Analyzer, Vocabulary, require_text

Numbers = NDArray[np.int64]


@dataclass(frozen=True)
class TermSettings:
    """Settings that turn texts into terms: those of `nirank.kit.text.Analyzer`."""

    language: str = "english"
    stemmer: str | None = "default"
    stopwords: Sequence[str] | None = None

    def analyzer(self) -> Analyzer:
        """The analyzer of these settings. Raises `UnknownName` or `BadInput` as it does."""
        return Analyzer(self.language, self.stemmer, self.stopwords)


class QueryColumns(NamedTuple):
    """Queries in numbers of terms; of each column, those of query `i` are between entries `i` and `i + 1` of another.

    `terms`, between `offsets`: its distinct terms that the index knows, rising; their places among these are called
    slots, and `counts` says how often each occurs. `tokens`, between `starts`: its terms in order, -1 for one that the
    index does not know. `codes`, between `joints`: its distinct pairs of neighbours, the slot of the first times the
    number of slots plus that of the second, rising; `times` says how often each occurs.
    """

    offsets: Numbers
    terms: Numbers
    counts: Numbers
    starts: Numbers
    tokens: Numbers
    joints: Numbers
    codes: Numbers
    times: Numbers

    @classmethod
    def of(cls, starts: Numbers, tokens: Numbers) -> QueryColumns:
        """From the terms of all queries in order."""
        rows = np.repeat(np.arange(len(starts) - 1), np.diff(starts))
        known = tokens >= 0
        width = int(tokens.max(initial=0)) + 1
        keys, places, counts = np.unique(
            (rows * width + tokens)[known], return_inverse=True, return_counts=True
        )  # by query, then by term
        offsets = np.searchsorted(keys, np.arange(len(starts)) * width)
        slots = np.full(len(tokens), -1)
        slots[known] = places - offsets[rows[known]]
        return cls(offsets, keys % width, counts, starts, tokens, *_neighbours(rows, slots, np.diff(offsets)))


def analysed(texts: Sequence[Any], analyzer: Analyzer) -> list[list[str]]:
    """The index terms of each text, in order; every distinct word is analysed once. Raises `BadInput` for no text."""
    require_text(texts, "query")
    found = [analyzer.words(text) for text in texts]
    terms = {word: analyzer.term(word) for word in {*chain.from_iterable(found)}}
    return [[term for term in map(terms.__getitem__, each) if term] for each in found]


def numbered(terms: Sequence[Sequence[str]], vocabulary: Vocabulary) -> QueryColumns:
    """The terms of each query in the numbers of a vocabulary."""
    distinct = list({*chain.from_iterable(terms)})
    numbers = dict(zip(distinct, vocabulary.find(distinct).tolist(), strict=True))
    starts = np.cumsum([0, *map(len, terms)])
    tokens = np.fromiter(map(numbers.__getitem__, chain.from_iterable(terms)), np.int64, starts[-1])
    return QueryColumns.of(starts, tokens)


def _neighbours(rows: Numbers, slots: Numbers, sizes: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Joints, codes and times: see `QueryColumns`."""
    first = np.flatnonzero((rows[:-1] == rows[1:]) & (slots[:-1] >= 0) & (slots[1:] >= 0))
    own = rows[first]
    width = int(sizes.max(initial=0)) ** 2 + 1
    codes, times = np.unique(own * width + slots[first] * sizes[own] + slots[first + 1], return_counts=True)
    return np.searchsorted(codes, np.arange(len(sizes) + 1) * width), codes % width, times
