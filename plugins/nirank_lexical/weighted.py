"""An inverted index under a weighting, which gives each posting its worth."""

from __future__ import annotations

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
    """The postings of an index, with the parts of a weighting that belong to its terms and to its documents."""

    def __init__(self, index: InvertedIndex, weighting: Weighting) -> None:
        self.index, self.weighting = index, weighting
        #: How many there are.
        self.documents = len(index.lengths)
        self.per_term = weighting.per_term(index)
        self.per_document = weighting.per_document(index)
        prior = weighting.prior(index)
        self.prior = np.empty(0, np.float32) if prior is None else prior.astype(np.float32)

    def impacts(self, places: Any, terms: Any) -> Floats:
        """The worth of the postings at `places` (a slice or ordinals); `terms` is the term of each, or of all."""
        tf = self.index.counts[places].astype(np.float64)
        document = self.per_document[self.index.docs[places]]
        return self.weighting.impacts(tf, self.per_term[terms], document).astype(np.float32)
