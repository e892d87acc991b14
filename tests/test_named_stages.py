"""Settings that name a stage of the experiment: built once, trained first, and kept inside of checkpoints."""

from __future__ import annotations

import shutil
import tomllib
from typing import Any

import pytest
import torch

import nirank
from nirank.errors import BadInput, UnknownName
from nirank.experiments.experiment import Experiment
from nirank.experiments.train import train
from nirank.plugins import Entry, Plugin, active
from tests.training_toys import registered, weights

#: The stage that leans on another stands first, and is trained last all the same.
TOML = """
collection = { use = "numbers", seed = 1 }

[pipelines]
both = "everything >> leaning"

[stage.leaning]
on = "@base"

[stage.base]
use = "scorer/weighed"

[train.leaning]
loss = "ranknet"
collection = "numbers"
steps = 2
batch_size = 4
learning_rate = 0.1

[train.base]
loss = "ranknet"
collection = "numbers"
steps = 2
batch_size = 4
learning_rate = 0.1

[evaluate]
measures = ["RR@10"]
"""


@pytest.fixture
def given(tmp_path):
    path = tmp_path / "toy.toml"
    path.write_text(TOML)
    with registered():
        yield path


def test_a_setting_that_names_a_stage_is_given_that_very_stage(given):
    stages = {}
    Experiment.read(given).build(stages)
    assert stages["leaning"].component.target.other is stages["base"].component


def test_what_is_named_is_trained_before_what_names_it(given, tmp_path):
    told = []
    results = train(given, tmp_path / "out", told.append)
    assert [fitted.stage.component.name for fitted in told] == ["base", "leaning"]
    base, leaning = (fitted.stage.component.target for fitted in told)
    for one, other in zip(weights(base).values(), weights(leaning.other.target).values(), strict=True):
        assert torch.equal(one, other)  # as it was trained, and not as it was built
    ran = next(iter(results.systems.values())).ranking
    collection = nirank.collection("numbers", seed=1)
    direct = (nirank.load("everything") >> told[1].stage).search(collection.queries, collection.corpus)
    assert (ran.search(collection.queries, collection.corpus).scores == direct.scores).all()


def test_a_checkpoint_holds_the_stage_that_a_setting_named_and_can_be_moved(given, tmp_path):
    told = []
    train(given, tmp_path / "out", told.append)
    pairs = nirank.collection("numbers", seed=2)
    expected = told[1].stage.score(pairs.queries, pairs.judgments)
    shutil.copytree(tmp_path / "out" / "leaning", tmp_path / "copied")
    shutil.rmtree(tmp_path / "out")
    again = nirank.load(f"trained:{tmp_path / 'copied'}")
    assert (again.score(pairs.queries, pairs.judgments) == expected).all()
    nirank.fit(again, "ranknet", nirank.collection("numbers"), steps=1, out=tmp_path / "more")
    shutil.rmtree(tmp_path / "copied")
    nirank.load(f"trained:{tmp_path / 'more'}").score(pairs.queries, pairs.judgments)


@pytest.mark.parametrize(
    ("old", "new", "error", "message"),
    [
        ('use = "scorer/weighed"', 'use = "scorer/leaning"\non = "@leaning"', BadInput, "leaning -> base -> leaning"),
        ('"@base"', '"@bse"', UnknownName, "bse"),
        ('"@base"', '"@leaning"', BadInput, "leaning -> leaning"),
    ],
)
def test_circles_and_unknown_names_are_refused(given, old, new, error, message):
    given.write_text(TOML.replace(old, new))
    with pytest.raises(error, match=message):
        Experiment.read(given).build()


def test_a_text_that_is_no_name_of_a_stage_stays_a_text():
    table = {"collection": "emoji", "pipeline": "bm25", "stage": {"bm25": {"note": "@ 5 o'clock"}}}
    assert not Experiment.of(table).names_in_settings


_SEEN = []


def passed(by: Any = None) -> Any:
    """A collection that is made with a trained scorer, as `capfilt` is."""
    _SEEN.append(by)
    return nirank.collection("numbers")


def _learning_from(text, name):
    """The experiment in which nothing leans on another, and the stage `leaning` learns from what names a stage."""
    alone = text.replace('on = "@base"', 'use = "scorer/weighed"')
    return alone.replace('collection = "numbers"', f'collection = {{ use = "passed", by = "@{name}" }}', 1)


def test_a_collection_may_name_a_stage_that_is_trained_before_it_is_opened(given, tmp_path):
    active().registry.add(Entry("collection", "passed", f"{__name__}:passed", Plugin("toys")))
    given.write_text(_learning_from(TOML, "base"))
    told = []
    _SEEN.clear()
    train(given, tmp_path / "out", told.append)
    assert [fitted.stage.component.name for fitted in told] == ["base", "leaning"]
    (by,) = _SEEN
    trained, passed_by = (weights(stage.component.target) for stage in (told[0].stage, by))
    assert all(torch.equal(value, passed_by[name]) for name, value in trained.items())
    again = Experiment.read(tmp_path / "out" / "results" / "experiment.toml")
    assert again.stage.keys() == {"leaning"}  # what only learned with it is not needed to search
    with pytest.raises(BadInput, match="leaning -> leaning"):
        Experiment.of(tomllib.loads(_learning_from(TOML, "leaning")))
