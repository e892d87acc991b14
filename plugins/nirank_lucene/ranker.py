"""The component `lucene`: BM25 or query likelihood as Lucene computes them, to find documents and to score others'.

A query is text: nothing in it is an operator. Or it is the weighted terms that an encoder made of it, in Lucene's terms
for English. Documents are found if they share a term with it; scores are Lucene's, which keeps the length of a document
in one byte. `nirank_lexical` has the same models without Java, and is faster.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data import Candidates, Corpus, Floats, Queries, TermWeights
from nirank.errors import BadInput, StaleIndex, UnknownName
from nirank.kit import processors
from nirank_lucene.analysis import LuceneAnalysis
from nirank_lucene.index import CONTENTS, LAYOUT, Index, made, match, matched, write
from nirank_lucene.java import exclusive, java
from nirank_lucene.search import Searcher, among, bag, documents, joined, query

_MODELS = ("bm25", "ql")
_ANALYSIS = LuceneAnalysis()


@dataclass(frozen=True)
class Similarity:
    """A model of Lucene's: `similarity` is "bm25" (`k1`, `b`; Anserini's values) or "ql" (Dirichlet smoothing, `mu`).

    Raises `UnknownName` for another name, `BadInput` for parameters that the model does not take.
    """

    k1: float = 0.9
    b: float = 0.4
    similarity: str = "bm25"
    mu: float = 1000.0

    def __post_init__(self) -> None:
        for name in ("k1", "b", "mu"):
            object.__setattr__(self, name, float(getattr(self, name)))
        if self.similarity not in _MODELS:
            raise UnknownName("similarity", self.similarity, _MODELS)
        if not (self.k1 >= 0 and 0 <= self.b <= 1 and self.mu > 0 and np.isfinite([self.k1, self.mu]).all()):
            raise BadInput(
                f"k1 = {self.k1}, b = {self.b}, mu = {self.mu}: k1 from 0, b from 0 to 1 and mu above 0 are expected."
            )

    def java(self) -> Any:
        """Lucene's object."""
        models = "org.apache.lucene.search.similarities"
        if self.similarity == "bm25":
            return java(f"{models}.BM25Similarity")(self.k1, self.b)
        return java(f"{models}.LMDirichletSimilarity")(self.mu)


@dataclass(frozen=True)
class Place:
    """The index, and the means of reading and writing it.

    index     the folder of an index that pyserini, Anserini or another program made, whose documents have the ids of
              the corpus in a field `id`; it must have been analysed as the settings of the analyser say. None: nirank
              writes one
    field     the field of such an index that has the text
    threads   that search a batch of queries; None: one for each processor
    memory    megabytes used to write an index

    Raises `BadInput` for numbers below 1, and for a `field` without an `index`.
    """

    index: str | None = None
    field: str = CONTENTS
    threads: int | None = None
    memory: int = 256

    def __post_init__(self) -> None:
        if (self.threads is not None and self.threads < 1) or self.memory < 1:
            raise BadInput(f"threads = {self.threads}, memory = {self.memory}: whole numbers from 1 are expected.")
        if self.index is None and self.field != CONTENTS:
            raise BadInput(
                f"field = {self.field!r} is for an index that was made elsewhere: set `index` to its folder as well."
            )

    @property
    def elsewhere(self) -> Path:
        """The folder of an index made elsewhere."""
        return Path(self.index or "").expanduser()


class LuceneComponent:
    """An index, nirank's or one made elsewhere, and how its text is analysed; `own` are the subclass's settings."""

    batch_size = 1 << 16  # pairs: each is an object of Java while it is scored

    def __init__(self, analysis: LuceneAnalysis, place: Place, **own: object) -> None:
        self.analysis, self.place, self.field = analysis, place, place.field
        self.settings = {**own, **_fields(analysis), **_fields(place)}
        self.corpus: Corpus | None = None

    def __repr__(self) -> str:
        written = ", ".join(f"{name}={value!r}" for name, value in self.settings.items() if value is not None)
        return f"{type(self).__name__}({written})"

    @property
    def index_key(self) -> Mapping[str, object]:
        """Settings that the index depends on: the analyser's; of one made elsewhere a table of ids is kept."""
        if self.place.index:
            return {"index": "lucene elsewhere", "layout": LAYOUT, "made": made(self.place.elsewhere)}
        return {"index": "lucene", "layout": LAYOUT, **self.analysis.settings}

    @property
    def fingerprint(self) -> Mapping[str, object]:
        """Settings that results depend on, and a hash of an index made elsewhere."""
        left_out = ("index", "threads", "memory")
        return {name: value for name, value in self.settings.items() if name not in left_out} | dict(self.index_key)

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the index of `corpus` into `folder`, or which document of an index made elsewhere is which of it."""
        with exclusive():
            if self.place.index:
                match(self.place.elsewhere, corpus, folder)
            else:
                write(corpus, self.analysis, folder, self.place.memory)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Open the index. Raises `StaleIndex` where it is incomplete or of another corpus."""
        with exclusive():
            self.opened = matched(self.place.elsewhere, folder) if self.place.index else Index.of(folder, corpus)
        self.corpus = corpus

    def _ready(self) -> Corpus:
        if self.corpus is None:
            raise StaleIndex(f"{self} has no index: build one from a corpus and open it before searching.")
        return self.corpus

    def _searcher(self, similarity: Any) -> Searcher:
        return Searcher(self.opened, similarity, self.place.threads or processors())


class LuceneRanker(LuceneComponent):
    """An index under one similarity, which finds documents and scores those of another ranking."""

    def __init__(self, model: Similarity, analysis: LuceneAnalysis, place: Place, **own: object) -> None:
        super().__init__(analysis, place, **own, **_fields(model))
        self.model = model

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Open the index. Raises `StaleIndex` where it is incomplete or of another corpus."""
        super().open(corpus, folder)
        with exclusive():
            self.searcher = self._searcher(self.model.java())

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` best documents of each query, ranked; fewer where fewer match. Raises `BadInput` for k below 0."""
        corpus = self._ready()
        if k < 0:
            raise BadInput(f"k = {k}; it must be 0 or more.")
        with exclusive():
            lucene_queries = [self._query(queries, row) for row in range(len(queries))]
            return joined(self.searcher.best(lucene_queries, k), corpus)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The score of each pair, `[pairs]`: the number that `generate` gives it, or 0 where no term matches."""
        corpus = self._ready()
        with exclusive():
            lucene_queries = [self._limited(queries, candidates, row, corpus) for row in range(len(queries))]
            size = max(1, int(candidates.lengths.max(initial=0)))
            found = joined(self.searcher.search(lucene_queries, size), corpus)
        return candidates.lookup(found, default=0.0)

    def _limited(self, queries: Queries, candidates: Candidates, row: int, corpus: Corpus) -> Any:
        """The query for a row, among its candidates; None where it has none."""
        docs = np.unique(candidates[row][0])
        docs = docs[docs < len(corpus)]
        return among(documents(corpus, docs), self._query(queries, row)) if len(docs) else None

    def _query(self, queries: Queries, row: int) -> Any:
        """Lucene's query for a row of `queries`."""
        raise NotImplementedError


class Lucene(LuceneRanker):
    """BM25 or query likelihood in Lucene: `lucene % 100 >> minilm`.

    The settings are those of `Similarity`, `nirank_lucene.analysis.LuceneAnalysis` and `Place`.

    Raises `UnknownName` or `BadInput` for settings that make no sense.
    """

    accepts = "terms"

    def __init__(
        self, *, model: Similarity = Similarity(), analysis: LuceneAnalysis = _ANALYSIS, place: Place = Place()
    ) -> None:
        super().__init__(model, analysis, place)

    def _query(self, queries: Queries, row: int) -> Any:
        if isinstance(queries.vectors, TermWeights):
            return query(self._weights(queries.vectors[row]), self.field)
        return bag(text_of(queries, row), self.analysis, self.field)

    def _weights(self, query_terms: TermWeights) -> dict[str, float]:
        own = self.analysis.as_nirank
        if own is None or {name: query_terms.analysis.get(name) for name in own} != own:
            raise BadInput(
                f"the query encoder analyses text by {dict(query_terms.analysis)}, but the index by {self.analysis}: "
                "give the encoder and Lucene the same settings, those for English."
            )
        if query_terms.weights.min(initial=0) < 0:
            raise BadInput(
                f"a query term has the weight {query_terms.weights.min()}; Lucene needs weights of 0 or more."
            )
        return query_terms.query(0)


def _fields(settings: Similarity | LuceneAnalysis | Place) -> dict[str, object]:
    return {field.name: getattr(settings, field.name) for field in fields(settings)}


def text_of(queries: Queries, row: int) -> str:
    """The text of a query. Raises `BadInput` where it is none."""
    text = queries.contents[row]
    if not isinstance(text, str):
        raise BadInput(f"query {queries.ids[row]!r} is of the type {type(text).__name__}; Lucene needs texts (str).")
    return text


def tiny() -> Lucene:
    """A ranker with its defaults, for one thread."""
    return Lucene(place=Place(threads=1))
