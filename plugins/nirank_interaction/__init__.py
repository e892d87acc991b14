"""Interaction models: exact-match patterns, and matrices of the similarities of words."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry

_MODELS = {
    "drmm": "DRMM",
    "drmm_tks": "DRMMTopK",
    "duet": "Duet",
    "duet_local": "DuetLocal",
    "matchpyramid": "MatchPyramid",
    "knrm": "KNRM",
    "conv_knrm": "ConvKNRM",
    "pacrr": "PACRR",
}


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the scorers."""
    for name, model in _MODELS.items():
        home = f"nirank_interaction.{name}"
        registry.add("scorer", name, f"{home}:{model}", tiny=f"{home}:tiny", extra="interaction")
