"""Lexical search: BM25, query likelihood and TF-IDF over an inverted index."""

from typing import Any

from nirank import hookimpl

_RANKERS = {"bm25": "BM25", "ql": "QueryLikelihood", "tfidf": "TFIDF"}


@hookimpl
def nirank_register(registry: Any) -> None:
    """Register each ranker as a generator and as a scorer."""
    for kind in ("generator", "scorer"):
        for name, ranker in _RANKERS.items():
            factory = f"nirank_lexical.rankers:{ranker}"
            registry.add(kind, name, factory, tiny=factory, extra="lexical")
