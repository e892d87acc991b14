"""Training learns what there is to learn, keeps what did best on dev, and updates weights as its options say."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn

import nirank
from nirank.data import Candidates
from nirank.errors import BadInput, NirankError, UnknownName
from nirank.execution import stages
from nirank.kit.transformers import Precision
from nirank.plugins import observers
from nirank.plugins.settings import bind
from nirank.training import resume_plan
from nirank.training.optimiser import factor
from nirank.training.options import Options
from tests.small_training import Letters
from tests.small_training import collection as letters
from tests.training_toys import TRUE, Spy, Weighed, numbers, weights

PLAIN = {"optimizer": "sgd", "schedule": "constant", "warmup": 0.0, "clip": 0.0, "weight_decay": 0.0}
DEV = "dev nDCG@10"


def _measure(scorer, collection):
    judged = collection.judgments
    scores = stages.score(nirank.load(scorer).component, collection.queries, judged)
    return nirank.evaluate(judged.with_scores(scores).ranked(), judged, ["nDCG@10"])["nDCG@10"]


@pytest.mark.parametrize(
    "loss", ["softmax_cross_entropy", "listnet", "listmle", "ranknet", "lambdarank", "approx_ndcg", "mse"]
)
def test_a_linear_scorer_finds_the_order_that_labels_follow(loss):
    scorer, held_out = Weighed(), numbers(seed=1)
    before = _measure(scorer, held_out)
    nirank.fit(scorer, loss, numbers(30), epochs=25, batch_size=10, learning_rate=0.1)
    found = scorer.weigh.weight[0].detach().numpy()
    assert found @ TRUE / np.linalg.norm(found) / np.linalg.norm(TRUE) > 0.95
    assert _measure(scorer, held_out) > max(0.97, before + 0.1)


@pytest.mark.parametrize("optimizer", ["adamw", "adam", "sgd"])
def test_a_step_counts_as_a_change_of_the_weights(optimizer):
    scorer = Weighed()
    before = scorer.weigh.weight._version  # by which compiled graphs and new heads see that they are other ones
    nirank.fit(scorer, "ranknet", numbers(8), steps=2, optimizer=optimizer)
    assert scorer.weigh.weight._version >= before + 2


@pytest.mark.parametrize("loss", ["softmax_cross_entropy", "clip", "siglip"])
def test_an_encoder_learns_from_the_documents_of_its_batch(loss):
    encoder, collection = Letters(dim=32), letters()
    everything = Candidates.of([np.arange(len(collection.corpus))] * len(collection.queries), corpus=collection.corpus)

    def found():
        scored = stages.score(nirank.load(encoder).component, collection.queries, everything)
        return nirank.evaluate(everything.with_scores(scored).ranked(), collection.judgments, ["RR"])["RR"]

    before = found()
    nirank.fit(encoder, loss, collection, sampler="in_batch", epochs=60, batch_size=40, learning_rate=0.05)
    assert found() > before + 0.3


def _watched(sign, **options):
    """A training whose dev judges as training does, or (`sign` -1) the other way round, with its weights on the way."""
    spy, scorer = Spy(), Weighed(seed=3)
    with observers.switched_on([spy]):
        fitted = nirank.fit(
            scorer, "ranknet", numbers(), dev=numbers(8, seed=1, sign=sign), learning_rate=0.05, batch_size=4, **options
        )
    return fitted, spy, scorer


@pytest.mark.parametrize("kept", ["in memory", "in a folder"])
@pytest.mark.parametrize("sign", [1, -1])
def test_the_weights_that_were_best_on_dev_are_kept(tmp_path, sign, kept):
    out = tmp_path / "out" if kept == "in a folder" else None
    fitted, spy, scorer = _watched(sign, epochs=5, evaluate_every=2, out=out)
    measured = {line["step"]: line[DEV] for line in fitted.log if DEV in line}
    assert list(measured) == [2, 4, 6, 8, 10, 12, 14, 15]
    best = max(measured, key=measured.get)  # the first of them
    assert (fitted.best_step, fitted.best) == (best, measured[best])
    assert _measure(scorer, numbers(8, seed=1, sign=sign)) == pytest.approx(fitted.best)
    for name, value in weights(scorer).items():
        assert torch.equal(value, spy.weights[best][name])
    assert (best < 15) == (not torch.equal(scorer.weigh.weight, spy.weights[15]["weigh.weight"]))
    assert best == 2 if sign < 0 else best > 2


def test_a_dev_on_which_every_order_is_right_is_refused():
    collection = letters()
    with pytest.raises(BadInput, match="give pipeline=RANKING"):
        nirank.fit(Letters(), "clip", collection, sampler="in_batch", dev=collection)


def test_patience_ends_training_after_so_many_evaluations_that_were_no_better():
    fitted, _, _ = _watched(-1, epochs=50, evaluate_every=3, patience=2)
    assert (fitted.best_step, fitted.steps) == (3, 9)


def test_dev_is_looked_at_once_an_epoch_unless_one_says_otherwise():
    fitted, _, _ = _watched(1, epochs=3)
    assert [line["step"] for line in fitted.log if DEV in line] == [3, 6, 9]
    fitted, _, _ = _watched(1, steps=7)
    assert [line["step"] for line in fitted.log if DEV in line] == [3, 6, 7]


def test_dev_is_searched_with_the_pipeline_in_which_the_component_stands(overlap, corpus):
    scorer = nirank.load(Letters(seed=1), "tuned")
    collection = letters()
    pipeline = nirank.load(overlap.index_texts(collection.corpus)) % 5 >> scorer
    fitted = nirank.fit(scorer, "clip", collection, sampler="in_batch", dev=collection, pipeline=pipeline)
    found = pipeline.search(collection.queries, collection.corpus)
    assert fitted.best == nirank.evaluate(found, collection.judgments, ["nDCG@10"])["nDCG@10"]
    other = nirank.load(overlap) >> nirank.load(Letters(), "tuned")
    with pytest.raises(BadInput, match="is not part of"):
        nirank.fit(scorer, "clip", collection, sampler="in_batch", dev=collection, pipeline=other)


@pytest.mark.parametrize(
    ("schedule", "warmup", "share", "expected"),
    [
        ("linear", 0.0, 0.25, 0.75),
        ("linear", 0.5, 0.25, 0.5),
        ("linear", 0.5, 0.5, 1.0),
        ("linear", 0.5, 0.75, 0.5),
        ("linear", 0.5, 1.0, 0.0),
        ("cosine", 0.0, 1 / 3, 0.75),
        ("cosine", 0.0, 0.5, 0.5),
        ("cosine", 0.2, 0.1, 0.5),
        ("cosine", 0.5, 1.0, 0.0),
        ("constant", 0.1, 0.05, 0.5),
        ("constant", 0.1, 0.99, 1.0),
        ("linear", 1.0, 0.9, 0.9),
    ],
)
def test_the_learning_rate_rises_and_falls(schedule, warmup, share, expected):
    assert factor(share, Options(schedule=schedule, warmup=warmup)) == pytest.approx(expected)


def test_no_step_has_a_learning_rate_of_zero():
    fitted = nirank.fit(Weighed(), "ranknet", numbers(), steps=4, warmup=0.2, learning_rate=1.0, log_every=1)
    assert [line["learning_rate"] for line in fitted.log] == pytest.approx([1.0, 0.75, 0.5, 0.25])


class Flat(nn.Module):
    """A loss without a gradient, which has something to learn all the same."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([[3.0]]))

    def forward(self, scores, labels, mask):
        return 0 * self.scale.sum() * scores.sum()


@pytest.mark.parametrize("optimizer", ["sgd", "adamw"])
def test_matrices_decay_and_nothing_else_does(optimizer):
    scorer, loss = Weighed(), Flat()
    before = weights(scorer)
    options = PLAIN | {"optimizer": optimizer, "weight_decay": 0.1}
    nirank.fit(scorer, loss, numbers(), steps=1, learning_rate=0.5, **options)
    torch.testing.assert_close(scorer.weigh.weight.detach(), before["weigh.weight"] * (1 - 0.5 * 0.1))
    assert torch.equal(scorer.weigh.bias, before["weigh.bias"])
    assert loss.scale.item() == 3.0


def test_what_a_loss_learns_is_learned():
    loss = nirank.build.build("loss/clip").target
    before = loss.log_scale.item()
    nirank.fit(Letters(), loss, letters(), sampler="in_batch", learning_rate=0.01)
    assert abs(loss.log_scale.item() - before) > 1e-3


def test_a_gradient_is_cut_to_the_length_that_clip_says():
    moved, told = {}, {}
    for clip in (0.0, 0.01, 1e6):
        scorer = Weighed()
        before = weights(scorer)
        fitted = nirank.fit(scorer, "ranknet", numbers(), steps=1, learning_rate=0.5, **PLAIN | {"clip": clip})
        changes = [value - before[name] for name, value in weights(scorer).items()]
        moved[clip], told[clip] = torch.cat([change.flatten() for change in changes]), fitted.log[-1]["gradient"]
    assert told[0.0] == told[0.01] == told[1e6] > 0.1
    assert moved[0.0].norm().item() == pytest.approx(0.5 * told[0.0], rel=1e-4)
    assert torch.equal(moved[0.0], moved[1e6])
    assert moved[0.01].norm().item() == pytest.approx(0.5 * 0.01, rel=1e-3)


def test_the_log_tells_how_many_lists_were_seen_and_how_many_did_not_count():
    collection = numbers(8)
    labels = collection.judgments.scores.copy()
    labels[:18] = 0  # the first three lists
    flat = nirank.Collection("some", collection.corpus, collection.queries, collection.judgments.with_scores(labels))
    fitted = nirank.fit(Weighed(), "softmax_cross_entropy", flat, epochs=3, batch_size=3, log_every=3)
    assert [(line["lists"], line["skipped"]) for line in fitted.log] == [(8, 3)] * 3
    assert [line["epoch"] for line in fitted.log] == [1, 2, 3]


def _without(labelled):
    """A collection of which only some lists have labels above 0."""
    collection = numbers(8)
    labels = np.where(np.isin(collection.judgments.rows, labelled), collection.judgments.scores, 0)
    return nirank.Collection("few", collection.corpus, collection.queries, collection.judgments.with_scores(labels))


def test_training_on_lists_that_never_count_is_refused():
    with pytest.raises(BadInput, match="no list so far has anything for loss"):
        nirank.fit(Weighed(), "softmax_cross_entropy", _without([]), batch_size=2, log_every=2)


def test_a_report_in_which_no_list_counts_ends_nothing_once_some_have_counted():
    first = np.random.default_rng([1, 0, 0]).permutation(8)[0]  # as the timetable has it
    fitted = nirank.fit(
        Weighed(), "softmax_cross_entropy", _without([first]), batch_size=1, log_every=1, learning_rate=0.1
    )
    assert [line["skipped"] for line in fitted.log] == [0, 1, 1, 1, 1, 1, 1, 1]


def test_frozen_weights_stay_and_the_others_learn():
    encoder = Letters()
    encoder.told.weight.requires_grad = False
    before = weights(encoder)
    for chunk in (None, 3):
        nirank.fit(encoder, "clip", letters(), sampler="in_batch", learning_rate=0.01, chunk=chunk)
        assert torch.equal(encoder.told.weight, before["told.weight"])
        assert not torch.equal(encoder.asked.weight, before["asked.weight"])


def test_training_leaves_the_mode_and_the_chance_of_others_alone():
    scorer = Weighed(dropout=0.5).eval()
    torch.manual_seed(8)
    expected = torch.rand(3)
    torch.manual_seed(8)
    nirank.fit(scorer, "ranknet", numbers())
    assert torch.equal(torch.rand(3), expected)
    assert not scorer.training


def test_the_seed_alone_decides_what_is_learned():
    learned = {}
    for turn, seed in enumerate((1, 1, 2)):
        torch.manual_seed(turn)
        np.random.seed(turn)  # noqa: NPY002 (what must not matter)
        scorer = Weighed(dropout=0.5)
        nirank.fit(scorer, "ranknet", numbers(), learning_rate=0.1, batch_size=12, epochs=4, seed=seed)
        learned[turn] = scorer.weigh.weight.detach()
    assert torch.equal(learned[0], learned[1])
    assert not torch.equal(learned[0], learned[2])


def test_every_epoch_sees_each_list_once_in_another_order():
    seen = []

    def loss(scores, labels, mask, queries):
        seen.append(queries)
        return scores.sum()

    nirank.fit(Weighed(), loss, numbers(7), epochs=2, batch_size=3)
    assert [len(batch) for batch in seen] == [3, 3, 1] * 2
    first, second = torch.cat(seen[:3]).tolist(), torch.cat(seen[3:]).tolist()
    assert sorted(first) == sorted(second) == list(range(7))
    assert first != second


@pytest.mark.parametrize(
    ("lists", "options", "sizes"),
    [
        (60, {"batch_size": 32}, [32, 28]),
        (60, {"batch_size": 32, "epoch_steps": 6}, [10] * 6),
        (60, {"batch_size": 32, "epoch_steps": 28}, [4] * 15),  # there are no batches of two
        (60, {"batch_size": 3, "epoch_steps": 28}, [3] * 20),
        (60, {"batch_size": 5, "epoch_steps": 6}, [5] * 12),
        (60, {"batch_size": 32, "epoch_steps": 6, "accumulate": 2}, [5] * 12),
    ],
)
def test_batches_are_as_small_as_the_steps_of_an_epoch_say(lists, options, sizes):
    seen = []

    def loss(scores, labels, mask):
        seen.append(len(scores))
        return scores.sum()

    nirank.fit(Weighed(), loss, numbers(lists), epochs=1, **options)
    assert seen == sizes


def test_a_plan_without_later_options_is_that_of_before():
    kept = resume_plan.describe({}, {}, Options(), {})["options"]
    assert not {"anneal", "epoch_steps"} & kept.keys()
    assert resume_plan.describe({}, {}, Options(epoch_steps=3), {})["options"]["epoch_steps"] == 3


def test_precision_is_that_of_the_forward_pass_and_not_of_the_weights():
    learned = {}
    for precision in ("float32", "bfloat16", "float32"):
        scorer = Weighed()
        nirank.fit(scorer, "ranknet", numbers(), precision=precision, learning_rate=0.1, steps=1, **PLAIN)
        learned.setdefault(precision, []).append(scorer.weigh.weight.detach())
    (exact, again), (rounded,) = learned["float32"], learned["bfloat16"]
    assert torch.equal(exact, again)
    assert rounded.dtype == torch.float32
    assert not torch.equal(exact, rounded)
    torch.testing.assert_close(exact, rounded, rtol=0, atol=2e-3)


class Nothing(nn.Module):
    """Neither scores nor encodes."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(2, 2))


class Tokens(Letters):
    vectors = "tokens"


@pytest.mark.parametrize(
    ("component", "options", "message"),
    [
        (Nothing(), {}, "neither scores nor encodes"),
        (Tokens(), {}, "tokens vectors"),
        (Weighed().requires_grad_(False), {}, "nothing to train"),
        (Weighed().half(), {}, 'precision = "bfloat16"'),
        (Weighed(), {"patience": 2}, "dev=COLLECTION"),
        (Weighed(), {"evaluate_every": 2}, "dev=COLLECTION"),
        (Weighed(), {"measure": "nDCG@@10"}, "nDCG"),
        (Weighed(), {"epochs": 0}, "epochs = 0 is too small; give 1 or more"),
        (Weighed(), {"learning_rate": math.nan}, "learning_rate = nan"),
        (Weighed(), {"learning_rate": -1.0}, "give 0 or more"),
        (Weighed(), {"warmup": 1.5}, "a share of all steps"),
        (Weighed(), {"schedule": "square"}, "'linear' | 'cosine'"),
        (Weighed(), {"batch_size": 2.5}, "int"),
        (Weighed(), {"batch_size": True}, "int"),
        (Weighed(), {"rate": 1.0}, "option of training"),
    ],
)
def test_what_cannot_be_trained_is_told_before_the_first_step(component, options, message):
    def loss(scores, labels, mask):
        raise AssertionError("a step was made")

    with pytest.raises(NirankError) as caught:
        nirank.fit(component, loss, numbers(), **options)
    assert message in str(caught.value)


def test_a_loss_and_a_sampler_are_told_from_other_components():
    for given in ({"loss": "bm25"}, {"loss": "in_batch"}, {"sampler": "ranknet"}):
        with pytest.raises(UnknownName):
            nirank.fit(Weighed(), **{"loss": "ranknet", "collection": numbers(), **given})


def test_a_collection_without_relevant_documents_teaches_nothing():
    collection = numbers(3)
    empty = nirank.Collection("empty", collection.corpus, collection.queries, Candidates.empty(3, collection.corpus))
    for sampler in (None, "uniform"):
        with pytest.raises(BadInput, match="nothing to learn from"):
            nirank.fit(Weighed(), "ranknet", empty, sampler=sampler)


def test_judgments_of_documents_that_the_corpus_lacks_are_left_out():
    collection = numbers(3, length=4)
    beyond = Candidates.of([[0, 99, 1], [4, 5], [98]], [[0, 2, 1], [1, 0], [1]], collection.corpus)
    seen = []

    def loss(scores, labels, mask, documents):
        seen.extend(sorted(documents[mask].tolist()))
        return scores.sum()

    lacking = nirank.Collection("lacking", collection.corpus, collection.queries, beyond)
    fitted = nirank.fit(Weighed(), loss, lacking, dev=lacking)
    assert seen == [0, 1, 4, 5]
    assert 0 < fitted.best < 1  # what the corpus lacks was not found


@pytest.mark.parametrize(("short", "long"), [("bf16", "bfloat16"), ("fp16", "float16")])
def test_short_names_of_precisions_are_accepted_and_the_long_ones_written(short, long):
    assert Options(precision=short).precision == long

    def model(precision: Precision = "float32"): ...

    assert bind(model, {"precision": short}, "model").settings == {"precision": long}
    with pytest.raises(BadInput, match="precision = 'half' is not of the type 'float32'"):
        Options(precision="half")
    with pytest.raises(BadInput, match="precision = 'half' is not of the type 'float32'"):
        bind(model, {"precision": "half"}, "model")


def test_a_plan_with_the_short_name_of_a_precision_is_that_of_the_same_training(tmp_path):
    described = {"options": {"precision": "bfloat16", "seed": 0}}
    resume_plan.write(tmp_path, {"options": {"precision": "bf16", "seed": 0}})
    assert not resume_plan.is_under_way(tmp_path, described)  # no state was written yet
    with pytest.raises(BadInput, match="options differ"):
        resume_plan.is_under_way(tmp_path, {"options": {"precision": "float16", "seed": 0}})
