"""Scores normalised within a query: the formulas over single lists, edges, and their place in pipelines."""

from __future__ import annotations

import math
import statistics

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, CompositionError, UnknownName
from nirank.pipeline import normalise, norms, parse
from nirank.training.feature_lists import Describer

_NUMBERS = [-3e38, -2.5, -1.0, 0.0, 1e-30, 0.3, 0.3, 1.0, 7.0, 3e38]
_lists = st.lists(st.lists(st.sampled_from(_NUMBERS), max_size=6), min_size=1, max_size=5)


def _mean_rank(score, row):
    """The rank of a score, from 1; equal ones have the mean of theirs."""
    before, equal = sum(other > score for other in row), sum(other == score for other in row)
    return before + (equal + 1) / 2


def _slow(norm, row, temperature=1.0):
    """One list by the formula."""
    row = [float(np.float32(score)) for score in row]
    low, high, n = min(row), max(row), len(row)
    if norm == "minmax":
        return [(s - low) / (high - low) if high > low else 1.0 for s in row]
    if norm == "zscore":
        mean, deviation = math.fsum(row) / n, statistics.pstdev(row)
        return [(s - mean) / deviation if high > low else 0.0 for s in row]
    if norm == "softmax":
        powers = [math.exp(max((s - high) / temperature, -1e4)) for s in row]
        return [power / math.fsum(powers) for power in powers]
    if norm == "rank":
        return [1 - (_mean_rank(s, row) - 1) / n for s in row]
    if norm == "max":
        return [s / high if high else 0.0 for s in row]
    return [(s - low) / math.fsum(t - low for t in row) if high > low else 1 / n for s in row]


def _candidates(rows):
    return Candidates.of([range(len(row)) for row in rows], rows)


@pytest.mark.parametrize("norm", norms.NORMS)
@given(rows=_lists)
def test_each_norm_is_its_formula(norm, rows):
    rows = [[abs(score) for score in row] for row in rows] if norm == "max" else rows
    expected = [value for row in rows if row for value in _slow(norm, row)]
    got = norms.normalised(_candidates(rows), norm)
    assert got.dtype == np.float32
    np.testing.assert_allclose(got, np.array(expected, np.float32), rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("norm", norms.NORMS)
def test_a_list_is_normalised_alike_whatever_stands_beside_it(norm):
    rows = [np.random.default_rng(seed).gamma(2.0, size=1 + 37 * seed).tolist() for seed in range(6)]
    together = np.split(norms.normalised(_candidates(rows), norm), np.cumsum([len(row) for row in rows])[:-1])
    for row, part in zip(rows, together, strict=True):
        np.testing.assert_array_equal(norms.normalised(_candidates([[], row, []]), norm), part)


@pytest.mark.parametrize(
    ("norm", "one", "equal"),
    [
        ("minmax", [1], [1, 1, 1]),
        ("zscore", [0], [0, 0, 0]),
        ("softmax", [1], np.full(3, 1 / 3, np.float32)),
        ("rank", [1], np.full(3, 2 / 3, np.float32)),
        ("max", [1], [1, 1, 1]),
        ("sum", [1], np.full(3, 1 / 3, np.float32)),
    ],
)
def test_single_equal_and_no_documents(norm, one, equal):
    rows = [[], [0.1], [], [0.1, 0.1, 0.1], []]
    np.testing.assert_array_equal(norms.normalised(_candidates(rows), norm), [*one, *equal])
    assert norms.normalised(_candidates([[], []]), norm).shape == (0,)
    assert norms.normalised(Candidates.empty(0), norm).shape == (0,)


@pytest.mark.parametrize("norm", norms.NORMS)
def test_infinite_scores_have_a_rank_and_nothing_else(norm):
    rows = [[1.0, np.inf, -np.inf], [2.0]]
    if norm == "rank":
        np.testing.assert_allclose(norms.normalised(_candidates(rows), norm), [2 / 3, 1, 1 / 3, 1])
    else:
        with pytest.raises(BadInput, match="2 of 4 scores are infinite"):
            norms.normalised(_candidates(rows), norm)
    with pytest.raises(BadInput, match="1 of 1 scores"):
        norms.normalised(_candidates([[np.nan]]), norm)


def test_the_highest_score_divides_no_negative_ones():
    with pytest.raises(BadInput, match=r'2 of 3 scores are negative: take "minmax"'):
        norms.normalised(_candidates([[-1.0, -2.0], [3.0]]), "max")
    np.testing.assert_array_equal(norms.normalised(_candidates([[0.0, 0.0]]), "max"), [0, 0])


def test_a_temperature_makes_shares_sharper():
    rows = [[0.2, 0.4, 0.1]]
    np.testing.assert_allclose(
        norms.normalised(_candidates(rows), "softmax", temperature=0.05), _slow("softmax", rows[0], 0.05), rtol=1e-6
    )
    np.testing.assert_array_equal(norms.normalised(_candidates(rows), "softmax", temperature=1e-320), [0, 1, 0])


class Lengths:
    """A scorer: how long a document is."""

    def score(self, queries, candidates):
        return np.array([len(text) for text in candidates.corpus[candidates.docs]], np.float32)


class Place:
    """A listwise scorer: where in its list a document stands."""

    listwise = True

    def score(self, queries, candidates):
        return (np.arange(candidates.pairs) - candidates.offsets[candidates.rows]).astype(np.float32)


class Summed:
    """A ranker: the sum of all features."""

    reads = "features"

    def score(self, queries, candidates):
        return candidates.features.values.sum(axis=1)


PLACE, SUMMED = nirank.load(Place(), "place"), nirank.load(Summed(), "summed")


@pytest.fixture
def parts(overlap):
    return {"overlap": nirank.load(overlap, "overlap"), "lengths": nirank.load(Lengths(), "lengths")}


CORPUS = Documents(["a", "b", "c"], ["a b", "a", "a b c d e"])


def test_it_composes_with_sums_and_reads_back(parts):
    text = (
        'overlap >> 0.3 * normalise(lengths, "minmax") + normalise(2 * overlap + lengths, "softmax", temperature=2.0)'
    )
    pipeline = parse(text, parts)
    assert repr(pipeline) == (
        "overlap >> ((0.3 * normalise(lengths, 'minmax')) + "
        "normalise((2.0 * overlap) + lengths, 'softmax', temperature=2.0))"
    )
    assert repr(parse(repr(pipeline), parts)) == repr(pipeline)
    assert [component.name for component in pipeline.components()] == ["overlap", "lengths"]
    assert repr(pipeline.at_depth(2)) == repr(pipeline).replace("overlap >>", "(overlap % 2) >>")
    queries, candidates = Queries.of(["a b", "e", "x"]), Candidates.of([[0, 1, 2], [2], []], corpus=CORPUS)
    scores = pipeline.scoring.score(queries, candidates)
    raw = (2 * parts["overlap"] + parts["lengths"]).score(queries, candidates)
    expected = [0.3 * x + y for x, y in zip(_slow("minmax", [3, 1, 9]), _slow("softmax", raw[:3], 2.0), strict=True)]
    np.testing.assert_allclose(scores, [*expected, 1.3], rtol=1e-6)
    assert scores.dtype == np.float32


def test_a_ranking_by_normalised_scores_is_the_same_for_one_query_and_many(parts):
    pipeline = parts["overlap"] >> normalise(parts["lengths"], "zscore")
    many = pipeline.search(["a b", "e", "b"], CORPUS)
    for row, text in enumerate(["a b", "e", "b"]):
        alone = pipeline.search(text, CORPUS)[0]
        np.testing.assert_array_equal(alone[0], many[row][0])
        np.testing.assert_array_equal(alone[1], many[row][1])


@pytest.mark.parametrize(
    ("text", "kind", "message"),
    [
        ("normalise(overlap, 'minmx')", UnknownName, "minmx"),
        ("normalise(overlap, 3)", BadInput, "name of a norm"),
        ("normalise(overlap, 'minmax', temperature=2)", UnknownName, "setting of normalise"),
        ("normalise(overlap, 'softmax', temperature=0)", BadInput, "not a number above 0"),
        ("normalise(overlap, 'softmax', temperature='1')", BadInput, "not a number above 0"),
        ("normalise('overlap', 'minmax')", CompositionError, "'overlap' is a text"),
        ("normalise(overlap | overlap, 'minmax')", CompositionError, "has no scores"),
        ("normalise(overlap, 'minmax') % 3", CompositionError, "has no best 3"),
        ("normalise(overlap, 'minmax') + 'minmax'", BadInput, "column 43: \"'minmax'\" is refused"),
        ("fuse(overlap, 'overlap')", CompositionError, "'overlap' is a text"),
        ("normalise()", CompositionError, "column 1"),
    ],
)
def test_what_makes_no_sense_is_refused(parts, text, kind, message):
    with pytest.raises(kind, match=message):
        parse(f"overlap >> {text}", parts)


def test_a_norm_alone_finds_nothing(parts):
    with pytest.raises(CompositionError, match="finds none"):
        normalise(parts["lengths"]).search("a", CORPUS)


def test_features_of_a_list_are_computed_of_all_of_it(parts):
    """In training, judged pairs are described before: what depends on the list has to be described in the list."""
    queries = Queries.of(["a b", "e"])
    judged = Candidates.of([[0, 2], [1]], [[1, 0], [1]], corpus=CORPUS)
    collection = Collection("three", CORPUS, queries, judged)
    drawn = Candidates.of([[0, 1, 2], [2, 1]], corpus=CORPUS)
    for text in ("features(normalise(lengths, 'minmax'), lengths)", "features(lengths, place)"):
        described = parse(f"overlap >> {text} >> summed", {**parts, "summed": SUMMED, "place": PLACE}).scoring.features
        given = Describer(described, collection)(np.array([0, 1]), queries, drawn)
        np.testing.assert_array_equal(given.features.values, described.of(queries, drawn).values)
    assert not nirank.features(parts["lengths"], 0.5 * parts["overlap"]).listwise
