"""Who may import whom, what an import costs, what is public, and how long functions are."""

from __future__ import annotations

import ast
import importlib
import inspect
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import nirank
from nirank.faces import FACES
from nirank.plugins import active
from nirank.testing.plugin import HEAVY
from tests import floors

CORE = floors.files("nirank")
PLUGINS = sorted(path.parent.name for path in (floors.ROOT / "plugins").glob("*/__init__.py"))
PLUGIN_FILES = floors.files("plugins")
EXPENSIVE = {*HEAVY, "pandas", "scipy", "pyarrow", "numba", "ir_measures", "pytrec_eval"}


def _imports(path):
    """The modules that a file imports anywhere, with what it takes from them."""
    for node in ast.walk(floors.tree(path)):
        if isinstance(node, ast.Import):
            yield from ((alias.name, "") for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (("." * node.level + (node.module or ""), alias.name) for alias in node.names)


# Who may import whom


@pytest.mark.parametrize("path", CORE, ids=floors.module_of)
def test_the_core_imports_no_plugin(path):
    assert not {module.partition(".")[0] for module, _ in _imports(path)} & set(PLUGINS)


@pytest.mark.parametrize("path", PLUGIN_FILES, ids=lambda path: "/".join(path.parts[-2:]))
def test_a_plugin_imports_faces_of_nirank_and_never_another_plugin(path):
    others = set(PLUGINS) - {path.parent.relative_to(floors.ROOT / "plugins").parts[0]}
    for module, name in _imports(path):
        assert module.partition(".")[0] not in others
        if module.partition(".")[0] == "nirank":
            assert module in FACES, f"{module} is behind a face"
            assert not name or name in importlib.import_module(module).__all__, (
                f"{module}.{name} is not shown by that face"
            )


def test_plugins_import_from_few_faces(record_property):
    used = {
        (module, name)
        for path in PLUGIN_FILES
        for module, name in _imports(path)
        if module.partition(".")[0] == "nirank"
    }
    faces = {module for module, _ in used}
    record_property("faces", f"{len(used)} names from {len(faces)} faces")
    assert len(faces) <= 12


def test_nothing_imports_in_a_circle():
    assert floors.circles(floors.imports("nirank", "plugins")) == []
    assert floors.circles(floors.rooms()) == []


def test_rooms_import_what_the_map_says():
    may, does = floors.documented(), floors.rooms()
    assert may == does
    heights = floors.floors(does)
    assert all(heights[other] < heights[room] for room, others in may.items() for other in others)


def test_no_room_imports_a_face():
    graph = floors.imports("nirank")
    shown = {face for face in FACES if (floors.ROOT / face.replace(".", "/") / "__init__.py").exists()} - {
        "nirank.testing"
    }
    assert {module: others & shown for module, others in graph.items() if others & shown} == {}


@pytest.mark.parametrize("face", FACES)
def test_a_face_shows_names_that_exist_and_that_hide_no_module(face):
    module = importlib.import_module(face)
    for name in module.__all__:
        assert hasattr(module, name)
    if hasattr(module, "__path__"):
        modules = {path.stem for path in Path(module.__path__[0]).iterdir()}
        shown = {name for name in module.__all__ if not inspect.ismodule(getattr(module, name))}
        assert not shown & modules  # importing a module makes it an attribute of its package


def test_only_the_check_plugin_needs_pytest():
    users = {
        floors.module_of(path)
        for path in CORE
        if any(module.partition(".")[0] == "pytest" for module, _ in _imports(path))
    }
    assert users == {"nirank.testing", "nirank.testing.nodes"}


# What an import costs


def _imported_by(*arguments):
    """The modules in memory after a fresh interpreter has run `arguments`."""
    report = "import atexit, json, sys; atexit.register(lambda: print('\\n' + json.dumps(sorted(sys.modules))))\n"
    done = subprocess.run(
        [sys.executable, "-c", report + "\n".join(arguments)],
        capture_output=True,
        text=True,
        check=False,
        cwd=floors.ROOT,
    )
    assert done.returncode == 0, done.stderr
    return set(json.loads(done.stdout.splitlines()[-1]))


def _command(*arguments):
    return (f"sys.argv = {['nirank', *arguments]!r}", "from nirank.cli import main", "main()")


def test_importing_nirank_imports_nothing_else():
    assert not {"numpy", "pluggy", "rich", "typer"} & _imported_by("import nirank")
    assert "nirank.plugins" not in _imported_by("import nirank")


@pytest.mark.parametrize("arguments", [["--help"], ["plugins"], ["run", "--help"]], ids=" ".join)
def test_the_command_line_imports_nothing_expensive(arguments):
    assert not EXPENSIVE & _imported_by(*_command(*arguments))


def test_an_experiment_on_words_imports_nothing_that_only_training_needs(tmp_path):
    (tmp_path / "corpus.jsonl").write_text('{"_id": "d1", "text": "a cat"}\n{"_id": "d2", "text": "a dog"}\n')
    (tmp_path / "queries.jsonl").write_text('{"_id": "q", "text": "cat"}\n')
    (tmp_path / "qrels.txt").write_text("q 0 d1 1\n")
    table = {"collection": f"beir:{tmp_path}", "pipelines": {"bm25": "bm25"}, "evaluate": {"measures": ["AP"]}}
    imported = _imported_by("import nirank", f"assert nirank.run({table!r}).systems['bm25'].evaluation['AP'] == 1")
    assert not {*HEAVY, "accelerate"} & imported


@pytest.mark.parametrize("plugin", PLUGINS)
def test_importing_a_plugin_imports_nothing_expensive(plugin):
    assert not EXPENSIVE & _imported_by(f"import {plugin}")


#: Imports each of `names` in a process of its own, which begins where none of nirank is imported yet.
_ALONE = """
import gc, importlib, os, numpy, pluggy, pytest, rich.console, rich.table, typer  # not ours: once is enough
from importlib.machinery import SourceFileLoader

for library in libraries:
    try:
        importlib.import_module(library)
    except ImportError:
        pass

code = {name: SourceFileLoader(name, path).get_code(name) for name, path in names.items()}  # read and compiled once
read = SourceFileLoader.get_code
SourceFileLoader.get_code = lambda self, name: code[name] if name in code else read(self, name)
gc.freeze()
for name in names:
    child = os.fork()
    if not child:
        try:
            assert not [module for module in sys.modules if module.partition('.')[0] == 'nirank']
            __import__(name)
        except BaseException as error:
            os.write(2, f'{name}: {error!r}\\n'.encode())
        os._exit(0)
    os.waitpid(child, 0)
"""


def _complaints_alone(names, folder=floors.ROOT, libraries=()):
    """What is written to stderr where each module, a name and its file, is imported by itself, warnings as errors.

    The libraries, where they are installed, are imported once and before.
    """
    path = os.pathsep.join([str(folder), str(floors.ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", f"import sys\nnames, libraries = {names!r}, {libraries!r}\n{_ALONE}"],
        capture_output=True,
        text=True,
        check=True,
        env={**os.environ, "PYTHONPATH": path},
    )
    return done.stderr


def test_each_core_module_can_be_imported_alone_and_without_warnings():
    names = {floors.module_of(path): str(path) for path in CORE if path.name != "__main__.py"}
    assert len(names) > 20
    libraries = ("torch", "accelerate", "fastapi", "mcp.server", "prometheus_client", "pydantic", "regex", "tomllib")
    assert _complaints_alone(names, libraries=libraries) == ""


def test_a_module_that_cannot_be_imported_alone_is_named(tmp_path):
    texts = {
        "sound": "import nirank.hashing",
        "leaning": "import nirank\nnirank.hashing.digest",  # on whoever has imported that: here it is the one before
        "warning": "import warnings\nwarnings.warn('old', stacklevel=1)",
    }
    for name, text in texts.items():
        (tmp_path / f"{name}.py").write_text(text)
    leaning, warning = _complaints_alone({name: str(tmp_path / f"{name}.py") for name in texts}, tmp_path).splitlines()
    assert leaning.startswith("leaning: AttributeError(")
    assert warning == "warning: UserWarning('old')"


def test_core_modules_import_little_at_once():
    doors = {"nirank.cli": {"typer"}, "nirank.experiments.report": {"rich"}}
    doors |= {"nirank.testing": {"pytest"}, "nirank.testing.nodes": {"pytest"}}
    doors |= {
        "nirank.kit.text.stemming": {"Stemmer"},
        "nirank.kit.text.word_breaks": {"regex"},
        "nirank.kit.openvino": {"torch"},
        "nirank.kit.remembered": {"torch"},
    }
    rooms = {"training": {"accelerate", "safetensors", "torch"}, "vision": {"PIL", "torch"}}
    rooms["serving"] = {"cachetools", "fastapi", "mcp", "prometheus_client", "pydantic", "starlette", "uvicorn"}
    for path in CORE:
        room = rooms.get(path.parent.name, set())
        allowed = {"nirank", "numpy", "pluggy"} | doors.get(floors.module_of(path), room) | sys.stdlib_module_names
        assert set(_imported_at_once(path)) <= allowed, floors.module_of(path)


def _imported_at_once(path):
    """The packages that a file imports outside functions and `if TYPE_CHECKING`."""
    tree = floors.tree(path)
    for node in tree.body:
        if isinstance(node, ast.Import):
            yield from (alias.name.partition(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield (node.module or "").partition(".")[0]


# What is public


def test_public_names_are_complete_sorted_and_documented():
    assert list(nirank.__all__) == sorted(nirank.__all__)
    for name in nirank.__all__:
        value = getattr(nirank, name)
        documented = inspect.getdoc(value) if callable(value) else True
        assert documented, name
    assert set(nirank.__all__) <= set(dir(nirank))
    # importing a module makes it an attribute of its package, and would hide a public name
    assert not set(nirank.__all__) & {path.stem for path in (floors.ROOT / "nirank").glob("*.py")}
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        nirank.nothing  # noqa: B018


@pytest.mark.parametrize("face", [face for face in FACES if hasattr(importlib.import_module(face), "_HOMES")])
def test_what_readers_of_types_see_is_what_a_face_shows(face):
    module = importlib.import_module(face)
    tree = ast.parse(Path(module.__file__).read_text(encoding="utf-8"))
    (shown,) = [node for node in tree.body if isinstance(node, ast.If)]
    names = {(node.module, alias.asname) for node in shown.body for alias in node.names}
    assert names == {(home, name) for home, homed in module._HOMES.items() for name in homed}


@pytest.mark.parametrize("path", [*CORE, *PLUGIN_FILES], ids=lambda path: "/".join(path.parts[-2:]))
def test_modules_and_what_is_public_in_them_are_documented(path):
    tree = floors.tree(path)
    assert ast.get_docstring(tree), "the module"
    public = [tree]
    while public:
        for node in public.pop().body:
            if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
                assert ast.get_docstring(node) or _overloaded(node), node.name
                public += [node] if isinstance(node, ast.ClassDef) else []


#: First words of a docstring that say neither what a thing is nor what it does.
_VAGUE = {"What", "How", "Whether", "Where", "Those", "That"}


def _vague(path):
    """The docstrings of a file that begin with one of those words."""
    for node in ast.walk(floors.tree(path)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            words = re.findall(r"\w+", ast.get_docstring(node) or "")
            if words and words[0] in _VAGUE:
                yield f"{floors.module_of(path)}: {getattr(node, 'name', 'the module')}"


def test_docstrings_of_the_core_begin_with_a_verb_or_a_noun(record_property):
    left = [place for path in PLUGIN_FILES for place in _vague(path)]
    record_property("docstrings", f"{len(left)} of plugins begin with {', '.join(sorted(_VAGUE))}")
    print(len(left), "docstrings of plugins begin with", ", ".join(sorted(_VAGUE)))  # noqa: T201
    assert [place for path in CORE for place in _vague(path)] == []


def _overloaded(node):
    return any("overload" in ast.dump(mark) for mark in node.decorator_list)


def test_rooms_are_named_after_what_they_are_for():
    assert not {path.stem for path in [*CORE, *PLUGIN_FILES]} & {"utils", "base", "common", "helpers", "misc"}


# Components


@pytest.mark.parametrize("entry", list(active().registry), ids=lambda entry: entry.spec)
def test_every_registered_component_has_a_tiny(entry):
    assert entry.tiny


def test_every_first_party_plugin_is_found_and_checked():
    found = {plugin.name for plugin in active().known if plugin.distribution == "nirank"}
    assert found == {*PLUGINS, "nirank_execution"}
    switched_on = (floors.ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    assert re.search(r'^pytest_plugins = \[.*"nirank\.testing"', switched_on, re.MULTILINE)


# Functions


def _lengths():
    """The lines of every function without its docstring, by name."""
    for path in [*CORE, *PLUGIN_FILES]:
        for node in ast.walk(floors.tree(path)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                documented = ast.get_docstring(node) is not None
                docstring = node.body[0].end_lineno - node.body[0].lineno + 1 if documented else 0
                yield (
                    f"{floors.module_of(path)}:{node.lineno}:{node.name}",
                    node.end_lineno - node.lineno + 1 - docstring,
                )


def test_functions_are_short(record_property):
    lengths = dict(_lengths())
    median, p90 = np.quantile(list(lengths.values()), [0.5, 0.9])
    record_property(
        "functions", f"{len(lengths)}, median {median:g} lines, p90 {p90:g}, longest {max(lengths.values())}"
    )
    assert {name: lines for name, lines in lengths.items() if lines > 50} == {}
    assert median <= 5
    assert p90 <= 15


# Compiled code


KERNELS = [
    path for path in (*CORE, *PLUGIN_FILES) if re.search(r"^@(compiled|inner|intrinsic)", path.read_text(), re.M)
]


@pytest.mark.parametrize("path", KERNELS, ids=floors.module_of)
def test_compiled_code_names_the_instructions_that_it_needs(path):
    text, module = path.read_text(encoding="utf-8"), floors.tree(path)
    assert "\nInstructions: " in ast.get_docstring(module)
    of_one_kind = set(re.findall(r"llvm\.(x86|aarch64|arm)\.(\w+)", text))
    assert not of_one_kind or re.search(r"^NEEDED = \(", text, re.M), f"{of_one_kind} are not in a constant NEEDED"


def test_all_compiled_code_was_looked_at():
    assert {path.stem for path in KERNELS} >= {"kernel", "unpacking", "kernels", "tiles", "scan", "parse", "skipgram"}
