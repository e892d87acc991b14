"""Query expansion by word vectors that are trained for one query, on the documents found for it.

Diaz, Mitra and Craswell, Query Expansion with Locally-Trained Word Embeddings, ACL 2016.
"""

from __future__ import annotations

import numpy as np

from nirank.data import Candidates, Floats, Ints, Queries, TermWeights
from nirank.errors import BadInput
from nirank.kit import progress
from nirank.kit.text import ForwardIndex
from nirank_expansion.feedback import DocumentTerms
from nirank_expansion.mixture import check_share, mixture
from nirank_expansion.settings import TermAnalysis, VectorTraining

_TRAINING, _ANALYSIS = VectorTraining(), TermAnalysis()


class Diaz(DocumentTerms):
    """Expands a query by the terms whose vectors, trained for this query alone, are most similar to its own.

    `bm25 % 100 >> diaz >> bm25`: of the documents found `samples` are drawn, with replacement and with probabilities

        p(d) = exp(s(d) / temperature) / sum over d' of exp(s(d') / temperature)

    from their scores s; word2vec is trained on them, as often as they were drawn. With U `[words, dim]`, its vectors
    IN, and q, the counts of the query's terms, the weights of all words are U U' q. The `terms` largest above 0, made
    to add up to 1, are P(w|expansion), and the query becomes

        P(w) = share P(w|query) + (1 - share) P(w|expansion)

    The paper's s(d) is the negative divergence of language models: the mean log-likelihood of a word of the query.
    Other scores are brought to that scale by `temperature`. Those of `ql` and `bm25` are sums over the terms of the
    query, of logarithms of likelihoods and, about, of odds; None stands therefore for as many as the query has terms.
    Where scores do not differ all documents are alike. Every query has the same `seed`, so that its expansion does not
    depend on the others. `share` and `epochs` were chosen on 60 dev queries of NFCorpus; the paper chooses by
    cross-validation. `dim` to `min_count` are settings of `nirank.kit.text.word2vec.SkipGram`, and all occurrences of
    words count. Training takes the time of `samples` times `epochs` documents a query: for 200 abstracts about 0.2 s.
    The analyser's settings are to be those of the ranking that follows.

    Raises `BadInput` for settings that make no sense and without a ranking before it, `StaleIndex` where there is no
    index yet.
    """

    feedback = True

    def __init__(
        self,
        terms: int = 25,
        share: float = 0.8,
        samples: int = 200,
        temperature: float | None = None,
        *,
        training: VectorTraining = _TRAINING,
        analysis: TermAnalysis = _ANALYSIS,
    ) -> None:
        if terms < 1 or samples < 1 or (temperature is not None and not temperature > 0):
            raise BadInput(
                f"terms = {terms}, samples = {samples}, temperature = {temperature}: whole numbers from 1 and a number "
                "above 0 are expected."
            )
        check_share("share", share)
        super().__init__(analysis)
        self.terms, self.share, self.samples, self.temperature = terms, share, samples, temperature
        self.skipgram = training.skipgram

    def __repr__(self) -> str:
        own = {name: getattr(self, name) for name in ("terms", "share", "samples", "temperature")}
        return f"Diaz({', '.join(f'{name}={value}' for name, value in own.items())}, {self.skipgram}, {self.analyzer})"

    def encode(self, queries: Queries) -> TermWeights:
        """Weighted terms of each query."""
        index = self._opened()
        if queries.found is None:
            raise BadInput("diaz needs the results of a first ranking: write `bm25 % 100 >> diaz >> bm25`.")
        offsets, numbers = index.numbers(queries.contents)
        made = []
        with progress("Training word vectors for each query", len(queries)) as advance:
            for row in range(len(queries)):
                query_terms = numbers[offsets[row] : offsets[row + 1]]
                made.append(self._expanded(index, query_terms[query_terms >= 0], queries.found, row))
                advance(1)
        return TermWeights.of(made, self.analyzer.settings)

    def _expanded(self, index: ForwardIndex, query_terms: Ints, found: Candidates, row: int) -> dict[str, float]:
        (docs, scores), none = found[row], np.empty(0, np.float32)
        trains = len(docs) and len(query_terms) and self.share < 1
        expansion = (
            self._expansion(index, query_terms, self._drawn(docs, scores, len(query_terms)))
            if trains
            else (docs[:0], none)
        )
        return mixture(index.vocabulary, query_terms, *expansion, self.share)

    def _drawn(self, docs: Ints, scores: Floats, length: int) -> Ints:
        """Documents for a query of `length` terms, drawn with replacement by the softmax of their scores."""
        logits = (scores.astype(np.float64) - scores.max()) / (self.temperature or length)
        chances = np.exp(logits) / np.exp(logits).sum()
        times = np.random.default_rng(self.skipgram.seed).multinomial(self.samples, chances)
        return np.repeat(docs, times)

    def _expansion(self, index: ForwardIndex, query_terms: Ints, docs: Ints) -> tuple[Ints, Floats]:
        """The terms that expand a query, by number, and the weight of each."""
        from nirank_expansion.skipgram import train

        offsets, numbers = index.of(docs)
        local, column = np.unique(numbers, return_inverse=True)
        kept, vectors = train(self.skipgram, offsets, column, len(local))
        words = local[kept]
        query = (words[:, None] == query_terms).sum(axis=1, dtype=np.float32)
        weights = vectors @ (vectors.T @ query)
        order = np.lexsort((words, -weights))[: self.terms]
        order = order[weights[order] > 0]
        return words[order], weights[order]


def tiny() -> Diaz:
    """Vectors of 8 numbers, of 6 documents a query."""
    return Diaz(terms=3, samples=6, training=VectorTraining(dim=8, epochs=1, min_count=1))
