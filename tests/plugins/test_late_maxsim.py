"""MaxSim against a double loop, its gradient against torch's own, on the CPU and as other devices compute it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("numba")

import torch

from nirank.data import TokenVectors
from nirank.errors import BadInput
from nirank_late import maxsim as module
from nirank_late.kernels import QUERY_TILE, TOKEN_TILE
from nirank_late.maxsim import Meetings, maxsim, on_cpu, on_device

QUERIES = [3, 0, QUERY_TILE, QUERY_TILE + 1, 2 * QUERY_TILE, 1]
DOCUMENTS = [1, TOKEN_TILE - 1, TOKEN_TILE, TOKEN_TILE + 1, 50, 2 * TOKEN_TILE, 2]


def _ragged(lengths, dim=20, seed=0, shift=0.0):
    values = np.random.default_rng(seed).standard_normal((sum(lengths), dim)).astype(np.float32) + shift
    return TokenVectors(np.concatenate([[0], np.cumsum(lengths)]), torch.from_numpy(values.astype(np.float32)))


def _pairs(count=60, seed=1):
    random = np.random.default_rng(seed)
    return random.integers(0, len(QUERIES), count), random.integers(0, len(DOCUMENTS), count)


def _slowly(queries, documents, rows, columns):
    scores = []
    for row, column in zip(rows, columns, strict=True):
        score = 0.0
        for asked in queries[int(row)].double().tolist():
            products = [
                sum(a * b for a, b in zip(asked, told, strict=True))
                for told in documents[int(column)].double().tolist()
            ]
            score += max(products)
        scores.append(score)
    return np.array(scores)


@pytest.mark.parametrize("dim", [1, 7, 20, 128])
def test_scores_are_those_of_a_double_loop(dim):
    queries, documents = _ragged(QUERIES, dim), _ragged(DOCUMENTS, dim, seed=2)
    rows, columns = _pairs()
    expected = _slowly(queries, documents, rows, columns)
    np.testing.assert_allclose(maxsim(queries, documents, rows, columns), expected, rtol=1e-5, atol=1e-3)


def test_negative_similarities_count():
    queries, documents = _ragged(QUERIES, shift=5.0), _ragged(DOCUMENTS, seed=2, shift=-5.0)
    rows, columns = _pairs()
    scores = maxsim(queries, documents, rows, columns)
    np.testing.assert_allclose(scores, _slowly(queries, documents, rows, columns), rtol=1e-5)
    assert (scores[torch.from_numpy(rows != 1)] < 0).all()


def test_a_score_is_the_same_to_the_bit_wherever_its_pair_and_its_document_stand():
    queries, documents = _ragged(QUERIES), _ragged(DOCUMENTS, seed=2)
    rows, columns = _pairs()
    scores = maxsim(queries, documents, rows, columns)
    for place in range(len(rows)):
        alone = queries[[rows[place]]], documents[[columns[place]]]
        assert maxsim(*alone, np.zeros(1, int), np.zeros(1, int)) == scores[place]
    turned = maxsim(queries, documents[::-1], rows, len(DOCUMENTS) - 1 - columns)
    assert torch.equal(turned, scores)


def test_many_pairs_are_shared_by_threads(monkeypatch):
    queries, documents = _ragged(QUERIES), _ragged(DOCUMENTS, seed=2)
    rows, columns = _pairs(1000)
    whole = maxsim(queries, documents, rows, columns)
    monkeypatch.setattr(module, "_PAIRS_PER_THREAD", 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    assert torch.equal(maxsim(queries, documents, rows, columns), whole)


@pytest.mark.parametrize("at_once", [1, 100, 1 << 24])
def test_other_devices_find_the_same_tokens(monkeypatch, at_once):
    monkeypatch.setattr(module, "_SIMILARITIES", at_once)
    queries, documents = _ragged(QUERIES), _ragged(DOCUMENTS, seed=2)
    pairs = Meetings(queries.offsets, documents.offsets, *_pairs())
    here, there = (way(queries.values, documents.values, pairs, True) for way in (on_cpu, on_device))
    torch.testing.assert_close(here[0], there[0], rtol=1e-5, atol=1e-3)
    assert np.array_equal(here[1], there[1])


@pytest.mark.parametrize("way", [on_cpu, on_device])
def test_of_equal_tokens_the_first_is_chosen(way):
    pairs = Meetings(np.array([0, 2]), np.array([0, 9]), np.zeros(1, int), np.zeros(1, int))
    scores, where = way(torch.ones(2, 4), torch.ones(9, 4), pairs, True)
    assert scores.tolist() == [8.0]
    assert where.tolist() == [0, 0]


@pytest.mark.parametrize("entries", [7, 1 << 16])
def test_gradients_are_those_of_torch(monkeypatch, entries):
    monkeypatch.setattr(module, "_ENTRIES", entries)
    queries, documents = _ragged(QUERIES), _ragged(DOCUMENTS, seed=2)
    rows, columns = _pairs()
    values = [queries.values.requires_grad_(), documents.values.requires_grad_()]
    pull = torch.linspace(-1, 2, len(rows))
    found = torch.autograd.grad((maxsim(queries, documents, rows, columns) * pull).sum(), values)
    plain = [
        weight * (queries[int(row)] @ documents[int(column)].T).max(1).values.sum()
        for weight, row, column in zip(pull, rows, columns, strict=True)
    ]
    expected = torch.autograd.grad(sum(plain), values)
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)


def test_no_pairs_have_no_scores_and_a_document_without_vectors_is_refused():
    queries, documents = _ragged([2]), _ragged([3, 0])
    assert maxsim(queries, documents, np.empty(0, int), np.empty(0, int)).shape == (0,)
    with pytest.raises(BadInput, match="no token vectors, so its MaxSim is undefined"):
        maxsim(queries, documents, np.array([0]), np.array([1]))
