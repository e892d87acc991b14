"""The extra that each component names brings what its module imports; `benchmarks/extras.py` installs each alone."""

from __future__ import annotations

import ast
import functools
import importlib
import importlib.metadata
import re
import sys
import tomllib

import pytest

from nirank.plugins import active
from tests import floors

PROJECT = tomllib.loads((floors.ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
FILES = {floors.module_of(path): path for path in floors.files("nirank", "plugins")}
OWN = [entry for entry in active().registry if entry.plugin.distribution == "nirank"]


@functools.cache
def _imports(module):
    """What a module imports when it is imported itself: our own modules, and the roots of others."""
    found = set()
    for node in ast.parse(FILES[module].read_text(encoding="utf-8")).body:
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            found |= {_home(node.module, alias.name) for alias in node.names}
    return {name if name in FILES else name.partition(".")[0] for name in found}


def _home(module, name):
    """The module that `from module import name` imports: a face imports what it shows, and no more."""
    if f"{module}.{name}" in FILES or module not in FILES:
        return f"{module}.{name}" if f"{module}.{name}" in FILES else module
    homes = getattr(importlib.import_module(module), "_HOMES", {})
    return next((home for home, names in homes.items() if name in names and home != module), module)


def _wanted(module):
    """The roots of all packages that importing a module imports, besides Python's own and ours."""
    seen, waiting = set(), [module]
    while waiting:
        new = _imports(waiting.pop()) - seen
        seen |= new
        waiting += new & FILES.keys()
    return seen - FILES.keys() - set(sys.stdlib_module_names) - {"nirank"}


def _plain(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _brings(extra, packages):
    core = [re.split(r"[\s\[<>=!~;]", line, maxsplit=1)[0] for line in PROJECT["dependencies"]]
    named = packages(extra, PROJECT["optional-dependencies"]) if extra else ()
    return set(map(_plain, [*core, *named]))


@pytest.mark.parametrize("entry", OWN, ids=lambda entry: entry.spec)
def test_a_component_names_the_extra_that_brings_what_it_imports(entry, benchmark):
    assert entry.extra is None or entry.extra in PROJECT["optional-dependencies"]
    brought = _brings(entry.extra, benchmark("extras").packages)
    distributions = importlib.metadata.packages_distributions()
    wanted = _wanted(entry.target.partition(":")[0])
    assert {name for name in wanted if not {_plain(each) for each in distributions[name]} & brought} == set()


def test_what_a_module_imports_is_seen_through_faces_and_other_modules():
    assert {"regex", "Stemmer", "numpy"} <= _wanted("nirank_lexical.rankers")
    assert "torch" in _wanted("nirank_losses.listwise")
    assert not {"torch", "numba"} & _wanted("nirank_datasets.folders")


def test_types_are_told_to_those_who_use_us():
    typed = {path.parent.name for path in floors.ROOT.glob("*/py.typed")}
    typed |= {path.parent.name for path in (floors.ROOT / "plugins").glob("*/py.typed")}
    assert typed == {"nirank", *(path.parent.name for path in (floors.ROOT / "plugins").glob("*/__init__.py"))}
