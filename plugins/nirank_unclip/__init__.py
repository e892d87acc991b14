"""unCLIP's prior: a query in words becomes the vector of a picture, and finds pictures by it."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoder."""
    registry.add("encoder", "prior", "nirank_unclip.prior:prior", tiny="nirank_unclip.tiny:prior", extra="unclip")
