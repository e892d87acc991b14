"""Pictures by text, by the probability of their codes: a transformer over text and codes, and a first stage for it."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_COMPONENTS = (
    ("scorer", "dalle", "dalle:DALLE", "tiny:dalle"),
    ("scorer", "janus", "janus:Janus", "tiny:janus"),
    ("encoder", "dalle_marginals", "marginals:Marginals", "tiny:marginals"),
)


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the scorers and the encoder."""
    for kind, name, target, tiny in _COMPONENTS:
        registry.add(kind, name, f"nirank_dalle.{target}", tiny=f"nirank_dalle.{tiny}", extra="dalle")
