"""The promises of a plugin: it loads, costs next to nothing until it is used, and describes what it brings."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import json
import keyword
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nirank.faces import FACES
from nirank.plugins import settings
from nirank.plugins.loading import GROUP, active
from nirank.registry import FUNCTION, STAGES, Entry, Plugin
from nirank.testing.promises import Inapplicable, expect
from nirank.testing.subject import Subject

HEAVY = ("jax", "sentence_transformers", "tensorflow", "torch", "transformers")


def loads(subject: Subject) -> None:
    """It can be imported and registered, and implements only hooks that nirank calls."""
    error = subject.target.error
    expect(error is None, f"{type(error).__name__}: {error}")


def imports_nothing_heavy(subject: Subject) -> None:
    """Importing it imports neither torch nor transformers nor their like."""
    imported = set(_probe(_target(subject.target))["imported"])
    heavy = sorted(imported.intersection(HEAVY))
    expect(not heavy, f"importing it imports {', '.join(heavy)}: import it in the module that a component lives in.")


def imports_faces_only(subject: Subject) -> None:
    """It imports from the faces of nirank, whose names are promised, and reaches for nothing behind them."""
    if subject.target.module is None or subject.target.module.__name__.startswith("nirank."):
        raise Inapplicable("it is a part of nirank itself.")
    behind = sorted({found for path in _files(subject.target) for found in _behind_faces(path)})
    expect(
        not behind,
        f"it imports {', '.join(behind)}, which may change; import only what {', '.join(FACES)} have in `__all__`.",
    )


def registers_quietly(subject: Subject) -> None:
    """Registering touches no network and no disk."""
    touched = _probe(_target(subject.target))["touched"]
    expect(not touched, f"importing or registering touches the network or the disk: {'; '.join(touched[:5])}")


def components_have_a_tiny(subject: Subject) -> None:
    """Every component has a `tiny`, so that it can be checked without a download."""
    without = [entry.spec for entry in _entries(subject.target) if entry.tiny is None]
    expect(not without, f"these have no `tiny`: {', '.join(without)}.")


def components_are_documented(subject: Subject) -> None:
    """Every component exists and has a docstring of its own."""
    without = [entry.spec for entry in _entries(subject.target) if not (entry.resolve().__doc__ or "").strip()]
    expect(not without, f"these have no docstring: {', '.join(without)}.")


def names_stand_in_expressions(subject: Subject) -> None:
    """The name of every stage can be written in a pipeline: letters, digits and `_`, and no word of Python's own."""
    names = [entry.name for entry in _entries(subject.target) if entry.kind in STAGES]
    odd = [name for name in names if not name.isidentifier() or keyword.iskeyword(name)]
    expect(not odd, f"{', '.join(map(repr, odd))} cannot stand in an expression such as `bm25 % 100 >> name`.")


def components_are_readable(subject: Subject) -> None:
    """The repr of every component is one line that names its settings by plain values."""
    for entry in _entries(subject.target):
        shown = _with_defaults(entry)
        plain = "\n" not in shown and len(shown) <= 1000 and not re.search(r" at 0x[0-9a-f]+", shown)
        expect(
            plain, f"the settings are shown as {shown[:200]!r}: give them plain values (numbers, texts) as defaults."
        )


def _files(plugin: Plugin) -> Iterator[Path]:
    """The Python files of a plugin: its package's, or its only one."""
    for folder in getattr(plugin.module, "__path__", ()):
        yield from Path(folder).rglob("*.py")
    if not hasattr(plugin.module, "__path__") and plugin.module.__file__:
        yield Path(plugin.module.__file__)


def _behind_faces(path: Path) -> Iterator[str]:
    """The imports of a file from nirank that no face shows."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names = [(alias.name, "") for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and not node.level:
            names = [(node.module or "", alias.name) for alias in node.names]
        else:
            continue
        for module, name in names:
            if module.partition(".")[0] == "nirank" and not _is_shown(module, name):
                yield f"{module}.{name}".rstrip(".")


def _is_shown(module: str, name: str) -> bool:
    if module not in FACES:
        return f"{module}.{name}" in FACES
    return not name or f"{module}.{name}" in FACES or name in importlib.import_module(module).__all__


def _target(plugin: Plugin) -> str:
    """The target of its entry point; for a plugin without one, its module."""
    points = importlib.metadata.entry_points(group=GROUP, name=plugin.name)
    return next((point.value for point in points), plugin.name)


def _entries(plugin: Plugin) -> list[Entry]:
    """The components of a plugin; plain functions have nothing to be built with."""
    return [entry for entry in active().registry.of(plugin) if entry.kind != FUNCTION]


def _with_defaults(entry: Entry) -> str:
    """The component as it shows itself when it is loaded with its defaults."""
    declared = settings.declared(entry.resolve()).values()
    shown = [f"{one.name}={one.default!r}" for one in declared if one.default is not settings.REQUIRED]
    return f"{entry.spec}({', '.join(shown)})"


@functools.cache
def _probe(target: str) -> dict[str, Any]:
    """Probe a plugin in a fresh interpreter; see `nirank.testing.probe`."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(_importable()), "NIRANK_PLUGINS": ""}
    command = [sys.executable, "-m", "nirank.testing.probe", target]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)  # noqa: S603 (our own)
    last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
    expect(done.returncode == 0, f"{target} cannot be imported in a fresh interpreter: {last}")
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def _importable() -> Iterator[str]:
    return (os.path.abspath(place) for place in sys.path)
