"""What the tests of adapters share: a collection, a ranking of it, and what nirank measures of it."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

import nirank
from nirank import Candidates, Collection, Ranking

MEASURE = "nDCG@10"


@dataclass(frozen=True)
class Adapted:
    """A collection and systems of it; NFCorpus where the optional test data is there, or else the emoji."""

    collection: Collection

    @classmethod
    def of(cls, folder):
        """NFCorpus in `folder`, with those of its queries that are judged."""
        whole = nirank.collection(f"beir:{folder}") if folder.exists() else nirank.collection("emoji")
        return cls(whole.take(np.flatnonzero(whole.judgments.lengths)))

    @property
    def corpus(self):
        return self.collection.corpus

    @property
    def queries(self):
        return self.collection.queries

    @property
    def judgments(self):
        return self.collection.judgments

    @cached_property
    def texts(self):
        """The text of each document, by its id."""
        return dict(zip(self.corpus.ids, self.corpus[np.arange(len(self.corpus))], strict=True))

    @cached_property
    def asked(self):
        """The text of each query, by its id."""
        return dict(zip(self.queries.ids, self.queries.contents, strict=True))

    def found(self, ranking: Ranking) -> Candidates:
        return ranking.search(self.queries, self.corpus)

    def value(self, run, judgments=None) -> float:
        """nDCG@10 of a run: what a search found, or one of another library."""
        return nirank.evaluate(run, self.judgments if judgments is None else judgments, [MEASURE])[MEASURE]

    def values(self, run) -> dict[str, float]:
        """nDCG@10 of each query."""
        measured = nirank.evaluate(run, self.judgments, [MEASURE])
        return dict(zip(measured.query_ids, measured.values[MEASURE].tolist(), strict=True))
