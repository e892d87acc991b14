"""The log of finished runs: what a line says, and that no line is ever lost or torn."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
from datetime import datetime

import pytest

from nirank.errors import MissingDependency
from nirank.experiments import run
from nirank.experiments.experiment import Experiment
from nirank.plugins import active, observers
from nirank_log.log import Log, append
from tests.observed_toys import everything


@pytest.fixture(autouse=True)
def _registered():
    with everything():
        yield


def _experiment(file, seed=0, **settings):
    return Experiment.of(
        {
            "name": "try",
            "collection": "few",
            "pipelines": {"up": "all", "down": "other % 2"},
            "stage": {"other": {"use": "all", "backwards": True}},
            "evaluate": {"measures": ["RR@10", "R@2"]},
            "plugin": {"log": {"file": str(file), "tensorboard": False, **settings}},
            "seed": seed,
        }
    )


def _lines(file):
    return [json.loads(line) for line in file.read_text().splitlines()]


def test_every_system_of_a_finished_experiment_has_a_line(tmp_path):
    file = tmp_path / "new" / "log.jsonl"
    run.run(_experiment(file), tmp_path / "out")
    up, down = _lines(file)
    assert (up["experiment"], up["system"], up["pipeline"], up["collection"]) == ("try", "up", "all", "few")
    assert (down["system"], down["pipeline"]) == ("down", "other % 2")
    assert up["measures"] == {"RR@10": 1.0, "R@2": 1.0}
    assert down["measures"] == {"RR@10": 0.0, "R@2": 0.0}
    assert up["folder"] == str(tmp_path / "out")
    assert datetime.fromisoformat(up["when"]) <= datetime.fromisoformat(down["when"])


def test_equal_manifests_have_equal_hashes_written_or_not(tmp_path):
    file = tmp_path / "log.jsonl"
    run.run(_experiment(file), tmp_path / "out")
    run.run(_experiment(file))
    run.run(_experiment(file, seed=1))
    written, _, unwritten, _, other, _ = [line["manifest"] for line in _lines(file)]
    assert written == unwritten
    assert other != written


def test_a_run_that_fails_has_no_line(tmp_path):
    described = _experiment(tmp_path / "log.jsonl")
    described.pipelines["broken"] = "all % 0"
    with pytest.raises(TypeError):
        run.run(described)
    assert not (tmp_path / "log.jsonl").exists()


def test_a_torn_line_is_ended_and_nothing_is_overwritten(tmp_path):
    file = tmp_path / "log.jsonl"
    file.write_text('{"a": 1}\n{"torn": ')
    append(file, [{"b": "ü"}])
    assert file.read_text() == '{"a": 1}\n{"torn": \n{"b": "ü"}\n'
    append(file, [{"c": 3}, {"d": 4}])
    assert file.read_text().endswith('{"b": "ü"}\n{"c": 3}\n{"d": 4}\n')


def test_a_full_disk_leaves_the_file_as_it_was(tmp_path, monkeypatch):
    file = tmp_path / "log.jsonl"
    append(file, [{"a": 1}])

    def full(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("nirank_log.log.os.fsync", full)
    with pytest.raises(OSError, match="No space left"):
        append(file, [{"b": 2}])
    assert file.read_text() == '{"a": 1}\n'


def test_processes_that_append_at_once_lose_and_tear_nothing(tmp_path):
    file = tmp_path / "log.jsonl"
    script = (
        "import sys, pathlib; from nirank_log.log import append\n"
        "for n in range(30): append(pathlib.Path(sys.argv[1]), [{'who': sys.argv[2], 'n': n, 'pad': 'x' * 9000}] * 2)"
    )
    processes = [subprocess.Popen([sys.executable, "-c", script, str(file), who]) for who in "abc"]
    assert [process.wait(60) for process in processes] == [0, 0, 0]
    lines = _lines(file)
    for who in "abc":
        assert [line["n"] for line in lines if line["who"] == who] == [n for n in range(30) for _ in range(2)]


def test_tensorboard_that_is_asked_for_and_not_there_is_told(monkeypatch):
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "tensorboard" else find(name))
    with pytest.raises(MissingDependency, match=r"pip install 'nirank\[log\]'"):
        Log(tensorboard=True)
    assert Log().tensorboard is False
    assert Log(tensorboard=False).tensorboard is False


def test_tensorboard_has_a_scalar_for_each_measure_of_each_system(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    run.run(_experiment(tmp_path / "log.jsonl", tensorboard=True))
    (folder,) = (tmp_path / "tensorboard").glob("try-*")
    for system, expected in (("up", 1.0), ("down", 0.0)):
        events = EventAccumulator(str(folder / system)).Reload()
        for measure in ("RR@10", "R@2"):
            (event,) = events.Tensors(measure)
            assert event.tensor_proto.float_val[0] == expected


class _Trained:
    """All that the observer asks a component in training for."""

    def __init__(self, name):
        self.name = name


def test_a_training_is_shown_step_by_step_in_tensorboard_and_leaves_no_line(tmp_path):
    pytest.importorskip("tensorboard", reason="tensorboard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log, told = Log(str(tmp_path / "log.jsonl"), tensorboard=True), []
    with observers.switched_on([log]):
        for step, loss in ((10, 0.5), (20, 0.25)):
            for name in ("first", "second"):
                reported = {"loss": loss, "learning_rate": 1e-3}
                active().hook.nirank_trained(component=_Trained(name), step=step, values=reported)
        active().hook.nirank_trained(component=_Trained("first"), step=20, values={"dev nDCG@10": 0.75})
        (folder,) = (tmp_path / "tensorboard").glob("train-*")
        told = EventAccumulator(str(folder / "first")).Reload().Tensors("loss")  # while it still runs
    assert [(event.step, event.tensor_proto.float_val[0]) for event in told] == [(10, 0.5), (20, 0.25)]
    assert sorted(path.name for path in folder.iterdir()) == ["first", "second"]
    (event,) = EventAccumulator(str(folder / "first")).Reload().Tensors("dev nDCG@10")
    assert (event.step, event.tensor_proto.float_val[0]) == (20, 0.75)
    assert EventAccumulator(str(folder / "second")).Reload().Tags()["tensors"] == ["loss", "learning_rate"]
    assert not (tmp_path / "log.jsonl").exists()


def test_without_tensorboard_a_training_is_not_shown(tmp_path):
    with observers.switched_on([Log(str(tmp_path / "log.jsonl"), tensorboard=False)]):
        active().hook.nirank_trained(component=_Trained("first"), step=1, values={"loss": 1.0})
    assert not list(tmp_path.iterdir())
