"""Learning to rank: features of a pair by name, rankers over features, LETOR's files."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_COMPONENTS = {
    ("extractor", "manual"): "manual:Manual",
    ("extractor", "letor"): "letor_features:GivenFeatures",
    ("scorer", "linear"): "linear:Linear",
    ("scorer", "mlp"): "mlp:MLP",
    ("scorer", "attention"): "attention:Attention",
    ("scorer", "lightgbm"): "trees:LightGBM",
}


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the features, the rankers over them, and the collections of LETOR's files."""
    for (kind, name), target in _COMPONENTS.items():
        module = f"nirank_ltr.{target.partition(':')[0]}"
        registry.add(kind, name, f"nirank_ltr.{target}", tiny=f"{module}:tiny", extra="ltr")
    registry.add("collection", "letor", "nirank_ltr.letor:letor", tiny="nirank_ltr.letor:tiny", extra="ltr")
