"""Negatives that the queries of a batch share: each other's positives, and perhaps some more documents."""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Collection, Floats, Ints
from nirank.errors import BadInput
from nirank.pipeline import Stage
from nirank.training import Each, Sample
from nirank_samplers import ranked
from nirank_samplers.bounds import at_least
from nirank_samplers.noise import log_inclusion, log_missed
from nirank_samplers.relevance import Relevance


@dataclass(kw_only=True, eq=False)
class InBatch:
    """Lists that all hold the same documents: the distinct positives of the batch, by rising ordinal.

    A document that is relevant to the query of a list, and is not what the list is made for, is masked there, known
    by its id. So are two lists of one query: each masks the positive of the other. `collisions` tells how many
    entries of the last sample were masked. `negatives` is a number of documents more, drawn from the whole corpus
    for the whole batch, that stand among the others.

    With `each="query"` a list has all relevant documents of its query, or so many of them as `relevant` says, drawn
    anew each time: with 1, all queries weigh the same, however many documents are relevant to them. The relevant ones
    that were not drawn are masked.

    The expected counts are those of distinct documents, as if the n positives of a batch were drawn one by one from
    all positives of the judgments, of which d has the share q(d), and m more from N documents:
    log(1 - (1 - q(d))^n (1 - 1/N)^m). Where `relevant` are drawn, q(d) is the share of d in what is drawn.
    """

    negatives: int = 0
    relevant: int | None = None
    each: Each = "positive"
    collisions: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        at_least(0, self.negatives, "negatives")
        if self.relevant is not None:
            at_least(1, self.relevant, "relevant")
            if self.each != "query":
                raise BadInput(f'relevant = {self.relevant} are drawn for a query: set each = "query".')

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:  # noqa: ARG002 (what samplers get)
        """Learn what is relevant, and how often. Raises `BadInput` for an empty corpus."""
        self._relevance = Relevance(collection)
        self._corpus = collection.corpus
        counts = self._relevance.counts(self.relevant)
        self._shares = counts / max(counts.sum(), 1)

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:
        """The documents of the batch for every list, labelled as its positives are.

        Raises `BadInput` for a positive that is not judged relevant.
        """
        return self.share(rows, positives, random)

    def share(
        self, rows: Ints, positives: Candidates, random: np.random.Generator, others: Ints | None = None
    ) -> Sample:
        """The same with documents that `others` drew for lists of the batch, which all lists get.

        With them the expected counts are not known.
        """
        known = self._relevance.of(rows, positives)
        positives = positives if self.relevant is None else ranked.some(positives, self.relevant, random)
        more = random.integers(0, self._relevance.documents, self.negatives)
        docs = np.unique(np.concatenate([positives.docs, more, *([] if others is None else [others])]))
        labels, mask = np.zeros((len(rows), len(docs)), np.float32), np.ones((len(rows), len(docs)), bool)
        mask[_places(known, docs)] = False
        mask[_places(positives, docs)] = True
        labels[_places(positives, docs)] = positives.scores
        self.collisions = int(mask.size - mask.sum())
        lists = Candidates(len(docs) * np.arange(len(rows) + 1), np.tile(docs, len(rows)), labels.ravel(), self._corpus)
        counts = np.tile(self._log_counts(docs, positives.pairs), len(rows)) if others is None else None
        return Sample(lists, counts, mask.ravel(), shared=True)

    def _log_counts(self, docs: Ints, positives: int) -> Floats:
        missed = log_missed(self._shares[docs], positives)
        missed += log_missed(1 / self._relevance.documents, self.negatives)
        return log_inclusion(missed).astype(np.float32)


def _places(pairs: Candidates, docs: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Places of the pairs whose document is a column in `[lists, columns]`; `docs` are the columns."""
    there = np.isin(pairs.docs, docs)
    return pairs.rows[there], np.searchsorted(docs, pairs.docs[there])
