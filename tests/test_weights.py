"""Checkpoints: what was trained is built again by name, wherever its folder lies, and nothing else is."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

import nirank
from nirank import hashing, seals
from nirank.checkpoints import checkpoint as weights
from nirank.data import Queries
from nirank.errors import BadInput, DamagedFile, UnknownName
from nirank.experiments.experiment import Experiment
from nirank.experiments.run import run
from nirank.plugins import Component, Entry, Plugin, active
from nirank_dense import tiny
from tests.small_training import Letters
from tests.small_training import collection as letters
from tests.training_toys import Weighed, numbers, registered

TEXTS = ["a red fox", "", "zebra zebra"]


@pytest.fixture(autouse=True)
def _named():
    with registered():
        yield


@pytest.fixture
def trained(tmp_path):
    """A scorer that was trained, in the folder of its training."""
    stage = nirank.load("weighed", "tuned", note="ü ∑", dropout=0.5)
    return nirank.fit(stage, "ranknet", numbers(), learning_rate=0.1, out=tmp_path / "out")


def _scores(stage, collection):
    return stage.score(collection.queries, collection.judgments)


@pytest.mark.parametrize("part", ["", "checkpoint"])
def test_what_was_trained_is_built_again_by_its_folder(trained, part):
    again = nirank.load(f"trained:{trained.folder / part}")
    torch.testing.assert_close(again.component.target.state_dict(), trained.stage.component.target.state_dict())
    assert again.component.fingerprint == trained.stage.component.fingerprint
    assert again.component.fingerprint != nirank.load("weighed", note="ü ∑", dropout=0.5).component.fingerprint
    assert again.component.settings == trained.stage.component.settings
    assert (again.component.name, again.component.spec) == ("tuned", "scorer/weighed")
    assert nirank.load(f"trained:{trained.folder}", "mine").component.name == "mine"
    held_out = numbers(seed=4)
    np.testing.assert_array_equal(_scores(again, held_out), _scores(trained.stage, held_out))


def test_settings_go_before_those_it_was_trained_with(trained):
    again = nirank.load(f"trained:{trained.folder}", dropout=0.25)
    assert again.component.target.dropout.p == 0.25
    assert again.component.settings == {"dropout": 0.25, "seed": 0, "note": "ü ∑"}
    with pytest.raises(UnknownName, match="drop"):
        nirank.load(f"trained:{trained.folder}", drop=0.25)
    with pytest.raises(BadInput, match="dropout"):
        nirank.load(f"trained:{trained.folder}", dropout="much")


def test_it_stands_in_pipelines_and_experiments(trained, tmp_path):
    collection = numbers(seed=4)
    found = (nirank.load("everything") >> trained.stage).search(collection.queries, collection.corpus)
    described = {
        "collection": {"use": "numbers", "seed": 4},
        "pipelines": {"plain": "everything >> weighed", "tuned": "everything >> best"},
        "stage": {"best": {"use": f"trained:{trained.folder}", "note": "other"}},
        "evaluate": {"measures": ["nDCG@10"]},
    }
    results = run(Experiment.of(described), tmp_path / "results")
    np.testing.assert_array_equal(results.systems["tuned"].run.scores, found.scores)
    assert (results.systems["plain"].run.scores != found.scores).any()
    assert results.systems["tuned"].ranking.components()[1].settings["note"] == "other"
    again = run(Experiment.read(tmp_path / "results" / "experiment.toml"))
    np.testing.assert_array_equal(again.systems["tuned"].run.scores, found.scores)


@pytest.mark.parametrize("path", ["nowhere", "", "out/checkpoint/weights.safetensors"])
def test_a_folder_without_a_checkpoint_is_told(trained, tmp_path, path):
    with pytest.raises(BadInput, match=r"is not a checkpoint: it has no component\.json"):
        nirank.load(f"trained:{tmp_path / path}")


@pytest.mark.parametrize(
    "text", ["", "{", "[]", "3", '{"use": "weighed"}', '{"use": "weighed", "settings": [], "origin": "x"}']
)
def test_a_damaged_description_is_told(trained, text):
    (trained.folder / "checkpoint" / "component.json").write_text(text)
    with pytest.raises(BadInput, match=r"component\.json.*is damaged"):
        nirank.load(f"trained:{trained.folder}")


def test_a_component_that_is_not_installed_is_told(trained):
    path = trained.folder / "checkpoint" / "component.json"
    path.write_text(path.read_text().replace("scorer/weighed", "scorer/weighty"))
    with pytest.raises(DamagedFile, match=r"component\.json: is damaged"):
        nirank.load(f"trained:{trained.folder}")
    seals.seal(path.parent)
    with pytest.raises(UnknownName, match="weighty"):
        nirank.load(f"trained:{trained.folder}")


@pytest.mark.parametrize(
    "tensors",
    [
        {"weigh.weight": torch.zeros(1, 5), "weigh.bias": torch.zeros(1)},
        {"weigh.weight": torch.zeros(1, 4)},
        {"weigh.weight": torch.zeros(1, 4), "weigh.bias": torch.zeros(1), "more": torch.zeros(1)},
    ],
)
def test_weights_of_another_model_are_refused(trained, tensors):
    save_file(tensors, trained.folder / "checkpoint" / "weights.safetensors")
    with pytest.raises(DamagedFile, match=r"weights\.safetensors: is damaged"):
        nirank.load(f"trained:{trained.folder}")
    seals.seal(trained.folder / "checkpoint")
    with pytest.raises(BadInput, match="the weights do not fit Weighed"):
        nirank.load(f"trained:{trained.folder}")


def test_damaged_weights_and_missing_ones_are_told(trained):
    path = trained.folder / "checkpoint" / "weights.safetensors"
    whole = path.read_bytes()
    for left in (0, 4, len(whole) - 5):
        path.write_bytes(whole)
        seals.seal(path.parent)
        path.write_bytes(whole[:left])
        with pytest.raises(DamagedFile, match=rf"it has {left} bytes, and {len(whole)} were written"):
            nirank.load(f"trained:{trained.folder}")
        (path.parent / seals.SEAL).unlink()  # as nirank wrote checkpoints before it sealed them
        with pytest.raises(BadInput, match="do not fit"):
            nirank.load(f"trained:{trained.folder}")
    path.unlink()
    with pytest.raises(BadInput, match=r"damaged: the file weights\.safetensors is missing"):
        nirank.load(f"trained:{trained.folder}")


def test_weights_of_an_object_without_a_name_are_given_to_such_an_object(tmp_path):
    scorer, other = Weighed(), Weighed(seed=1)
    nirank.fit(scorer, "ranknet", numbers(), learning_rate=0.1, out=tmp_path / "out")
    with pytest.raises(BadInput, match=r"tests\.training_toys.*load_weights"):
        nirank.load(f"trained:{tmp_path / 'out'}")
    weights.load_weights(other, tmp_path / "out")
    torch.testing.assert_close(other.state_dict(), scorer.state_dict())
    with pytest.raises(BadInput, match="do not fit Linear"):
        weights.load_weights(nn.Linear(2, 2), tmp_path / "out" / "checkpoint")


class Placed(Weighed):
    """Has a path among its settings, and nothing to do with it."""

    def __init__(self, place=None):
        super().__init__()
        self.place = place


class Written(Weighed):
    """Writes itself."""

    def __init__(self, file=None, note="none"):
        super().__init__()
        self.file, self.note = file, note
        if file:
            self.load_state_dict(torch.load(file, weights_only=True))

    def save(self, folder):
        (folder / "deep").mkdir()
        torch.save(self.state_dict(), folder / "deep" / "all.pt")
        return {"use": "scorer/written", "file": Path("deep/all.pt"), "note": "saved"}


@pytest.fixture
def own():
    plugin, registry = Plugin("own"), active().registry
    for kind in (Placed, Written):
        registry.add(Entry("scorer", kind.__name__.lower(), f"{__name__}:{kind.__name__}", plugin))
    yield
    registry.remove(plugin)


def test_a_path_among_the_settings_stays_what_it_was(own, tmp_path):
    stage = nirank.load("placed", place=Path("some/where"))
    weights.save(stage.component, tmp_path / "saved")
    assert nirank.load(f"trained:{tmp_path / 'saved'}").component.target.place == "some/where"


def test_what_writes_itself_is_found_wherever_its_folder_lies(own, tmp_path):
    stage = nirank.load("written", note="mine")
    nirank.fit(stage, "ranknet", numbers(), learning_rate=0.1, out=tmp_path / "out")
    assert not (tmp_path / "out" / "checkpoint" / "weights.safetensors").exists()
    shutil.move(tmp_path / "out", tmp_path / "moved")
    again = nirank.load(f"trained:{tmp_path / 'moved'}").component.target
    assert again.note == "saved"
    assert again.file == str(tmp_path / "moved" / "checkpoint" / "deep" / "all.pt")
    torch.testing.assert_close(again.state_dict(), stage.component.target.state_dict())


@pytest.mark.parametrize("make", [tiny.encoder, tiny.words])
def test_a_text_encoder_is_moved_with_all_it_is_made_of(tmp_path, make):
    encoder = make()
    described = {"collection": "letters", "loss": "clip", "sampler": "in_batch"}
    letters = nirank.collection(described.pop("collection"))
    stage = nirank.load(encoder)
    before = stage.component.fingerprint
    nirank.fit(stage, **described, collection=letters.take(slice(8)), learning_rate=0.01, out=tmp_path / "out")
    shutil.move(tmp_path / "out", tmp_path / "moved")
    again = nirank.load(f"trained:{tmp_path / 'moved'}", device="cpu").component
    assert again.fingerprint == stage.component.fingerprint != before
    assert torch.equal(again.target.encode(Queries.of(TEXTS)), encoder.encode(Queries.of(TEXTS)))
    assert torch.equal(again.target.encode_documents(TEXTS), encoder.encode_documents(TEXTS))


def test_the_description_can_be_read(trained):
    told = json.loads((trained.folder / "checkpoint" / "component.json").read_text(encoding="utf-8"))
    assert told["use"] == "scorer/weighed"
    assert told["fingerprint"] == trained.stage.component.fingerprint
    assert "ü ∑" in (trained.folder / "checkpoint" / "component.json").read_text(encoding="utf-8")


def test_a_hash_of_weights_knows_names_types_shapes_and_values_alone():
    values = torch.arange(6.0).reshape(2, 3)
    first = {"a": values, "b": torch.tensor(1.0)}
    same = [
        {"b": torch.tensor(1.0), "a": values},
        {"a": values.T.contiguous().T, "b": torch.tensor(1.0, requires_grad=True)},
    ]
    other = [
        {"a": values, "c": torch.tensor(1.0)},
        {"a": values},
        {"a": values.reshape(3, 2), "b": torch.tensor(1.0)},
        {"a": values.double(), "b": torch.tensor(1.0)},
        {"a": values.bfloat16(), "b": torch.tensor(1.0)},
        {"a": values, "b": torch.tensor([1.0])},
        {"a": values + torch.eye(2, 3) * 1e-6, "b": torch.tensor(1.0)},
    ]
    assert {hashing.weights_digest(state) for state in same} == {hashing.weights_digest(first)}
    assert len({hashing.weights_digest(state) for state in [first, *other]}) == 1 + len(other)
    assert hashing.weights_digest({}) == hashing.weights_digest({})


def test_equal_weights_and_settings_have_equal_fingerprints():
    prints = [
        nirank.load("weighed", **given).component.fingerprint for given in ({}, {}, {"seed": 1}, {"note": "other"})
    ]
    assert prints[0] == prints[1]
    assert len(set(prints)) == 3
    plain = Component("mine", Weighed()), Component("mine", Weighed())
    assert plain[0].fingerprint != plain[1].fingerprint  # nothing is known of objects without a name


def test_a_checkpoint_has_what_the_loss_has_learned(tmp_path):
    fitted = nirank.fit(Letters(), "clip", letters(), sampler="in_batch", steps=3, out=tmp_path / "out")
    stored = load_file(fitted.folder / "checkpoint" / "loss.safetensors")
    assert set(stored) == {"log_scale"}
    nirank.fit(Letters(), "ranknet", letters(), sampler="uniform", steps=3, out=tmp_path / "plain")
    assert not (tmp_path / "plain" / "checkpoint" / "loss.safetensors").exists()
