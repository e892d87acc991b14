"""Batches of categories: who is in them, and with which label."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput
from nirank_stir.categories import Categories
from nirank_stir.confused import Confused

#: The category of each document; one has a single image, one many.
CATEGORY = np.array([0] * 3 + [1] * 20 + [2] * 5 + [3])


def _collection(apart=False):
    """Every document is a query; or, `apart`, there is one query a category, which is no document."""
    corpus = Documents([f"d{doc}" for doc in range(len(CATEGORY))], [str(doc) for doc in range(len(CATEGORY))])
    asked = np.arange(4) if apart else CATEGORY
    judged = [[doc for doc in np.flatnonzero(its == CATEGORY) if apart or doc != row] for row, its in enumerate(asked)]
    ids = [f"q{row}" for row in range(4)] if apart else list(corpus.ids)
    judgments = Candidates.of(judged, [[1] * len(docs) for docs in judged], corpus)
    return Collection("categories", corpus, Queries(ids, ids), judgments)


def _sample(rows, images=3, apart=False, seed=0):
    collection, sampler = _collection(apart), Categories(images=images)
    sampler.begin(collection, {})
    rows = np.array(rows)
    return sampler.sample(rows, collection.judgments.take(rows), np.random.default_rng(seed))


def _lists(sample):
    """For each list its documents that count, with their labels."""
    lists = sample.candidates
    counted = lists.where(sample.mask)
    return [dict(zip(*map(np.ndarray.tolist, counted[row]), strict=True)) for row in range(len(lists))]


def test_each_category_of_the_batch_has_equally_many_documents():
    sample = _sample([0, 5, 6, 7, 24], images=3)
    docs = sample.candidates[0][0]
    assert np.bincount(CATEGORY[docs], minlength=4).tolist() == [3, 3, 3, 0]
    assert sample.shared
    assert all(np.array_equal(docs, sample.candidates[row][0]) for row in range(5))


def test_a_category_with_fewer_documents_has_all_of_them():
    docs = _sample([0, 5, 28], images=10).candidates[0][0]
    assert np.bincount(CATEGORY[docs], minlength=4).tolist() == [3, 10, 0, 1]


def test_labels_are_those_of_the_judgments_and_the_query_itself_does_not_count():
    rows = [0, 1, 5, 24, 28]
    for row, found in zip(rows, _lists(_sample(rows, images=20)), strict=True):
        assert row not in found
        assert found == {doc: float(CATEGORY[doc] == CATEGORY[row]) for doc in found}
        assert len(found) == len(CATEGORY) - 1


def test_queries_that_are_no_documents_meet_all_of_their_category():
    lists = _lists(_sample([0, 1], images=2, apart=True))
    assert [sum(found.values()) for found in lists] == [2, 2]
    assert [len(found) for found in lists] == [4, 4]


def test_documents_of_a_category_are_drawn_alike():
    counts = np.zeros(len(CATEGORY))
    for seed in range(2000):
        np.add.at(counts, _sample([5, 0], images=2, seed=seed).candidates[0][0], 1)
    assert np.abs(counts[:3] / 2000 - 2 / 3).max() < 0.05
    assert np.abs(counts[3:23] / 2000 - 2 / 20).max() < 0.03
    assert counts[23:].sum() == 0


class Nearest:
    """Finds the documents around a query, by the distance of their ordinals."""

    def generate(self, queries, k):
        rows = [int(name.removeprefix("d")) for name in queries.ids]
        scores = -np.abs(np.arange(len(CATEGORY)) - np.array(rows)[:, None])
        docs = np.broadcast_to(np.arange(len(CATEGORY)), scores.shape)
        return Candidates.from_matrix(docs, scores, np.ones(scores.shape, bool)).top(k)


def test_a_list_is_what_the_first_stage_found_with_the_labels_of_the_judgments():
    collection, sampler = _collection(), Confused(nirank.others(nirank.load(Nearest())), top=4)
    sampler.begin(collection, {})
    rows = np.array([3, 28, 0])
    lists = sampler.sample(rows, collection.judgments.take(rows), np.random.default_rng(0)).candidates
    assert [lists[row][0].tolist() for row in range(3)] == [[2, 4, 1, 5], [27, 26, 25, 24], [1, 2, 3, 4]]
    assert [lists[row][1].tolist() for row in range(3)] == [[0, 1, 0, 1], [0, 0, 0, 0], [1, 1, 0, 0]]
    assert lists.corpus is collection.corpus


def test_the_pipeline_may_be_an_expression_over_the_stages_of_training():
    collection, sampler = _collection(), Confused("others(near) % 3", top=9)
    sampler.begin(collection, {"near": nirank.load(Nearest(), "near")})
    rows = np.arange(len(CATEGORY))
    lists = sampler.sample(rows, collection.judgments, np.random.default_rng(0)).candidates
    assert set(lists.lengths.tolist()) == {3}
    with pytest.raises(BadInput, match="at least 2"):
        Confused("near", top=1)


def test_one_image_at_least_is_asked_for():
    with pytest.raises(BadInput, match="at least 1"):
        Categories(images=0)
