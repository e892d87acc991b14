"""Cross-encoders: a query and a document read together by one transformer."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the scorers."""
    registry.add(
        "scorer",
        "crossencoder",
        "nirank_crossencoder.crossencoder:CrossEncoder",
        tiny="nirank_crossencoder.tiny:crossencoder",
        extra="crossencoder",
    )
    cedr = "nirank_crossencoder.cedr"
    registry.add("scorer", "cedr", f"{cedr}:CEDR", tiny=f"{cedr}:tiny", extra="crossencoder")
