"""Experiments that train: what may be said, what is written, and going on after an interruption."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from typer.testing import CliRunner

import nirank
from nirank.cli import app
from nirank.errors import BadInput, NirankError, UnknownName
from nirank.experiments.experiment import Experiment
from nirank.experiments.train import train
from nirank.plugins import observers
from tests.training_toys import Interrupt, registered

TOML = """
collection = { use = "numbers", seed = 1 }
seed = 7

[pipelines]
plain = "everything >> weighed"
tuned = "everything % 40 >> tuned"

[stage.tuned]
use = "scorer/weighed"
dropout = 0.1

[train.tuned]
loss = "ranknet"
collection = "numbers"
dev = { use = "numbers", seed = 2 }
epochs = 4
batch_size = 4
learning_rate = 0.2
save_every = 2
log_every = 1

[evaluate]
measures = ["RR@10", "nDCG@20"]
"""
PLUGIN = """
from nirank import hookimpl

@hookimpl
def nirank_register(registry):
    registry.add("collection", "numbers", "tests.training_toys:numbers")
    registry.add("generator", "everything", "tests.training_toys:Everything")
    registry.add("scorer", "weighed", "tests.training_toys:Weighed")
"""


@pytest.fixture
def experiment(tmp_path):
    """The file of an experiment whose components have names."""
    path = tmp_path / "toy.toml"
    path.write_text(TOML)
    with registered():
        yield path


def _changed(path, old, new):
    assert old in TOML
    path.write_text(TOML.replace(old, new))
    return path


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('loss = "ranknet"', "loss = 3", 'loss = "NAME"'),
        ('loss = "ranknet"', "loss = { gamma = 3.0 }", 'loss = "NAME"'),
        ('collection = "numbers"\n', "", 'collection = "NAME"'),
        ("epochs = 4", "epoch = 4", "epochs"),
        ("epochs = 4", 'epochs = "4"', "epochs = '4'"),
        ("epochs = 4", "epochs = 0", "give 1 or more"),
        ("epochs = 4", 'schedule = "up"', "'linear' | 'cosine' | 'constant'"),
        ("epochs = 4", "pipeline = 3", "pipeline = 3 is not an expression"),
        ("epochs = 4", "teacher = true", "teacher = True is not an expression"),
        ("[train.tuned]", "[train.tunes]", "tuned"),
    ],
)
def test_mistakes_are_told_when_the_experiment_is_read(experiment, old, new, message):
    with pytest.raises(NirankError) as caught:
        Experiment.read(_changed(experiment, old, new))
    told = "\n".join([str(caught.value), *caught.value.__notes__])
    assert message in told
    assert f"{experiment}: [train.tune" in told


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('loss = "ranknet"', "", 'loss = "NAME"'),
        ('loss = "ranknet"', 'loss = "ranknett"', "ranknet"),
        ('loss = "ranknet"', 'loss = { use = "ranknet", gamme = 1.0 }', "gamma"),
        ('loss = "ranknet"', 'loss = "uniform"', "loss"),
        ("epochs = 4", 'sampler = "in_match"', "in_batch"),
        ("epochs = 4", 'pipeline = "everything >> weighed"', "is not part of"),
        ("epochs = 4", 'teacher = "weighed"', "has no argument `teacher`"),
        ("epochs = 4", 'measure = "nDCGG"', "nDCGG"),
        ("epochs = 4", "patience = 2\nepochs = 4", None),
    ],
)
def test_mistakes_in_components_are_told_with_the_table(experiment, tmp_path, old, new, message):
    _changed(experiment, old, new)
    if message is None:
        assert train(experiment, tmp_path / "out") is not None
        return
    with pytest.raises(NirankError) as caught:
        train(experiment, tmp_path / "out")
    told = "\n".join([str(caught.value), *caught.value.__notes__])
    assert message in told
    assert f"{experiment}: [train.tuned]" in told
    assert not (tmp_path / "out" / "results").exists()


def test_a_recipe_has_the_seed_and_the_first_measure_of_its_experiment(experiment):
    (recipe,) = Experiment.read(experiment).recipes()
    assert (recipe.options.seed, recipe.options.measure) == (7, "RR@10")
    assert recipe.sampler == {"use": "judged"}
    (recipe,) = Experiment.read(_changed(experiment, "epochs = 4", 'seed = 3\nmeasure = "AP"')).recipes()
    assert (recipe.options.seed, recipe.options.measure) == (3, "AP")


def test_a_stage_may_be_there_only_to_learn_from(experiment, tmp_path):
    """A teacher and what a sampler searches stand in no pipeline; the teacher is trained first, and both are gone then.

    The same stages, said to nirank.fit, give the same weights.
    """
    learned = 'loss = "kl"\nteacher = "2.0 * oracle"\nsampler = "mined(first % 20, negatives=2)"'
    stages = '[stage.first]\nuse = "everything"\n\n[stage.oracle]\nuse = "scorer/weighed"\nseed = 5\n\n'
    taught = '[train.oracle]\nloss = "ranknet"\ncollection = "numbers"\nlearning_rate = 0.1\n\n[train.tuned]\n'
    text = TOML.replace('loss = "ranknet"', learned).replace("[train.tuned]\n", f"{stages}{taught}")
    experiment.write_text(text)
    train(experiment, tmp_path / "out")
    assert sorted(path.name for path in (tmp_path / "out").iterdir() if path.is_dir()) == ["oracle", "results", "tuned"]
    assert Experiment.read(tmp_path / "out" / "results" / "experiment.toml").stage.keys() == {"tuned"}

    oracle = nirank.load(f"trained:{tmp_path / 'out' / 'oracle'}", "oracle")
    tuned = nirank.load("scorer/weighed", "tuned", dropout=0.1, seed=7)
    options = {"epochs": 4, "batch_size": 4, "learning_rate": 0.2, "seed": 7, "measure": "RR@10"}
    nirank.fit(
        tuned,
        "kl",
        nirank.collection("numbers"),
        sampler="mined(first % 20, negatives=2)",
        dev=nirank.collection("numbers", seed=2),
        pipeline=nirank.load("everything") % 40 >> tuned,
        teacher=2.0 * oracle,
        stages={"first": nirank.load("everything", "first")},
        **options,
    )
    found = load_file(next((tmp_path / "out" / "tuned").rglob("*.safetensors")))
    assert found
    for name, value in tuned.component.target.state_dict().items():
        torch.testing.assert_close(found[name], value, rtol=0, atol=0)


def test_a_stage_that_nothing_uses_is_told(experiment, tmp_path):
    experiment.write_text(f'{TOML}\n[stage.oracle]\nuse = "scorer/weighed"\n')
    with pytest.raises(UnknownName, match="pipeline that uses stage 'oracle'"):
        train(experiment, tmp_path / "out")


def test_an_experiment_that_trains_is_not_run(experiment, tmp_path):
    with pytest.raises(BadInput, match=f"run it with `nirank train {experiment}`"):
        nirank.run(experiment, tmp_path / "out")
    assert not (tmp_path / "out").exists()
    result = CliRunner().invoke(app, ["run", str(experiment), "--out", str(tmp_path / "out")])
    assert isinstance(result.exception, BadInput)


def test_an_experiment_that_trains_nothing_is_not_trained(experiment, tmp_path):
    start, stop = TOML.index("[train.tuned]"), TOML.index("[evaluate]")
    experiment.write_text(TOML[:start] + TOML[stop:])
    with pytest.raises(BadInput, match="nothing to train"):
        train(experiment, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def _names(folder):
    return sorted(path.name for path in folder.iterdir())


def _measures(folder):
    return {name: told["measures"] for name, told in json.loads((folder / "measures.json").read_text()).items()}


def test_training_writes_a_checkpoint_a_log_and_results_that_run_again(experiment, tmp_path):
    out, fitted, shown = tmp_path / "out", [], []
    results = train(experiment, out, tell=fitted.append, show=shown.append)
    assert _names(out) == ["experiment.toml", "results", "tuned"]
    assert _names(out / "tuned") == ["checkpoint", "log.jsonl", "plan.json"]
    assert shown == [results]
    assert (fitted[0].steps, fitted[0].folder) == (12, out / "tuned")
    assert Experiment.read(out / "experiment.toml").train == Experiment.read(experiment).train
    stored = load_file(out / "tuned" / "checkpoint" / "weights.safetensors")
    learned = results.systems["tuned"].ranking.components()[-1].target
    assert torch.equal(learned.weigh.weight, stored["weigh.weight"])
    assert not torch.equal(learned.weigh.weight, results.systems["plain"].ranking.components()[-1].target.weigh.weight)
    assert learned.dropout.p == 0.1
    again = nirank.run(out / "results" / "experiment.toml", tmp_path / "again")
    assert _measures(tmp_path / "again") == _measures(out / "results")
    assert (tmp_path / "again" / "tuned.run").read_bytes() == (out / "results" / "tuned.run").read_bytes()
    assert again.experiment.train == {}


def test_dev_is_measured_with_the_first_pipeline_in_which_the_stage_stands(experiment, tmp_path):
    fitted = []
    train(experiment, tmp_path / "out", tell=fitted.append)
    dev = nirank.collection("numbers", seed=2)
    pipeline = nirank.load("everything") % 40 >> fitted[0].stage
    found = pipeline.search(dev.queries, dev.corpus)
    assert fitted[0].best == nirank.evaluate(found, dev.judgments, ["RR@10"])["RR@10"]


def test_a_stage_that_is_only_a_name_can_be_trained(experiment, tmp_path):
    _changed(experiment, "[train.tuned]", "[train.weighed]")
    results = train(experiment, tmp_path / "out")
    trained = results.systems["plain"].ranking.components()[-1]
    assert results.experiment.stage["weighed"] == {"use": f"trained:{tmp_path / 'out' / 'weighed'}"}
    assert trained.fingerprint != nirank.load("weighed").component.fingerprint


def test_stages_are_trained_one_after_the_other_with_what_was_learned_before(experiment, tmp_path):
    second = (
        '[train.weighed]\nloss = "kl"\ncollection = "numbers"\nteacher = "tuned"\nepochs = 60\nlearning_rate = 0.1\n'
    )
    _changed(experiment, "[evaluate]", f"{second}\n[evaluate]")
    results = train(experiment, tmp_path / "out")
    taught, teacher = (results.systems[name].ranking.components()[-1].target for name in ("plain", "tuned"))
    untrained = nirank.load("weighed").component.target
    assert (untrained.weigh.weight - teacher.weigh.weight).norm() > 1
    assert (taught.weigh.weight - teacher.weigh.weight).norm() < 0.2


def _whole(experiment, folder):
    train(experiment, folder)
    return _measures(folder / "results"), load_file(folder / "tuned" / "checkpoint" / "weights.safetensors")


def _same(out, expected):
    measures, weights = expected
    assert _measures(out / "results") == measures
    found = load_file(out / "tuned" / "checkpoint" / "weights.safetensors")
    assert all(torch.equal(found[name], value) for name, value in weights.items())


def test_interrupted_while_it_trains_it_goes_on(experiment, tmp_path):
    expected, out = _whole(experiment, tmp_path / "whole"), tmp_path / "out"
    with observers.switched_on([Interrupt(8)]), pytest.raises(KeyboardInterrupt):
        train(experiment, out)
    assert _names(out) == ["experiment.toml", "tuned"]
    assert "state.pt" in _names(out / "tuned")
    train(experiment, out)
    _same(out, expected)


def test_interrupted_between_training_and_results_it_goes_on(experiment, tmp_path):
    expected, out, told = _whole(experiment, tmp_path / "whole"), tmp_path / "out", []

    def interrupt(fitted):
        raise KeyboardInterrupt

    for where in ({"tell": interrupt}, {"show": interrupt}):
        with pytest.raises(KeyboardInterrupt):
            train(experiment, out, **where)
        assert _names(out) == ["experiment.toml", "tuned"]
    train(experiment, out, tell=told.append)
    assert told == []  # nothing was trained again
    _same(out, expected)
    with pytest.raises(BadInput, match="exists already"):
        train(experiment, out)


def test_another_experiment_or_another_folder_is_refused(experiment, tmp_path):
    out = tmp_path / "out"
    with observers.switched_on([Interrupt(8)]), pytest.raises(KeyboardInterrupt):
        train(experiment, out)
    before = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    with pytest.raises(BadInput, match="another experiment: train differ"):
        train(_changed(experiment, "learning_rate = 0.2", "learning_rate = 0.1"), out)
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == before
    with pytest.raises(BadInput, match="holds another training: options differ"):
        train(_changed(experiment, '"RR@10"', '"AP"'), out)  # by which the best weights are chosen
    with pytest.raises(BadInput, match="exists already"):
        train(experiment, tmp_path)


@pytest.mark.parametrize(
    ("old", "new", "named"),
    [
        ('loss = "ranknet"', 'loss = "no_such_loss"', "no_such_loss"),
        ('collection = { use = "numbers", seed = 1 }', 'collection = "no_such_numbers"', "no_such_numbers"),
    ],
)
def test_what_does_not_exist_is_told_before_anything_is_trained(experiment, tmp_path, old, new, named):
    with pytest.raises(UnknownName, match=named):
        train(_changed(experiment, old, new), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_the_command_trains_with_a_plugin_beside_the_experiment(tmp_path):
    (tmp_path / "toy.toml").write_text(TOML)
    (tmp_path / "nirank_plugin.py").write_text(PLUGIN)
    path = os.pathsep.join([str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-m", "nirank", "train", "toy.toml", "--out", "out"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=tmp_path, env=environment)
    assert done.returncode == 0, done.stderr
    assert "tuned: trained for 12 steps; best on dev after " in done.stdout
    assert "Written to out" in done.stdout
    results = tmp_path / "out" / "results"
    assert (results / "nirank_plugin.py").read_text() == PLUGIN
    assert set(_measures(results)) == {"plain", "tuned"}
