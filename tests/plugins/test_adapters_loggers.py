"""The loggers to MLflow and W&B: what they wrote is read back by these libraries' own readers."""

from __future__ import annotations

import json
import struct
import time

import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank.experiments.experiment import Experiment
from nirank.plugins import observers
from tests.observed_toys import everything

pytestmark = pytest.mark.filterwarnings("ignore")  # of libraries that others wrote


@pytest.fixture(autouse=True)
def _registered(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for variable in ("MLFLOW_TRACKING_URI", "WANDB_MODE"):
        monkeypatch.delenv(variable, raising=False)
    with everything():
        yield


def _run(observer, **settings):
    table = {
        "name": "try",
        "collection": "few",
        "pipelines": {"up": "all", "down": "other % 2"},
        "stage": {"other": {"use": "all", "backwards": True}},
        "evaluate": {"measures": ["RR@10", "R(rel=1)@2"]},
        "plugin": {observer: settings},
    }
    return nirank.run(Experiment.of(table), "results")


def _train(observer):
    corpus = Documents(["a", "b"], ["the lunch of a cat", "a dog"])
    judged = Candidates.of([[0], [1]], [[1], [1]], corpus)
    train = Collection("few", corpus, Queries.of(["cat lunch", "dog"]), judged)
    dssm = nirank.load("dssm", dims=[8, 4])
    with observers.switched_on([observer]):
        sampler = nirank.load("in_batch")
        nirank.fit(dssm, nirank.load("softmax_cross_entropy"), train, sampler=sampler, steps=3, log_every=1)


def _client(folder):
    from mlflow import MlflowClient

    return MlflowClient(f"sqlite:///{(folder / 'mlflow.db').resolve()}")


def test_mlflow_has_every_system_with_settings_measures_and_manifest(tmp_path):
    pytest.importorskip("mlflow")
    results = _run("mlflow")
    client = _client(tmp_path / "runs" / "mlflow")
    runs = {run.info.run_name: run for run in client.search_runs([client.get_experiment_by_name("try").experiment_id])}
    assert runs.keys() == {"up", "down"}
    for name, run in runs.items():
        assert run.data.metrics["RR_at_10"] == results.systems[name].evaluation["RR@10"]
        assert run.data.metrics["R-rel-1_at_2"] == results.systems[name].evaluation["R(rel=1)@2"]
        assert run.info.status == "FINISHED"
    assert runs["down"].data.params["other.backwards"] == "True"
    assert runs["down"].data.params["pipeline"] == "other % 2"
    manifest = json.loads((_artifacts(runs["up"]) / "manifest.json").read_text())
    assert manifest["collection"]["corpus"] == results.collection.corpus.fingerprint


def _artifacts(run):
    from pathlib import Path
    from urllib.parse import unquote, urlsplit

    return Path(unquote(urlsplit(run.info.artifact_uri).path))


def test_mlflow_has_the_steps_of_a_training(tmp_path):
    pytest.importorskip("mlflow")
    pytest.importorskip("torch")
    _train(observers.build("mlflow", {"folder": str(tmp_path / "store")}))
    client = _client(tmp_path / "store")
    (run,) = client.search_runs([client.get_experiment_by_name("training").experiment_id])
    history = client.get_metric_history(run.info.run_id, "loss")
    assert [each.step for each in history] == [1, 2, 3]
    assert run.info.status == "FINISHED"
    assert run.data.params["dssm.dims"] == "[8, 4]"


def test_an_experiment_file_names_no_place_outside(tmp_path):
    pytest.importorskip("mlflow")
    with pytest.raises(BadInput, match=r"outside of \./runs"):
        observers.build("mlflow", {"folder": str(tmp_path.parent / "elsewhere")}, confined=["folder"])


def _records(folder):
    """All records of the offline runs in a folder, by run, when the process that writes them has written the last."""
    deadline = time.monotonic() + 60
    while True:
        runs = list(_read(folder))
        if all(any(record.HasField("exit") for record in found) for found in runs) or time.monotonic() > deadline:
            return runs
        time.sleep(0.1)


def _read(folder):
    """The records that are written by now.

    The files are logs of LevelDB, behind seven bytes of W&B's own: blocks of 32 KiB, in which each part of a record has
    a head of checksum, length and kind (whole, first, middle, last).
    """
    from wandb.proto import wandb_internal_pb2 as records

    for path in sorted(folder.glob("wandb/offline-run-*/*.wandb")):
        data, at, found, parts = path.read_bytes(), 7, [], b""
        while at + 7 < len(data):
            if (left := 32768 - at % 32768) < 7:
                at += left
                continue
            length, kind = struct.unpack("<HB", data[at + 4 : at + 7])
            parts += data[at + 7 : at + 7 + length]
            at += 7 + length
            if kind in (1, 4):
                found.append(records.Record.FromString(parts))
                parts = b""
        yield found


def _items(found, kind, field):
    lists = [getattr(getattr(record, kind), field) for record in found if record.HasField(kind)]
    return {(item.key or "/".join(item.nested_key)): json.loads(item.value_json) for items in lists for item in items}


def _name(found):
    return next(record.run.display_name for record in found if record.HasField("run"))


def test_wandb_has_every_system_with_settings_measures_and_manifest(tmp_path):
    pytest.importorskip("wandb")
    results = _run("wandb")
    runs = {_name(found): found for found in _records(tmp_path / "runs")}
    assert runs.keys() == {"up", "down"}
    for name, found in runs.items():
        summary = _items(found, "summary", "update")
        assert summary["RR@10"] == results.systems[name].evaluation["RR@10"]
        config = _items([*found], "config", "update")
        assert config["manifest"]["collection"]["corpus"] == results.collection.corpus.fingerprint
    begun = next(record.run for record in runs["down"] if record.HasField("run"))
    given = {item.key: json.loads(item.value_json) for item in begun.config.update}
    assert given["other.backwards"] is True
    assert begun.run_group == "try"


def test_wandb_has_the_steps_of_a_training(tmp_path):
    pytest.importorskip("wandb")
    pytest.importorskip("torch")
    _train(observers.build("wandb", {"folder": str(tmp_path / "store")}))
    (found,) = _records(tmp_path / "store")
    rows = [record.history for record in found if record.HasField("history")]
    assert [row.step.num for row in rows] == [1, 2, 3]
    assert all("loss" in {item.key or item.nested_key[0] for item in row.item} for row in rows)


def test_what_is_missing_is_told(monkeypatch):
    from nirank.errors import MissingDependency
    from nirank_adapters import mlflow, wandb

    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    for module in (mlflow, wandb):
        with pytest.raises(MissingDependency, match=r"pip install 'nirank\["):
            module.Logger()
