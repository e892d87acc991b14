"""The weights of a fusion: found where loops find them, and never by the queries that they are measured on."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, CompositionError, UnknownName
from nirank.pipeline import fusion
from nirank.training.fused import Trials, cross_validated, simplex

DOCUMENTS, QUERIES = 12, 20


class Known:
    """A generator of lists that were found before, by the number that a query is."""

    def __init__(self, seed, truth=0.0):
        generator = np.random.default_rng(seed)
        self.scores = generator.normal(size=(QUERIES, DOCUMENTS)) + truth * (np.arange(DOCUMENTS) < 3)

    def generate(self, queries, k):
        rows = [int(text) for text in queries.contents]
        return Candidates.from_scores(self.scores[rows], min(k, 8))


@pytest.fixture
def collection():
    corpus = Documents([f"d{n:02}" for n in range(DOCUMENTS)], ["x"] * DOCUMENTS)
    queries = Queries([f"q{n}" for n in range(QUERIES)], [str(n) for n in range(QUERIES)])
    judged = [[0, 1, 2] if row not in (4, 7) else [] for row in range(QUERIES)]
    return Collection("known", corpus, queries, Candidates.of(judged, [[1] * len(row) for row in judged], corpus))


@pytest.fixture
def pipeline():
    parts = [nirank.load(Known(seed, truth), f"known{seed}") for seed, truth in ((0, 0.5), (1, 1.5), (2, 0.0))]
    return nirank.fuse(*parts, method="combsum")


@pytest.mark.parametrize(("rankings", "step"), [(1, 0.5), (2, 0.1), (3, 0.1), (4, 0.25)])
def test_the_grid_is_every_choice_that_adds_up_to_one(rankings, step):
    parts = round(1 / step)
    expected = {
        tuple(n / parts for n in each) for each in product(range(parts + 1), repeat=rankings) if sum(each) == parts
    }
    grid = simplex(rankings, step)
    assert {tuple(row) for row in grid.tolist()} == expected
    assert len(grid) == len(expected)
    assert (np.diff((grid**2).sum(axis=1)) > -1e-9).all()  # the evenest first


@pytest.mark.parametrize("step", [0, 0.3, -0.5, 2, "0.1", True, float("nan")])
def test_a_step_divides_one(step):
    with pytest.raises(BadInput, match="does not divide 1"):
        simplex(2, step)


def test_a_grid_that_is_too_large_is_refused():
    with pytest.raises(BadInput, match="10,626 weights of 5 rankings"):
        simplex(5, 0.05)


def test_fitting_finds_what_a_loop_finds(pipeline, collection):
    fitted = nirank.fit_fusion(pipeline, collection, measure="AP", step=0.2, folds=3)
    found = [ranking.search(collection.queries, collection.corpus) for ranking in pipeline.rankings]
    values = {}
    for weights in product([0, 1, 2, 3, 4, 5], repeat=3):
        if sum(weights) == 5:
            fused = fusion.combsum(found, np.array(weights) / 5)
            values[tuple(w / 5 for w in weights)] = nirank.evaluate(fused, collection.judgments, ["AP"])["AP"]
    assert fitted.value == pytest.approx(max(values.values()))
    assert values[fitted.pipeline.weights] == pytest.approx(fitted.value)
    again = fitted.pipeline.search(collection.queries, collection.corpus)
    assert nirank.evaluate(again, collection.judgments, ["AP"])["AP"] == pytest.approx(fitted.value)
    assert (
        repr(fitted.pipeline)
        == f"fuse(known0, known1, known2, method='combsum', weights={list(fitted.pipeline.weights)})"
    )
    assert "3-fold cross-validation" in str(fitted)


def test_no_query_is_fused_by_weights_that_saw_it(pipeline, collection):
    """The judgments of one query are turned round: its own list is fused as before."""
    fitted = nirank.fit_fusion(pipeline, collection, step=0.1, folds=18)
    assert len({*fitted.fold_weights}) > 1
    judgments = collection.judgments
    for row in (0, 3, 11):
        docs = judgments.docs.copy()
        docs[judgments.offsets[row] : judgments.offsets[row + 1]] = [9, 10, 11]
        other = Collection(
            "other",
            collection.corpus,
            collection.queries,
            Candidates(judgments.offsets, docs, judgments.scores, collection.corpus),
        )
        again = nirank.fit_fusion(pipeline, other, step=0.1, folds=18)
        np.testing.assert_array_equal(again.held_out[row][1], fitted.held_out[row][1])


def test_each_query_has_the_weights_of_its_fold(pipeline, collection):
    fitted = nirank.fit_fusion(pipeline, collection, step=0.1, folds=4, seed=3)
    found = [ranking.search(collection.queries, collection.corpus) for ranking in pipeline.rankings]
    trials = Trials.of(pipeline, found, collection.judgments, "nDCG@10", 0.1)
    weights, folds = cross_validated(trials, QUERIES, 4, seed=3)
    assert [tuple(each) for each in weights] == fitted.fold_weights
    assert np.flatnonzero(folds == 0).tolist() == [4, 7]  # which nobody judged
    assert np.bincount(folds)[1:].tolist() == [5, 5, 4, 4]
    for row, fold in enumerate(folds):
        used = weights[fold - 1] if fold else np.array(fitted.pipeline.weights)
        alone = fusion.combsum([run.take(np.array([row])) for run in found], used)
        np.testing.assert_array_equal(fitted.held_out[row][0], alone.docs)
        np.testing.assert_array_equal(fitted.held_out[row][1], alone.scores)
    assert fitted.held_out.query_ids == [*collection.queries.ids]
    assert (
        fitted.evaluation["nDCG@10"] == nirank.evaluate(fitted.held_out, collection.judgments, ["nDCG@10"])["nDCG@10"]
    )


def test_of_equal_weights_the_evenest_are_kept():
    trials = Trials(
        simplex(2, 0.25), np.array([[0.5, 0.5], [0.5, 0.5 + 1e-15], [0.4, 0.6], [0.1, 0.1], [0, 0]]), np.arange(2)
    )
    assert trials.best().tolist() == [0.5, 0.5]
    assert trials.best(np.array([False, True])).tolist() == trials.weights[2].tolist()


@pytest.mark.parametrize(
    ("options", "kind", "message"),
    [
        ({"folds": 1}, BadInput, "folds = 1"),
        ({"folds": 19}, BadInput, "folds = 19"),
        ({"folds": True}, BadInput, "folds = True"),
        ({"step": 0.3}, BadInput, "does not divide 1"),
        ({"measure": "nDCGG"}, UnknownName, "nDCGG"),
    ],
)
def test_mistakes_are_told_before_the_search(pipeline, collection, options, kind, message, monkeypatch):
    monkeypatch.setattr(Known, "generate", None)
    with pytest.raises(kind, match=message):
        nirank.fit_fusion(pipeline, collection, **options)


def test_what_is_no_fusion_is_refused(pipeline, collection):
    with pytest.raises(CompositionError, match=r"finds the weights of `fuse\(a, b\)`"):
        nirank.fit_fusion(pipeline % 3, collection)
    with pytest.raises(BadInput, match="the weights of a fusion are found by"):
        nirank.fit(pipeline, "ranknet", collection)
    with pytest.raises(BadInput, match="takes a collection"):
        nirank.fit_fusion(pipeline, collection.queries)
    with pytest.raises(BadInput, match="judged queries, 0"):
        nirank.fit_fusion(pipeline, collection.take(np.array([4, 7])))
