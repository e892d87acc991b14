"""Scores that are looked up where they are known; only the other pairs are scored.

The scores of a query are stored together, as a column of (hash of the document, score). Pairs are numbered by
their distinct queries and documents, and joined as whole columns. A pair that comes twice (two documents with one
text) is scored once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Corpus, Floats, Pairs, Queries, to_numpy
from nirank.errors import ComponentError
from nirank_cache import keys
from nirank_cache.keys import Digests
from nirank_cache.shelf import BLOCK, Shelf

_PAIR = np.dtype([("document", f"S{keys.SIZE}"), ("score", "<f4")])

Numbers = NDArray[np.int64]


def score(call: Callable[..., Any], shelf: Shelf, queries: Queries, candidates: Candidates) -> Any:
    """The score of each pair, float32 `[pairs]`; `call` scores those pairs that the shelf does not have.

    Pairs are always scored where the corpus is unknown or the queries carry vectors, which no text identifies.
    """
    if candidates.corpus is None or queries.vectors is not None:
        return call(queries, candidates)
    numbering = _Numbering.of(queries, candidates, candidates.corpus)
    scores = _join(numbering.pairs, *numbering.stored(shelf))
    missing = np.isnan(scores)
    wanted = missing & _first_of_each(numbering.pairs)
    shelf.count(found=int((~missing).sum()), computed=int(wanted.sum()))
    if wanted.any():
        fresh = numbering.score(call, shelf, Pairs(queries, candidates.where(wanted)), numbering.pairs[wanted])
        scores[missing] = _join(numbering.pairs[missing], numbering.pairs[wanted], fresh)
    return scores


@dataclass(frozen=True)
class _Numbering:
    """Pairs as numbers: that of the query times the number of documents, plus that of the document."""

    queries: list[bytes]
    documents: Digests
    pairs: Numbers

    @classmethod
    def of(cls, queries: Queries, candidates: Candidates, corpus: Corpus) -> _Numbering:
        hashes = keys.of_contents(queries.contents)
        _, first, query = np.unique(keys.column(hashes), return_index=True, return_inverse=True)
        docs, place = np.unique(candidates.docs, return_inverse=True)
        documents, document = np.unique(keys.column(keys.of_contents(corpus[docs])), return_inverse=True)
        pairs = query[candidates.rows] * len(documents) + document[place]
        return cls([hashes[row] for row in first.tolist()], documents, pairs)

    def stored(self, shelf: Shelf) -> tuple[Numbers, Floats]:
        """The pairs of these queries and documents that the shelf has, and their scores; the earliest first."""
        numbers = {query: number for number, query in enumerate(self.queries)}
        values = shelf.get(self.queries)
        whole = [(query, value) for query, value in values if len(value) % _PAIR.itemsize == 0]
        if len(whole) < len(values):
            shelf.tell_of_damage()
        found = [(numbers[query], np.frombuffer(value, _PAIR)) for query, value in whole]
        columns = np.concatenate([np.empty(0, _PAIR), *(column for _, column in found)])
        rows = np.repeat(np.array([row for row, _ in found], np.int64), [len(column) for _, column in found])
        place = np.minimum(np.searchsorted(self.documents, columns["document"]), len(self.documents) - 1)
        known = self.documents[place] == columns["document"]
        return (rows * len(self.documents) + place)[known], columns["score"][known]

    def score(self, call: Callable[..., Any], shelf: Shelf, missing: Pairs, numbers: Numbers) -> Floats:
        """Score the missing pairs, which have these `numbers`, and store them block by block."""
        rows = np.flatnonzero(missing.candidates.lengths)
        pairs = Pairs(missing.queries.take(rows), missing.candidates.take(rows))
        scores = np.empty(len(pairs), np.float32)
        for start in range(0, len(pairs), BLOCK):
            here = slice(start, min(start + BLOCK, len(pairs)))
            scores[here] = _checked(call, shelf, pairs.cut(here.start, here.stop))
            if not np.isnan(scores[here]).any():  # what is no number is refused by the core, and never stored
                shelf.put(self._entries(numbers[here], scores[here]))
        return scores

    def _entries(self, pairs: Numbers, scores: Floats) -> Iterator[tuple[bytes, bytes, int]]:
        """An entry for each query: its hash, the column of its documents and scores, and their number."""
        queries, documents = np.divmod(pairs, len(self.documents))
        columns = np.empty(len(pairs), _PAIR)
        columns["document"], columns["score"] = self.documents[documents], scores
        edges = [0, *(np.flatnonzero(np.diff(queries)) + 1).tolist(), len(pairs)]
        for start, stop in pairwise(edges):
            yield self.queries[queries[start]], columns[start:stop].tobytes(), stop - start


def _join(pairs: Numbers, known: Numbers, scores: Floats) -> Floats:
    """For each pair its first score among the known ones, or NaN."""
    return Candidates.of([pairs]).lookup(Candidates.of([known], [scores]))


def _first_of_each(numbers: Numbers) -> NDArray[np.bool_]:
    first = np.zeros(len(numbers), bool)
    first[np.unique(numbers, return_index=True)[1]] = True
    return first


def _checked(call: Callable[..., Any], shelf: Shelf, pairs: Pairs) -> Floats:
    scores = to_numpy(call(pairs.queries, pairs.candidates))
    if scores.shape != (len(pairs),):
        raise ComponentError(
            f"{shelf.owner} returned scores of shape {scores.shape} for {len(pairs)} pairs; one a pair is expected."
        )
    return scores.astype(np.float32, copy=False)
