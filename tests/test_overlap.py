"""Rank-biased overlap and the power of paired tests, beside slow references."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from scipy import stats

from nirank.data import Candidates
from nirank.errors import BadInput
from nirank.evaluation import detectable_difference, rank_biased_overlap


def _slow(one, other, p):
    """Equation 32 for lists of groups of tied documents, depth by depth, in exact fractions but for the last step."""
    shorter, longer = sorted([one, other], key=lambda groups: sum(map(len, groups)))
    s, n = (sum(map(len, groups)) for groups in (shorter, longer))
    if s == 0:
        return float(n == 0)

    def seen(groups, depth):
        found, above = set(), 0
        for group in groups:
            if above < depth:  # the group begins at rank above + 1
                found |= set(group)
            above += len(group)
        return found

    def common(depth):
        return len(seen(shorter, depth) & seen(longer, depth))

    at_end = Fraction(2 * common(s), len(seen(shorter, s)) + len(seen(longer, s)))
    p = Fraction(p)
    total = Fraction(0)
    for d in range(1, s + 1):
        total += Fraction(2 * common(d), len(seen(shorter, d)) + len(seen(longer, d))) * p**d
    for d in range(s + 1, n + 1):
        total += 2 * (common(d) + (d - s) * at_end) / (d + len(seen(longer, d))) * p**d
    tail = (common(n) + (n - s) * at_end) / n * p**n
    return float((1 - p) / p * total + tail)


def _equation_32(one, other, p):
    """The equation as it is printed, for rankings without ties."""
    shorter, longer = sorted([one, other], key=len)
    s, n = len(shorter), len(longer)
    overlap = [len(set(shorter[:d]) & set(longer[:d])) for d in range(n + 1)]
    first = sum(overlap[d] / d * p**d for d in range(1, n + 1))
    second = sum(overlap[s] * (d - s) / (s * d) * p**d for d in range(s + 1, n + 1))
    return (1 - p) / p * (first + second) + ((overlap[n] - overlap[s]) / n + overlap[s] / s) * p**n


def _candidates(rankings):
    """Lists of groups as candidates: each group has one score."""
    docs = [[doc for group in groups for doc in group] for groups in rankings]
    scores = [[-float(place) for place, group in enumerate(groups) for _ in group] for groups in rankings]
    return Candidates.of(docs, scores)


def _random_rankings(random, count, ties):
    for _ in range(count):
        docs = random.permutation(12)[: random.integers(0, 12)].tolist()
        groups = []
        for doc in docs:
            if groups and ties and random.random() < 0.4:
                groups[-1].append(doc)
            else:
                groups.append([doc])
        yield groups


@pytest.mark.parametrize("p", [0.5, 0.9, 0.98])
def test_overlap_is_that_of_the_slow_reference(p):
    random = np.random.default_rng(4)
    one, other = (list(_random_rankings(random, 300, ties=True)) for _ in range(2))
    found = rank_biased_overlap(_candidates(one), _candidates(other), p)
    expected = [_slow(*pair, p) for pair in zip(one, other, strict=True)]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    assert len(set(expected)) > 200
    np.testing.assert_allclose(found, rank_biased_overlap(_candidates(other), _candidates(one), p), atol=1e-15)


def test_overlap_without_ties_is_equation_32():
    random = np.random.default_rng(5)
    one, other = (list(_random_rankings(random, 200, ties=False)) for _ in range(2))
    found = rank_biased_overlap(_candidates(one), _candidates(other), 0.8)
    for value, *pair in zip(found, one, other, strict=True):
        if all(pair):
            flat = [[doc for (doc,) in groups] for groups in pair]
            assert value == pytest.approx(_equation_32(*flat, 0.8), abs=1e-12)


def test_overlap_at_its_ends():
    alike, apart = Candidates.of([[0, 1, 2]], [[3, 2, 1]]), Candidates.of([[3, 4, 5]], [[3, 2, 1]])
    assert rank_biased_overlap(alike, alike)[0] == pytest.approx(1)
    assert rank_biased_overlap(alike, apart)[0] == 0
    assert rank_biased_overlap(alike, Candidates.empty(1))[0] == 0
    assert rank_biased_overlap(Candidates.empty(1), Candidates.empty(1))[0] == 1
    assert len(rank_biased_overlap(Candidates.empty(0), Candidates.empty(0))) == 0
    # the same documents with all scores equal stand at one rank in both
    tied = Candidates.of([[2, 0, 1]], [[1, 1, 1]])
    assert rank_biased_overlap(tied, tied)[0] == pytest.approx(1)


def test_overlap_of_many_queries_is_computed_in_parts(monkeypatch):
    random = np.random.default_rng(6)
    one, other = (_candidates(list(_random_rankings(random, 50, ties=True))) for _ in range(2))
    whole = rank_biased_overlap(one, other)
    monkeypatch.setattr("nirank.evaluation.overlap._CELLS", 30)
    np.testing.assert_array_equal(whole, rank_biased_overlap(one, other))


def test_overlap_refuses_what_it_cannot_compare():
    with pytest.raises(BadInput, match="same queries"):
        rank_biased_overlap(Candidates.empty(1), Candidates.empty(2))
    with pytest.raises(BadInput, match="persistence"):
        rank_biased_overlap(Candidates.empty(1), Candidates.empty(1), p=1)
    with pytest.raises(BadInput, match="NaN"):
        rank_biased_overlap(Candidates.of([[0]], [[np.nan]]), Candidates.empty(1))
    for pair in ([[0, 0, 1]], [[0, 1]]), ([[0, 1]], [[1, 1]]):  # which would overlap by more than 1
        with pytest.raises(BadInput, match="twice"):
            rank_biased_overlap(*map(Candidates.of, pair))


# Power


@pytest.mark.parametrize("size", [2, 3, 10, 50, 323, 6980])
def test_the_detectable_difference_has_the_power_it_says(size):
    differences = np.random.default_rng(size).normal(0.02, 0.1, size)
    least = detectable_difference(differences)
    shift = least / (differences.std(ddof=1) / np.sqrt(size))
    critical = stats.t.ppf(0.975, size - 1)
    assert stats.nct.sf(critical, size - 1, shift) + np.nan_to_num(
        stats.nct.cdf(-critical, size - 1, shift)
    ) == pytest.approx(0.8, abs=1e-6)


def test_experiments_with_the_detectable_difference_find_it_in_80_of_100():
    random = np.random.default_rng(7)
    sample = random.normal(0, 1, 25)
    least = detectable_difference(sample)
    drawn = random.normal(least, sample.std(ddof=1), (20_000, 25))
    found = stats.ttest_1samp(drawn, 0, axis=1).pvalue < 0.05
    assert found.mean() == pytest.approx(0.8, abs=0.01)


def test_the_detectable_difference_at_its_ends():
    assert detectable_difference(np.array([0.1])) == np.inf
    assert detectable_difference(np.full(10, 0.25)) == 0
    assert detectable_difference(np.arange(10.0)) > detectable_difference(np.arange(10.0), power=0.5)
    with pytest.raises(BadInput, match="shares"):
        detectable_difference(np.arange(10.0), power=80)
