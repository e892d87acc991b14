"""Fusion of runs against loops over dictionaries."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nirank.data import Candidates
from nirank.errors import BadInput, CompositionError, UnknownName
from nirank.pipeline import fusion

_runs = st.lists(
    st.lists(st.dictionaries(st.integers(0, 8), st.sampled_from([-1.0, 0.0, 0.5, 0.5, 2.0]), max_size=6),
             min_size=3, max_size=3),
    min_size=2, max_size=3,
)  # fmt: skip


def _candidates(lists):
    return Candidates.of([list(row) for row in lists], [list(row.values()) for row in lists])


def _scaled(row):
    low, high = min(row.values()), max(row.values())
    return {doc: 1.0 if high == low else (score - low) / (high - low) for doc, score in row.items()}


def _slow(method, rows, weights):
    fused: dict[int, float] = {}
    for row, weight in zip(rows, weights, strict=True):
        if method == "rrf":
            ranked = sorted(row, key=lambda doc: (-row[doc], doc))
            given_scores = {doc: 1 / (60 + rank) for rank, doc in enumerate(ranked, start=1)}
        else:
            given_scores = _scaled(row) if row else {}
        for doc, score in given_scores.items():
            fused[doc] = fused.get(doc, 0.0) + weight * score
    if method == "combmnz":
        fused = {doc: score * sum(doc in row for row in rows) for doc, score in fused.items()}
    return fused


@pytest.mark.parametrize("method", sorted(fusion.METHODS))
@given(runs=_runs)
def test_each_method_is_its_formula(method, runs):
    weights = np.array([1.0, 0.5, 2.0])[: len(runs)]
    fused = fusion.METHODS[method]([_candidates(run) for run in runs], weights)
    for query in range(3):
        docs, scores = fused[query]
        expected = _slow(method, [run[query] for run in runs], weights)
        assert dict(zip(docs.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected, abs=1e-6)
        assert (np.diff(scores) <= 0).all()


def test_what_a_method_does_not_take_is_refused():
    with pytest.raises(UnknownName, match="setting of fuse"):
        fusion.check("combsum", {"k": 3})
    with pytest.raises(BadInput, match="not a number"):
        fusion.check("rrf", {"k": "60"})
    with pytest.raises(BadInput, match="not a number"):
        fusion.check("rrf", {"k": float("inf")})
    with pytest.raises(BadInput, match="method = 3 is not a name"):
        fusion.check(3, {})


@pytest.mark.parametrize("weights", [3, "ab", ["x", 1], [True, 1], [float("nan"), 1], np.array([np.inf, 1]), {1: 2}])
def test_weights_are_finite_numbers(weights):
    with pytest.raises(BadInput, match="not a list of finite numbers"):
        fusion.check_weights(weights, 2)


def test_weights_become_numbers_that_are_printed_as_one_writes_them():
    assert repr(fusion.check_weights(np.array([0.5, 2.0]), 2)) == "(0.5, 2.0)"
    assert repr(fusion.check_weights([np.float32(0.5), 2], 2)) == "(0.5, 2)"
    with pytest.raises(CompositionError, match="3 weights for 2 rankings"):
        fusion.check_weights([1, 2, 3], 2)
