"""Search by a server on another machine, over HTTP."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the generator that asks `nirank serve`."""
    registry.add(
        "generator", "remote", "nirank_remote.search:RemoteSearch", tiny="nirank_remote.tiny:remote", extra="remote"
    )
