"""BLIP: images and texts in one space, pairs of them judged together, captions written; all trained at once."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_COMPONENTS = (
    ("encoder", "blip", "encoder:Blip"),
    ("encoder", "blip2", "encoder2:Blip2"),
    ("scorer", "blip_itm", "matching:Matching"),
    ("scorer", "blip_lm", "likelihood:Likelihood"),
    ("writer", "blip", "captions:Captions"),
)


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoders, the scorers, the writer, and the collection that is made of two others."""
    for kind, name, target in _COMPONENTS:
        tiny = f"nirank_blip.tiny:{kind}_{name}"
        registry.add(kind, name, f"nirank_blip.{target}", tiny=tiny, extra="blip")
    registry.add("collection", "capfilt", "nirank_blip.capfilt:capfilt", tiny="nirank_blip.capfilt:tiny")
