"""Lucene behind nirank's protocols: indexes, BM25, query likelihood, RM3, statistics of terms."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_RANKERS = {"lucene": "ranker:Lucene", "lucene_rm3": "rm3:LuceneRM3"}


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Register each ranker as a generator and as a scorer, and the extractor."""
    for kind in ("generator", "scorer"):
        for name, ranker in _RANKERS.items():
            module = f"nirank_lucene.{ranker.partition(':')[0]}"
            registry.add(kind, name, f"nirank_lucene.{ranker}", tiny=f"{module}:tiny", extra="lucene")
    features = "nirank_lucene.features"
    registry.add("extractor", "lucene_features", f"{features}:LuceneFeatures", tiny=f"{features}:tiny", extra="lucene")
