"""An interrupted training goes on where it was, to the very same end, and only that training does."""

from __future__ import annotations

import json

import pytest
import torch

import nirank
from nirank import seals
from nirank.errors import BadInput, DamagedFile
from nirank.plugins import build, observers
from nirank.training import fitting
from nirank_samplers.hard import Mined
from nirank_samplers.in_batch import InBatch
from tests.small_training import Letters
from tests.small_training import collection as letters
from tests.training_toys import Interrupt, Weighed, numbers, registered, weights

STEPS = {"steps": 14, "batch_size": 4, "learning_rate": 0.1, "log_every": 1}


def _interrupted(step, fit, **more):
    with observers.switched_on([Interrupt(step)]), pytest.raises(KeyboardInterrupt):
        fit(**more)


def _lines(fitted):
    return [{key: value for key, value in line.items() if key != "seconds"} for line in fitted.log]


def _same_end(fit, folder, step=9, save_every=3):
    """What became of a training, which is as good whether it was interrupted or not."""
    whole = fit(out=folder / "whole", save_every=save_every)
    _interrupted(step, fit, out=folder / "cut", save_every=save_every)
    assert (folder / "cut" / "state.pt").exists()
    resumed = fit(out=folder / "cut", save_every=save_every)
    assert _lines(resumed) == _lines(whole)
    assert (resumed.best, resumed.best_step, resumed.steps) == (whole.best, whole.best_step, whole.steps)
    learned = [weights(fitted.stage.component.target) for fitted in (whole, resumed)]
    assert all(torch.equal(learned[0][name], learned[1][name]) for name in learned[0])
    return learned[0]


def test_orders_that_a_loss_draws_go_on(tmp_path):
    def fit(seed=0, **more):
        loss = build("loss/listmle", {"ties": "shuffle", "seed": seed})
        return nirank.fit(Weighed(dropout=0.3), loss, numbers(), **STEPS, **more)

    learned = _same_end(fit, tmp_path)
    other = weights(fit(seed=1).stage.component.target)
    assert not torch.equal(other["weigh.weight"], learned["weigh.weight"])


def test_what_a_loss_has_learned_goes_on(tmp_path):
    def fit(**more):
        return nirank.fit(Letters(dropout=0.2), "clip", letters(), sampler="in_batch", **STEPS, **more)

    _same_end(fit, tmp_path)


@pytest.mark.parametrize("step", [1, 2, 5, 13])
def test_negatives_that_are_drawn_go_on_from_any_step(tmp_path, step):
    def fit(**more):
        return nirank.fit(Letters(), "nce", letters(), sampler="uniform", **STEPS, **more)

    if step == 1:  # nothing is saved yet: from the beginning
        _interrupted(1, fit, out=tmp_path, save_every=1)
        assert not (tmp_path / "state.pt").exists()
        assert len(fit(out=tmp_path).log) == 14
    else:
        _same_end(fit, tmp_path, step, save_every=1)


def test_the_best_weights_and_patience_go_on(tmp_path):
    def fit(**more):
        dev = numbers(8, seed=1, sign=-1)
        options = STEPS | {"steps": 100, "learning_rate": 0.05}
        return nirank.fit(Weighed(), "ranknet", numbers(), dev=dev, evaluate_every=4, patience=3, **options, **more)

    fitted = fit()
    assert (fitted.best_step, fitted.steps) == (4, 16)
    _same_end(fit, tmp_path, step=11)  # the best weights are older than the state


class Forgetful(Mined):
    """Mines anew where it should go on."""

    def restore(self, state):
        pass


def test_negatives_that_were_mined_go_on(tmp_path):
    def fit(kind=Mined, **more):
        sampler = kind("tuned >> exact", negatives=4, top=12, every=5)
        stages = {"exact": nirank.load("exact")}
        trained = nirank.load(Letters(), "tuned")
        loss = "softmax_cross_entropy"
        return nirank.fit(trained, loss, letters(), sampler=sampler, stages=stages, **STEPS, **more)

    learned = _same_end(fit, tmp_path)  # mined before steps 0, 5 and 10; the state is that after step 6
    _interrupted(9, lambda **more: fit(Forgetful, **more), out=tmp_path / "other", save_every=3)
    other = weights(fit(Forgetful, out=tmp_path / "other").stage.component.target)
    assert not torch.equal(other["told.weight"], learned["told.weight"])


def test_the_log_has_each_step_once(tmp_path):
    def fit():
        return nirank.fit(Weighed(), "ranknet", numbers(), out=tmp_path, save_every=4, **STEPS)

    _interrupted(11, fit)
    log = tmp_path / "log.jsonl"
    assert json.loads(log.read_text().splitlines()[-1])["step"] >= 10
    with log.open("a") as file:
        file.write('{"component": "Weighed", "step": 12, "lo')  # as a kill may leave it
    fitted = fit()
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    assert lines == fitted.log
    assert [line["step"] for line in lines] == list(range(1, 15))


def test_the_state_is_saved_every_few_minutes_unless_one_says_otherwise(tmp_path, monkeypatch):
    def fit(out):
        return nirank.fit(Weighed(), "ranknet", numbers(), out=out, **STEPS)

    _interrupted(5, fit, out=tmp_path / "soon")
    assert not (tmp_path / "soon" / "state.pt").exists()
    monkeypatch.setattr(fitting, "_SAVE_AFTER", -1.0)
    _interrupted(5, fit, out=tmp_path / "late")
    assert torch.load(tmp_path / "late" / "state.pt", weights_only=True)["progress"]["step"] == 4


BASE = {"component": 0, "loss": {}, "sampler": None, "collection": 0, "dev": 1, "pipeline": 20, "teacher": 3}


def _planned(folder, component, loss, sampler, collection, dev, pipeline, teacher, **options):
    trained = nirank.load(Letters(seed=component), "tuned")
    taught = nirank.load(Letters(seed=teacher))
    kinds = letters(), letters(documents=59)
    return nirank.fit(
        trained,
        build("loss/kl", loss),
        kinds[collection],
        sampler=sampler,
        dev=kinds[dev],
        pipeline=trained >> (nirank.load("exact") % pipeline),
        teacher=taught,
        out=folder,
        **STEPS | {"save_every": 2} | options,
    )


@pytest.mark.parametrize(
    ("changes", "differ"),
    [
        ({"component": 1}, "component, pipeline"),
        ({"loss": {"gamma": 2.0}}, "loss"),
        ({"sampler": "in_batch"}, "sampler"),
        ({"collection": 1}, "collection"),
        ({"dev": 0}, "dev"),
        ({"pipeline": 10}, "pipeline"),
        ({"teacher": 4}, "teacher"),
        ({"learning_rate": 0.2}, "options"),
        ({"seed": 1, "loss": {"rescale": True}}, "loss, options"),
    ],
)
def test_another_training_is_refused_with_what_differs(tmp_path, changes, differ):
    _interrupted(5, lambda: _planned(tmp_path, **BASE))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    with pytest.raises(BadInput, match=f"holds another training: {differ} differ"):
        _planned(tmp_path, **BASE | changes)
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_how_often_one_saves_and_reports_may_differ(tmp_path):
    _interrupted(5, lambda: _planned(tmp_path, **BASE))
    fitted = _planned(tmp_path, **BASE, save_every=5, log_every=7)
    assert [line["step"] for line in fitted.log if "loss" in line] == [1, 2, 3, 4, 7, 14]


def test_a_training_that_is_finished_or_another_folder_is_refused(tmp_path):
    def fit(out):
        return nirank.fit(Weighed(), "ranknet", numbers(), out=out, **STEPS)

    (tmp_path / "new").mkdir()
    fit(tmp_path / "new")
    assert sorted(path.name for path in (tmp_path / "new").iterdir()) == ["checkpoint", "log.jsonl", "plan.json"]
    with pytest.raises(BadInput, match="a training that is finished"):
        fit(tmp_path / "new")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.tex").write_text("x")
    with pytest.raises(BadInput, match="holds no training"):
        fit(tmp_path / "mine")
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["thesis.tex"]
    with pytest.raises(BadInput, match="holds no training"):
        fit(tmp_path / "mine" / "thesis.tex")


def _cut_off(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _empty(path):
    path.write_bytes(b"")


def _text(path):
    path.write_text("no state")


def _of_another(path):
    state = torch.load(path, weights_only=True)
    torch.save(state | {"component": {"weigh.weight": torch.zeros(2, 2)}}, path)


def _part(path):
    state = torch.load(path, weights_only=True)
    del state["updates"]
    torch.save(state, path)


@pytest.mark.parametrize("damage", [_cut_off, _empty, _text, _of_another, _part])
def test_a_damaged_state_is_told(tmp_path, damage):
    def fit():
        return nirank.fit(Weighed(), "ranknet", numbers(), out=tmp_path, save_every=2, **STEPS)

    _interrupted(5, fit)
    damage(tmp_path / "state.pt")
    with pytest.raises(DamagedFile, match=r"state\.pt: is damaged"):
        fit()
    (tmp_path / f"state.pt.{seals.SEAL}").unlink()  # as nirank wrote states before it sealed them
    with pytest.raises(BadInput, match="is damaged, training cannot go on") as caught:
        fit()
    assert "state.pt" in str(caught.value)


class Malice:
    """Unpickled it makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def test_a_state_that_holds_a_program_is_refused_and_not_run(tmp_path):
    def fit():
        return nirank.fit(Weighed(), "ranknet", numbers(), out=tmp_path / "out", save_every=2, **STEPS)

    _interrupted(5, fit)
    state, mark = tmp_path / "out" / "state.pt", tmp_path / "was here"
    torch.save(torch.load(state, weights_only=True) | {"more": Malice(mark)}, state)
    with pytest.raises(BadInput, match="is damaged"):
        fit()
    assert not mark.exists()
    torch.load(state, weights_only=False)["more"].close()  # the trap does work
    assert mark.exists()


def test_an_interrupted_component_is_not_taken_for_what_it_was(tmp_path):
    with registered():
        stage = nirank.load("weighed")
        before = stage.component.fingerprint
        _interrupted(5, lambda: nirank.fit(stage, "ranknet", numbers(), **STEPS))
        assert stage.component.fingerprint != before
        again = nirank.load("weighed")
        _interrupted(5, lambda: nirank.fit(again, "ranknet", numbers(), **STEPS))
        assert again.component.fingerprint == stage.component.fingerprint


def test_a_sampler_that_counts_is_still_the_same_one(tmp_path):
    sampler = InBatch(negatives=30)

    def fit(**more):
        return nirank.fit(Letters(), "softmax_cross_entropy", letters(), sampler=sampler, **STEPS, **more)

    _same_end(fit, tmp_path)
    assert sampler.collisions


def test_what_a_kill_left_half_written_is_no_training_and_goes(tmp_path):
    for name in ("plan.json", "state.pt"):
        (tmp_path / "out" / f".{name}.xyz").mkdir(parents=True)
        (tmp_path / "out" / f".{name}.xyz" / name).write_text("half")
    nirank.fit(Weighed(), "ranknet", numbers(), out=tmp_path / "out", **STEPS)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["checkpoint", "log.jsonl", "plan.json"]


def test_a_full_disk_is_an_os_error_that_names_the_file(tmp_path, monkeypatch):
    def full(*arguments):
        raise RuntimeError("basic_ios::clear: iostream error")

    monkeypatch.setattr(torch, "save", full)
    with pytest.raises(OSError, match=r"state\.pt cannot be written: basic_ios"):
        nirank.fit(Weighed(), "ranknet", numbers(), out=tmp_path, save_every=4, **STEPS)


def test_best_weights_that_are_missing_are_told(tmp_path):
    def fit():
        dev, options = numbers(8, seed=1), {**STEPS, "evaluate_every": 4, "save_every": 1}
        return nirank.fit(Weighed(), "ranknet", numbers(), dev=dev, out=tmp_path, **options)

    _interrupted(9, fit)
    (tmp_path / "best.safetensors").unlink()
    with pytest.raises(DamagedFile, match=r"best\.safetensors: is missing, with the weights of step \d"):
        fit()


@pytest.mark.parametrize("name", ["plan.json", "log.jsonl"])
def test_a_plan_or_log_that_is_damaged_is_told(tmp_path, name):
    def fit():
        return nirank.fit(Weighed(), "ranknet", numbers(), out=tmp_path, save_every=1, **STEPS)

    _interrupted(9, fit)
    (tmp_path / name).write_bytes(b"\x97" + (tmp_path / name).read_bytes())
    with pytest.raises(DamagedFile, match=f"{name}: is damaged"):
        fit()
