"""The component `lucene`: BM25 or query likelihood as Lucene computes them, to find documents and to score given ones.

A query is text: nothing in it is an operator. Or it is the weighted terms that an encoder made of it, in Lucene's terms
for English. Documents are found if they share a term with it; scores are Lucene's, which keeps the length of a document
in one byte. `nirank_lexical` has the same models without Java, and is faster.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data import Candidates, Corpus, Floats, Queries, TermWeights
from nirank.errors import BadInput, StaleIndex, UnknownName
from nirank.kit import processors
from nirank_lucene.analysis import Analysis
from nirank_lucene.index import CONTENTS, LAYOUT, Index, made, match, matched, write
from nirank_lucene.java import exclusive, java
from nirank_lucene.search import Searcher, among, bag, documents, joined, query

MODELS = ("bm25", "ql")


class Searched:
    """What the components share: an index of ours or one made elsewhere, and how text is analysed."""

    batch_size = 1 << 16  # pairs: each is an object of Java while it is scored

    def __init__(
        self,
        language: str,
        stemmer: str | None,
        stopwords: bool,
        index: str | None,
        field: str,
        threads: int | None,
        memory: int,
    ) -> None:
        if (threads is not None and threads < 1) or memory < 1:
            raise BadInput(f"threads = {threads}, memory = {memory}: whole numbers from 1 are expected.")
        if index is None and field != CONTENTS:
            raise BadInput(f"field = {field!r} is one of an index made elsewhere: name its folder by `index`.")
        self.language, self.stemmer, self.stopwords = language, stemmer, stopwords
        self.index, self.field, self.threads, self.memory = index, field, threads, memory
        self.analysis = Analysis(language, stemmer, stopwords)
        self.corpus: Corpus | None = None

    def __repr__(self) -> str:
        settings = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        written = ", ".join(f"{name}={value!r}" for name, value in settings.items() if value is not None)
        return f"{type(self).__name__}({written})"

    @property
    def index_key(self) -> Mapping[str, object]:
        """What the index depends on: how text is analysed; of one made elsewhere what is kept is who is who."""
        if self.index:
            return {"index": "lucene elsewhere", "layout": LAYOUT, "made": made(self._elsewhere)}
        return {"index": "lucene", "layout": LAYOUT, **self.analysis.settings}

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """What results depend on: the settings, and what is in an index made elsewhere."""
        left_out = ("index", "threads", "memory")
        settings = {name: getattr(self, name) for name in inspect.signature(type(self)).parameters}
        return {name: value for name, value in settings.items() if name not in left_out} | dict(self.index_key)

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the index of `corpus` into `folder`, or which document of an index made elsewhere is which of it."""
        with exclusive():
            if self.index:
                match(self._elsewhere, corpus, folder)
            else:
                write(corpus, self.analysis, folder, self.memory)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Open the index. Raises `StaleIndex` where it is incomplete or of another corpus."""
        with exclusive():
            self.opened = matched(self._elsewhere, folder) if self.index else Index.of(folder, corpus)
        self.corpus = corpus

    @property
    def _elsewhere(self) -> Path:
        """The folder of an index made elsewhere."""
        return Path(self.index or "").expanduser()

    def _ready(self) -> Corpus:
        if self.corpus is None:
            raise StaleIndex(f"{self} has no index: build one from a corpus and open it before searching.")
        return self.corpus

    def _searcher(self, similarity: Any) -> Searcher:
        return Searcher(self.opened, similarity, self.threads or processors())


class LuceneRanker(Searched):
    """What the rankers share: an index under one similarity, which finds documents and scores given ones."""

    def __init__(
        self,
        k1: float,
        b: float,
        similarity: str,
        mu: float,
        language: str,
        stemmer: str | None,
        stopwords: bool,
        index: str | None,
        field: str,
        threads: int | None,
        memory: int,
    ) -> None:
        super().__init__(language, stemmer, stopwords, index, field, threads, memory)
        check_model(similarity, k1, b, mu)
        self.k1, self.b, self.similarity, self.mu = float(k1), float(b), similarity, float(mu)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Open the index. Raises `StaleIndex` where it is incomplete or of another corpus."""
        super().open(corpus, folder)
        with exclusive():
            self.searcher = self._searcher(similarity(self.similarity, self.k1, self.b, self.mu))

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` best documents of each query, ranked; fewer where fewer match. Raises `BadInput` for k below 0."""
        corpus = self._ready()
        if k < 0:
            raise BadInput(f"k is {k}; it must be 0 or more.")
        with exclusive():
            asked = [self._query(queries, row) for row in range(len(queries))]
            return joined(self.searcher.best(asked, k), corpus)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The score of each pair, `[pairs]`: the number that `generate` gives it, or 0 where no term matches."""
        corpus = self._ready()
        with exclusive():
            asked = [self._limited(queries, candidates, row, corpus) for row in range(len(queries))]
            size = max(1, int(candidates.lengths.max(initial=0)))
            found = joined(self.searcher.search(asked, size), corpus)
        return candidates.lookup(found, default=0.0)

    def _limited(self, queries: Queries, candidates: Candidates, row: int, corpus: Corpus) -> Any:
        """The query for a row, among its candidates; None where it has none."""
        docs = np.unique(candidates[row][0])
        docs = docs[docs < len(corpus)]
        return among(documents(corpus, docs), self._query(queries, row)) if len(docs) else None

    def _query(self, queries: Queries, row: int) -> Any:
        """What Lucene is asked for a query."""
        raise NotImplementedError


class Lucene(LuceneRanker):
    """BM25 or query likelihood in Lucene: `lucene % 100 >> minilm`.

    `similarity` is "bm25" (`k1`, `b`; Anserini's values are the defaults) or "ql" (Dirichlet smoothing with `mu`).
    `language`, `stemmer` and `stopwords` are those of `nirank_lucene.analysis.Analysis`. `index` is the folder of an
    index that pyserini, Anserini or another program made, whose documents have the ids of the corpus in a field `id`,
    and their text in `field`; it must have been analysed as these settings say. `threads` search a batch of queries
    (None: one for each processor), and `memory` MB are used to write an index.

    Raises `UnknownName` or `BadInput` for settings that make no sense.
    """

    accepts = "terms"

    def __init__(
        self,
        k1: float = 0.9,
        b: float = 0.4,
        similarity: str = "bm25",
        mu: float = 1000.0,
        language: str = "english",
        stemmer: str | None = "default",
        stopwords: bool = True,
        index: str | None = None,
        field: str = CONTENTS,
        threads: int | None = None,
        memory: int = 256,
    ) -> None:
        super().__init__(k1, b, similarity, mu, language, stemmer, stopwords, index, field, threads, memory)

    def _query(self, queries: Queries, row: int) -> Any:
        if isinstance(queries.vectors, TermWeights):
            return query(self._weights(queries.vectors[row]), self.field)
        return bag(text_of(queries, row), self.analysis, self.field)

    def _weights(self, asked: TermWeights) -> dict[str, float]:
        own = self.analysis.as_nirank
        if own is None or {name: asked.analysis.get(name) for name in own} != own:
            raise BadInput(
                f"the terms of a query were analysed by {dict(asked.analysis)}, and those of the index by "
                f"{self.analysis}: the encoder and Lucene are to have the same settings, those of English."
            )
        if asked.weights.min(initial=0) < 0:
            raise BadInput(f"a term of a query has the weight {asked.weights.min()}: Lucene adds, from 0 on.")
        return asked.query(0)


def check_model(similarity: str, k1: float, b: float, mu: float) -> None:
    """Raise `UnknownName` or `BadInput` for what is no model."""
    if similarity not in MODELS:
        raise UnknownName("similarity", similarity, MODELS)
    if not (k1 >= 0 and 0 <= b <= 1 and mu > 0 and np.isfinite([k1, mu]).all()):
        raise BadInput(f"k1 = {k1}, b = {b}, mu = {mu}: from 0, from 0 to 1, and above 0 are expected.")


def similarity(name: str, k1: float, b: float, mu: float) -> Any:
    """Lucene's object for a model."""
    models = "org.apache.lucene.search.similarities"
    return java(f"{models}.BM25Similarity")(k1, b) if name == "bm25" else java(f"{models}.LMDirichletSimilarity")(mu)


def text_of(queries: Queries, row: int) -> str:
    """The text of a query. Raises `BadInput` where it is none."""
    text = queries.contents[row]
    if not isinstance(text, str):
        raise BadInput(f"query {queries.ids[row]!r} is a {type(text).__name__}; Lucene searches for texts.")
    return text


def tiny() -> Lucene:
    """With its defaults, for one thread."""
    return Lucene(threads=1)
