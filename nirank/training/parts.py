"""The loss and the sampler of a training, built from what they may be written as."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nirank.build import build
from nirank.component import Component
from nirank.errors import BadInput
from nirank.pipeline.algebra import Stage
from nirank.training.terms import Term, is_sum, of_table, parse


def built_loss(given: Any) -> Component:
    """The loss: a registered name, what `nirank.load` returned, an object, a table with `use`, or a sum of losses.

    A sum is a text such as `"0.5 * margin_mse + softmax_cross_entropy"`, or a list of losses.
    """
    if (parts := _parts(given, "loss")) is None:
        return _built(given, "loss")
    if (alone := _alone(parts)) is not None:
        return alone
    from nirank.training.summed_losses import SummedLoss  # which imports torch

    return Component("sum", SummedLoss([loss for loss, _ in parts], [weight for _, weight in parts]))


def built_sampler(given: Any) -> Component:
    """The sampler, as a loss is written; a sum is a text such as `"in_batch + mined(bm25 % 50)"`, or a list."""
    if (parts := _parts(given, "sampler")) is None:
        return _built(given, "sampler")
    if (alone := _alone(parts)) is not None:
        return alone
    from nirank.training.summed_samplers import SummedSampler

    return Component("sum", SummedSampler([sampler for sampler, _ in parts], [weight for _, weight in parts]))


def _parts(given: Any, kind: str) -> list[tuple[Component, float]] | None:
    """The parts of a sum with their weights; None for what is none."""
    if isinstance(given, Mapping) and is_sum(str(given.get("use"))):
        return _weighed(of_table(given), kind)
    if isinstance(given, str) and is_sum(given):
        return [(term.build(kind), term.weight) for term in parse(given, kind)]
    if not isinstance(given, (list, tuple)):
        return None
    if not given:
        raise BadInput(f"an empty list has no {kind}: name one.")
    return [part for each in given for part in _parts(each, kind) or [(_built(each, kind), _weight(each))]]


def _alone(parts: list[tuple[Component, float]]) -> Component | None:
    """The only part, which is no sum: `mined(bm25 % 50)` is a sampler as any other."""
    return parts[0][0] if len(parts) == 1 and parts[0][1] == 1 else None


def _weighed(table: Term, kind: str) -> list[tuple[Component, float]]:
    """The parts of a sum that stands in a table, as an experiment has it."""
    if table.settings:
        raise BadInput(f"{table.use!r}: settings of a part stand in its brackets, not beside the sum.")
    return [(term.build(kind), term.weight * table.weight) for term in parse(table.use, kind)]


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
