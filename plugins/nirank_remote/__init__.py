"""Search by a server on another machine, over HTTP: of nirank, OpenSearch or Elasticsearch."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the generators that ask `nirank serve`, and indexes of other engines."""
    registry.add(
        "generator", "remote", "nirank_remote.search:RemoteSearch", tiny="nirank_remote.tiny:remote", extra="remote"
    )
    for name, target in {"opensearch": "OpenSearch", "elasticsearch": "Elasticsearch"}.items():
        target, tiny = f"nirank_remote.opensearch:{target}", "nirank_remote.tiny:index"
        registry.add("generator", name, target, tiny=tiny, extra="remote")
