"""Observers: switched on by an experiment or by a flag, and off again whatever happens."""

from __future__ import annotations

import sys
import tomllib

import numpy as np
import pytest
from typer.testing import CliRunner

from nirank import load
from nirank.cli import app
from nirank.data import Candidates, Queries
from nirank.errors import BadInput, NirankError, PluginError, UnknownName
from nirank.execution import stages
from nirank.experiments import run as experiment
from nirank.experiments.experiment import Experiment
from nirank.hooks import hookimpl
from nirank.plugins import Plugin, active, observers

MODULE = '''
import numpy as np
from nirank import Candidates, Collection, Documents, Queries, hookimpl

@hookimpl
def nirank_register(registry):
    registry.add("collection", "letters", "observed:letters")
    registry.add("generator", "everything", "observed:Everything")
    registry.add("observer", "spy", "observed:Spy")

def letters():
    """Three letters."""
    judgments = Candidates.of([[0], [1]], [[1], [1]])
    corpus = Documents(["a", "b", "c"], ["A", "B", "C"])
    return Collection("letters", corpus, Queries(["1", "2"], ["a", "b"]), judgments)

class Everything:
    """Finds everything."""
    def __init__(self, fails: bool = False):
        self.fails = fails

    def generate(self, queries, k):
        if self.fails:
            raise ValueError("generation failed")
        return Candidates.of([np.arange(k)] * len(queries), [np.arange(k, 0, -1)] * len(queries))

class Spy:
    """Writes down what happens."""
    last = None

    def __init__(self, word: str = "saw"):
        self.events = []
        self.word = word
        Spy.last = self

    @hookimpl
    def nirank_wrap(self, component):
        self.events.append(f"{self.word} {component.name}")

    @hookimpl
    def nirank_evaluated(self, system):
        self.events.append(f"measured {system}")

    def finished(self, results, folder):
        written = folder is not None and (folder / "measures.json").exists()
        self.events.append(f"finished {', '.join(results.systems)}, written: {written}")

    def close(self):
        self.events.append("closed")

    @staticmethod
    def command(loud: bool = False) -> None:
        """Say where it looks."""
        print("EVERYWHERE" if loud else "everywhere")
'''


@pytest.fixture
def spy(tmp_path, monkeypatch):
    """The class of an observer that its plugin has just registered."""
    (tmp_path / "observed.py").write_text(MODULE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(active(), "known", list(active().known))
    plugin = active().load(Plugin("observed"), lambda: __import__("observed"))
    assert plugin.error is None
    yield plugin.module.Spy
    active().registry.remove(plugin)
    active().manager.unregister(plugin.module)
    del sys.modules["observed"]


def _experiment(**more):
    return Experiment.of(
        {"collection": "letters", "pipeline": "everything", "evaluate": {"measures": ["RR@10"]}, "name": "try"} | more
    )


def test_a_table_switches_an_observer_on_for_one_run(spy, tmp_path):
    experiment.run(_experiment(plugin={"spy": {"word": "met"}}), tmp_path / "out")
    assert spy.last.events == ["met everything", "measured try", "finished try, written: True", "closed"]
    experiment.run(_experiment())
    load("everything")
    assert len(spy.last.events) == 4
    assert not active().manager.is_registered(spy.last)


def test_nothing_acts_unless_it_is_switched_on(spy):
    experiment.run(_experiment())
    assert spy.last is None


def test_an_observer_is_closed_where_the_run_fails(spy):
    broken = _experiment(plugin={"spy": {}}, stage={"everything": {"fails": True}})
    with pytest.raises(ValueError, match="generation failed"):
        experiment.run(broken)
    assert spy.last.events == ["saw everything", "closed"]
    assert not active().manager.is_registered(spy.last)


def test_the_resolved_experiment_tells_what_was_switched_on(spy, tmp_path):
    experiment.run(_experiment(plugin={"spy": {}}), tmp_path / "out")
    resolved = tmp_path / "out" / "experiment.toml"
    assert tomllib.loads(resolved.read_text())["plugin"] == {"spy": {}}
    assert Experiment.read(resolved).plugin == {"spy": {}}


@pytest.mark.parametrize(
    ("table", "error", "message"),
    [
        ("[plugin.spi]", UnknownName, "no observer 'spi'. Did you mean 'spy'"),
        ("[plugin.spy]\nwrod = 'x'", UnknownName, "setting of observer/spy 'wrod'. Did you mean 'word'"),
        ("[plugin.spy]\nword = 3", BadInput, "word = 3 is not of the type str"),
        ("[plugin]\nspy = true", BadInput, r"\[plugin.spy\] is True; a table is needed"),
        ("[plugins.spy]", UnknownName, "key 'plugins'. Did you mean 'plugin'"),
        ("[[plugin]]", BadInput, r"\[plugin\] is .*; a table is needed"),
    ],
)
def test_a_mistake_is_told_with_its_place(spy, tmp_path, table, error, message):
    path = tmp_path / "try.toml"
    path.write_text(f'collection = "letters"\npipeline = "everything"\n{table}\n')
    with pytest.raises(error, match=message) as caught:
        experiment.run(path, tmp_path / "out")
    told = str(caught.value) + " ".join(getattr(caught.value, "__notes__", []))
    assert "try.toml" in told
    assert isinstance(caught.value, NirankError)
    assert not (tmp_path / "out").exists()


def test_an_observer_is_no_stage(spy):
    with pytest.raises(UnknownName, match="no component 'spy'"):
        load("spy")


def test_a_hook_that_does_not_exist_is_told_and_the_observer_closed():
    class Listening:
        closed = False

        @hookimpl
        def nirank_scored(self, scores):
            pass

        def close(self):
            self.closed = True

    listening = Listening()
    with pytest.raises(PluginError, match="Listening implements nirank_scored"), observers.switched_on([listening]):
        pass
    assert listening.closed


def test_observers_are_switched_off_in_reverse_and_each_even_if_another_fails():
    closed = []

    class Named:
        def __init__(self, name, error=None):
            self.name, self.error = name, error

        def close(self):
            closed.append(self.name)
            if self.error:
                raise self.error

    with pytest.raises(OSError, match="disk"), observers.switched_on([Named("a"), Named("b", OSError("disk"))]):
        pass
    assert closed == ["b", "a"]


def test_all_first_party_observers_work_together_and_change_nothing(tmp_path, monkeypatch, capsys, corpus, overlap):
    monkeypatch.chdir(tmp_path)
    overlap.fingerprint = "overlap"
    queries = Queries.of(["abc", "xyz"])
    candidates = Candidates.of([[0, 1, 2], [3, 4]], corpus=corpus)
    plain = stages.score(load(overlap, "overlap").component, queries, candidates)
    switched = [observers.build(name) for name in ("memory", "cache", "trace", "log")]
    with observers.switched_on(switched):
        for _ in range(2):
            np.testing.assert_array_equal(
                stages.score(load(overlap, "overlap").component, queries, candidates), plain, strict=True
            )
    _, cache, trace, _ = switched
    assert cache.counts() == (5, 5)
    assert [(span.stage, span.batches) for span in trace.spans if span.stage == "score"] == [("score", 1), ("score", 0)]
    assert "Trace" in capsys.readouterr().err


# On the command line


def _call(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_a_flag_switches_an_observer_on_for_a_run(spy, tmp_path):
    path = tmp_path / "try.toml"
    path.write_text('collection = "letters"\npipeline = "everything"\n[plugin.spy]\nword = "met"\n')
    assert _call("run", path, "--out", tmp_path / "a", "--with", "spy").exit_code == 0
    assert spy.last.events[0] == "met everything"
    assert _call("run", path, "--out", tmp_path / "b", "--with", "spy.word=heard").exit_code == 0
    assert spy.last.events[0] == "heard everything"
    assert Experiment.read(tmp_path / "b" / "experiment.toml").plugin == {"spy": {"word": "heard"}}


def test_a_flag_switches_an_observer_on_for_a_search(spy):
    result = _call("search", "x", "-c", "letters", "-p", "everything", "--with", "spy")
    assert result.exit_code == 0, result.output
    assert spy.last.events == ["saw everything", "closed"]


def test_a_flag_that_cannot_be_read_is_told(spy):
    result = _call("search", "x", "-c", "letters", "-p", "everything", "--with", "spy=3")
    assert "NAME.SETTING=VALUE; got 'spy=3'" in str(result.exception)
    result = _call("search", "x", "-c", "letters", "-p", "everything", "--with", "spi")
    assert "Did you mean 'spy'" in str(result.exception)


def test_an_observer_may_bring_a_command(spy):
    assert _call("spy").output == "everywhere\n"
    assert _call("spy", "--loud").output == "EVERYWHERE\n"
    assert "Say where it looks." in _call("spy", "--help").output
    missing = _call("spies")
    assert missing.exit_code == 2
    assert "No such command" in missing.output
