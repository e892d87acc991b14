"""Search of an inverted index, and scores of pairs: exact, and the same numbers on every path.

A score is a float32 sum in rising order of term numbers, whether it comes from the compiled batch search, from numpy
for a few queries, or from looking up candidates. Equal scores go by rising ordinal.
"""

from __future__ import annotations

import importlib.util
import logging
from functools import cache, cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Floats, Ints, from_sort_keys, sort_keys
from nirank.kit.text import QueryTerms, Weighting
from nirank_lexical.postings import InvertedIndex
from nirank_lexical.weighted import Found, Parse, Wanted, WeightedPostings

if TYPE_CHECKING:
    from nirank_lexical.batch import BatchSearch
    from nirank_lexical.weighing import Weighing

log = logging.getLogger("nirank")

# Scores from which on compiling the search pays for itself, which takes seconds, and the share of these from which on
# loading its code does, where that is kept from an earlier process, which takes some hundredths of one.
_SCORES_WORTH_LOADING = 100_000_000
_KEPT = 1 / 50
_PAIRS_AT_ONCE = 1 << 18


class WeightedIndex(WeightedPostings):
    """An inverted index under a weighting, for searching and for scoring pairs."""

    def __init__(self, index: InvertedIndex, weighting: Weighting) -> None:
        super().__init__(index, weighting)
        self._scores_asked = 0

    @cached_property
    def _batch(self) -> BatchSearch:
        from nirank_lexical.batch import BatchSearch

        return BatchSearch(self)

    @cached_property
    def _weighing(self) -> Weighing:
        from nirank_lexical.batch import KERNEL
        from nirank_lexical.weighing import Weighing

        return Weighing(self, KERNEL.call)

    def weigh(self, terms: NDArray[np.int64]) -> None:
        """Put the postings of some terms in their place, with their impacts; by compiled code where that is loaded."""
        if "_batch" in vars(self):
            self._weighing.weigh(terms)
        else:
            super().weigh(terms)

    def search(
        self,
        wanted: Wanted,
        parse: Parse,
        k: int,
        threads: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> Found:
        """The `k` best documents of each query, among those with a term that is worth something.

        `allowed` is a mask of the documents that may be found, `[documents]`.
        """
        k = min(k, self.documents)
        if k and self._is_batch(len(wanted)):
            compiled = self._batch if allowed is None else self._batch.among(allowed)
            return compiled.search(wanted, parse, k, threads)
        queries = parse(wanted)
        rows = [self._best(queries, query, k, allowed) for query in range(len(queries))]
        docs, scores = from_sort_keys(np.concatenate([*rows, np.empty(0, np.uint64)]))
        return [*map(len, rows)], docs.view(np.int32), scores

    def _is_batch(self, queries: int) -> bool:
        asked = self._scores_asked = self._scores_asked + queries * self.documents
        if asked >= _SCORES_WORTH_LOADING:
            return _can_compile()
        return asked >= _KEPT * _SCORES_WORTH_LOADING and _can_compile() and ("_batch" in vars(self) or _is_kept())

    def _best(self, queries: QueryTerms, query: int, k: int, allowed: NDArray[np.bool_] | None) -> NDArray[np.uint64]:
        return self.ranked(self.sums(queries, query), queries.tokens[query], k, allowed)

    def sums(self, queries: QueryTerms, query: int) -> Floats:
        """The postings of a query added up for each document, `[documents]`."""
        scores, (terms, weights) = np.zeros(self.documents, np.float32), queries.of(query)
        self.require(np.array(terms, np.int64))
        for term, weight in zip(terms, weights, strict=True):
            here = slice(self.index.starts[term], self.index.starts[term + 1])
            scores[self.docs[here]] += weight * self.impacts[here]
        return scores

    def ranked(
        self, sums: Floats, tokens: np.float32, k: int, allowed: NDArray[np.bool_] | None = None
    ) -> NDArray[np.uint64]:
        """The sort keys of the `k` best of the documents with a sum, priors for so many `tokens` added.

        `allowed`, `[documents]`, tells which may be found.
        """
        docs = np.flatnonzero(sums > 0 if allowed is None else (sums > 0) & allowed)
        keys = sort_keys(docs, sums[docs] + tokens * self.prior[docs] if len(self.prior) else sums[docs])
        if k < len(keys):
            keys = np.partition(keys, k)[:k]
        return np.sort(keys)

    def score(self, queries: QueryTerms, candidates: Candidates) -> Floats:
        """The score of each pair, `[pairs]`: what `search` gives where it finds the document, else its prior or 0.

        Documents beyond the corpus are empty ones.
        """
        scores = self.matched(queries, candidates)
        self.add_prior(scores, queries.tokens, candidates)
        return scores

    def matched(self, queries: QueryTerms, candidates: Candidates) -> Floats:
        """The postings of its query added up for each pair, `[pairs]`."""
        scores = np.zeros(candidates.pairs, np.float32)
        rows = candidates.rows
        self.require(queries.terms)
        for start in range(0, candidates.pairs, _PAIRS_AT_ONCE):
            here = slice(start, start + _PAIRS_AT_ONCE)
            scores[here] = self._matched(queries, rows[here], candidates.docs[here])
        return scores

    def add_prior(self, scores: Floats, tokens: Floats, candidates: Candidates) -> None:
        """Add the prior of each document to the scores of pairs, for the `tokens` of each query."""
        if len(self.prior):
            known = candidates.docs < self.documents
            scores[known] += tokens[candidates.rows[known]] * self.prior[candidates.docs[known]]

    def _matched(self, queries: QueryTerms, rows: NDArray[np.int64], docs: Ints) -> Floats:
        scores = np.zeros(len(rows), np.float32)
        sizes = np.diff(queries.offsets)[rows]
        for slot in range(sizes.max(initial=0)):
            pairs = np.flatnonzero(sizes > slot)
            slots = queries.offsets[rows[pairs]] + slot
            found, places = self._lookup(queries.terms[slots], docs[pairs])
            slots, pairs = slots[found], pairs[found]
            scores[pairs] += queries.weights[slots] * self.impacts[places]
        return scores

    def _lookup(self, terms: NDArray[np.int64], docs: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The (term, document) pairs that have a posting, and its place: bisection of all side by side."""
        low, high = self.index.starts[terms], self.index.starts[terms + 1]
        ends = high
        for _ in range(int((high - low).max(initial=0)).bit_length()):
            middle = (low + high) >> 1
            before = (middle < high) & (self.docs[np.minimum(middle, len(self.docs) - 1)] < docs)
            low, high = np.where(before, middle + 1, low), np.where(before, high, middle)
        found = np.flatnonzero((low < ends) & (self.docs[np.minimum(low, len(self.docs) - 1)] == docs))
        return found, low[found]


def _is_kept() -> bool:
    from nirank_lexical.batch import KERNEL

    return KERNEL.is_kept


@cache
def _can_compile() -> bool:
    """True where numba is installed; cached, so that its absence is logged once."""
    installed = importlib.util.find_spec("numba") is not None
    if not installed:
        log.warning("Numba is not installed, and searching many queries is slower. Run: pip install 'nirank[lexical]'")
    return installed
