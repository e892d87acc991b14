"""Fusion of runs against loops over dictionaries, ranx's own tests, and what ranx computes of random runs."""

from __future__ import annotations

import json
import math
import statistics
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nirank.data import Candidates
from nirank.errors import BadInput, CompositionError, UnknownName
from nirank.pipeline import fusion
from nirank.pipeline.norms import NORMS

_runs = st.lists(
    st.lists(st.dictionaries(st.integers(0, 8), st.sampled_from([-1.0, 0.0, 0.5, 0.5, 2.0]), max_size=6),
             min_size=3, max_size=3),
    min_size=2, max_size=3,
)  # fmt: skip
THEIRS = json.loads((Path(__file__).parent / "fixtures" / "ranx_fusion.json").read_text())


def _candidates(lists):
    return Candidates.of([list(row) for row in lists], [list(row.values()) for row in lists])


def _fused(method, runs, weights=None, **settings):
    """A list of `{document: score}` for each query, in the order of the ranking."""
    weights = np.ones(len(runs)) if weights is None else np.array(weights)
    fused = fusion.METHODS[method]([_candidates(run) for run in runs], weights, **settings)
    return [
        dict(zip(docs.tolist(), scores.tolist(), strict=True)) for docs, scores in (fused[q] for q in range(len(fused)))
    ]


def _scaled(row):
    low, high = min(row.values(), default=0), max(row.values(), default=0)
    return {doc: 1.0 if high == low else (score - low) / (high - low) for doc, score in row.items()}


def _ranks(row):
    return {doc: rank for rank, doc in enumerate(sorted(row, key=lambda doc: (-row[doc], doc)), start=1)}


_BY_RANK = {
    "rrf": lambda rank: 1 / (60 + rank),
    "isr": lambda rank: 1 / rank**2,
    "log_isr": lambda rank: 1 / rank**2,
    "rbc": lambda rank: 0.1 * 0.9 ** (rank - 1),
}
_COMBINED = {
    "combmnz": lambda said: sum(said) * len(said),
    "combgmnz": lambda said: sum(said) * math.sqrt(len(said)),
    "combanz": lambda said: sum(said) / len(said),
    "combmax": max,
    "combmin": min,
    "combmed": statistics.median,
    "isr": lambda said: sum(said) * len(said),
    "log_isr": lambda said: sum(said) * math.log(len(said)),
}


def _slow(method, rows, weights):
    union = set().union(*rows)
    if method == "borda":
        return {
            doc: sum(w * _points(doc, row, len(union)) for row, w in zip(rows, weights, strict=True)) for doc in union
        }
    if method == "condorcet":
        return {doc: 1 + sum(_victory(doc, other, rows, weights) for other in union - {doc}) for doc in union}
    if method in _BY_RANK:
        said = [{doc: _BY_RANK[method](rank) for doc, rank in _ranks(row).items()} for row in rows]
    else:
        said = [_scaled(row) for row in rows]
    if method == "wmnz":
        return {
            doc: sum(row.get(doc, 0) for row in said)
            * sum(w for row, w in zip(said, weights, strict=True) if doc in row)
            for doc in union
        }
    combine = _COMBINED.get(method, sum)
    return {doc: combine([w * row[doc] for row, w in zip(said, weights, strict=True) if doc in row]) for doc in union}


def _points(doc, row, size):
    return size + 1 - _ranks(row)[doc] if doc in row else (size - len(row) + 1) / 2


def _victory(one, other, rows, weights):
    margin = 0.0
    for row, weight in zip(rows, weights, strict=True):
        first, second = (_ranks(row).get(doc, math.inf) for doc in (one, other))
        margin += weight * ((first < second) - (first > second))
    return (margin > 0) + (margin == 0) / 2


@pytest.mark.parametrize("method", sorted(fusion.METHODS))
@given(runs=_runs)
def test_each_method_is_its_formula(method, runs):
    weights = [1.0, 0.5, 2.0][: len(runs)]
    for query, fused in enumerate(_fused(method, runs, weights)):
        assert fused == pytest.approx(_slow(method, [run[query] for run in runs], weights), abs=1e-6)
        assert (np.diff(list(fused.values())) <= 0).all()


@pytest.mark.parametrize("method", sorted(fusion.METHODS))
def test_a_query_is_fused_alike_whatever_stands_beside_it(method):
    generator, weights = np.random.default_rng(5), [0.3, 0.1, 0.7]
    runs = [[dict(enumerate(generator.normal(size=40 * query).tolist())) for query in range(4)] for _ in range(3)]
    together = _fused(method, runs, weights)
    for query in range(4):
        assert _fused(method, [[{}, run[query]] for run in runs], weights)[1] == together[query]


def _case(case):
    settings = ", ".join(f"{name}={value}" for name, value in case["settings"].items())
    return f"{case['runs']}-{case['method']}({settings}){'-weighted' * case['weighted']}"


@pytest.mark.parametrize("case", THEIRS["cases"], ids=_case)
def test_ranx_computes_the_same_of_random_runs(case):
    runs = [[{int(doc): score for doc, score in run[query].items()} for query in sorted(run)] for run in _asked(case)]
    weights = THEIRS["weights"] if case["weighted"] else None
    fused = _fused(case["method"], runs, weights, **case["settings"])
    for query in _comparable(case):
        expected = {int(doc): score for doc, score in case["theirs"][query].items()}
        assert fused[int(query)] == pytest.approx(expected, abs=2e-6)


def _asked(case):
    return THEIRS["runs"][case["runs"]]


def _comparable(case):
    """The queries that both are to fuse alike.

    Equal scores become 1 (or equal shares) here, since to be found at all counts, and 0 in ranx. An empty list is
    no matter here; ranx's z-scores lose it, and the queries behind it.
    """
    if case["method"] == "condorcet":  # where majorities go in circles, ranx's order is that of its sorting
        return [query for query in case["theirs"] if _is_an_order(case, query)]
    norm = case["settings"].get("normalise")
    if norm == "zscore":
        return [query for query in case["theirs"] if all(run[query] for run in _asked(case))]
    equal = [query for query in case["theirs"] if any(len({*run[query].values()}) == 1 for run in _asked(case))]
    return [query for query in case["theirs"] if norm not in ("minmax", "sum") or query not in equal]


def _is_an_order(case, query):
    rows, weights = [run[query] for run in _asked(case)], THEIRS["weights"] if case["weighted"] else [1, 1, 1]
    scores = _slow("condorcet", rows, weights)
    return len({*scores.values()}) == len(scores)


def test_random_runs_have_ties_missing_documents_and_empty_lists():
    """What the test above skips is little, and what it holds is worth something."""
    tied, untied = THEIRS["runs"]["tied"], THEIRS["runs"]["untied"]
    assert sum(len({*run[query].values()}) < len(run[query]) for run in tied for query in run) > 5
    assert [run["3"] for run in untied] == [{}, {}, {}]
    assert untied[0]["4"]
    assert not untied[1]["4"]
    compared = [len(_comparable(case)) for case in THEIRS["cases"]]
    assert min(compared) >= 2
    assert sum(compared) > 0.8 * 5 * len(compared)
    assert {case["method"] for case in THEIRS["cases"]} == set(fusion.METHODS)


#: The runs of ranx's own tests: two queries, three systems.
_TESTS = [
    [{1: 1, 2: 2, 3: 3}, {1: 1, 2: 2}],
    [{1: 3, 2: 2}, {1: 1, 3: 3}],
    [{3: 1}, {2: 2, 3: 3}],
]


@pytest.mark.parametrize(
    ("method", "settings", "weights", "expected"),
    [
        ("combsum", {}, None, [{1: 4, 2: 4, 3: 4}, {1: 2, 2: 4, 3: 6}]),
        ("combsum", {}, [0.3, 0.2, 0.5], [{1: 0.9, 2: 1.0, 3: 1.4}, {1: 0.5, 2: 1.6, 3: 2.1}]),
        ("combmnz", {}, None, [{1: 8, 2: 8, 3: 8}, {1: 4, 2: 8, 3: 12}]),
        ("wmnz", {}, [0.3, 0.2, 0.5], [{1: 2.0, 2: 2.0, 3: 3.2}, {1: 1.0, 2: 3.2, 3: 4.2}]),
        ("combgmnz", {"gamma": 1.0}, None, [{1: 8, 2: 8, 3: 8}, {1: 4, 2: 8, 3: 12}]),
        ("combgmnz", {"gamma": 0.0}, None, [{1: 4, 2: 4, 3: 4}, {1: 2, 2: 4, 3: 6}]),
        ("combgmnz", {"gamma": 0.5}, [0.3, 0.2, 0.5], [
            {1: 0.9 * 2**0.5, 2: 2**0.5, 3: 1.4 * 2**0.5}, {1: 0.5 * 2**0.5, 2: 1.6 * 2**0.5, 3: 2.1 * 2**0.5}]),
        ("combanz", {}, None, [{1: 2, 2: 2, 3: 2}, {1: 1, 2: 2, 3: 3}]),
        ("combmed", {}, None, [{1: 2, 2: 2, 3: 2}, {1: 1, 2: 2, 3: 3}]),
        ("combmax", {}, None, [{1: 3, 2: 2, 3: 3}, {1: 1, 2: 2, 3: 3}]),
        ("combmin", {}, None, [{1: 1, 2: 2, 3: 1}, {1: 1, 2: 2, 3: 3}]),
        ("isr", {}, None, [{1: 2 / 9 + 2, 2: 1, 3: 4}, {1: 1, 2: 2.5, 3: 4}]),
        ("log_isr", {"sigma": 0.1}, None, [
            {1: (1 / 9 + 1) * math.log(2.1), 2: 0.5 * math.log(2.1), 3: 2 * math.log(2.1)},
            {1: 0.5 * math.log(2.1), 2: 1.25 * math.log(2.1), 3: 2 * math.log(2.1)}]),
        ("rrf", {}, None, [{1: 1 / 63 + 1 / 61, 2: 2 / 62, 3: 2 / 61}, {1: 2 / 62, 2: 1 / 61 + 1 / 62, 3: 2 / 61}]),
        ("borda", {}, None, [{1: 5.5, 2: 5.5, 3: 7}, {1: 5, 2: 6, 3: 7}]),
        ("borda", {}, [3, 2, 1], [{1: 10.5, 2: 11.5, 3: 14}, {1: 11, 2: 13, 3: 12}]),
    ],
)  # fmt: skip
def test_the_tests_of_ranx_hold(method, settings, weights, expected):
    settings = {"normalise": "none", **settings} if method.startswith(("comb", "wmnz")) else settings
    for fused, wanted in zip(_fused(method, _TESTS, weights, **settings), expected, strict=True):
        assert fused == pytest.approx(wanted)


def test_the_tests_of_ranx_hold_for_votes_and_centroids():
    lists = ["ADBCGF", "BDEC", "ADBCGFE".replace("DB", "BD"), "GDEAFC"]
    runs = [[{ord(doc): float(9 - place) for place, doc in enumerate(row)}] for row in lists]
    for phi, expected in [
        (0.6, {"A": 0.89, "D": 0.86, "B": 0.78, "G": 0.50, "E": 0.31, "C": 0.29, "F": 0.11}),
        (0.8, {"D": 0.61, "A": 0.50, "B": 0.49, "C": 0.37, "G": 0.36, "E": 0.31, "F": 0.21}),
        (0.9, {"D": 0.35, "C": 0.28, "A": 0.27, "B": 0.27, "G": 0.23, "E": 0.22, "F": 0.18}),
    ]:
        fused = _fused("rbc", runs, phi=phi)[0]
        assert {chr(doc): round(score, 2) for doc, score in fused.items()} == expected
    voted = [[{1: 1, 2: 2, 3: 3}, {1: 1, 2: 2}, {}], [{1: 2, 2: 3}, {1: 1, 3: 3}, {}], [{3: 3}, {2: 2, 3: 3}, {}]]
    assert _fused("condorcet", voted) == [{1: 1, 2: 2, 3: 3}, {1: 1, 2: 2, 3: 3}, {}]
    assert _fused("condorcet", voted, [1, 5, 2])[:2] == [{1: 2, 2: 3, 3: 1}, {1: 2, 2: 1, 3: 3}]


def test_majorities_in_a_circle_tie_whatever_the_order():
    circle = [[{1: 3, 2: 2, 3: 1}], [{2: 3, 3: 2, 1: 1}], [{3: 3, 1: 2, 2: 1}]]
    assert _fused("condorcet", circle) == _fused("condorcet", circle[::-1]) == [{1: 2, 2: 2, 3: 2}]
    nearly = [0.1 + 0.2, 0.3]  # which are equal but for rounding
    assert _fused("condorcet", [[{1: 2, 2: 1}], [{2: 2, 1: 1}]], nearly) == [{1: 1.5, 2: 1.5}]


def test_more_documents_than_are_compared_at_a_time(monkeypatch):
    generator = np.random.default_rng(2)
    runs = [[dict(zip(generator.permutation(60).tolist()[:40], range(40), strict=True))] for _ in range(3)]
    whole = _fused("condorcet", runs)
    monkeypatch.setattr(fusion, "_COMPARED", 100)
    assert _fused("condorcet", runs) == whole


def test_scores_may_be_normalised_otherwise_or_not_at_all():
    runs = [[{1: 4.0, 2: 1.0, 3: 1.0}], [{1: 1.0, 4: 3.0}]]
    assert _fused("combsum", runs, normalise="none") == [{1: 5, 4: 3, 2: 1, 3: 1}]
    assert _fused("combsum", runs, normalise="rank") == [
        pytest.approx({1: 1.5, 4: 1, 2: 0.5, 3: 0.5})
    ]  # equal scores share their ranks
    deviations = _fused("combsum", runs, normalise="zscore")[0]
    assert deviations == pytest.approx({1: 2**0.5 - 1, 4: 1, 2: -(0.5**0.5), 3: -(0.5**0.5)})
    assert all(_fused("combsum", runs, normalise=norm) for norm in NORMS)


def test_a_norm_that_does_not_fit_the_scores_is_told():
    with pytest.raises(BadInput, match="negative"):
        _fused("combsum", [[{1: -1.0}], [{1: 1.0}]], normalise="max")
    with pytest.raises(BadInput, match="infinite"):
        _fused("combsum", [[{1: math.inf}], [{1: 1.0}]])


@pytest.mark.parametrize(
    ("method", "settings", "kind", "message"),
    [
        ("combsum", {"k": 3}, UnknownName, "setting of fuse"),
        ("rrf", {"k": "60"}, BadInput, "not a number"),
        ("rrf", {"k": float("inf")}, BadInput, "not a number"),
        ("rrf", {"k": -1}, BadInput, "from 0 on"),
        ("rrf", {"normalise": "minmax"}, UnknownName, "setting of fuse"),
        ("rbc", {"phi": 1}, BadInput, "between 0 and 1"),
        ("log_isr", {"sigma": 1.5}, BadInput, "from 0 to 1"),
        ("combsum", {"normalise": "zmuv"}, UnknownName, "zscore"),
        ("combsum", {"normalise": None}, BadInput, "normalise = None is not a name"),
        ("combgmnz", {"gamma": True}, BadInput, "not a number"),
        (3, {}, BadInput, "method = 3 is not a name"),
        ("mapfuse", {}, UnknownName, "fusion method"),
    ],
)
def test_what_a_method_does_not_take_is_refused(method, settings, kind, message):
    with pytest.raises(kind, match=message):
        fusion.check(method, settings)


@pytest.mark.parametrize("weights", [3, "ab", ["x", 1], [True, 1], [float("nan"), 1], np.array([np.inf, 1]), {1: 2}])
def test_weights_are_finite_numbers(weights):
    with pytest.raises(BadInput, match="not a list of finite numbers"):
        fusion.check_weights(weights, 2)


def test_weights_become_numbers_that_are_printed_as_one_writes_them():
    assert repr(fusion.check_weights(np.array([0.5, 2.0]), 2)) == "(0.5, 2.0)"
    assert repr(fusion.check_weights([np.float32(0.5), 2], 2)) == "(0.5, 2)"
    with pytest.raises(CompositionError, match="3 weights for 2 rankings"):
        fusion.check_weights([1, 2, 3], 2)


@pytest.mark.parametrize("method", sorted(fusion.METHODS))
def test_votes_are_counted_once_however_often_they_are_weighed(method, monkeypatch):
    generator, counted = np.random.default_rng(3), []
    runs = [_candidates([dict(enumerate(generator.normal(size=7).tolist()))] * 2) for _ in range(2)]
    of = fusion._Votes.of
    monkeypatch.setattr(fusion._Votes, "of", lambda given: counted.append(given) or of(given))
    kept = fusion.Runs(runs)
    for weights in ([0.2, 0.8], [1.0, 0.5]):
        again = fusion.METHODS[method](kept, np.array(weights))
        alone = fusion.METHODS[method](runs, np.array(weights))
        np.testing.assert_array_equal(again.docs, alone.docs)
        np.testing.assert_array_equal(again.scores, alone.scores)
    assert len(counted) == 3
