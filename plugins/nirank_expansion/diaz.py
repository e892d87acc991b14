"""Query expansion by word vectors that are trained for one query, on what was found for it.

Diaz, Mitra and Craswell, Query Expansion with Locally-Trained Word Embeddings, ACL 2016.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data import Candidates, Corpus, Floats, Ints, Queries
from nirank.errors import BadInput, StaleIndex
from nirank.progress import progress
from nirank.text.analysis import Analyzer
from nirank.text.forward import ForwardIndex, index_key
from nirank.text.terms import TermWeights
from nirank.text.word2vec import SkipGram
from nirank_expansion.mixture import check_share, mixture


class Diaz:
    """Expands a query by the terms whose vectors, trained for this query alone, are most similar to its own.

    `bm25 % 100 >> diaz >> bm25`: of the documents found `samples` are drawn, with replacement and with probabilities

        p(d) = exp(s(d) / temperature) / sum over d' of exp(s(d') / temperature)

    from their scores s; word2vec is trained on them, as often as they were drawn. With U `[words, dim]`, its vectors
    IN, and q, the counts of the query's terms, the weights of all words are U U' q. The `terms` largest above 0, made
    to add up to 1, are P(w|expansion), and the query becomes

        P(w) = share P(w|query) + (1 - share) P(w|expansion)

    The paper's s(d) is the negative divergence of language models, the mean log-likelihood of a word of the query;
    `temperature` brings other scores to that scale. Where scores do not differ all documents are alike. Every query has
    the same `seed`, so that its expansion does not depend on the others. `dim` to `sample` are settings of
    `nirank.text.word2vec.SkipGram`: training takes the time of `samples` times `epochs` documents a query. The
    analyser's settings are to be those of the ranking that follows.

    Raises `BadInput` for settings that make no sense and without a ranking before it, `StaleIndex` where there is no
    index yet.
    """

    vectors = "terms"
    feedback = True
    cacheable = False  # the expansion depends on what was found

    def __init__(
        self,
        terms: int = 25,
        share: float = 0.6,
        samples: int = 200,
        temperature: float = 1.0,
        dim: int = 50,
        window: int = 5,
        negatives: int = 5,
        epochs: int = 5,
        min_count: int = 2,
        sample: float = 0.0,
        seed: int = 0,
        language: str = "english",
        stemmer: str | None = "default",
        stopwords: Sequence[str] | None = None,
    ) -> None:
        if terms < 1 or samples < 1 or not temperature > 0:
            raise BadInput(
                f"terms = {terms}, samples = {samples}, temperature = {temperature}: whole numbers from 1 and a number "
                "above 0 are expected."
            )
        check_share("share", share)
        self.terms, self.share, self.samples, self.temperature = terms, share, samples, temperature
        self.skipgram = SkipGram(
            dim=dim, window=window, negatives=negatives, epochs=epochs, min_count=min_count, sample=sample, seed=seed
        )
        self.analyzer = Analyzer(language, stemmer, stopwords)
        self._index: ForwardIndex | None = None

    def __repr__(self) -> str:
        own = {name: getattr(self, name) for name in ("terms", "share", "samples", "temperature")}
        return f"Diaz({', '.join(f'{name}={value}' for name, value in own.items())}, {self.skipgram}, {self.analyzer})"

    @property
    def index_key(self) -> Mapping[str, object]:
        """What the index depends on: how text is analysed."""
        return index_key(self.analyzer)

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the terms of `corpus`, in order, into `folder`."""
        ForwardIndex.write(corpus, self.analyzer, folder)

    def open(self, corpus: Corpus, folder: Path) -> None:  # noqa: ARG002
        """Map the terms that `build` wrote."""
        self._index = ForwardIndex.load(folder)

    def encode(self, queries: Queries) -> TermWeights:
        """Weighted terms of each query."""
        if self._index is None:
            raise StaleIndex(f"{self} has no index: build one from a corpus and open it before expanding queries.")
        if queries.found is None:
            raise BadInput("diaz expands queries by what was found: write `bm25 % 100 >> diaz >> bm25`.")
        offsets, numbers = self._index.numbers(queries.contents)
        made = []
        with progress("Training word vectors for each query", len(queries)) as advance:
            for row in range(len(queries)):
                asked = numbers[offsets[row] : offsets[row + 1]]
                made.append(self._expanded(self._index, asked[asked >= 0], queries.found, row))
                advance(1)
        return TermWeights.of(made, self.analyzer.settings)

    def _expanded(self, index: ForwardIndex, asked: Ints, found: Candidates, row: int) -> dict[str, float]:
        docs, scores = found[row]
        if not len(docs) or not len(asked):
            return mixture(index.vocabulary, asked, asked[:0], np.empty(0, np.float32), self.share)
        return mixture(index.vocabulary, asked, *self._expansion(index, asked, self._drawn(docs, scores)), self.share)

    def _drawn(self, docs: Ints, scores: Floats) -> Ints:
        """Documents by the softmax of their scores, with replacement, rising."""
        logits = (scores.astype(np.float64) - scores.max()) / self.temperature
        chances = np.exp(logits) / np.exp(logits).sum()
        times = np.random.default_rng(self.skipgram.seed).multinomial(self.samples, chances)
        return np.repeat(docs, times)

    def _expansion(self, index: ForwardIndex, asked: Ints, docs: Ints) -> tuple[Ints, Floats]:
        """The terms that expand a query, by number, and the weight of each."""
        offsets, numbers = index.of(docs)
        local, column = np.unique(numbers, return_inverse=True)
        trained = self.skipgram.train([(offsets, column)], np.bincount(column, minlength=len(local)))
        words, vectors = local[trained.numbers], trained.inputs
        query = (words[:, None] == asked).sum(axis=1, dtype=np.float32)
        weights = vectors @ (vectors.T @ query)
        order = np.lexsort((words, -weights))[: self.terms]
        order = order[weights[order] > 0]
        return words[order], weights[order]


def tiny() -> Diaz:
    """Vectors of 8 numbers, of 6 documents a query."""
    return Diaz(terms=3, samples=6, dim=8, epochs=1, min_count=1)
