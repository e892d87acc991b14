"""Query expansion by the nearest words in the space of an embedding.

Roy, Paul, Mitra and Garain, Using Word Embeddings for Automatic Query Expansion, SIGIR Workshop on Neural IR 2016,
arXiv 1606.07608. For a query Q of terms q1 .. qm, Q' is Q with the sum of the vectors of every two neighbours, q1 + q2,
q2 + q3, ... (the paper's extended query term set). The candidates are the K nearest terms of each member of Q', by
cosine; they are ranked by

    Sim(t, Q') = 1/|Q'| sum over q in Q' of cos(t, q)

and the best K of them expand the query:

    P(w) = alpha P(w|Q) + (1 - alpha) Sim(w, Q') / sum over expansion terms t of Sim(t, Q')

Terms of the query are no candidates, nor are those with a Sim below 0. The three forms differ in what is near.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Corpus, Floats, Ints, Queries, TermWeights
from nirank.errors import BadInput, StaleIndex
from nirank.kit.text import ForwardIndex, Word2Vec, index_key, unit
from nirank_expansion.mixture import check_share, mixture
from nirank_expansion.settings import SampledTraining, TermAnalysis

FILE = "word2vec.safetensors"
_LAYOUT = 1
_TRAINING, _ANALYSIS = SampledTraining(), TermAnalysis()


class Roy:
    """Expands a query by the terms nearest to it among all terms of the corpus, before anything is searched.

    `roy >> bm25`: see the head of this module. `terms` is K; `bigrams` says whether Q' has sums of neighbours; `alpha`
    was chosen on 60 dev queries of NFCorpus, where .8 was best for all three forms. The embedding is that of word2vec,
    its vectors IN, trained on the index terms of the corpus that is searched, as in the paper, and kept as an index,
    which all three forms share; `dim` to `seed` are settings of `nirank.kit.text.word2vec.SkipGram`, `language` to
    `stopwords` those of the analyser, which are to be those of the ranking that follows. Terms without a vector are
    searched and not expanded.

    Raises `BadInput` for settings that make no sense, `StaleIndex` where there is no index yet.
    """

    vectors = "terms"
    cacheable = False  # the expansion depends on the corpus

    def __init__(
        self,
        terms: int = 30,
        alpha: float = 0.8,
        bigrams: bool = True,
        *,
        training: SampledTraining = _TRAINING,
        analysis: TermAnalysis = _ANALYSIS,
    ) -> None:
        if terms < 1:
            raise BadInput(f"terms is {terms}; it must be 1 or more.")
        check_share("alpha", alpha)
        self.terms, self.alpha, self.bigrams = terms, alpha, bigrams
        self.skipgram, self.analyzer = training.skipgram, analysis.analyzer
        self._index: ForwardIndex | None = None

    def __repr__(self) -> str:
        return f"{type(self).__name__}(terms={self.terms}, alpha={self.alpha}, {self.skipgram}, {self.analyzer})"

    @property
    def index_key(self) -> Mapping[str, object]:
        """Settings that terms and vectors depend on."""
        key = {**index_key(self.analyzer), **asdict(self.skipgram)}
        return key | {"index": "vectors of terms", "vectors": _LAYOUT}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the terms of `corpus` into `folder`, and their vectors."""
        ForwardIndex.write(corpus, self.analyzer, folder)
        words = Word2Vec.of_index(ForwardIndex.load(folder), self.skipgram, analysis=self.analyzer.settings)
        words.save(folder / FILE)

    def open(self, corpus: Corpus, folder: Path) -> None:  # noqa: ARG002
        """Map the terms that `build` wrote, and read the vectors."""
        self._index = ForwardIndex.load(folder)
        words = Word2Vec.load(folder / FILE)
        self._numbers = self._index.vocabulary.find(words.words)
        self._rows = np.full(len(self._index.vocabulary), -1)
        self._rows[self._numbers] = np.arange(len(self._numbers))
        self._raw, self._unit = words.inputs, unit(words.inputs)

    def encode(self, queries: Queries) -> TermWeights:
        """Weighted terms of each query."""
        index = self._opened()
        offsets, numbers = index.numbers(queries.contents)
        cuts = zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True)
        query_terms = [numbers[start:end] for start, end in cuts]
        made = [
            mixture(index.vocabulary, terms[terms >= 0], *self._expansion(terms, allowed), self.alpha)
            for terms, allowed in zip(query_terms, self._allowed(queries), strict=True)
        ]
        return TermWeights.of(made, self.analyzer.settings)

    def _allowed(self, queries: Queries) -> Iterator[Ints | None]:
        """The rows of terms that may expand each query; None where these are all."""
        yield from (None for _ in range(len(queries)))

    def _near(self, similar: Floats, rows: Ints) -> NDArray[np.int64]:  # noqa: ARG002 (others look at the rows)
        """The places in `rows` that are near to a member of Q', to which these are `similar`."""
        return _best(similar, self.terms)

    def _expansion(self, query_terms: Ints, allowed: Ints | None) -> tuple[Ints, Floats]:
        """The terms that expand a query, by number, and the Sim of each; -1 stands for a term that is unknown."""
        own = np.append(self._rows, -1)[query_terms]
        members = self._members(own)
        rows = np.setdiff1d(np.arange(len(self._unit)) if allowed is None else allowed, own)
        if not len(members) or not len(rows):
            return np.empty(0, np.int64), np.empty(0, np.float32)
        similar = self._unit[rows] @ members.T
        near = np.unique(np.concatenate([self._near(column, rows) for column in similar.T]))
        means = similar[near].mean(axis=1)
        best = _best(means, self.terms)
        best = best[means[best] > 0]
        return self._numbers[rows[near[best]]], means[best]

    def _members(self, own: Ints) -> Floats:
        """Unit vectors of Q': of the terms, as often as they occur, and of each two that stand side by side."""
        beside = np.flatnonzero((own[:-1] >= 0) & (own[1:] >= 0)) if self.bigrams else np.empty(0, np.int64)
        pairs = self._raw[own[beside]] + self._raw[own[beside + 1]]
        return unit(np.concatenate([self._raw[own[own >= 0]], pairs]))

    def _opened(self) -> ForwardIndex:
        if self._index is None:
            raise StaleIndex(f"{self} has no index: build one from a corpus and open it before expanding queries.")
        return self._index


class RoyPost(Roy):
    """Expands a query by the nearest of the terms that are in the best documents found for it.

    `bm25 % 20 >> roy_post >> bm25`: as `Roy`, but the candidates are terms of the documents found.
    """

    feedback = True

    def _allowed(self, queries: Queries) -> Iterator[Ints]:
        index, found = self._opened(), queries.found
        if found is None:
            raise BadInput("roy_post needs the results of a first ranking: write `bm25 % 20 >> roy_post >> bm25`.")
        for row in range(len(queries)):
            rows = self._rows[np.unique(index.of(found[row][0])[1])]
            yield rows[rows >= 0]


class RoyIncremental(Roy):
    """Expands a query by near terms that are also near to each other, before anything is searched.

    `roy_incremental >> bm25`: as `Roy`, but what is near to a member of Q' is found in steps. Of its `neighbours`
    nearest terms t1, t2, ... the last `prune` are dropped; t2, ... are ordered anew by their similarity to t1 and the
    last `prune` dropped; those behind the new t2 are ordered by their similarity to that, and so on for `iterations`.
    """

    def __init__(
        self,
        terms: int = 30,
        alpha: float = 0.8,
        bigrams: bool = True,
        neighbours: int = 100,
        prune: int = 10,
        iterations: int = 5,
        *,
        training: SampledTraining = _TRAINING,
        analysis: TermAnalysis = _ANALYSIS,
    ) -> None:
        super().__init__(terms, alpha, bigrams, training=training, analysis=analysis)
        if neighbours < 1 or prune < 0 or iterations < 0 or neighbours <= prune * (iterations + 1):
            raise BadInput(
                f"neighbours = {neighbours}, prune = {prune}, iterations = {iterations}: pruning would leave no term; "
                "neighbours must be more than prune * (iterations + 1)."
            )
        self.neighbours, self.prune, self.iterations = neighbours, prune, iterations

    def _near(self, similar: Floats, rows: Ints) -> NDArray[np.int64]:
        places = _pruned(_best(similar, self.neighbours), self.prune)
        for first in range(min(self.iterations, len(places))):
            rest = places[first + 1 :]
            similar = self._unit[rows[rest]] @ self._unit[rows[places[first]]]
            ordered = rest[np.argsort(-similar, kind="stable")]
            places = np.concatenate([places[: first + 1], _pruned(ordered, self.prune)])
            if first + 1 >= len(places):
                break
        return places


def _best(values: Floats, k: int) -> NDArray[np.int64]:
    """The places of the k largest values, by falling value, then rising place."""
    places = np.arange(len(values))
    if k < len(values):
        places = np.flatnonzero(values >= np.partition(values, len(values) - k)[len(values) - k])
    return places[np.argsort(-values[places], kind="stable")][:k]


def _pruned(places: NDArray[np.int64], dropped: int) -> NDArray[np.int64]:
    return places[: max(len(places) - dropped, 0)]


_TINY = SampledTraining(dim=8, epochs=1, min_count=1)


def tiny() -> Roy:
    """Vectors of 8 numbers of the terms of a few sentences."""
    return Roy(terms=3, training=_TINY)


def tiny_post() -> RoyPost:
    """The same as `tiny`, after a ranking."""
    return RoyPost(terms=3, training=_TINY)


def tiny_incremental() -> RoyIncremental:
    """The same as `tiny`; one neighbour is dropped at a time."""
    return RoyIncremental(terms=3, neighbours=5, prune=1, iterations=2, training=_TINY)
