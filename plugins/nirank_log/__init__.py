"""A logger of finished runs: one JSON line a system, and TensorBoard's files where that is installed."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the observer."""
    registry.add("observer", "log", "nirank_log.log:Log", tiny="nirank_log.log:tiny")
