"""The hooks of sample_ranker: its components, and a count of what scorers are given."""

from __future__ import annotations

import logging
from collections.abc import Generator
from typing import TYPE_CHECKING, Any

from nirank import hookimpl

if TYPE_CHECKING:
    from nirank import Candidates
    from nirank.plugins import Component, PluginRegistry

log = logging.getLogger("sample_ranker")


@hookimpl
def nirank_register(registry: PluginRegistry) -> None:
    """Name a generator, a scorer and a loss."""
    registry.add("generator", "sample_prefix", "sample_ranker.prefix:Prefix", tiny="sample_ranker.prefix:Prefix")
    registry.add("scorer", "sample_early", "sample_ranker.early:Early", tiny="sample_ranker.early:Early")
    registry.add("loss", "sample_hinge", "sample_ranker.hinge:Hinge", tiny="sample_ranker.hinge:Hinge", extra="loss")


@hookimpl(wrapper=True)
def nirank_score(scorer: Component, candidates: Candidates) -> Generator[None, Any, Any]:
    """Say how many pairs each scorer was given."""
    scores = yield
    log.info("%s scored %d pairs", scorer.name, candidates.pairs)
    return scores
