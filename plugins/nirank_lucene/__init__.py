"""Lucene behind nirank's protocols: indexes, BM25, query likelihood, RM3, statistics of terms."""

from __future__ import annotations

from nirank import hookimpl

TYPE_CHECKING = False
if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the components."""
