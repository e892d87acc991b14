"""What a contract check is: a named function that raises `Broken` where a promise is not kept.

Every public function of the modules `scorer`, `extractor`, `generator`, `encoder`, `loss`, `sampler`, `collection`,
`observer` and `plugin` beside this one is a check: its name is the check's, its docstring the promise, its one
argument the `Subject`.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike

from nirank.errors import UnknownName

if TYPE_CHECKING:
    from nirank.testing.subject import Subject

KINDS = ("encoder", "generator", "scorer", "extractor", "loss", "sampler", "collection", "observer", "plugin")


class Broken(AssertionError):
    """A promise that is not kept: what was given, and what came back."""


class Inapplicable(Exception):
    """A promise that this component does not make; the message says why."""


@dataclass(frozen=True)
class Check:
    """One promise that every component of a kind makes."""

    kind: str
    function: Callable[[Subject], None]

    @property
    def name(self) -> str:
        """The kind and the name, as they are shown and as exceptions name them: `scorer/query_alone`."""
        return f"{self.kind}/{self.function.__name__}"

    @property
    def promise(self) -> str:
        """What is promised, in words."""
        return " ".join((inspect.getdoc(self.function) or "").split())


def checks(kind: str) -> list[Check]:
    """The checks of a kind, in the order of its module. Raises `UnknownName` for no such kind."""
    if kind not in KINDS:
        raise UnknownName("kind of check", kind, KINDS)
    module = importlib.import_module(f"nirank.testing.{kind}")
    functions = [value for value in vars(module).values() if inspect.isfunction(value)]
    own = [function for function in functions if function.__module__ == module.__name__]
    return [Check(kind, function) for function in own if not function.__name__.startswith("_")]


def violations(kind: str, target: Any) -> dict[str, str]:
    """The promises of `kind` that an object does not keep, by check, with what was wrong; empty where all is well.

    For trying out an object in an interpreter: `violations("scorer", MyScorer())`.
    """
    from nirank.testing.subject import Subject

    subject = Subject(kind, target)
    found = {check.name: _fault(check, subject) for check in checks(kind)}
    return {name: fault for name, fault in found.items() if fault is not None}


def _fault(check: Check, subject: Subject) -> str | None:
    try:
        check.function(subject)
    except Inapplicable:
        return None
    except Exception as error:  # whatever a component raises breaks a promise
        return f"{type(error).__name__}: {error}"
    return None


def expect(kept: bool | np.bool_, fault: str) -> None:
    """Raise `Broken` with the fault unless the promise is kept."""
    if not kept:
        raise Broken(fault)


def expect_same(found: ArrayLike, expected: ArrayLike, what: str) -> None:
    """Raise `Broken` unless two arrays agree as float32 results do that were added up in another order.

    Allowed is 1e-4 of each value, and 1e-5 of the largest where values cancel to nearly nothing.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    expect(found.shape == expected.shape, f"{what}: the shape is {found.shape} and was {expected.shape}.")
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    wrong = ~np.isclose(found, expected, rtol=1e-4, atol=1e-5 * scale, equal_nan=True)
    if wrong.any():
        first = np.unravel_index(int(np.flatnonzero(wrong)[0]), wrong.shape)
        largest = np.abs(found - expected)[wrong].max()
        raise Broken(f"{what}: {found[first]:.6g} is not {expected[first]:.6g} (largest difference {largest:.3g}).")
