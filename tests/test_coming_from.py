"""The page for people who come from another library: what its tables say of nirank is there, and can be written."""

from __future__ import annotations

import ast
import importlib
import inspect
import re

import pytest
import typer

import nirank
from nirank import traits
from nirank.cli import app
from nirank.errors import NirankError
from nirank.evaluation import check_measures
from nirank.pipeline import Ranking, Stage
from nirank.plugins import Component, Entry, active
from nirank.plugins.settings import declared
from nirank.training import Options
from tests import documents

PAGE = (documents.DOCS / "coming-from.md").read_text(encoding="utf-8")
#: What the letters of an expression stand for.
LETTERS = {"a": "bm25", "b": "ql", "c": "tfidf"}
METHODS = (
    "encode",
    "encode_documents",
    "generate",
    "score",
    "extract",
    "rewrite",
    "build",
    "open",
    "learn",
    "values",
    "repr",
)


def _rows():
    """The cells of the tables headed "nirank", and of what stands beside them."""
    for table in re.findall(
        r"^\| [\w-]+(?: \([^|]*\))? \| nirank \| difference \|\n\|[-|]+\|\n((?:\|.*\n)+)", PAGE, re.M
    ):
        for line in table.splitlines():
            theirs, ours, difference = (cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1])
            yield theirs, ours.replace(r"\|", "|"), difference


def _spans():
    return [(theirs, span) for theirs, ours, _ in _rows() for span in re.findall(r"`([^`]+)`", ours)]


def _names():
    """Every name that a cell may say: of components, settings, options, arguments, traits, hooks and methods."""
    registered = list(active().registry)
    settings = {name for entry in registered for name in declared(entry.resolve())}
    arguments = {*inspect.signature(nirank.fit).parameters, *inspect.signature(nirank.compare).parameters}
    hooks = {name for name in vars(importlib.import_module("nirank.hooks")) if name.startswith("nirank_")}
    computed = {*traits.COMPUTED, *traits.Traits.__dataclass_fields__, *Options.__dataclass_fields__}
    methods = {*METHODS, *(name for name in dir(Ranking) if not name.startswith("_"))}
    return {entry.name for entry in registered} | settings | arguments | hooks | computed | methods | {"field"}


def _stage(name):
    """A small component of that name."""
    if name == "f":
        return Stage(Component("f", len, {}, Entry("function", "f", "builtins:len", active().known[0])))
    name = LETTERS.get(name, name)
    entry = active().registry.find(name, ("encoder", "generator", "scorer", "extractor", "writer"))
    return nirank.load(name) if name in LETTERS.values() else nirank.load(entry.resolve_tiny()(), name)


def _parsed(text):
    tree = ast.parse(text, mode="eval")
    called = {node.func for node in ast.walk(tree) if isinstance(node, ast.Call)}
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and node not in called}
    return nirank.parse(text, {name: _stage(name) for name in names})


def _is_measure(text):
    try:
        check_measures([text])
    except NirankError:
        return False
    return True


def _is_attribute(text):
    """True for `nirank.load` and `nirank_ltr.importance.ablation`."""
    place, _, name = text.rpartition(".")
    return hasattr(importlib.import_module(place), name)


def _is_there(text):
    if text.startswith("--with "):
        return active().registry.find(text.removeprefix("--with "), ("observer",)) is not None
    if text.startswith("nirank "):
        return text.removeprefix("nirank ") in typer.main.get_command(app).commands
    if re.fullmatch(r"nirank\w*\.[\w.]+", text):
        return _is_attribute(text)
    if re.search(r">>|%| & |\^|\w\(", text) and not _is_measure(text):
        return _parsed(text) is not None
    return text in _names() or _is_measure(text)


def test_the_tables_are_found():
    assert len([*_rows()]) == len(re.findall(r"^\| (?!.*\| nirank \|)(?!---)", PAGE, re.M)) > 80


@pytest.mark.parametrize(("theirs", "ours"), _spans())
def test_what_a_table_says_of_nirank_is_there(theirs, ours):
    assert _is_there(ours), f"{theirs}: {ours}"


def test_what_is_not_there_is_told():
    assert not _is_there("thresholding")
    with pytest.raises(NirankError):
        _is_there("a % 10 >> xgboost")


def test_a_cell_names_something_or_says_that_there_is_nothing():
    silent = [(theirs, ours) for theirs, ours, _ in _rows() if "`" not in ours and not ours.startswith("not ")]
    assert silent == [("ties: by document id", "by position in the corpus")]
