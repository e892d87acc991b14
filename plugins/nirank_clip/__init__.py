"""Images and texts in one space: CLIP, SigLIP, and dual encoders of one's own."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the components."""
