"""Query expansion: pseudo-relevance feedback and word embeddings."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoders of weighted terms."""
    for name, module, target, tiny, extra in (
        ("roy", "roy", "Roy", "tiny", "expansion"),
        ("roy_post", "roy", "RoyPost", "tiny_post", "expansion"),
        ("roy_incremental", "roy", "RoyIncremental", "tiny_incremental", "expansion"),
        ("diaz", "diaz", "Diaz", "tiny", "expansion"),
        ("rm3", "rm3", "RM3", "tiny", "lexical"),  # the terms of documents, and no vectors of words
        ("rocchio", "rocchio", "Rocchio", "tiny", "lexical"),
        ("bo1", "divergence", "Bo1", "tiny_bo1", "lexical"),
        ("kl_expansion", "divergence", "KL", "tiny_kl", "lexical"),  # there is a loss called kl
    ):
        made, small = (f"nirank_expansion.{module}:{attribute}" for attribute in (target, tiny))
        registry.add("encoder", name, made, tiny=small, extra=extra)
