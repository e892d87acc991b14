"""A fusion in an experiment's file: its weights are found by `nirank train`, written down, and run again."""

from __future__ import annotations

import json
import tomllib

import pytest
from typer.testing import CliRunner

import nirank
from nirank.cli import app
from nirank.errors import BadInput, NirankError
from nirank.experiments.experiment import Experiment
from nirank.experiments.train import train
from nirank.plugins import Entry, Plugin, active

TOML = """
collection = { use = "numbers", seed = 1 }
seed = 7

[pipelines]
first = "everything"
both = "fuse(everything, others(everything) >> good, method='combsum', normalise='rank') % 10"

[train.both]
collection = { use = "numbers", seed = 2 }
measure = "nDCG@20"
step = 0.25
folds = 4

[evaluate]
measures = ["RR@10", "nDCG@20"]
"""
LINEAR = """
[train.good]
collection = "numbers"
loss = "ranknet"
epochs = 1
"""


@pytest.fixture
def experiment(tmp_path):
    from tests.training_toys import registered

    path = tmp_path / "toy.toml"
    path.write_text(TOML)
    plugin, registry = Plugin("more toys"), active().registry
    registry.add(Entry("scorer", "good", "tests.training_toys:Weighed", plugin))
    try:
        with registered():
            yield path
    finally:
        registry.remove(plugin)


def test_weights_are_found_written_down_and_used(experiment, tmp_path):
    told = []
    results = train(experiment, tmp_path / "out", told.append)
    (fitted,) = told
    kept = json.loads((tmp_path / "out" / "both" / "fusion.json").read_text())
    assert kept["weights"] == [*fitted.pipeline.weights]
    assert (kept["seed"], kept["measure"], len(kept["fold_weights"])) == (7, "nDCG@20", 4)
    assert kept["cross_validated"] == fitted.evaluation["nDCG@20"]
    assert kept["pipeline"] == f"{fitted.pipeline!r} % 10"
    written = tomllib.loads((tmp_path / "out" / "results" / "experiment.toml").read_text())
    assert written["pipelines"] == {"first": "everything", "both": kept["pipeline"]}
    again = nirank.run(tmp_path / "out" / "results" / "experiment.toml", tmp_path / "again")
    assert again.systems["both"].evaluation.mean == results.systems["both"].evaluation.mean


def test_a_fusion_that_was_fitted_is_not_fitted_again(experiment, tmp_path, monkeypatch):
    train(experiment, tmp_path / "out")
    (tmp_path / "out" / "results").rename(tmp_path / "results")
    monkeypatch.setattr("nirank.experiments.fusion_recipe.fit_fusion", None)
    told = []
    results = train(experiment, tmp_path / "out", told.append)
    assert not told
    assert "weights=" in results.experiment.pipelines["both"]


def test_weights_that_were_found_in_another_way_are_not_taken(experiment, tmp_path):
    text = experiment.read_text()
    experiment.write_text(text.replace('measure = "nDCG@20"\n', ""))  # which is then the first of the experiment
    train(experiment, tmp_path / "out")
    (tmp_path / "out" / "results").rename(tmp_path / "results")
    experiment.write_text(experiment.read_text().replace('["RR@10", "nDCG@20"]', '["nDCG@20", "RR@10"]'))
    with pytest.raises(BadInput, match="found in another way: measure differ"):
        train(experiment, tmp_path / "out")


def test_numbers_in_a_fitted_fusion_are_written_as_they_are_and_it_runs_again(experiment, tmp_path):
    text = (
        experiment.read_text().replace("% 10", "% deep").replace('first = "everything"', 'first = "everything % wide"')
    )
    experiment.write_text(f"{text}\n[numbers]\ndeep = 10\nwide = 5\n")
    results = train(experiment, tmp_path / "out")
    written = tomllib.loads((tmp_path / "out" / "results" / "experiment.toml").read_text())
    assert written["numbers"] == {"wide": 5}
    assert written["pipelines"]["both"].endswith(" % 10")
    again = nirank.run(tmp_path / "out" / "results" / "experiment.toml")
    assert again.systems["both"].evaluation.mean == results.systems["both"].evaluation.mean


def test_its_stages_are_trained_first(experiment, tmp_path):
    experiment.write_text(TOML + LINEAR)
    told = []
    train(experiment, tmp_path / "out", told.append)
    stage, fitted = told
    assert stage.stage.component.name == "good"
    trained = fitted.pipeline.components()[-1]
    assert trained.fingerprint == nirank.load(f"trained:{tmp_path / 'out' / 'good'}").component.fingerprint


def test_the_command_tells_what_was_found(experiment, tmp_path):
    result = CliRunner().invoke(app, ["train", str(experiment), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    assert "in 4-fold cross-validation" in " ".join(result.output.split())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("step = 0.25", "steps = 0.25", "step"),
        ("step = 0.25", "step = 0.3", "does not divide 1"),
        ('measure = "nDCG@20"', 'measure = "nDCGG"', "nDCGG"),
        ('collection = { use = "numbers", seed = 2 }', "", 'collection = "NAME"'),
        ("[train.both]", "[train.bith]", "bith"),
    ],
)
def test_mistakes_are_told_when_the_experiment_is_read(experiment, old, new, message):
    assert TOML.count(old) == 1
    experiment.write_text(TOML.replace(old, new))
    with pytest.raises(NirankError) as caught:
        Experiment.read(experiment)
    told = "\n".join([str(caught.value), *caught.value.__notes__])
    assert message in told
    assert "[train.b" in told


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (
            "fuse(everything, others(everything) >> good, method='combsum', normalise='rank') % 10",
            "everything % 3",
            "0 times",
        ),
        ('collection = { use = "numbers", seed = 2 }', 'collection = "numbers_"', "numbers_"),
        ("folds = 4", "folds = 1", "folds = 1"),
    ],
)
def test_mistakes_in_the_pipeline_are_told_with_the_table(experiment, tmp_path, old, new, message):
    experiment.write_text(TOML.replace(old, new))
    with pytest.raises(NirankError) as caught:
        train(experiment, tmp_path / "out")
    told = "\n".join([str(caught.value), *caught.value.__notes__])
    assert message in told
    assert f"{experiment}: [train.both]" in told


def test_it_is_trained_and_not_run(experiment, tmp_path):
    with pytest.raises(NirankError, match="run it with `nirank train"):
        nirank.run(experiment, tmp_path / "out")
