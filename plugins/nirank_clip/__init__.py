"""Images and texts in one space: CLIP, SigLIP, and dual encoders of one's own."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoders."""
    registry.add("encoder", "clip", "nirank_clip.clip:CLIP", tiny="nirank_clip.tiny:clip", extra="clip")
    registry.add("encoder", "dual", "nirank_clip.dual:DualEncoder", tiny="nirank_clip.tiny:dual", extra="clip")
