"""What a loss is given, by name, and what it may return."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import pytest
import torch

import nirank
from nirank.data import Candidates
from nirank.errors import BadInput, ComponentError
from nirank.training import Sample
from tests.small_training import Letters
from tests.small_training import collection as letters
from tests.training_toys import Weighed, numbers


class Listening:
    """A loss that keeps what it was given."""

    def __call__(self, scores, labels, mask, documents, queries, query_vectors, log_expected_count=None, teacher=None):
        self.given = {name: value for name, value in locals().items() if name != "self"}
        return scores.sum()


class Plain(Listening):
    """The same for a scorer, which has no vectors."""

    def __call__(self, scores, labels, mask, documents, queries, log_expected_count=None, teacher=None):
        return super().__call__(scores, labels, mask, documents, queries, None, log_expected_count, teacher)


@dataclass
class Told:
    """A sampler of lists 3, 1, 2, 3, 1, ... long, whose columns tell the query and the place of each pair."""

    each: str = "query"
    counts: bool = True

    def begin(self, collection, stages):
        self.corpus = collection.corpus

    def sample(self, rows, positives, random):
        docs = [(row + np.arange([3, 1, 2][row % 3])) % len(self.corpus) for row in rows]
        candidates = Candidates.of(docs, [np.arange(len(row)) for row in docs], self.corpus)
        marks = (10 * rows[candidates.rows] + candidates.scores).astype(np.float32)
        return Sample(candidates, marks if self.counts else None, mask=candidates.scores != 1)


def _given(loss, component, collection, **more):
    nirank.fit(component, loss, collection, steps=1, learning_rate=0.0, **more)
    return loss.given


def test_columns_stand_at_the_place_of_their_pair_and_padding_is_masked():
    collection = numbers(6)
    scorer = Weighed()
    given = _given(Plain(), scorer, collection, sampler=Told())
    rows = given["queries"]
    assert sorted(rows.tolist()) == list(range(6))
    for place, row in enumerate(rows.tolist()):
        length = [3, 1, 2][row % 3]
        padding = 3 - length
        assert given["documents"][place].tolist() == [*range(row, row + length), *[0] * padding]
        assert given["labels"][place].tolist() == [*range(length), *[0] * padding]
        assert given["log_expected_count"][place].tolist() == [*range(10 * row, 10 * row + length), *[0] * padding]
        assert given["mask"][place].tolist() == [True, False, True][:length] + [False] * padding
        pairs = Candidates.of([range(row, row + length)], corpus=collection.corpus)
        expected = scorer.score(collection.queries.take(np.array([row])), pairs)
        torch.testing.assert_close(given["scores"][place, :length], expected)
    assert given["scores"].requires_grad
    assert given["mask"].dtype == torch.bool


def test_a_sampler_that_knows_no_expected_count_gives_none():
    assert _given(Plain(), Weighed(), numbers(6), sampler=Told(counts=False))["log_expected_count"] is None
    with pytest.raises(BadInput, match="corrects for how documents are sampled"):
        nirank.fit(Weighed(), "sampled_softmax", numbers(6), sampler=Told(counts=False))


@pytest.mark.parametrize("chunk", [None, 3])
def test_an_encoder_brings_the_vectors_of_its_queries(chunk):
    encoder, collection = Letters(), letters()
    given = _given(Listening(), encoder, collection, sampler="in_batch", batch_size=80, chunk=chunk)
    with torch.no_grad():
        asked = encoder.encode(collection.queries)[given["queries"]]
        told = encoder.encode_documents(collection.corpus[given["documents"][0].numpy()])
    torch.testing.assert_close(given["query_vectors"].detach(), asked)
    torch.testing.assert_close(given["scores"].detach(), asked @ told.T)
    assert given["query_vectors"].requires_grad


def test_in_batch_documents_that_are_relevant_to_another_query_of_the_batch_are_masked_there():
    collection = letters()
    given = _given(Listening(), Letters(), collection, sampler="in_batch", batch_size=80)
    assert given["scores"].shape == (80, len(np.unique(collection.judgments.docs)))
    places = zip(given["queries"].tolist(), given["documents"], given["labels"], given["mask"], strict=True)
    masked = 0
    for row, documents, labels, mask in places:
        relevant = set(collection.judgments[row][0].tolist())
        positive = documents[labels > 0].tolist()
        assert len(positive) == 1
        assert set(documents[~mask].tolist()) == relevant - set(positive)
        masked += int((~mask).sum())
    assert masked == 80  # two documents are relevant to each query, and each is positive of one list


class Minded(Letters):
    """An encoder whose penalty keeps what it is told, and makes a weight of its own small."""

    def __init__(self):
        super().__init__()
        self.own = torch.nn.Parameter(torch.ones(()))

    def penalty(self, queries, documents, labels, mask, places, query_contents, document_contents):
        self.heard = {name: value for name, value in locals().items() if name not in ("self", "__class__")}
        return self.own**2


@pytest.mark.parametrize("chunk", [None, 2])
def test_a_penalty_is_given_what_it_has_parameters_for(chunk):
    collection, encoder = letters(), Minded()
    options = {"steps": 1, "batch_size": 3, "learning_rate": 0.1, "warmup": 0.0, "chunk": chunk}
    nirank.fit(encoder, "softmax_cross_entropy", collection, sampler="in_batch", **options)
    told = encoder.heard
    assert told["labels"].shape == told["mask"].shape == told["places"].shape
    for row, query in enumerate(told["query_contents"]):
        (judged,) = (collection.judgments[place][0] for place in [collection.queries.contents.index(query)])
        relevant = {collection.corpus[int(doc)] for doc in judged}
        seen = [told["document_contents"][place] for place in told["places"][row].tolist()]
        marked = {text for text, label in zip(seen, told["labels"][row].tolist(), strict=True) if label > 0}
        assert marked
        assert marked <= relevant
    assert len(told["documents"]) == len(told["document_contents"])
    assert encoder.own.item() < 1  # its gradient arrived


def test_a_teacher_scores_the_same_pairs():
    collection, master = numbers(6), Weighed(seed=5)
    given = _given(Plain(), Weighed(), collection, sampler=Told(), teacher=nirank.load(master) * 2.0)
    for place, row in enumerate(given["queries"].tolist()):
        length = [3, 1, 2][row % 3]
        pairs = Candidates.of([range(row, row + length)], corpus=collection.corpus)
        expected = 2 * master.score(collection.queries.take(np.array([row])), pairs)
        torch.testing.assert_close(given["teacher"][place, :length], expected.detach())
        assert not given["teacher"][place, length:].any()
    assert not given["teacher"].requires_grad
    with pytest.raises(BadInput, match="has no argument `teacher`"):
        nirank.fit(Weighed(), "ranknet", collection, teacher=nirank.load(master))


def test_a_student_becomes_its_teacher():
    student, master = Weighed(), Weighed(seed=5)
    before = (student.weigh.weight - master.weigh.weight).norm()
    nirank.fit(student, "margin_mse", numbers(30), teacher=nirank.load(master), epochs=30, learning_rate=0.1)
    assert (student.weigh.weight - master.weigh.weight).norm() < 0.1 * before


@pytest.mark.parametrize("each", ["query", "positive"])
def test_a_list_is_made_for_each_query_or_for_each_positive(each):
    collection, asked = numbers(5), []

    class Noting(Told):
        def sample(self, rows, positives, random):
            asked.extend((row, *sorted(positives[place][0].tolist())) for place, row in enumerate(rows.tolist()))
            return super().sample(rows, positives, random)

    nirank.fit(Weighed(), "softmax_cross_entropy", collection, sampler=Noting(each=each))
    judged = collection.judgments
    relevant = [sorted(judged[row][0][judged[row][1] > 0].tolist()) for row in range(5)]
    if each == "query":
        assert sorted(asked) == [(row, *docs) for row, docs in enumerate(relevant)]
    else:
        assert sorted(asked) == [(row, doc) for row, docs in enumerate(relevant) for doc in docs]


class Classes:
    def __init__(self, classes):
        self.classes = classes

    def __call__(self, scores, labels, mask):
        self.scores = scores
        return scores.sum()


class Logits(Weighed):
    """Three scores a pair."""

    def score(self, queries, candidates):
        scores = super().score(queries, candidates)
        return torch.stack([scores, -scores, 2 * scores], dim=1)


def test_a_loss_over_classes_takes_one_score_a_pair_or_one_a_class():
    collection, loss = numbers(3, length=2), Classes(4)
    plain = _given(Plain(), Weighed(), collection)["scores"]
    nirank.fit(Weighed(), loss, collection, steps=1, learning_rate=0.0)
    torch.testing.assert_close(loss.scores, plain[..., None] * torch.tensor([0.0, 1, 2, 3]))
    loss = Classes(3)
    nirank.fit(Logits(), loss, collection, steps=1, learning_rate=0.0, chunk=2)
    torch.testing.assert_close(loss.scores, torch.stack([plain, -plain, 2 * plain], dim=2))
    with pytest.raises(BadInput, match="set `classes`"):
        nirank.fit(Weighed(), Classes(None), collection)


def test_a_loss_of_each_list_is_refused():
    loss = nirank.build.build("loss/ranknet", {"reduction": "none"})
    with pytest.raises(BadInput, match="reduction = 'none'"):
        nirank.fit(Weighed(), loss, numbers(3))


@pytest.mark.parametrize("returned", [lambda scores: scores.sum(1), lambda scores: 0.5, lambda scores: None])
def test_a_loss_that_returns_no_scalar_is_refused(returned):
    with pytest.raises(ComponentError, match="a scalar tensor is expected"):
        nirank.fit(Weighed(), lambda scores, labels, mask: returned(scores), numbers(3))


@pytest.mark.parametrize("number", [math.nan, math.inf])
@pytest.mark.parametrize("chunk", [None, 4])
def test_a_training_that_diverges_ends_with_advice_and_the_weights_that_it_had(number, chunk):
    scorer, calls = Weighed(), []

    def loss(scores, labels, mask):
        calls.append(scorer.weigh.weight.detach().clone())
        return scores.sum() * (1.0 if len(calls) < 3 else number)

    with pytest.raises(BadInput, match="diverged; a lower learning_rate"):
        nirank.fit(scorer, loss, numbers(4), epochs=5, chunk=chunk)
    assert len(calls) == 3
    assert torch.equal(scorer.weigh.weight, calls[-1])


def test_an_output_of_another_length_is_refused():
    class Short(Weighed):
        def score(self, queries, candidates):
            return super().score(queries, candidates)[1:]

    with pytest.raises(ComponentError, match="a tensor of 18 rows"):
        nirank.fit(Short(), "ranknet", numbers(3))


def test_a_gradient_that_is_no_number_is_refused_before_it_does_harm():
    class Kink(torch.autograd.Function):
        """The sum, whose gradient nobody can follow."""

        @staticmethod
        def forward(ctx, scores):
            return scores.sum()

        @staticmethod
        def backward(ctx, gradient):
            return torch.full((3, 6), torch.nan)

    scorer = Weighed()
    before = scorer.weigh.weight.detach().clone()
    with pytest.raises(BadInput, match=r"the norm of the gradient is nan\. Training has diverged"):
        nirank.fit(scorer, lambda scores, labels, mask: Kink.apply(scores), numbers(3))
    assert torch.equal(scorer.weigh.weight, before)


def test_a_loss_that_is_a_constant_is_refused():
    with pytest.raises(ComponentError, match="returned a value without gradient"):
        nirank.fit(Weighed(), lambda scores, labels, mask: torch.tensor(1.0), numbers(3))


def test_a_component_is_not_its_own_teacher():
    stage = nirank.load(Weighed())
    with pytest.raises(BadInput, match="would learn from itself"):
        nirank.fit(stage, "margin_mse", numbers(3), teacher=0.5 * stage)


def test_a_scorer_never_sees_the_labels_nor_does_its_teacher():
    seen = []

    class Peeking(Weighed):
        def score(self, queries, candidates):
            seen.append(candidates.scores)
            return super().score(queries, candidates)

    nirank.fit(Peeking(), "kl", numbers(6), dev=numbers(6, seed=2), teacher=nirank.load(Peeking()), epochs=1)
    assert len(seen) == 3  # in training, by the teacher, on dev
    assert not any(scores.any() for scores in seen)
