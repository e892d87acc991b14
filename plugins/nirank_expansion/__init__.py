"""Query expansion: pseudo-relevance feedback and word embeddings."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoders of weighted terms."""
    for name, module, target, tiny in (
        ("roy", "roy", "Roy", "tiny"),
        ("roy_post", "roy", "RoyPost", "tiny_post"),
        ("roy_incremental", "roy", "RoyIncremental", "tiny_incremental"),
        ("diaz", "diaz", "Diaz", "tiny"),
        ("rm3", "rm3", "RM3", "tiny"),
        ("rocchio", "rocchio", "Rocchio", "tiny"),
    ):
        made, small = (f"nirank_expansion.{module}:{attribute}" for attribute in (target, tiny))
        registry.add("encoder", name, made, tiny=small, extra="expansion")
