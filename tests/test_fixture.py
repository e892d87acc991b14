"""Checkpoints are held to the scores that they were saved with."""

from __future__ import annotations

import json

import pytest
from torch import nn

import nirank
from nirank import seals
from nirank.checkpoints import checkpoint as weights
from nirank.errors import BadInput
from nirank.plugins import Component
from nirank_dense import tiny


@pytest.fixture
def saved(tmp_path):
    """An encoder's checkpoint, by its folder."""
    tiny.save(tmp_path / "model")
    stage = nirank.load("sentence", "mine", model=str(tmp_path / "model"))
    weights.save(stage.component, tmp_path / "checkpoint")
    return tmp_path / "checkpoint"


def _change(path, key, value):
    described = json.loads(path.read_text())
    described[key] = value
    path.write_text(json.dumps(described))


def test_a_checkpoint_keeps_the_scores_of_a_few_pairs(saved):
    kept = json.loads((saved / "component.json").read_text())["fixture"]
    assert len(kept["scores"]) == 12
    assert len(set(kept["scores"])) > 9
    assert {"torch", "transformers"} <= kept["versions"].keys()
    assert nirank.load(f"trained:{saved}").component.name == "mine"


def test_another_way_of_pooling_is_noticed(saved):
    (pooling,) = (saved / "model").glob("*_Pooling/config.json")
    _change(pooling, "pooling_mode", "cls")
    seals.seal(saved)  # by someone who knows what is done
    with pytest.raises(BadInput, match="encoder/sentence does not score as it did when it was saved"):
        nirank.load(f"trained:{saved}")


def test_other_scores_are_told_with_the_versions_of_then_and_now(saved):
    described = json.loads((saved / "component.json").read_text())
    described["fixture"]["versions"]["transformers"] = "4.0.0"
    described["fixture"]["scores"][0] += 0.1
    (saved / "component.json").write_text(json.dumps(described))
    seals.seal(saved)
    with pytest.raises(BadInput, match=r"transformers 4\.0\.0 then, \d"):
        nirank.load(f"trained:{saved}")


def test_other_settings_may_score_otherwise(saved):
    assert nirank.load(f"trained:{saved}", max_length=4).component.settings["max_length"] == 4


def test_what_does_not_read_text_has_no_fixture(tmp_path):
    class Numbers(nn.Module):
        def score(self, queries, candidates):
            return candidates.docs

    weights.save(Component("numbers", Numbers()), tmp_path)
    assert json.loads((tmp_path / "component.json").read_text())["fixture"] is None
