"""The loss and the sampler of a training, built from what they may be written as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nirank.build import build
from nirank.component import Component
from nirank.pipeline.algebra import Stage
from nirank.training.terms import is_sum, of_table, parse


def built_loss(given: Any) -> Component:
    """The loss: a registered name, what `nirank.load` returned, an object, a table with `use`, or a sum of losses.

    A sum is a text such as `"0.5 * margin_mse + softmax_cross_entropy"`, or a list of losses.
    """
    if (parts := _parts(given, "loss")) is None:
        return _built(given, "loss")
    from nirank.training.summed_losses import SummedLoss  # which imports torch

    return Component("sum", SummedLoss([loss for loss, _ in parts], [weight for _, weight in parts]))


def built_sampler(given: Any) -> Component:
    """The sampler, as a loss is written; a sum is a text such as `"in_batch + mined(bm25 % 50)"`, or a list."""
    if (parts := _parts(given, "sampler")) is None:
        return _built(given, "sampler")
    from nirank.training.summed_samplers import SummedSampler

    return Component("sum", SummedSampler([sampler for sampler, _ in parts], [weight for _, weight in parts]))


def _parts(given: Any, kind: str) -> list[tuple[Component, float]] | None:
    """The parts of a sum with their weights; None for what is none."""
    if isinstance(given, str) and is_sum(given):
        return [(term.build(kind), term.weight) for term in parse(given, kind)]
    if not isinstance(given, (list, tuple)):
        return None
    return [part for each in given for part in _parts(each, kind) or [(_built(each, kind), _weight(each))]]


def _weight(given: Any) -> float:
    return of_table(given).weight if isinstance(given, Mapping) else 1.0


def _built(given: Any, kind: str) -> Component:
    if isinstance(given, str):
        return build(given, kinds=(kind,))
    if isinstance(given, Mapping):
        return of_table(given).build(kind)
    if isinstance(given, Stage):
        return given.component
    return given if isinstance(given, Component) else Component(type(given).__name__, given)
