"""Texts as vectors, before transformers: DSSM, which is trained, and DESM, made of the two matrices of word2vec."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoders."""
    for name, target in (("dssm", "nirank_representation.dssm:DSSM"), ("desm", "nirank_representation.desm:DESM")):
        tiny = f"{target.partition(':')[0]}:tiny"
        registry.add("encoder", name, target, tiny=tiny, extra="representation")
