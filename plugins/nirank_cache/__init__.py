"""A cache on disk of scores and vectors: what was computed before is looked up, and only the rest computed."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the observer."""
    registry.add("observer", "cache", "nirank_cache.cache:Cache", tiny="nirank_cache.cache:tiny")
