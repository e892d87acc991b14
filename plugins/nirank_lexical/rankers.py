"""The components: BM25, query likelihood and TF-IDF, each to find candidates and to score given ones.

A query is text: nothing in it is an operator. Or it is the weighted terms that an encoder made of it. Documents are
found if they share a term with it that is worth something. All three take the settings of
`nirank.kit.text.analysis.Analyzer` (`language`, `stemmer`, `stopwords`), rankers that analyse text alike share one index,
and `threads` search a batch of queries, and as many processes index a large corpus (None: one for each processor).
Indexing holds about `segment` postings in memory at a time (None: `nirank_lexical.inversion.SEGMENT`) and the rest on
disk.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data import Candidates, Corpus, Floats, Queries, TermWeights
from nirank.errors import BadInput, StaleIndex, UnknownName
from nirank.kit import processors
from nirank.kit.text import (
    Analyzer,
    BM25Weighting,
    DirichletWeighting,
    JelinekMercerWeighting,
    QueryParser,
    TFIDFWeighting,
    Weighting,
)
from nirank_lexical.postings import LAYOUT, Postings
from nirank_lexical.search import WeightedIndex


class LexicalRanker:
    """What the models share: an inverted index, searched under a weighting."""

    accepts = "terms"

    def __init__(
        self,
        weighting: Weighting,
        language: str,
        stemmer: str | None,
        stopwords: Sequence[str] | None,
        threads: int | None,
        segment: int | None,
    ) -> None:
        for name, value in (("threads", threads), ("segment", segment)):
            if value is not None and value < 1:
                raise BadInput(f"{name} is {value}; it must be 1 or more.")
        self.weighting = weighting
        self.language, self.stemmer, self.stopwords = language, stemmer, stopwords
        self.threads, self.segment = threads, segment
        self.analyzer = Analyzer(language, stemmer, stopwords)
        self.corpus: Corpus | None = None

    def __repr__(self) -> str:
        settings = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        written = ", ".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)
        return f"{type(self).__name__}({written})"

    @property
    def index_key(self) -> Mapping[str, object]:
        """What the index depends on: how text is analysed, and not how matches are weighted."""
        return {"index": "postings", "layout": LAYOUT, **self.analyzer.settings}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the index of `corpus` into `folder`, which exists and is empty. Contents are texts."""
        from nirank_lexical.inversion import SEGMENT, write_index

        write_index(corpus, self.analyzer, folder, self.segment or SEGMENT, self.threads or processors())

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the index that `build` wrote. Raises `StaleIndex` where it is incomplete or of another corpus."""
        index = Postings.load(folder)
        if (indexed := len(index.lengths)) != len(corpus):
            raise StaleIndex(f"The index in {folder} is of {indexed} documents, the corpus of {len(corpus)}.")
        self.corpus = corpus
        self._threads = self.threads or processors()
        self._parse = QueryParser(index.vocabulary, self.analyzer)
        self._searched = WeightedIndex(index, self.weighting)

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` best documents of each query, ranked; fewer where fewer match. Raises `BadInput` for k below 0."""
        corpus = self._opened()
        if k < 0:
            raise BadInput(f"k is {k}; it must be 0 or more.")
        lengths, docs, scores = self._searched.search(_asked(queries), self._parse, k, self._threads)
        return Candidates(np.array([0, *accumulate(lengths.tolist())], np.int64), docs, scores, corpus)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The score of each pair, `[pairs]`: the number that `generate` gives it; 0, or its prior, without a match."""
        self._opened()
        return self._searched.score(self._parse(_asked(queries)), candidates)

    def _opened(self) -> Corpus:
        if self.corpus is None:
            raise StaleIndex(f"{self} has no index: build one from a corpus and open it before searching.")
        return self.corpus


def _asked(queries: Queries) -> Sequence[str] | TermWeights:
    """What is searched for: the terms that an encoder weighted, or else the texts."""
    return queries.vectors if isinstance(queries.vectors, TermWeights) else queries.contents


class BM25(LexicalRanker):
    """BM25: the variants "lucene", "robertson", "atire", "bm25l" and "bm25+" of `BM25Weighting`.

    k1 and b default to Anserini's values, with which the published baselines on BEIR were made.
    """

    def __init__(
        self,
        k1: float = 0.9,
        b: float = 0.4,
        variant: str = "lucene",
        delta: float | None = None,
        language: str = "english",
        stemmer: str | None = "default",
        stopwords: Sequence[str] | None = None,
        threads: int | None = None,
        segment: int | None = None,
    ) -> None:
        super().__init__(BM25Weighting(k1, b, variant, delta), language, stemmer, stopwords, threads, segment)
        self.k1, self.b, self.variant, self.delta = k1, b, variant, delta


class QueryLikelihood(LexicalRanker):
    """Query likelihood under a smoothed language model: `smoothing` is "dirichlet" (`mu`) or "jelinek-mercer".

    `lambda_` is the weight that Jelinek-Mercer smoothing gives the collection: Zhai and Lafferty found about 0.1 best
    for short queries and 0.7 for long ones.
    """

    def __init__(
        self,
        smoothing: str = "dirichlet",
        mu: float = 1000.0,
        lambda_: float = 0.1,
        language: str = "english",
        stemmer: str | None = "default",
        stopwords: Sequence[str] | None = None,
        threads: int | None = None,
        segment: int | None = None,
    ) -> None:
        models: dict[str, Weighting] = {
            "dirichlet": DirichletWeighting(mu),
            "jelinek-mercer": JelinekMercerWeighting(lambda_),
        }
        if smoothing not in models:
            raise UnknownName("smoothing", smoothing, models)
        super().__init__(models[smoothing], language, stemmer, stopwords, threads, segment)
        self.smoothing, self.mu, self.lambda_ = smoothing, mu, lambda_


class TFIDF(LexicalRanker):
    """TF-IDF as Lucene's ClassicSimilarity defines it: see `TFIDFWeighting`."""

    def __init__(
        self,
        language: str = "english",
        stemmer: str | None = "default",
        stopwords: Sequence[str] | None = None,
        threads: int | None = None,
        segment: int | None = None,
    ) -> None:
        super().__init__(TFIDFWeighting(), language, stemmer, stopwords, threads, segment)
