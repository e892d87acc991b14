"""Images found by images: encoders trained by triplets, reranking of pairs, and postprocessing."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the components."""
