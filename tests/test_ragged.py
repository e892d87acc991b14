"""Ragged vectors: rows picked and joined against lists, products against loops, and what does not fit together."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from nirank.data import SparseVectors, TokenVectors, concatenate, similarities
from nirank.errors import BadInput

MATRICES = [np.arange(6.0).reshape(3, 2), np.zeros((0, 2)), np.full((1, 2), 7.0)]
PICKS = [[2, 0, 0, 1], [], [1], slice(1, None), slice(None, None, -1), np.array([-1, 0])]


def _dense(rows=5, size=9, seed=0):
    random = np.random.default_rng(seed)
    return (random.random((rows, size)) * (random.random((rows, size)) < 0.5)).astype(np.float32)


@pytest.mark.parametrize("pick", PICKS, ids=str)
def test_picked_texts_keep_their_matrices(pick):
    vectors = TokenVectors.of(MATRICES)[pick]
    expected = [MATRICES[place] for place in np.arange(3)[pick]]
    assert [matrix.tolist() for matrix in vectors] == [matrix.tolist() for matrix in expected]
    assert vectors.lengths.tolist() == [len(matrix) for matrix in expected]


def test_one_text_has_a_matrix_and_parts_are_joined_in_order():
    vectors = TokenVectors.of(MATRICES)
    assert vectors[-1].tolist() == [[7.0, 7.0]]
    with pytest.raises(IndexError):
        vectors[3]
    both = concatenate([vectors, vectors[[1, 2]]])
    assert [len(matrix) for matrix in both] == [3, 0, 1, 0, 1]


def test_tensors_keep_their_gradients():
    torch = pytest.importorskip("torch")
    values = torch.arange(8.0).reshape(4, 2).requires_grad_()
    vectors = TokenVectors(np.array([0, 3, 4]), values)
    picked = TokenVectors.concatenate([vectors, vectors])[[3, 1, 0]]
    picked.values.sum().backward()
    assert values.grad.tolist() == [[1, 1]] * 3 + [[2, 2]]


@pytest.mark.parametrize("offsets", [[0, 2], [1, 4], [0, 3, 2, 4], []])
def test_offsets_that_do_not_fit_are_refused(offsets):
    with pytest.raises(BadInput, match="offsets must rise"):
        TokenVectors(np.array(offsets), np.zeros((4, 2)))
    with pytest.raises(BadInput, match="offsets must rise"):
        SparseVectors(np.array(offsets), np.zeros(4, np.int32), np.zeros(4, np.float32), 3)


def test_vectors_that_are_no_matrix_are_refused():
    with pytest.raises(BadInput, match="are a matrix"):
        TokenVectors(np.array([0, 4]), np.zeros(4))
    with pytest.raises(BadInput, match="3 terms with 4 weights"):
        SparseVectors(np.array([0, 4]), np.zeros(3, np.int32), np.zeros(4, np.float32), 3)


def test_sparse_vectors_are_what_is_not_zero():
    dense = _dense()
    dense[2] = 0
    vectors = SparseVectors.of(dense)
    assert np.array_equal(vectors.toarray(), dense)
    assert vectors.lengths.tolist() == [np.count_nonzero(row) for row in dense]
    for row, pick in enumerate(dense):
        assert np.array_equal(vectors[row].toarray(), pick[None])


@pytest.mark.parametrize("pick", [[2, 0, 0, 1], [], slice(1, None), slice(None, None, -1)], ids=str)
def test_picked_and_joined_sparse_vectors_keep_their_rows(pick):
    dense = _dense(3)
    vectors = SparseVectors.of(dense)
    assert np.array_equal(vectors[pick].toarray(), dense[pick])
    assert np.array_equal(concatenate([vectors, vectors[pick]]).toarray(), np.concatenate([dense, dense[pick]]))


def test_pruning_keeps_the_largest_weights_and_of_equal_ones_the_lower_dimension():
    dense = np.array([[0.5, 2, 0, 1, 1], [0, 0, 0, 3, 0], [1, 1, 1, 1, 1]], np.float32)
    pruned = SparseVectors.of(dense, most=2)
    assert pruned.toarray().tolist() == [[0, 2, 0, 1, 0], [0, 0, 0, 3, 0], [1, 1, 0, 0, 0]]
    assert dense[0, 0] == 0.5  # what was given is left alone
    assert np.array_equal(SparseVectors.of(dense, most=9).toarray(), dense)


def test_products_of_pairs_are_those_of_a_loop():
    left, right = _dense(6, seed=1), _dense(7, seed=2)
    pairs = list(itertools.product(range(6), range(7)))[::-1]
    rows, columns = np.array(pairs).T
    found = similarities(SparseVectors.of(left), SparseVectors.of(right), rows, columns)
    expected = [sum(float(a) * float(b) for a, b in zip(left[i], right[j], strict=True)) for i, j in pairs]
    np.testing.assert_allclose(found, expected, rtol=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(similarities(left, right, rows, columns), expected, rtol=1e-6)


def test_products_come_in_blocks_and_none_of_none(monkeypatch):
    vectors = SparseVectors.of(_dense())
    rows = np.arange(5)
    whole = vectors.pair_products(vectors, rows, rows[::-1])
    monkeypatch.setattr("nirank.data.vectors._PAIRS", 2)
    assert np.array_equal(vectors.pair_products(vectors, rows, rows[::-1]), whole)
    assert vectors.pair_products(vectors, rows[:0], rows[:0]).shape == (0,)
