"""The measures of image retrieval, against loops written from their definitions."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.data import Candidates
from nirank.errors import NirankError


@pytest.fixture
def random():
    return np.random.default_rng(5)


def _drawn(random, queries=40, documents=30):
    """A run with ties, lists of all lengths, and judgments, some of documents that no run has."""
    lists = [random.permutation(documents)[: random.integers(0, documents)] for _ in range(queries)]
    scores = [random.integers(0, 8, len(docs)) for docs in lists]
    judged = [random.permutation(documents + 5)[: random.integers(1, 12)] for _ in range(queries)]
    grades = [random.integers(0, 3, len(docs)) for docs in judged]
    return Candidates.of(lists, scores).ranked(), Candidates.of(judged, grades)


def _relevant(run, judgments, row, level=1):
    """Whether each document found is relevant, in the order of the ranks, and how many are relevant at all."""
    docs, grades = judgments[row]
    relevant = {doc for doc, grade in zip(docs.tolist(), grades.tolist(), strict=True) if grade >= level}
    return [doc in relevant for doc in run[row][0].tolist()], len(relevant)


def _average_precision_at_r(found, r):
    total = hits = 0
    for rank, relevant in enumerate(found[:r], start=1):
        if relevant:
            hits += 1
            total += hits / rank
    return total / r if r else 0


@pytest.mark.parametrize("k", [1, 3, 10])
def test_cmc_is_whether_something_relevant_stands_in_the_first_ranks(random, k):
    run, judgments = _drawn(random)
    expected = [any(_relevant(run, judgments, row)[0][:k]) for row in range(len(run))]
    assert nirank.evaluate(run, judgments, [f"CMC@{k}"]).values[f"CMC@{k}"].tolist() == expected


@pytest.mark.parametrize("name", ["mAP@R", "MAP@R", "AP@R"])
def test_map_at_r_looks_at_as_many_ranks_as_there_are_relevant_documents(random, name):
    run, judgments = _drawn(random)
    expected = [_average_precision_at_r(*_relevant(run, judgments, row)) for row in range(len(run))]
    np.testing.assert_allclose(nirank.evaluate(run, judgments, [name]).values[name], expected, atol=1e-12)


def test_map_at_r_takes_the_grade_that_is_relevant(random):
    run, judgments = _drawn(random)
    expected = [_average_precision_at_r(*_relevant(run, judgments, row, level=2)) for row in range(len(run))]
    values = nirank.evaluate(run, judgments, ["mAP(rel=2)@R"]).values["mAP(rel=2)@R"]
    np.testing.assert_allclose(values, expected, atol=1e-12)


def test_r_at_1_is_recall_and_cmc_at_1_is_what_papers_on_images_call_so():
    run, judgments = Candidates.of([[3, 1, 2]], [[3, 2, 1]]), Candidates.of([[1, 2, 3, 4]], [[1, 1, 1, 1]])
    evaluation = nirank.evaluate(run, judgments, ["R@1", "CMC@1", "mAP@R"])
    assert evaluation.mean == {"R@1": 0.25, "CMC@1": 1.0, "mAP@R": 0.75}


@pytest.mark.parametrize("name", ["CMC", "CMC@0", "CMC@R", "nDCG@R", "mAP@r", "mAP@0"])
def test_other_cutoffs_are_refused(name):
    run = Candidates.of([[0]], [[1]])
    with pytest.raises(NirankError, match=r"measure|cutoff"):
        nirank.evaluate(run, run, [name])
