"""A tracer: time, sizes and peak memory of every stage call, as a table and as a Chrome trace."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the observer."""
    registry.add("observer", "trace", "nirank_trace.trace:Trace", tiny="nirank_trace.trace:tiny")
