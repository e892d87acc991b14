"""Batches that do not fit in memory are halved until they do, instead of ending the run."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the observer."""
    registry.add("observer", "memory", "nirank_memory.split:Splitter", tiny="nirank_memory.split:Splitter")
