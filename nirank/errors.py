"""The errors of nirank.

NirankError
├── BadInput            (ValueError)    a file or value that cannot be used: file, line, what was expected
├── UnknownName         (LookupError)   no such component, collection, measure or setting; lists the nearest
├── CompositionError    (TypeError)     stages that do not fit together
├── MissingDependency   (ImportError)   a package to install, with the command
├── PluginError         (RuntimeError)  a plugin that could not be loaded, or two that claim one name
├── ComponentError      (RuntimeError)  a component that returned what its kind must not return
├── StaleIndex          (RuntimeError)  an index of another corpus, another version, or half written
└── DamagedFile         (BadInput, StaleIndex)  a file that is not as nirank wrote it: how to make it again
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from pathlib import Path

__all__ = [
    "BadInput",
    "ComponentError",
    "CompositionError",
    "DamagedFile",
    "MissingDependency",
    "NirankError",
    "PluginError",
    "StaleIndex",
    "UnknownName",
]


class NirankError(Exception):
    """The root of every error that nirank raises on purpose."""


class BadInput(NirankError, ValueError):
    """A file or a value that cannot be used.

    With `path` and `line` (counted from 1) the message starts as compilers write it: `file:line: `.
    """

    def __init__(self, message: str, path: str | Path | None = None, line: int | None = None) -> None:
        #: The message without the place: for those who should not read where files lie.
        self.message = message
        where = [str(part) for part in (path, line) if part is not None]
        super().__init__(": ".join([":".join(where), message]) if where else message)


class UnknownName(NirankError, LookupError):
    """A name that is not registered. The message lists the nearest known ones."""

    def __init__(self, what: str, name: str, known: Iterable[str], hint: str = "") -> None:
        name, known = str(name), sorted(map(str, known))
        near = difflib.get_close_matches(name, known, n=3, cutoff=0.5)
        if near:
            advice = f"Did you mean {' or '.join(map(repr, near))}?"
        else:
            advice = f"Known: {', '.join(known) or 'none'}."
        super().__init__(" ".join(filter(None, [f"There is no {what} {name!r}.", advice, hint])))


class CompositionError(NirankError, TypeError):
    """Stages that do not fit together, raised when they are composed."""


class MissingDependency(NirankError, ImportError):
    """A package that a component needs and that is not installed, with the command that installs it."""


class PluginError(NirankError, RuntimeError):
    """A plugin that could not be loaded, or two plugins that claim one name."""


class ComponentError(NirankError, RuntimeError):
    """A component returned what its kind must not return: a wrong shape, or scores that are no numbers."""


class StaleIndex(NirankError, RuntimeError):
    """An index made from another corpus, by another version, or never finished."""


class DamagedFile(BadInput, StaleIndex):
    """A file that is not as nirank wrote it: what differs, and how to make it again."""
