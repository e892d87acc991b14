"""Sums of losses and of samplers, schedules, seeds: what a training is put together of."""

from __future__ import annotations

import numpy as np
import pytest
import torch

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, UnknownName
from nirank.training import terms
from nirank.training.parts import built_loss, built_sampler
from nirank.training.schedules import Schedule
from tests.small_training import Letters
from tests.small_training import collection as letters
from tests.training_toys import Weighed, numbers, weights

LISTS = (
    torch.tensor([[0.3, -1.0, 2.0, 0.1], [1.0, 0.5, -0.5, 0.0], [0.2, 0.9, 0.0, 0.0]]),
    torch.tensor([[1.0, 0.0, 2.0, 0.0], [0.0, 1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 0.0]]),
    torch.tensor([[True, True, True, True], [True, True, True, False], [True, True, False, False]]),
)


def test_a_sum_of_losses_is_the_weighted_sum_of_their_costs_over_the_lists_that_count():
    both = built_loss("0.5 * ranknet + softmax_cross_entropy(gamma=2.0) * 3").target
    one, other = nirank.load("ranknet").component.target, nirank.load("softmax_cross_entropy", gamma=2.0)
    expected = 0.5 * one(*LISTS) + 3 * other.component.target(*LISTS)
    torch.testing.assert_close(both(*LISTS), expected)
    assert both.skipped == 1  # the last list has nothing relevant


class Whole:
    """A loss that all lists count in."""

    def __call__(self, scores, labels, mask):
        return (scores * mask).sum(1).mean()


def test_lists_that_count_in_one_loss_only_cost_nothing_in_the_other():
    both = built_loss([Whole(), "ranknet"]).target
    ranknet = nirank.load("ranknet").component.target
    costs = ranknet(*LISTS) * 2  # two lists count
    torch.testing.assert_close(both(*LISTS), Whole()(*LISTS) + costs / 3)
    assert both.skipped == 0


def test_each_loss_gets_the_columns_that_it_names():
    teacher = torch.randn(3, 4)
    both = built_loss("margin_mse + softmax_cross_entropy").target
    assert {"teacher", "documents"} <= both.named
    one, other = nirank.load("margin_mse").component.target, nirank.load("softmax_cross_entropy").component.target
    torch.testing.assert_close(both(*LISTS, teacher=teacher), one(*LISTS, teacher=teacher) + other(*LISTS))


def test_only_a_sum_with_a_loss_that_begins_begins():
    data, dims = letters(), 8
    assert built_loss("ranknet + softmax_cross_entropy").method("begin") is None
    both = built_loss("xbm(size=4) + ranknet")
    both.method("begin")(data, dims)
    assert both.target.losses[0].target.vectors.shape == (4, dims)


def test_what_a_loss_in_a_sum_learns_is_learned(tmp_path):
    loss = built_loss("clip + 0.1 * softmax_cross_entropy")
    before = float(loss.target.losses[0].target.log_scale.detach())
    nirank.fit(Letters(), loss, letters(), sampler="in_batch", steps=3, learning_rate=0.1, out=tmp_path / "out")
    assert float(loss.target.losses[0].target.log_scale.detach()) != before
    assert (tmp_path / "out" / "checkpoint" / "loss.safetensors").exists()


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("ranknet + __import__('os')", "There is no loss '__import__'"),
        ("ranknet - hinge", "Did you mean 'ranknet' or 'hinge'"),
        ("ranknet + hinge - hinge", "is refused"),
        ("ranknet + (", "is no sum"),
        ("2 * 3", "is refused"),
        ("ranknet(1, 2)", "one setting without a name"),
        ("ranknet + cross_entropy(classes=3)", "score for each class"),
        ("ranknet(reduction='sum') + hinge", "'mean' is expected"),
        ("1e999 * ranknet", "finite"),
    ],
)
def test_what_is_no_sum_of_losses_is_refused(text, match):
    with pytest.raises((BadInput, UnknownName), match=match):
        built_loss(text)


def test_a_name_in_a_sum_that_is_no_loss_is_told_with_its_neighbours():
    with pytest.raises(UnknownName, match="ranknet"):
        built_loss("ranknett + hinge")


def test_the_terms_of_a_sum_are_read_with_their_settings():
    read = terms.parse("in_batch(negatives=3) + mined(bm25 % 50 >> top(5, minilm), negatives=4)", "sampler")
    assert [(term.use, term.settings) for term in read] == [
        ("in_batch", {"negatives": 3}),
        ("mined", {"pipeline": "bm25 % 50 >> top(5, minilm)", "negatives": 4}),
    ]


@pytest.mark.parametrize(
    ("given", "weights"),
    [
        ({"use": "0.5 * ranknet + listnet(gamma=2.0)"}, (0.5, 1.0)),  # as an experiment has a text
        ({"use": "0.5 * ranknet + listnet(gamma=2.0)", "weight": 2}, (1.0, 2.0)),
        ([{"use": "0.5 * ranknet"}, {"use": "listnet", "gamma": 2.0, "weight": 3}], (0.5, 3.0)),
        (["0.5 * ranknet + hinge", {"use": "listnet", "gamma": 2.0}], (0.5, 1.0, 1.0)),
    ],
)
def test_a_sum_may_stand_in_a_table_and_in_a_list(given, weights):
    loss = built_loss(given).target
    assert loss.weights == weights
    assert [part.spec for part in loss.losses][0::2] == ["loss/ranknet", "loss/listnet"][: len(loss.losses[0::2])]
    assert loss.losses[-1].settings["gamma"] == 2.0


def test_one_part_with_its_settings_is_no_sum():
    assert built_loss("ranknet(gamma=2.0)").spec == "loss/ranknet"
    assert built_loss({"use": "ranknet(gamma=2.0)"}).settings["gamma"] == 2.0
    assert built_loss("ranknet(reduction='sum')").traits.reduction == "sum"
    assert built_loss("2 * ranknet").target.weights == (2.0,)
    assert built_sampler({"use": "mined(bm25 % 50, negatives=3)"}).spec == "sampler/mined"
    shared = _sample(built_sampler("in_batch(negatives=3)").target, _toy())
    assert shared.shared


@pytest.mark.parametrize(
    ("build", "given", "match"),
    [
        (built_loss, [], "an empty list has no loss"),
        (built_sampler, [], "an empty list has no sampler"),
        (built_loss, {"use": "ranknet + hinge", "gamma": 2.0}, "stand in its brackets"),
        (built_sampler, "mined(bm25, pipeline='ql')", "has pipeline twice"),
    ],
)
def test_what_would_be_left_out_of_a_sum_is_refused(build, given, match):
    with pytest.raises(BadInput, match=match):
        build(given)


def test_sums_in_an_experiment_train_as_in_python(tmp_path):
    train = {
        "loss": "0.5 * ranknet + listnet", "sampler": "mined(bm25 % 20, negatives=2)",
        "collection": {"use": "emoji", "split": "train"}, "steps": 2, "batch_size": 4,
    }  # fmt: skip
    table = {"collection": "emoji", "pipeline": "bm25 % 5 >> knrm", "train": {"knrm": train}, "seed": 1}
    results = nirank.train(table, tmp_path / "out")
    (trained,) = [part for part in results.systems["experiment"].ranking.components() if part.name == "knrm"]
    fitted = nirank.fit(
        "knrm", train["loss"], nirank.collection("emoji", split="train"), sampler=train["sampler"], steps=2,
        batch_size=4, seed=1,
    )  # fmt: skip
    for name, weight in fitted.stage.component.target.state_dict().items():
        assert torch.equal(weight, trained.target.state_dict()[name])


class Backwards:
    """Finds the documents of the highest ordinals."""

    def generate(self, queries, k):
        docs = np.arange(self.documents - 1, self.documents - 1 - k, -1)
        return Candidates.of([docs] * len(queries), [np.arange(k, 0, -1)] * len(queries))


def _toy():
    corpus = Documents([f"d{number}" for number in range(12)], ["text"] * 12)
    queries = Queries([f"q{row}" for row in range(4)], ["text"] * 4)
    judged = [[0, 11], [1], [2, 10], [3, 9]]
    grades = [[1, 1], [2], [1, 1], [1, 0]]
    return Collection("toy", corpus, queries, Candidates.of(judged, grades, corpus))


def _backwards():
    generator = Backwards()
    generator.documents = 12
    return nirank.load(generator)


def _sample(sampler, data, docs=(0, 1, 2)):
    """A batch with the given positives, each of the query that it is the first document of."""
    sampler.begin(data, {})
    rows = np.array(docs)
    positives = Candidates(np.arange(len(docs) + 1), rows, np.ones(len(docs), np.float32), data.corpus)
    return sampler.sample(rows, positives, np.random.default_rng(0))


def test_mined_negatives_are_shared_over_the_batch_and_masked_where_they_are_relevant():
    mined = nirank.load("mined", pipeline=_backwards() % 4, negatives=2, top=4)
    sample = _sample(built_sampler(["in_batch", mined]).target, _toy())
    assert sample.shared
    assert sample.log_expected_count is None
    lists = sample.candidates
    docs = lists.docs.reshape(3, -1)
    assert (docs == docs[0]).all()
    assert set(docs[0]) - {0, 1, 2} <= {8, 9, 10, 11}
    assert set(docs[0]) & {8, 9, 10, 11}
    labels, mask = lists.scores.reshape(docs.shape), sample.mask.reshape(docs.shape)
    for row, (own, relevant) in enumerate([(0, {0, 11}), (1, {1}), (2, {2, 10})]):
        assert labels[row][docs[0] == own] == 1
        for place, doc in enumerate(docs[0]):
            assert mask[row, place] == (doc == own or doc not in relevant)
            assert (labels[row, place] > 0) == (doc == own)


def test_every_list_has_what_was_mined_for_another():
    data = _toy()
    mined = nirank.load("mined", pipeline=_backwards() % 4, negatives=4, top=4)
    alone = _sample(nirank.load("mined", pipeline=_backwards() % 4, negatives=4, top=4).component.target, data)
    together = _sample(built_sampler([mined, "in_batch"]).target, data)
    mined_for_any = set(alone.candidates.docs[alone.candidates.scores <= 0])
    assert set(together.candidates.docs) == mined_for_any | {0, 1, 2}


def test_without_shared_documents_negatives_stand_beside_each_other():
    mined = nirank.load("mined", pipeline=_backwards() % 4, negatives=4, top=4)
    lists = _sample(built_sampler(["judged_negatives", mined]).target, _toy(), docs=(0, 3)).candidates
    assert lists.docs[: lists.offsets[1]].tolist()[0] == 0
    assert set(lists.docs[1 : lists.offsets[1]]) == {8, 9, 10}  # d11 is relevant
    assert lists.docs[lists.offsets[1] :].tolist()[:2] == [3, 9]  # the judged one, and then what was mined
    assert sorted(lists.docs[lists.offsets[1] + 2 :]) == [8, 9, 10, 11]
    assert (lists.scores > 0).tolist() == [place in (0, 4) for place in range(10)]


def test_judged_negatives_are_those_of_label_zero_and_nothing_else():
    data = _toy()
    sampler = nirank.load("judged_negatives").component.target
    sample = _sample(sampler, data, docs=(0, 3))
    assert sample.candidates.lengths.tolist() == [1, 2]
    assert sample.candidates.docs.tolist() == [0, 3, 9]
    relevant = data.judgments.where(data.judgments.scores > 0)
    with pytest.raises(BadInput, match="judged not relevant"):
        sampler.begin(Collection("all good", data.corpus, data.queries, relevant), {})


def test_samplers_that_do_not_go_together_are_refused():
    with pytest.raises(BadInput, match="both share"):
        built_sampler("in_batch + in_batch(negatives=3)")
    with pytest.raises(BadInput, match="for different things"):
        built_sampler("uniform(each='positive') + uniform(each='query')")
    with pytest.raises(BadInput, match="has no weight"):
        built_sampler("0.5 * uniform + in_batch")


def test_an_interrupted_training_with_a_sum_of_samplers_ends_with_the_same_weights(tmp_path):
    def train(out, component, **more):
        sampler = ["in_batch", nirank.load("mined", pipeline="letters >> exact", negatives=1, every=2)]
        return nirank.fit(
            nirank.load(component, "letters"),
            "softmax_cross_entropy + 0.5 * ranknet",
            letters(),
            sampler=sampler,
            stages={"exact": nirank.load("exact")},
            learning_rate=0.05,
            save_every=1,
            batch_size=4,
            out=out,
            **more,
        )

    whole, interrupted = Letters(), Letters()
    train(tmp_path / "whole", whole, steps=6)
    from nirank.plugins import observers
    from tests.training_toys import Interrupt

    with observers.switched_on([Interrupt(3)]), pytest.raises(KeyboardInterrupt):
        train(tmp_path / "cut", interrupted, steps=6, log_every=1)
    again = Letters()
    train(tmp_path / "cut", again, steps=6, log_every=1)
    for name, value in weights(whole).items():
        torch.testing.assert_close(value, weights(again)[name], rtol=0, atol=0)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ([1.0, 3.0], [1.0, 2.0, 3.0]),
        ({"to": 4.0, "shape": "quadratic"}, [0.0, 1.0, 4.0]),
        ({"from": 1.0, "to": 4.0, "shape": "exponential"}, [1.0, 2.0, 4.0]),
        ({"from": 2.0, "to": 0.0, "shape": "cosine"}, [2.0, 1.0, 0.0]),
        ({"to": 4.0, "share": 0.5}, [0.0, 4.0, 4.0]),
    ],
)
def test_a_schedule_goes_its_way(value, expected):
    schedule = Schedule.of("loss.gamma", value)
    assert [schedule.at(share) for share in (0.0, 0.5, 1.0)] == pytest.approx(expected)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("gamma", [1, 2]),
        ("student.gamma", [1, 2]),
        ("loss.gamma", 3),
        ("loss.gamma", [1, 2, 3]),
        ("loss.gamma", {"from": 1}),
        ("loss.gamma", {"to": "a"}),
        ("loss.gamma", {"to": 1.0, "until": 3}),
        ("loss.gamma", {"to": 1.0, "share": 0.0}),
        ("loss.gamma", {"to": 1.0, "shape": "exponential"}),
        ("loss.gamma", {"to": 1.0, "shape": "round"}),
    ],
)
def test_what_is_no_schedule_is_refused(key, value):
    with pytest.raises((BadInput, UnknownName), match="anneal"):
        Schedule.of(key, value)


class Noting:
    """A loss that notes its own setting, and how much of the training is said to be done."""

    def __init__(self):
        self.tau, self.noted, self.shares = 7.0, [], []

    def anneal(self, share):
        self.shares.append(share)

    def __call__(self, scores, labels, mask):
        self.noted.append(self.tau)
        return (scores * mask).sum()


def test_a_setting_of_the_loss_changes_from_the_first_step_to_the_last_and_comes_back():
    loss = Noting()
    nirank.fit(Weighed(), loss, numbers(), steps=5, anneal={"loss.tau": [1.0, 3.0]})
    assert loss.noted == pytest.approx([1.0, 1.5, 2.0, 2.5, 3.0])
    assert loss.shares == pytest.approx([0, 0.25, 0.5, 0.75, 1])
    assert loss.tau == 7.0
    with pytest.raises(UnknownName, match="theta"):
        nirank.fit(Weighed(), loss, numbers(), steps=1, anneal={"loss.theta": [1.0, 3.0]})


def test_a_setting_that_is_a_whole_number_stays_one():
    sampler, drawn = nirank.load("uniform", negatives=1), []
    sample = sampler.component.target.sample

    def noting(rows, positives, random):
        drawn.append(sampler.component.target.negatives)
        return sample(rows, positives, random)

    sampler.component.target.sample = noting
    options = {"steps": 4, "batch_size": 2, "anneal": {"sampler.negatives": [1, 3]}}
    nirank.fit(Letters(), "softmax_cross_entropy", letters(), sampler=sampler, **options)
    assert drawn == [1, 2, 2, 3]
    assert all(type(count) is int for count in drawn)
    assert sampler.component.target.negatives == 1


def test_the_seed_of_a_training_is_that_of_what_is_built_by_name():
    from tests.training_toys import registered

    with registered():
        first = [
            nirank.fit("weighed", "ranknet", numbers(), steps=1, learning_rate=0.0, seed=seed).stage.component.target
            for seed in (0, 1, 1)
        ]
        own = nirank.fit(nirank.load("weighed", seed=5), "ranknet", numbers(), steps=1, learning_rate=0.0, seed=1)
    default, one, again = (weights(target) for target in first)
    assert not torch.equal(default["weigh.weight"], one["weigh.weight"])
    torch.testing.assert_close(one, again)
    torch.testing.assert_close(default, weights(Weighed(seed=0)))
    torch.testing.assert_close(weights(own.stage.component.target), weights(Weighed(seed=5)))
