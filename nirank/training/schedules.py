"""Schedules: settings that change while training runs, such as the weight of a penalty or a temperature.

    anneal = { "loss.gamma" = [1.0, 20.0] }                                            from the first to the last step
    anneal = { "component.flops_documents" = { to = 1e-3, shape = "quadratic", share = 0.33 } }

The key is one of component, loss and sampler, and the name of its setting, a number. The value is the two ends, or a
table: `from` (0 unless given), `to`, `shape`, and the `share` of training after which the value stays at `to`. Of a
setting that is a whole number the value is rounded. The
quadratic shape is that of SPLADE's regulariser (Formal et al., SIGIR 2021). A part with a method `anneal(share)` is
called with the share of training that is done, 0 to 1, before each step, and may change itself as it likes.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal, get_args

from nirank.component import Component
from nirank.errors import BadInput, UnknownName
from nirank.hints import fits
from nirank.plugins.settings import declared

Shape = Literal["linear", "quadratic", "cosine", "exponential"]
#: The parts of a training that a schedule may name.
_PARTS = ("component", "loss", "sampler")
#: Settings that are read once, before the first step: to change them later would change nothing.
_READ_ONCE = ("rate_factor", "seed")
_KEYS = ("from", "to", "shape", "share")


@dataclass(frozen=True)
class Schedule:
    """The way of one setting of one part from `first` to `last`, which it reaches after `share` of training."""

    part: str
    setting: str
    first: float
    last: float
    shape: Shape = "linear"
    share: float = 1.0

    @classmethod
    def of(cls, key: str, value: Any) -> Schedule:
        """From an entry of `anneal`. Raises `BadInput` or `UnknownName` for what is none."""
        part, dot, setting = key.partition(".")
        if not dot or part not in _PARTS or not setting.isidentifier():
            raise BadInput(f"anneal: {key!r} names no setting; component.NAME, loss.NAME or sampler.NAME is expected.")
        table = _table(key, value)
        schedule = cls(
            *(part, setting, float(table.get("from", 0.0)), float(table["to"])),
            shape=table.get("shape", "linear"),
            share=float(table.get("share", 1.0)),
        )
        schedule._check(key)
        return schedule

    def at(self, share: float) -> float:
        """The value after this share of training, 0 to 1."""
        way = min(share / self.share, 1.0)
        if self.shape == "exponential":
            return self.first * (self.last / self.first) ** way
        gone = {"linear": way, "quadratic": way * way, "cosine": (1 - math.cos(math.pi * way)) / 2}[self.shape]
        return self.first + (self.last - self.first) * gone

    def _check(self, key: str) -> None:
        if self.shape not in get_args(Shape):
            raise UnknownName("shape", str(self.shape), get_args(Shape), f"(anneal: {key})")
        if not 0 < self.share <= 1:
            raise BadInput(
                f"anneal: {key}: share = {self.share}; a share of training above 0 and at most 1 is expected."
            )
        if self.shape == "exponential" and not self.first * self.last > 0:
            raise BadInput(f"anneal: {key}: an exponential goes between two numbers of one sign, neither of them 0.")


class Schedules:
    """The schedules of a training. Raises `BadInput` for a setting that the part lacks, or that is no number."""

    def __init__(self, given: Mapping[str, Any] | None, parts: Mapping[str, Component]) -> None:
        self._schedules = [Schedule.of(key, value) for key, value in (given or {}).items()]
        self._parts = parts
        for schedule in self._schedules:
            self._check(schedule)

    def move_to(self, share: float) -> None:
        """Give every setting its value after this share of training, and tell the parts that change themselves."""
        for schedule in self._schedules:
            part, value = self._parts[schedule.part], schedule.at(share)
            setattr(part.target, schedule.setting, round(value) if _is_whole(part, schedule.setting) else value)
        for part in self._parts.values():
            if anneal := part.method("anneal"):
                anneal(share)

    @contextmanager
    def restored(self) -> Iterator[None]:
        """In the block settings change; behind it they are as they were, and so is what a checkpoint says of them."""
        targets = [(self._parts[schedule.part].target, schedule.setting) for schedule in self._schedules]
        before = [getattr(target, setting) for target, setting in targets]
        try:
            yield
        finally:
            for (target, setting), value in zip(targets, before, strict=True):
                setattr(target, setting, value)

    def _check(self, schedule: Schedule) -> None:
        if schedule.part not in self._parts:
            raise BadInput(f"anneal: this training has no {schedule.part}.")
        part = self._parts[schedule.part]
        value = getattr(part.target, schedule.setting, None)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            known = [name for name, own in part.settings.items() if isinstance(own, float)]
            raise UnknownName(f"setting of {part.spec} that is a number", schedule.setting, known, "(anneal)")
        found = getattr(type(part.target), schedule.setting, None)
        derived = isinstance(found, property) and found.fset is None
        if derived or schedule.setting in _READ_ONCE or schedule.setting.startswith("_"):
            raise BadInput(f"anneal: {schedule.setting} of {part.spec} cannot change while training runs.")


def _is_whole(part: Component, setting: str) -> bool:
    """True for a setting of a registered component that takes no fractions, such as how many negatives there are."""
    known = declared(part.entry.resolve()) if part.entry else {}
    return setting in known and not fits(0.5, known[setting].hint)


def _table(key: str, value: Any) -> Mapping[str, Any]:
    if isinstance(value, Sequence) and not isinstance(value, str) and len(value) == 2:
        value = {"from": value[0], "to": value[1]}
    if not isinstance(value, Mapping) or "to" not in value:
        raise BadInput(
            f"anneal: {key} = {value!r}; two numbers, or a table such as {{ from = 0.0, to = 1.0 }}, is expected."
        )
    for name in value:
        if name not in _KEYS:
            raise UnknownName("key", name, _KEYS, f"(anneal: {key})")
    for name in ("from", "to", "share"):
        number = value.get(name, 0.0)
        if isinstance(number, bool) or not isinstance(number, (int, float)) or not math.isfinite(number):
            raise BadInput(f"anneal: {key}: {name} = {number!r} is not a finite number.")
    return value
