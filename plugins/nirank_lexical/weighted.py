"""An inverted index under a weighting, which gives each posting its impact: its worth in a score.

Postings are unpacked and weighed when a query first has their term, and stay in memory: a process has those of the
terms that it was asked for.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data import Content, Floats, TermWeights
from nirank.kit.text import QueryTerms, Weighting
from nirank_lexical.postings import InvertedIndex

#: Queries as texts, as weighted terms, or as numbers of terms; and what gives these the numbers of an index.
Wanted: TypeAlias = Sequence[Content] | TermWeights | QueryTerms
Parse: TypeAlias = Any
#: How many documents each query has, and those documents and their scores, ranked (`[pairs]`).
Found: TypeAlias = tuple[list[int], NDArray[np.int32], Floats]


class WeightedPostings:
    """The postings of an index, with the parts of a weighting that belong to its terms and to its documents.

    `docs` (int32) and `impacts` (float32), `[postings]`, and `most`, the highest impact of each term, `[terms]`, are
    those of terms that were required, and anything for others.
    """

    def __init__(self, index: InvertedIndex, weighting: Weighting) -> None:
        self.index, self.weighting = index, weighting
        #: How many there are.
        self.documents = len(index.lengths)
        self.per_term = weighting.per_term(index)
        self.per_document = weighting.per_document(index)
        prior = weighting.prior(index)
        self.prior = np.empty(0, np.float32) if prior is None else prior.astype(np.float32)
        terms, postings = len(index.starts) - 1, int(index.starts[-1])
        self.docs, self.impacts = np.empty(postings, np.int32), np.empty(postings, np.float32)
        self.most = np.full(terms, -np.inf, np.float32)
        self._is_ready = np.zeros(terms, bool)
        #: The terms that a single query had and that are here; and -1, which stands for a word without.
        self._known = {-1}
        self._lock = threading.Lock()

    def require(self, terms: NDArray[np.int64]) -> None:
        """Unpack and weigh the postings of those of the terms that are not here yet, from one thread at a time.

        Raises `DamagedFile` where they cannot be postings.
        """
        if not self._is_ready[terms].all():
            with self._lock:
                if new := sorted(set(terms[~self._is_ready[terms]].tolist())):  # another thread may have had them
                    self.weigh(np.array(new, np.int64))
                    self._is_ready[new] = True

    def require_each(self, terms: Sequence[int]) -> None:
        """The same for the few terms of one query, among them -1 for words without, in less time than numpy takes."""
        if not self._known.issuperset(terms):
            new = {*terms} - self._known
            self.require(np.array([*new], np.int64))
            self._known |= new

    def weigh(self, terms: NDArray[np.int64]) -> None:
        """Put the postings of some terms in their place, with their impacts."""
        for term in terms.tolist():
            docs, counts = self.index.of(slice(term, term + 1))
            here = slice(self.index.starts[term], self.index.starts[term + 1])
            self.docs[here], self.impacts[here] = docs, self.worth(docs, counts, self.per_term[term])
            self.most[term] = self.impacts[here].max(initial=-np.inf)

    def worth(self, docs: NDArray[np.int32], counts: NDArray[np.integer[Any]], per_term: Any) -> Floats:
        """The impacts of postings; `per_term` is the factor of the term of each, or of all."""
        tf, per_document = counts.astype(np.float64), self.per_document[docs]
        return self.weighting.impacts(tf, per_term, per_document).astype(np.float32)
