"""Corpora encoded, and shards of indexes opened, by the machines of a Ray cluster."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the observer."""
    registry.add("observer", "ray", "nirank_ray.cluster:Cluster", tiny="nirank_ray.cluster:Cluster", extra="ray")
