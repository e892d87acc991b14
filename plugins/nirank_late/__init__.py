"""Late interaction: a vector for each token, compared by MaxSim."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the encoder, which is also a scorer, and the indexes of token vectors."""
    tiny, extra = "nirank_late.tiny", "late"
    registry.add("encoder", "colbert", "nirank_late.colbert:ColBERT", tiny=f"{tiny}:encoder", extra=extra)
    registry.add("generator", "maxsim", "nirank_late.exact:MaxSimIndex", tiny=f"{tiny}:exact", extra=extra)
    registry.add("generator", "plaid", "nirank_late.plaid:PlaidIndex", tiny="nirank_late.plaid:tiny", extra=extra)
