"""Contract checks: named functions that raise `Broken` where a promise is not kept.

Every public function of the modules `scorer`, `extractor`, `generator`, `encoder`, `rewriter`, `writer`, `loss`,
`sampler`, `collection`, `observer` and `plugin` beside this one is a check: its name is the check's, its docstring the
promise, its one argument the `Subject`. Those of losses are in `loss_of_vectors`, too.
"""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable
from dataclasses import dataclass
from types import ModuleType
from typing import Any

from nirank.errors import UnknownName
from nirank.testing.promises import Inapplicable
from nirank.testing.subject import Subject

KINDS = (
    *("encoder", "generator", "scorer", "extractor", "rewriter", "writer"),
    *("loss", "sampler", "collection", "observer", "plugin"),
)

#: Where the checks of a kind are, unless in the module of its name.
_MODULES = {"loss": ("loss", "loss_of_vectors")}


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
        """The promise, in words."""
        return " ".join((inspect.getdoc(self.function) or "").split())


def checks(kind: str) -> list[Check]:
    """The checks of a kind, in the order of its module. Raises `UnknownName` for no such kind."""
    if kind not in KINDS:
        raise UnknownName("kind of check", kind, KINDS)
    modules = [importlib.import_module(f"nirank.testing.{name}") for name in _MODULES.get(kind, (kind,))]
    return [Check(kind, function) for module in modules for function in _own(module)]


def _own(module: ModuleType) -> list[Callable[[Subject], None]]:
    """The public functions of a module itself."""
    functions = [value for value in vars(module).values() if inspect.isfunction(value)]
    return [each for each in functions if each.__module__ == module.__name__ and not each.__name__.startswith("_")]


def violations(kind: str, target: Any) -> dict[str, str]:
    """The promises of `kind` that an object does not keep, by check, with what was wrong; empty where all is well.

    For trying out an object in an interpreter: `violations("scorer", MyScorer())`.
    """
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
