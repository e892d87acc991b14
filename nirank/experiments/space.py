"""The table [tune] of an experiment: which settings are tried, with which values, and how these are chosen.

[tune]
collection = { use = "emoji", split = "dev" }     # what is measured on; never the collection of the experiment
bm25.k1 = [0.6, 0.9, 1.2]                         # the values of a setting of the stage bm25
bm25.b = { low = 0.1, high = 0.9, step = 0.1 }    # or a range: by steps, or anywhere in it; `log = true` by factors
numbers.weight = { low = 0.0, high = 1.0 }        # a number that pipelines name, of the table [numbers]
method = "random"                                 # "grid" (every combination) unless given, "random", "tpe"
trials = 50                                       # how many combinations are tried; of a grid, all
halving = 3                                       # only each third goes on to three times as many queries
measure = "AP"                                    # the first of [evaluate] unless given
pipeline = "fused"                                # the first in which everything stands unless given
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast, get_args

import numpy as np

from nirank.build import table_of
from nirank.errors import BadInput, UnknownName
from nirank.evaluation.evaluating import check_measures
from nirank.hints import fits, readable
from nirank.pipeline.named_numbers import NUMBERS
from nirank.plugins.loading import active
from nirank.plugins.settings import Setting, declared
from nirank.registry import STAGES, TRAINED

Method = Literal["grid", "random", "tpe"]
_OPTIONS = ("collection", "method", "trials", "halving", "measure", "pipeline")
#: Combinations of a grid beyond which it is a mistake rather than a wish.
_MOST = 100_000


@dataclass(frozen=True)
class Choice:
    """Values that are tried as they are."""

    values: tuple[Any, ...]

    def __len__(self) -> int:
        return len(self.values)

    def draw(self, random: np.random.Generator) -> Any:
        """One of the values."""
        return self.values[int(random.integers(len(self.values)))]

    def edge(self, value: Any) -> str | None:
        """No value is beyond another: None."""
        numeric = all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in self.values)
        return _edge(value, min(self.values), max(self.values)) if numeric and len(self.values) > 2 else None


@dataclass(frozen=True)
class Range:
    """Numbers from `low` to `high`, both among them; whole ones where both are."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    def __post_init__(self) -> None:
        if not (_is_number(self.low) and _is_number(self.high) and self.low < self.high):
            raise BadInput(
                f"low = {self.low!r} and high = {self.high!r}: two numbers are expected, the lower one first."
            )
        if self.step is not None and not (_is_number(self.step) and 0 < self.step <= self.high - self.low):
            raise BadInput(f"step = {self.step!r}: a number up to high - low is expected.")
        if not isinstance(self.log, bool) or (self.log and (self.low <= 0 or self.step is not None)):
            raise BadInput("log = true is for a range above 0 and without a step.")

    @property
    def whole(self) -> bool:
        """True for whole numbers alone."""
        return all(isinstance(each, int) for each in (self.low, self.high, self.step or 1))

    def __len__(self) -> int:
        """The number of its steps, both ends counted."""
        return math.floor((self.high - self.low) / (self.step or 1) + 1e-9) + 1

    def values(self) -> tuple[float, ...]:
        """All numbers of the range, by its steps; whole ones by steps of 1 where it has none."""
        step = self.step or 1
        return tuple(self._as_written(self.low + place * step) for place in range(len(self)))

    def draw(self, random: np.random.Generator) -> float:
        """A number of the range, each as likely as any other; its logarithm where that is asked for."""
        if self.step or (self.whole and not self.log):
            return self._as_written(self.low + int(random.integers(len(self))) * (self.step or 1))
        if not self.log:
            return float(random.uniform(self.low, self.high))
        drawn = math.exp(random.uniform(math.log(self.low), math.log(self.high)))
        return self._as_written(min(max(drawn, self.low), self.high))

    def edge(self, value: Any) -> str | None:
        """Say so where a value is at an end of the range."""
        return _edge(value, self.low, self.high)

    def _as_written(self, value: float) -> float:
        return round(value) if self.whole else float(f"{value:.12g}")


Dimension = Choice | Range


@dataclass(frozen=True)
class Tunable:
    """The tunable parts of an experiment: the names in each pipeline, in order; tables of stages; numbers."""

    names: Mapping[str, Sequence[str]]
    stage: Mapping[str, Mapping[str, Any]]
    numbers: Mapping[str, float]

    @property
    def stage_names(self) -> set[str]:
        """The names of stages in the pipelines."""
        return {name for names in self.names.values() for name in names} - self.numbers.keys()


@dataclass(frozen=True)
class Tuning:
    """A table [tune], checked: what is tried, and how."""

    space: dict[str, Dimension]
    pipeline: str
    measure: str
    method: Method
    trials: int
    halving: int | None
    collection: dict[str, Any] | None

    @classmethod
    def of(cls, table: Mapping[str, Any], tunable: Tunable, measure: str = "nDCG@10") -> Tuning:
        """Read and check the table of an experiment, whose first measure is `measure`.

        Raises `BadInput` or `UnknownName`, each with what is accepted.
        """
        options = {key: value for key, value in table.items() if key in _OPTIONS}
        given = dict(_settings(table))
        if not given:
            raise BadInput("there is nothing to tune: name settings and their values, `bm25.k1 = [0.6, 0.9, 1.2]`.")
        space = {name: _dimension(name, values) for name, values in given.items()}
        for name in space:
            _check_owner(tunable, name)
        pipeline = _pipeline(tunable, space, options.get("pipeline"))
        space = {name: space[name] for name in _slowest_first(space, tunable.names[pipeline])}
        method, trials = _method(space, options)
        return cls(
            space=space,
            pipeline=pipeline,
            measure=_measure(options.get("measure", measure)),
            method=method,
            trials=trials,
            halving=_halving(options.get("halving"), method),
            collection=table_of(options["collection"], "collection") if "collection" in options else None,
        )

    def check(self, stage: Mapping[str, Mapping[str, Any]]) -> None:
        """Raise for settings that the components of the stages do not have, and for values of another type."""
        for name, dimension in self.space.items():
            owner, _, setting = name.partition(".")
            use = stage.get(owner, {}).get("use", owner)
            if owner != NUMBERS and setting != "use" and not use.startswith(TRAINED):
                known = declared(active().registry.find(use, STAGES).resolve())
                _check_values(name, setting, dimension, known)

    def points(self, seed: int) -> list[dict[str, Any]]:
        """The combinations that are tried, of a grid or at random; those of "tpe" are only known one by one."""
        if self.method == "grid":
            columns = (_values(dimension) for dimension in self.space.values())
            return [dict(zip(self.space, row, strict=True)) for row in itertools.product(*columns)]
        return [self._drawn(np.random.default_rng([seed, number])) for number in range(self.trials)]

    def _drawn(self, random: np.random.Generator) -> dict[str, Any]:
        return {name: dimension.draw(random) for name, dimension in self.space.items()}


def _settings(table: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """The settings to be tuned, `STAGE.SETTING`, written as one key or as a table within another."""
    for key, value in table.items():
        if key in _OPTIONS:
            continue
        if "." in key:
            yield key, value
        elif isinstance(value, Mapping):
            yield from ((f"{key}.{setting}", values) for setting, values in value.items())
        else:
            raise UnknownName("key", key, _OPTIONS, "Settings to be tuned are written STAGE.SETTING = [VALUES].")


def _dimension(name: str, values: Any) -> Dimension:
    if isinstance(values, Mapping):
        known = ("low", "high", "step", "log")
        for key in values:
            if key not in known:
                raise UnknownName("key", key, known, f"(of the range {name})")
        if not {"low", "high"} <= values.keys():
            raise BadInput(f"{name} = {dict(values)!r}: a range has low and high.")
        try:
            return Range(**values)
        except BadInput as error:
            raise BadInput(f"{name}: {error}") from None
    if isinstance(values, (str, bytes)) or not isinstance(values, Sequence):
        raise BadInput(f"{name} = {values!r}: a list of values, or a range {{ low = ..., high = ... }}, is expected.")
    if not values:
        raise BadInput(f"{name} = []: there is no value to try.")
    if repeated := [value for place, value in enumerate(values) if value in values[:place]]:
        raise BadInput(f"{name}: {repeated[0]!r} stands twice in the list.")
    return Choice(tuple(values))


def _check_owner(tunable: Tunable, name: str) -> None:
    owner, _, setting = name.partition(".")
    if owner == NUMBERS:
        if setting not in tunable.numbers:
            raise UnknownName("number", setting, tunable.numbers, "Give it a value in [numbers].")
    elif owner not in tunable.stage_names:
        raise UnknownName("stage", owner, tunable.stage_names, f"(of {name})")


def _check_values(name: str, setting: str, dimension: Dimension, known: Mapping[str, Setting]) -> None:
    if setting not in known:
        raise UnknownName(f"setting of {name.partition('.')[0]}", setting, known)
    kind = known[setting].hint
    for value in dimension.values if isinstance(dimension, Choice) else (dimension.low, dimension.high):
        if not fits(value, kind):
            raise BadInput(f"{name} = {value!r} is not of the type {readable(kind)}.")


def _pipeline(tunable: Tunable, space: Mapping[str, Dimension], given: Any) -> str:
    """The pipeline that is measured: the one that is named, or the first with everything that is tuned."""
    wanted = {_part_of(name) for name in space}
    if given is None:
        having = (name for name, names in tunable.names.items() if wanted <= {*names})
        if (found := next(having, None)) is None:
            raise BadInput(
                f"no pipeline has all that is to be tuned ({', '.join(sorted(wanted))}): tune fewer at once."
            )
        return found
    if given not in tunable.names:
        raise UnknownName("pipeline", str(given), tunable.names)
    if missing := sorted(wanted - {*tunable.names[given]}):
        raise BadInput(f"{missing[0]} is not in the pipeline {given}.")
    return str(given)


def _part_of(name: str) -> str:
    """The name in a pipeline: of the stage whose setting it is, or of the number itself."""
    owner, _, setting = name.partition(".")
    return setting if owner == NUMBERS else owner


def _slowest_first(space: Mapping[str, Dimension], names: Sequence[str]) -> list[str]:
    """The settings by the place of their stage in the pipeline, numbers last: what comes first varies slowest.

    So neighbours in a grid have as much in common as can be, and that is computed once.
    """
    return sorted(space, key=lambda name: (name.startswith(f"{NUMBERS}."), names.index(_part_of(name))))


def _method(space: Mapping[str, Dimension], options: Mapping[str, Any]) -> tuple[Method, int]:
    method = options.get("method", "grid")
    if method not in get_args(Method):
        raise UnknownName("method", str(method), get_args(Method))
    trials = options.get("trials")
    if method != "grid":
        _expect_count("trials", trials, 1, f"how many combinations method = {method!r} tries")
        return cast("Method", method), int(trials or 0)
    for name, dimension in space.items():
        if isinstance(dimension, Range) and dimension.step is None and not (dimension.whole and not dimension.log):
            raise BadInput(f'{name}: a grid needs a step, or a list of values; or set method = "random" and trials.')
    size = math.prod(map(len, space.values()))
    if trials is not None:
        raise BadInput(f'trials = {trials!r} is for method = "random" or "tpe": a grid tries all {size:,}.')
    if size > _MOST:
        raise BadInput(f'the grid has {size:,} combinations, more than {_MOST:,}: set method = "random" and trials.')
    return "grid", size


def _halving(given: Any, method: Method) -> int | None:
    if given is not None:
        _expect_count("halving", given, 2, "the share that goes on, one in so many,")
        if method == "tpe":
            raise BadInput('halving is for the methods "grid" and "random".')
    return None if given is None else int(given)


def _measure(given: Any) -> str:
    if not isinstance(given, str):
        raise BadInput(f"measure = {given!r} is not the name of one.")
    check_measures([given])
    return given


def _expect_count(name: str, value: Any, least: int, what: str) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise BadInput(f"{name} = {value!r}: {what} is a whole number from {least} on.")


def _values(dimension: Dimension) -> tuple[Any, ...]:
    return dimension.values if isinstance(dimension, Choice) else dimension.values()


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _edge(value: float, low: float, high: float) -> str | None:
    return "smallest" if value == low else "largest" if value == high else None
