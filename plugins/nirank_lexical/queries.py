"""Query texts to the numbers of their terms."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank_lexical.analysis import Analyzer
from nirank_lexical.postings import require_text
from nirank_lexical.vocabulary import Vocabulary
from nirank_lexical.words import words

_WORDS_REMEMBERED = 1 << 20


@dataclass(frozen=True, eq=False)
class QueryTerms:
    """The distinct terms of each query: those of query `i` are `terms[offsets[i]:offsets[i + 1]]`, rising.

    `weights` (float32) say how often each occurs in its query, `tokens` (float32, `[queries]`) is their sum.
    """

    offsets: NDArray[np.int64]
    terms: NDArray[np.int64]
    weights: Floats
    tokens: Floats

    def __len__(self) -> int:
        return len(self.tokens)

    def of(self, query: int) -> tuple[list[int], Floats]:
        """The terms of one query, and the weight of each."""
        here = slice(self.offsets[query], self.offsets[query + 1])
        return self.terms[here].tolist(), self.weights[here]

    def between(self, first: int, last: int) -> QueryTerms:
        """Those of queries `first` up to `last`."""
        offsets = self.offsets[first : last + 1]
        here = slice(offsets[0], offsets[-1])
        return QueryTerms(offsets - offsets[0], self.terms[here], self.weights[here], self.tokens[first:last])


class QueryParser:
    """Texts to `QueryTerms`. Each distinct word is analysed and looked up once."""

    def __init__(self, vocabulary: Vocabulary, analyzer: Analyzer) -> None:
        self.vocabulary, self.analyzer = vocabulary, analyzer
        self._numbers: dict[str, int] = {}

    def __call__(self, texts: Sequence[str]) -> QueryTerms:
        """The terms of each text that the index knows. Raises `BadInput` for a query that is not text."""
        require_text(texts, "query")
        found = [words(text) for text in texts]
        terms = self._terms(list(chain.from_iterable(found)))
        rows = np.repeat(np.arange(len(found)), [len(each) for each in found])[terms >= 0]
        size = max(1, len(self.vocabulary))
        pairs, weights = np.unique(rows * size + terms[terms >= 0], return_counts=True)
        offsets = np.searchsorted(pairs, np.arange(len(found) + 1) * size)
        tokens = np.bincount(rows, minlength=len(found)).astype(np.float32)
        return QueryTerms(offsets, pairs % size, weights.astype(np.float32), tokens)

    def _terms(self, found: list[str]) -> NDArray[np.int64]:
        """The number of each word's term, -1 where it has none or the index does not know it."""
        numbers = self._numbers
        if len(numbers) > _WORDS_REMEMBERED:
            numbers.clear()
        new = [word for word in dict.fromkeys(found) if word not in numbers]
        # the empty term of a word that is left out is in no vocabulary
        numbers.update(zip(new, self.vocabulary.find(list(map(self.analyzer.term, new))).tolist(), strict=True))
        return np.fromiter(map(numbers.__getitem__, found), np.int64, len(found))
