"""Searching a Lucene index: queries made of terms and never parsed, scores as arrays, several threads.

A query is a disjunction of terms, each with a weight: how often it occurs in the text, or what an encoder or feedback
gave it. Its score is the sum of what the index' similarity gives its terms, in float32.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import chain
from typing import Any, TypeAlias

import numpy as np

from nirank.data import Candidates, Corpus, Floats, Ints, offsets_of
from nirank_lucene.analysis import LuceneAnalysis
from nirank_lucene.index import CONTENTS, ID, Index
from nirank_lucene.java import cast, detach, java, utf16

#: The ordinals of documents, and their scores.
Found: TypeAlias = tuple[Ints, Floats]
_CLAUSES = 1 << 20  # that a query may have; Lucene's own limit of 1,024 is below what a long text has
_AT_ONCE = 16  # queries that a thread takes


def bag(text: str, analysis: LuceneAnalysis, field: str = CONTENTS) -> Any:
    """Documents with any of the terms of a text, each of which counts as often as it occurs there."""
    return _bags().buildQuery(field, analysis.analyzer, utf16(text))


def query(weights: Mapping[str, float], field: str = CONTENTS) -> Any:
    """Documents with any of the terms, each of which counts as its weight says. A term of no weight is left out."""
    builder, occur = java("org.apache.lucene.search.BooleanQuery$Builder")(), _occur()
    for term in _weighted(weights, field):
        builder.add(term, occur.SHOULD)
    return builder.build()


def highest(weights: Mapping[str, float], field: str = CONTENTS) -> Any:
    """The same documents, with the score of the term alone that gives the most."""
    terms = cast("java.util.Collection", java("java.util.Arrays").asList(*_weighted(weights, field)))
    return java("org.apache.lucene.search.DisjunctionMaxQuery")(terms, 0.0)


def _weighted(weights: Mapping[str, float], field: str) -> list[Any]:
    boosted, of = (java(f"org.apache.lucene.search.{kind}") for kind in ("BoostQuery", "TermQuery"))
    term = java("org.apache.lucene.index.Term")
    return [boosted(of(term(field, utf16(text))), float(weight)) for text, weight in weights.items() if weight > 0]


def _occur() -> Any:
    return java("org.apache.lucene.search.BooleanClause$Occur")


def documents(corpus: Corpus, docs: Ints) -> Any:
    """The query that finds documents by their ids."""
    reference = java("org.apache.lucene.util.BytesRef")
    ids = [reference(utf16(name).encode()) for name in corpus.ids.take(docs)]
    collected = cast("java.util.Collection", java("java.util.Arrays").asList(*ids))
    return java("org.apache.lucene.search.TermInSetQuery")(ID, collected)


def among(documents: Any, wanted: Any) -> Any:
    """The query that finds what `wanted` finds among some documents, with the same scores."""
    both, occur = java("org.apache.lucene.search.BooleanQuery$Builder")(), _occur()
    both.add(wanted, occur.MUST)
    both.add(documents, occur.FILTER)
    return both.build()


@dataclass(frozen=True, eq=False)
class Searcher:
    """An index under a similarity of Lucene's, searched by several threads."""

    index: Index
    similarity: Any
    threads: int

    @functools.cached_property
    def java(self) -> Any:
        """Lucene's object."""
        kind = java("org.apache.lucene.search.IndexSearcher")
        kind.setMaxClauseCount(max(kind.getMaxClauseCount(), _CLAUSES))
        searcher = kind(self.index.reader)
        searcher.setSimilarity(self.similarity)
        return searcher

    def best(self, queries: Sequence[Any], k: int) -> list[Found]:
        """The `k` best documents of each query, by falling score, then rising ordinal."""
        k = min(k, self.index.reader.maxDoc())
        if not k:
            return [_nothing()] * len(queries)
        found, wanted = self.search(queries, k + self._more), k + self._more
        while open_ := [row for row, one in enumerate(found) if not self._settled(one, k, wanted)]:
            wanted *= 2
            for row, one in zip(open_, self.search([queries[row] for row in open_], wanted), strict=True):
                found[row] = one
        return [_ranked(*one, k) for one in found]

    @property
    def _more(self) -> int:
        """Documents to find beyond k: one where order differs, which shows whether any is equal to the last."""
        return 0 if self.index.in_order else 1

    def _settled(self, found: Found, k: int, wanted: int) -> bool:
        """True where the best `k` are known: Lucene orders equal documents in its own way."""
        scores = found[1]
        return self.index.in_order or len(scores) < wanted or bool(scores[k - 1] > scores[-1])

    def search(self, queries: Sequence[Any], size: int) -> list[Found]:
        """The documents that Lucene finds for each query, at most `size` of them; none for a query that is None."""
        found = iter(self._search([one for one in queries if one is not None], size))
        return [_nothing() if one is None else next(found) for one in queries]

    def _search(self, queries: Sequence[Any], size: int) -> list[Found]:
        """Search in threads, which all call one method of one object after the first call: see `java.exclusive`."""
        searcher, mapper = self.java, _mapper()

        def some(queries: Sequence[Any]) -> list[Found]:
            return [self._read(mapper, searcher.search(one, size)) for one in queries]

        def apart(queries: Sequence[Any]) -> list[Found]:
            try:
                return some(queries)
            finally:
                detach()

        first, rest = some(queries[:1]), queries[1:]
        if self.threads == 1 or len(rest) <= _AT_ONCE:
            return first + some(rest)
        with ThreadPoolExecutor(self.threads) as pool:
            parts = pool.map(apart, [rest[start : start + _AT_ONCE] for start in range(0, len(rest), _AT_ONCE)])
            return first + list(chain.from_iterable(parts))

    def _read(self, mapper: Any, top: Any) -> Found:
        """Results as one text of JSON: a call for each number would take longer than the search."""
        rows = json.loads(mapper.writeValueAsString(top))[1]
        columns = np.array(rows, np.float64).reshape(-1, 3)  # score, document, and which of several indexes
        return self.index.documents(columns[:, 1].astype(np.int64)), columns[:, 0].astype(np.float32)


def joined(found: Sequence[Found], corpus: Corpus) -> Candidates:
    """The results of all queries as candidates of one corpus."""
    docs, scores = zip(*found, _nothing(), strict=True)
    return Candidates(offsets_of([*map(len, docs[:-1])]), np.concatenate(docs), np.concatenate(scores), corpus)


def read(values: Any) -> Any:
    """Lists, maps, numbers and texts of Java as those of Python, in one call."""
    return json.loads(_mapper().writeValueAsString(values))


def _nothing() -> Found:
    return np.empty(0, np.int64), np.empty(0, np.float32)


def _ranked(docs: Ints, scores: Floats, k: int) -> tuple[Ints, Floats]:
    order = np.lexsort((docs, -scores))[:k]
    return docs[order], scores[order]


@functools.cache
def _bags() -> Any:
    return java("io.anserini.search.query.BagOfWordsQueryGenerator")()


@functools.cache
def _mapper() -> Any:
    """Writes what was found as JSON, without names: `[..., [[score, document, shard], ...]]`."""
    mapper = java("com.fasterxml.jackson.databind.ObjectMapper")()
    of, shape = (java(f"com.fasterxml.jackson.annotation.JsonFormat${name}") for name in ("Value", "Shape"))
    for name in ("ScoreDoc", "TopDocs"):
        kind = java("java.lang.Class").forName(f"org.apache.lucene.search.{name}")
        mapper.configOverride(kind).setFormat(of.forShape(shape.ARRAY))
    return mapper
