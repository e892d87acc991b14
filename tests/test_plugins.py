"""Finding, loading, blocking and reporting plugins; the registry and the settings of components."""

from __future__ import annotations

import importlib.metadata
import json
import logging
import os
import subprocess
import sys
import types
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np
import pytest

import nirank
from nirank import announced, hooks
from nirank.errors import BadInput, MissingDependency, PluginError, UnknownName
from nirank.hooks import hookimpl
from nirank.plugins import Component, Plugin, inventory, observers
from nirank.plugins import loading as plugins
from nirank.plugins.loading import Plugins
from nirank.plugins.settings import bind


def _module(name: str = "some_plugin", **members) -> types.ModuleType:
    module = types.ModuleType(name)
    vars(module).update(members)
    return module


def _registering(*entries, **named):
    @hookimpl
    def nirank_register(registry):
        for entry in entries:
            registry.add(*entry, **named)

    return _module(nirank_register=nirank_register)


@pytest.fixture
def fresh(monkeypatch):
    for variable in ("NIRANK_BLOCK", "NIRANK_PLUGINS", "NIRANK_STRICT"):
        monkeypatch.delenv(variable, raising=False)
    return Plugins()


def test_a_plugin_names_components_without_importing_them(fresh):
    fresh.load(Plugin("p"), lambda: _registering(("scorer", "s", "no.such.module:Thing")))
    entry = fresh.registry.find("s")
    assert (entry.spec, entry.plugin.name) == ("scorer/s", "p")
    with pytest.raises(PluginError, match=r"p says that scorer/s is 'no.such.module:Thing'.*No module named 'no'"):
        entry.resolve()


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("json:Mistyped", "module 'json' has no attribute 'Mistyped'"),
        ("json.mistyped:Thing", "No module named 'json.mistyped'"),
        ("json", "`module:attribute` is expected"),
        (":Thing", "`module:attribute` is expected"),
    ],
)
def test_a_target_that_is_not_there_is_told_with_its_plugin(fresh, target, told):
    fresh.load(Plugin("p"), lambda: _registering(("scorer", "s", target)))
    with pytest.raises(PluginError, match=f"p says that scorer/s is '{target}'.*{told}"):
        fresh.registry.find("s").resolve()


def test_a_missing_dependency_says_what_to_install(fresh, tmp_path, monkeypatch):
    (tmp_path / "needy.py").write_text("import surely_not_installed_anywhere\n")
    monkeypatch.syspath_prepend(tmp_path)
    plugin = Plugin("needy", "needy-ranker", "1.2")
    fresh.load(plugin, lambda: _registering(("scorer", "s", "needy:Thing"), extra="text"))
    with pytest.raises(MissingDependency, match=r"pip install 'needy-ranker\[text\]'"):
        fresh.registry.find("s").resolve()


@pytest.mark.parametrize("spec", ["scorer/late", "collection/late", "observer/late"])
def test_what_is_missing_when_a_component_is_built_is_told_too(fresh, tmp_path, monkeypatch, spec):
    late = "def late():\n    import surely_not_installed_anywhere\n"
    (tmp_path / "late_needy.py").write_text(late)
    monkeypatch.syspath_prepend(tmp_path)
    kind = spec.partition("/")[0]
    plugin = Plugin("late_needy", "needy-ranker")
    fresh.load(plugin, lambda: _registering((kind, "late", "late_needy:late"), extra="all"))
    for module in ("nirank.build", "nirank.plugins.observers", "nirank.plugins.assembly"):
        monkeypatch.setattr(f"{module}.active", lambda: fresh)
    build = {"scorer": nirank.load, "collection": nirank.collection, "observer": observers.build}[kind]
    with pytest.raises(MissingDependency, match=r"surely_not_installed_anywhere.*pip install 'needy-ranker\[all\]'"):
        build("late")


def test_what_an_extra_lacks_is_told_however_its_name_is_written(fresh, monkeypatch):
    lines = ["surely-not-installed>=1; extra == 'all-of-it'", "numpy>=2; extra == 'all-of-it'", "nothing; extra == 'x'"]
    monkeypatch.setattr("importlib.metadata.requires", lambda name: lines)
    fresh.load(Plugin("p", "needy-ranker"), lambda: _registering(("scorer", "s", "p:S"), extra="all_of_it"))
    assert inventory.missing(fresh.registry.find("s")) == ["surely-not-installed"]


def test_a_plugins_own_missing_module_is_its_own_fault(fresh, tmp_path, monkeypatch):
    (tmp_path / "careless").mkdir()
    (tmp_path / "careless" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    fresh.load(Plugin("careless"), lambda: _registering(("scorer", "s", "careless.misspelt:Thing")))
    with pytest.raises(ModuleNotFoundError, match=r"careless\.misspelt"):
        fresh.registry.find("s").resolve()


def _raises_at_import():
    raise SyntaxError("what is this")


def _raises_when_asked():
    @hookimpl
    def nirank_register(registry):
        registry.add("scorer", "half", "m:T")
        raise RuntimeError("second thoughts")

    return _module(nirank_register=nirank_register)


def _wrong_signature():
    @hookimpl
    def nirank_score(scorer, queries, candidates, device):
        return None

    return _module(nirank_score=nirank_score)


def _unknown_hook():
    @hookimpl
    def nirank_rank(queries):
        return None

    return _module(nirank_rank=nirank_rank)


def _raise(error):
    raise error


class _Mute(Exception):
    def __str__(self):
        raise RuntimeError("no text")


LOADING = """
import logging, signal, sys, time, types
from nirank.plugins.loading import Plugins
from nirank.registry import Plugin

logging.basicConfig(format="%(message)s", stream=sys.stdout)

signal.signal(signal.SIGINT, signal.default_int_handler)  # which is not set where the tests run in the background

def interrupted():
    signal.raise_signal(signal.SIGINT)

plugins = Plugins()
try:
    plugins.load(Plugin("slow", "slowly", "0.1"), {importer})
    print("others:", plugins.load(Plugin("later"), lambda: types.ModuleType("later")).error)
except KeyboardInterrupt:
    print("interrupted by the user")
"""


def _loading(importer, **environment):
    """What a process says that loads such a plugin: of its own, for other libraries here have signals of theirs."""
    command = [sys.executable, "-c", LOADING.format(importer=importer)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ | environment)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_the_ctrl_c_of_a_user_is_not_a_fault_of_the_plugin():
    assert _loading("interrupted") == "interrupted by the user\n"


def test_a_plugin_that_hangs_is_given_up_and_the_others_work():
    said = _loading("lambda: time.sleep(60)", NIRANK_PLUGIN_SECONDS="0.2")
    assert "slow (slowly 0.1) could not be loaded" in said
    assert "took longer than 0.2 seconds" in said
    assert "others: None" in said


def test_a_name_that_is_taken_stays_and_costs_the_second_plugin_that_component_alone(fresh, caplog):
    fresh.load(Plugin("first", "first", "1.0"), lambda: _registering(("scorer", "taken", "m:T")))
    second = fresh.load(
        Plugin("second", "other", "2.0"), lambda: _registering(("scorer", "taken", "n:T"), ("loss", "own", "n:L"))
    )
    assert second.error is None
    assert [(entry.spec, entry.target) for entry in fresh.registry] == [("scorer/taken", "m:T"), ("loss/own", "n:L")]
    assert "second (other 2.0) adds 'scorer/taken', but first (first 1.0) has that name already" in caplog.text


def test_a_name_is_overridden_where_that_is_asked_for(fresh):
    fresh.load(Plugin("first"), lambda: _registering(("scorer", "taken", "m:T")))
    second = _registering(("scorer", "taken", "n:T"))
    second.nirank_override = ["scorer/taken"]
    fresh.load(Plugin("second"), lambda: second)
    assert [(entry.spec, entry.target) for entry in fresh.registry] == [("scorer/taken", "n:T")]


def test_components_of_ours_have_their_names_whatever_the_other_plugin_is_called():
    points = [importlib.metadata.EntryPoint(name, "m", "nirank") for name in ("aaa", "zzz")]
    others = [announced.Announced(point, "others", "1.0") for point in points]
    ours = next(one for one in announced.plugins() if one.point.name == "nirank_lexical")
    assert sorted([*others, ours], key=plugins._order)[0] is ours


@pytest.mark.parametrize(
    ("importer", "message"),
    [
        (_raises_at_import, "what is this"),
        (_raises_when_asked, "second thoughts"),
        (_wrong_signature, "device"),
        (_unknown_hook, "nirank_rank, which nirank does not call"),
        (lambda: _registering(("scorers", "s", "m:T")), "Kinds: encoder"),
        (lambda: _raise(KeyboardInterrupt()), "KeyboardInterrupt"),
        (lambda: _raise(SystemExit(3)), "SystemExit"),
        (lambda: _raise(_Mute()), "_Mute (its message cannot be read)"),
        (lambda: _module(nirank_api=7), "written for version 7 of nirank's plugin API, and this nirank has version 1"),
    ],
)
def test_a_plugin_that_fails_is_left_out_and_told_and_the_others_work(fresh, caplog, importer, message):
    fresh.load(Plugin("first", "first", "1.0"), lambda: _registering(("scorer", "taken", "m:T")))
    with caplog.at_level(logging.WARNING, "nirank"):
        broken = fresh.load(Plugin("broken", "broken-ranker", "0.3"), importer)
    assert broken.error is not None
    assert message in caplog.text
    assert "broken (broken-ranker 0.3) could not be loaded" in caplog.text
    assert not fresh.manager.is_registered(broken.module)
    assert [entry.name for entry in fresh.registry] == ["taken"]
    assert fresh.load(Plugin("later"), lambda: _registering(("loss", "l", "m:T"))).error is None


def test_strict_raises_at_the_first_failure(fresh, monkeypatch):
    monkeypatch.setenv("NIRANK_STRICT", "1")
    with pytest.raises(PluginError, match="broken could not be loaded: SyntaxError: what is this"):
        fresh.load(Plugin("broken"), _raises_at_import)


def test_a_blocked_plugin_is_not_even_imported(fresh, monkeypatch):
    monkeypatch.setenv("NIRANK_BLOCK", "other, broken")
    assert fresh.load(Plugin("broken"), _raises_at_import).blocked


def test_modules_named_in_the_environment_are_loaded(fresh, tmp_path, monkeypatch):
    (tmp_path / "extra_ranker.py").write_text(
        "from nirank import hookimpl\n\n\n"
        "@hookimpl\ndef nirank_register(registry):\n    registry.add('loss', 'mine', 'm:T')\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("NIRANK_PLUGINS", "extra_ranker")
    fresh.load_all()
    assert fresh.registry.find("loss/mine").plugin.name == "extra_ranker"


def test_a_file_is_loaded_once_however_often_it_is_asked_for(tmp_path):
    path = tmp_path / "nirank_plugin.py"
    path.write_text(
        "from nirank import hookimpl\n\n\n"
        "@hookimpl\ndef nirank_register(registry):\n    registry.add('loss', 'beside', 'm:T')\n"
    )
    first = plugins.load_file(path)
    assert first.error is None
    assert plugins.load_file(path) is first


def test_one_name_in_several_kinds_must_be_said_unless_it_is_one_class(fresh):
    fresh.load(
        Plugin("p"),
        lambda: _registering(
            ("generator", "same", "m:T"), ("scorer", "same", "m:T"), ("scorer", "two", "m:A"), ("encoder", "two", "m:B")
        ),
    )
    assert fresh.registry.find("same").target == "m:T"
    assert fresh.registry.find("encoder/two").target == "m:B"
    with pytest.raises(BadInput, match="say scorer/two or encoder/two"):
        fresh.registry.find("two")
    with pytest.raises(UnknownName, match="Did you mean 'same'"):
        fresh.registry.find("sane")


def test_what_stands_in_pipelines_goes_before_a_loss_of_its_name(fresh):
    fresh.load(Plugin("p"), lambda: _registering(("loss", "two", "m:A"), ("encoder", "two", "m:B")))
    assert fresh.registry.find("two").target == "m:B"
    assert fresh.registry.find("two", ("loss",)).target == fresh.registry.find("loss/two").target == "m:A"


def test_middleware_stands_round_a_component_first_plugin_outermost():
    calls = []

    def middleware(name):
        def around(call, method, *inputs):
            calls.append(f"{name} before {method}")
            result = call(*inputs)
            calls.append(f"{name} after")
            return result + name

        return around

    component = Component("c", object())
    component.middleware = [middleware("a"), middleware("b")]
    assert component.around("score", lambda text: text)("x") == "xba"
    assert calls == ["a before score", "b before score", "b after", "a after"]


def test_an_object_of_ones_own_is_only_itself():
    class Weights:
        def __init__(self, size, other=None):
            self.size, self.other = size, other

    def fingerprint(*given):
        return Component("c", Weights(*given)).fingerprint

    assert fingerprint(3) == fingerprint(3) != fingerprint(4)
    assert fingerprint(3, object()) != fingerprint(3, object())


def _factory(size: int, rate: float = 0.5, mode: Literal["a", "b"] = "a", name: str | None = None):
    return size, rate, mode, name


def test_settings_are_bound_to_the_signature():
    bound = bind(_factory, {"size": 3, "rate": 1}, "scorer/x")
    assert bound.settings == bound.arguments == {"size": 3, "rate": 1, "mode": "a", "name": None}


@dataclass(frozen=True)
class _Reading:
    terms: int = 30
    language: str = "english"


def _grouped(kernels: int = 11, *, folder: Path | None = None, reading: _Reading = _Reading(terms=20)):
    return kernels, folder, reading


def test_fields_of_a_dataclass_are_settings_like_the_others():
    bound = bind(_grouped, {"language": "german", "kernels": 3, "folder": "here"}, "scorer/x")
    assert bound.settings == {"kernels": 3, "folder": Path("here"), "terms": 20, "language": "german"}
    assert _grouped(**bound.arguments) == (3, Path("here"), _Reading(20, "german"))
    assert bind(_grouped, {"reading": _Reading(5)}, "scorer/x").settings["terms"] == 5
    with pytest.raises(UnknownName, match=r"setting of scorer/x 'term'\. Did you mean 'terms'"):
        bind(_grouped, {"term": 3}, "scorer/x")
    with pytest.raises(BadInput, match="terms = 'many' is not of the type int"):
        bind(_grouped, {"terms": "many"}, "scorer/x")
    with pytest.raises(BadInput, match="folder = 3 is not of the type"):
        bind(_grouped, {"folder": 3}, "scorer/x")


def test_a_setting_that_is_declared_twice_is_refused():
    def twice(terms: int = 1, reading: _Reading = _Reading()):
        return terms, reading

    twice.__annotations__ = {"terms": int, "reading": _Reading}
    with pytest.raises(PluginError, match="declares the setting 'terms' twice"):
        bind(twice, {}, "scorer/x")


def test_numbers_of_numpy_are_numbers():
    bound = bind(_factory, {"size": np.int64(3), "rate": np.float32(0.5)}, "scorer/x")
    assert json.loads(json.dumps(bound.settings)) == {"size": 3, "rate": 0.5, "mode": "a", "name": None}
    with pytest.raises(BadInput, match="size"):
        bind(_factory, {"size": np.float32(3)}, "scorer/x")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"size": 1, "raet": 2}, "setting of scorer/x 'raet'. Did you mean 'rate'"),
        ({}, "scorer/x needs the setting 'size'"),
        ({"size": "big"}, "size = 'big' is not of the type int"),
        ({"size": True}, "size = True"),
        ({"size": 1, "mode": "c"}, "mode = 'c' is not of the type 'a' | 'b'"),
        ({"size": 1, "name": 7}, "name = 7"),
    ],
)
def test_settings_that_do_not_fit_are_named(given, message):
    with pytest.raises((UnknownName, BadInput)) as caught:
        bind(_factory, given, "scorer/x")
    assert message in str(caught.value)


def test_every_hook_is_prefixed_typed_and_documented():
    names = [name for name in vars(hooks) if getattr(getattr(hooks, name), "nirank_spec", None)]
    assert len(names) == 13
    for name in names:
        function = getattr(hooks, name)
        assert name.startswith("nirank_")
        assert function.__doc__
        arguments = function.__code__.co_varnames[: function.__code__.co_argcount]
        assert set(function.__annotations__) == {*arguments, "return"}


def test_the_core_answers_last_and_a_plugin_may_answer_instead(monkeypatch, corpus, overlap):
    import nirank

    class Elsewhere:
        @hookimpl
        def nirank_score(self, scorer, candidates):
            return -candidates.docs if scorer.name == "away" else None

    answers = Elsewhere()
    plugins.active().manager.register(answers)
    try:
        found = (nirank.load(overlap, "here") >> nirank.load(overlap, "away")).search("bcd", corpus)
    finally:
        plugins.active().manager.unregister(answers)
    assert found[0][0].tolist() == [0, 1, 2]
    assert found[0][1].tolist() == [0, -1, -2]


def test_the_process_loaded_every_first_party_plugin():
    failed = {plugin.name: plugin.error for plugin in plugins.active().known if plugin.error}
    assert failed == {}


def test_a_plugin_that_fails_gives_a_name_back_that_it_took(fresh):
    @hookimpl
    def nirank_register(registry):
        registry.add("scorer", "taken", "second:Thing")
        raise ValueError("no more")

    fresh.load(Plugin("first"), lambda: _registering(("scorer", "taken", "first:Thing")))
    fresh.load(Plugin("second"), lambda: _module(nirank_register=nirank_register, nirank_override=["scorer/taken"]))
    assert fresh.registry.find("taken").plugin.name == "first"


def test_of_two_distributions_of_one_name_the_first_on_the_path_announces_its_plugins(tmp_path, monkeypatch):
    import importlib.metadata

    for folder, version, points in (
        ("a", "2.0", ""),
        ("b", "1.0", "[nirank]\nold = old\n"),
        ("b", "3.0", "[nirank]\nx = x\n"),
    ):
        name = "twice" if version != "3.0" else "once"
        info = tmp_path / folder / f"{name}-{version}.dist-info"
        info.mkdir(parents=True)
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        (info / "entry_points.txt").write_text(points)
        monkeypatch.syspath_prepend(tmp_path / "b")
        monkeypatch.syspath_prepend(tmp_path / "a")
    found = announced.plugins()
    assert [one.point for one in found] == list(importlib.metadata.entry_points(group="nirank"))
    assert [(one.point.name, one.version) for one in found if one.distribution in ("once", "twice")] == [("x", "3.0")]


def test_the_description_of_a_distribution_is_read_once_for_all_its_plugins(monkeypatch):
    from importlib import metadata

    from nirank import announced

    read, parse = [], metadata.Distribution.metadata.fget
    monkeypatch.setattr(metadata.Distribution, "metadata", property(lambda self: read.append(self) or parse(self)))
    found = announced.plugins()
    assert len(found) > 20
    assert len({id(dist) for dist in read}) == len(read) < len(found) / 2
    assert all((one.distribution, one.version) == (one.point.dist.name, one.point.dist.version) for one in found)
