"""Lexical search over inverted indexes: BM25, of a text or of weighted fields, query likelihood, TF-IDF, and SDM."""

from typing import Any

from nirank import hookimpl

_RANKERS = {"bm25": "BM25", "ql": "QueryLikelihood", "tfidf": "TFIDF"}
_WITH_INDEXES_OF_THEIR_OWN = {"bm25f": ("BM25F", "tiny"), "sdm": ("SequentialDependence", "SequentialDependence")}


@hookimpl
def nirank_register(registry: Any) -> None:
    """Register each ranker as a generator and as a scorer."""
    for kind in ("generator", "scorer"):
        for name, ranker in _RANKERS.items():
            factory = f"nirank_lexical.rankers:{ranker}"
            registry.add(kind, name, factory, tiny=factory, extra="lexical")
        for name, (ranker, tiny) in _WITH_INDEXES_OF_THEIR_OWN.items():
            made, small = (f"nirank_lexical.{name}:{attribute}" for attribute in (ranker, tiny))
            registry.add(kind, name, made, tiny=small, extra="lexical")
