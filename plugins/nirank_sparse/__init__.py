"""Learned sparse vectors: weights of terms from a masked language model, and an index of them."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoder and the index."""
    splade = "nirank_sparse.splade:SPLADE"
    registry.add("encoder", "splade", splade, tiny="nirank_sparse.tiny:encoder", extra="sparse")
    impact = "nirank_sparse.impact:ImpactIndex"
    registry.add("generator", "impact", impact, tiny="nirank_sparse.impact:tiny", extra="sparse")
