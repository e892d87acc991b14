"""The hooks as they are documented, called and implemented; the examples of the guide as they run."""

from __future__ import annotations

import ast
import functools
import importlib
import inspect
import re
import sys
import tomllib
from pathlib import Path

import pytest

from nirank import hooks
from nirank.testing import violations
from tests import floors

ROOT = Path(__file__).parents[1]
GUIDE = (ROOT / "docs" / "plugins.md").read_text(encoding="utf-8")
HOOKS = [name for name, value in vars(hooks).items() if hasattr(value, f"{hooks.PROJECT}_spec")]


def _trees(*folders):
    for folder in folders:
        for path in sorted((ROOT / folder).rglob("*.py")):
            yield path, floors.tree(path)


def _signature(name):
    return f"{name}{inspect.signature(getattr(hooks, name))}".replace("'", "")


def test_the_guide_has_every_hook_with_its_exact_signature_in_order():
    assert re.findall(r"^### `(.+)`$", GUIDE, re.MULTILINE) == [_signature(name) for name in HOOKS]


def test_the_module_names_every_hook_in_order():
    assert re.findall(r"^ +(nirank_\w+)", hooks.__doc__, re.MULTILINE) == HOOKS


def _called():
    """Names that follow `.hook.`, or are asked for by name, anywhere in the core."""
    for path, tree in _trees("nirank"):
        if path.name == "hooks.py":
            continue
        for node in ast.walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Attribute) and node.value.attr == "hook":
                yield node.attr
            if isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "subset_hook_caller":
                yield ast.literal_eval(node.args[0])


def test_every_hook_is_called_and_nothing_else_is():
    assert set(_called()) == set(HOOKS)


@functools.cache
def _implemented():
    """Pairs of a hook and a file that implements it, in the core and in the plugins that come with it."""
    return [
        (node.name, path)
        for path, tree in _trees("nirank", "plugins")
        for node in ast.walk(tree)
        if isinstance(node, ast.FunctionDef) and any("hookimpl" in ast.dump(mark) for mark in node.decorator_list)
    ]


@pytest.mark.parametrize("hook", HOOKS)
def test_every_hook_is_implemented_at_least_twice(hook):
    assert len({path for name, path in _implemented() if name == hook and "skeleton" not in path.parts}) >= 2


# The guide's examples


def _blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE, re.MULTILINE | re.DOTALL)


def test_the_complete_example_is_short_and_keeps_the_contract(tmp_path, monkeypatch):
    source = _blocks("python")[0]
    assert len(source.splitlines()) <= 20
    (tmp_path / "wordcount.py").write_text(source, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    module = importlib.import_module("wordcount")
    monkeypatch.delitem(sys.modules, "wordcount")
    named = []
    module.nirank_register(type("Registry", (), {"add": lambda self, *entry, **more: named.append((entry, more))})())
    assert named == [(("scorer", "wordcount", "wordcount:WordCount"), {"tiny": "wordcount:WordCount"})]
    assert violations("scorer", module.WordCount()) == {}


def test_the_examples_can_be_read():
    for source in _blocks("python"):
        ast.parse(source)
    project, options = map(tomllib.loads, _blocks("toml"))
    assert project["project"]["entry-points"][hooks.PROJECT] == {"wordcount": "wordcount"}
    assert options["tool"]["pytest"]["ini_options"]["nirank_plugins"] == ["wordcount"]


def test_a_wrapper_and_middleware_like_those_of_the_guide_work(capsys, corpus, overlap):
    import nirank
    from nirank.plugins import active

    source = [block for block in _blocks("python") if block.startswith("@hookimpl")]
    names = {"hookimpl": nirank.hookimpl, "time": importlib.import_module("time")}
    for block in source:
        exec(compile(block, "plugins.md", "exec"), names)
    plugin = type("Plugin", (), {name: staticmethod(names[name]) for name in ("nirank_wrap", "nirank_score")})()
    active().manager.register(plugin)
    remote = _Remote()
    try:
        found = (nirank.load(overlap) >> nirank.load(remote, "remote")).search("bcd", corpus)
    finally:
        active().manager.unregister(plugin)
    assert remote.calls == 2
    assert "remote: 3 pairs in" in capsys.readouterr().out
    assert found[0][0].tolist() == [0, 1, 2]


class _Remote:
    """A scorer that is not reached at the first call."""

    calls = 0

    def score(self, queries, candidates):
        self.calls += 1
        if self.calls == 1:
            raise ConnectionError
        return -candidates.docs.astype("float32")
