"""The hooks of my_ranker, and nothing else: components are named here, and imported when they are first used."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nirank import hookimpl

if TYPE_CHECKING:
    from nirank.plugins import PluginRegistry


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name the components."""
    registry.add("scorer", "my_ranker", "my_ranker.overlap:Overlap", tiny="my_ranker.overlap:tiny")
