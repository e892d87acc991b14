"""The code of nirank that something was measured with, as hashes, and what has changed since.

A module counts if it is in memory when the measuring is done. Comments, docstrings and layout do not count, nor do
`__init__` files, which name components and what other modules show.
"""

from __future__ import annotations

import ast
import functools
import importlib.util
import json
import sys
from collections.abc import Mapping
from pathlib import Path

from nirank.files import beside
from nirank.kit import digest

_DOCUMENTED = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def loaded() -> dict[str, str]:
    """The hash of every module of nirank and of its plugins that is in memory, by name."""
    found = ((name, getattr(module, "__file__", None)) for name, module in sorted(sys.modules.items()))
    return {name: _hash(Path(path)) for name, path in found if path and _counts(name, path) and Path(path).is_file()}


def changed(before: Mapping[str, str]) -> list[str]:
    """The modules that do something else than before, or that are gone."""
    return [name for name, known in before.items() if _present(name) != known]


def _counts(name: str, path: str) -> bool:
    package = name.partition(".")[0]
    return (package == "nirank" or package.startswith("nirank_")) and path.endswith(".py") and "__init__" not in path


def _present(name: str) -> str:
    try:
        found = importlib.util.find_spec(name)
    except ModuleNotFoundError:  # of the package that it was in
        return ""
    return _hash(Path(found.origin)) if found and found.origin else ""


@functools.cache
def _hash(path: Path) -> str:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, _DOCUMENTED) and ast.get_docstring(node, clean=False) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return digest(ast.unparse(tree))[:10]


class Older:
    """What was kept of other code: it is made anew, unless `keep` says that it is taken; both are told.

    `taken` has the names of what was taken, each with the modules that have changed.
    """

    def __init__(self) -> None:
        self.keep, self.taken = False, dict[str, list[str]]()

    def takes(self, name: str, code: Mapping[str, str] | None) -> bool:
        """Whether what is kept under a name may be taken; it was made with this code, None where that is not known."""
        different = ["code that was not noted"] if code is None else changed(code)
        if not different:
            return True
        shown = ", ".join(different[:4]) + (f" and {len(different) - 4} more" if len(different) > 4 else "")
        does = "is taken, as --keep says" if self.keep else "is made anew; --keep would take it"
        print(f"{name} is of other code ({shown}) and {does}.", file=sys.stderr, flush=True)
        if self.keep:
            self.taken[name] = different
        return self.keep

    def lines(self) -> list[str]:
        """A sentence on what was taken, for the heading of a table; none where nothing was."""
        if not self.taken:
            return []
        modules = sorted({module for different in self.taken.values() for module in different})
        return [
            f"{len(self.taken)} outcomes or models are older than changes of {', '.join(modules)}: "
            f"{', '.join(self.taken)}."
        ]


#: For all works of a process.
OLDER = Older()


def takes_file(path: Path) -> bool:
    """Whether a file or folder is there whose making was noted, and may be taken."""
    return path.exists() and OLDER.takes(path.name, _noted(path))


def note(path: Path) -> None:
    """Note beside a file or folder the code that it was made with."""
    with beside(_beside(path)) as unfinished:
        unfinished.write_text(json.dumps(loaded()) + "\n", encoding="utf-8")


def _noted(path: Path) -> dict[str, str] | None:
    place = _beside(path)
    return json.loads(place.read_text(encoding="utf-8")) if place.exists() else None


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.code.json")
