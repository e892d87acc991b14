"""Negatives drawn from the whole corpus: any document alike, or in proportion to how often it is relevant."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

import numpy as np

from nirank.data import Candidates, Collection, Ints
from nirank.errors import BadInput
from nirank.pipeline import Stage
from nirank.training import Each, Sample
from nirank_samplers.bounds import at_least
from nirank_samplers.lists import joined
from nirank_samplers.noise import Counted, Even, Noise, log_counts
from nirank_samplers.relevance import Relevance


@dataclass(kw_only=True, eq=False)
class Drawn:
    """Negatives drawn from a distribution q over the corpus, for each list anew.

    `negatives` is the number k of draws a list. With replacement a document may come several times, and is expected
    k q(d) times; `unique` leaves one of each, expected 1 - (1 - q(d))^k times. `log_expected_count` says this for
    all pairs, the positives too. `hits` are draws that are judged relevant to the query, the list's own positives or
    others: "drop" leaves them out, and the expected counts are those before; "keep" keeps them with the label 0, as
    the known optima of NCE and of sampled softmax with log(k q) ask for. `collisions` tells how many of the last
    sample's draws were hits.
    """

    negatives: int = 8
    each: Each = "positive"
    unique: bool = False
    hits: Literal["drop", "keep"] = "drop"
    collisions: int = field(default=0, init=False, repr=False)

    def __post_init__(self) -> None:
        at_least(1, self.negatives, "negatives")

    def begin(self, collection: Collection, stages: Mapping[str, Stage]) -> None:  # noqa: ARG002 (what samplers get)
        """Learn the corpus and what is relevant. Raises `BadInput` for an empty corpus."""
        self._relevance = Relevance(collection)
        self._corpus = collection.corpus
        self._noise = self._learn(self._relevance)

    def sample(self, rows: Ints, positives: Candidates, random: np.random.Generator) -> Sample:
        """The positives of each list, and what was drawn for it.

        Raises `BadInput` for a positive that is not judged relevant.
        """
        known = self._relevance.of(rows, positives)
        drawn = self._draw(len(rows), random)
        hit = drawn.lookup(known, 0) > 0
        self.collisions = int(hit.sum())
        lists = joined(positives, drawn.where(~hit) if self.hits == "drop" else drawn)
        return Sample(lists, log_counts(self._noise.shares(lists.docs), self.negatives, self.unique))

    def _draw(self, lists: int, random: np.random.Generator) -> Candidates:
        docs = self._noise.draw((lists, self.negatives), random)
        kept = np.ones(docs.shape, bool)
        if self.unique:
            docs.sort(axis=1)
            kept[:, 1:] = docs[:, 1:] != docs[:, :-1]
        return Candidates.from_matrix(docs, np.zeros(docs.shape), kept, self._corpus)

    def _learn(self, relevance: Relevance) -> Noise:
        raise NotImplementedError


@dataclass(kw_only=True, eq=False)
class Uniform(Drawn):
    """Documents drawn alike from the corpus: q(d) = 1 / documents. The settings are those of `Drawn`."""

    def _learn(self, relevance: Relevance) -> Noise:
        return Even(relevance.documents)


@dataclass(kw_only=True, eq=False)
class Frequency(Drawn):
    """Documents drawn in proportion to how often each is relevant: q(d) ~ (count(d) + smoothing)^power.

    The count is that of the queries that the document is judged relevant to; the power 0.75 is that of Mikolov et
    al., Distributed Representations of Words and Phrases and their Compositionality, NIPS 2013. `smoothing`, above 0,
    is added to every count, so that documents that are never relevant are drawn too: with 1, half as often (at the
    power 1) as those that are relevant once. The nearer to 0, the more are relevant ones the only ones drawn. The
    other settings are those of `Drawn`.
    """

    power: float = 0.75
    smoothing: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 <= self.power < np.inf:
            raise BadInput(f"power = {self.power}; a number of 0 (uniform) or more is expected.")
        if not 0 < self.smoothing < np.inf:
            raise BadInput(f"smoothing = {self.smoothing}; a number above 0 is expected, so that any can be drawn.")

    def _learn(self, relevance: Relevance) -> Noise:
        return Counted(relevance.counts() + self.smoothing, self.power)
