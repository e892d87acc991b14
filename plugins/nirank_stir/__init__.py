"""Images found by images: encoders trained by triplets, reranking of pairs, and postprocessing."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_COMPONENTS = (
    ("encoder", "siamese", "siamese:Siamese", "siamese:tiny"),
    ("encoder", "vit_triplet", "siamese:Siamese", "siamese:tiny"),
    ("scorer", "stir", "stir:Stir", "stir:tiny"),
    ("scorer", "stacked_stir", "stacked:StackedStir", "stacked:tiny"),
    ("generator", "alpha_qe", "alpha_qe:AlphaQE", "alpha_qe:tiny"),
    ("generator", "dba", "alpha_qe:dba", "alpha_qe:tiny_dba"),
    ("generator", "k_reciprocal", "k_reciprocal:KReciprocal", "k_reciprocal:tiny"),
    ("sampler", "categories", "categories:Categories", "categories:tiny"),
    ("sampler", "confused", "confused:Confused", "confused:tiny"),
)


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoder, the scorer, the postprocessors and the samplers."""
    for kind, name, target, tiny in _COMPONENTS:
        registry.add(kind, name, f"nirank_stir.{target}", tiny=f"nirank_stir.{tiny}", extra="stir")
