"""Pictures as codes: a discrete autoencoder, DALL-E's own encoder, and the index that both search."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_COMPONENTS = (
    ("encoder", "dvae", "dvae:DVAE", "dvae:tiny"),
    ("encoder", "flava_codebook", "flava:FlavaCodebook", "flava:tiny"),
    ("generator", "codes", "codes:CodesIndex", "codes:tiny"),
)


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoders and the index."""
    for kind, name, target, tiny in _COMPONENTS:
        registry.add(kind, name, f"nirank_dvae.{target}", tiny=f"nirank_dvae.{tiny}", extra="dvae")
