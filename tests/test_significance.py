import itertools
import json

import numpy as np
import pytest
from scipy import stats

from nirank.data import Candidates
from nirank.errors import BadInput, UnknownName
from nirank.evaluation import Evaluation, compare, confidence_intervals, evaluate
from nirank.evaluation.significance import cohens_d, holm, randomisation_test, t_test


def evaluation(values, query_ids=None, measure="AP", **others):
    columns = {name: np.asarray(column, float) for name, column in {measure: values, **others}.items()}
    means = {name: float(column.mean()) for name, column in columns.items()}
    return Evaluation(columns, means, np.arange(len(values)), query_ids, ties=0, rule="docno", unjudged=0, empty=0)


@pytest.mark.parametrize("size", [1, 2, 5, 9, 12])
def test_few_queries_give_the_exact_p_value(size):
    differences = np.random.default_rng(size).normal(0.3, 1, size)
    sums = [abs(np.dot(signs, differences)) for signs in itertools.product([1, -1], repeat=size)]
    expected = np.mean(np.array(sums) >= abs(differences.sum()) - 1e-12)
    assert randomisation_test(differences) == pytest.approx(expected)


def test_exact_p_values_are_scipys():
    x, y = np.random.default_rng(3).random((2, 11))
    mean = stats.permutation_test(
        (x, y), lambda a, b, axis: (a - b).mean(axis=axis), permutation_type="samples", vectorized=True
    )
    assert randomisation_test(x - y) == pytest.approx(mean.pvalue)


def test_sampled_p_values_come_near_scipys():
    x, y = np.random.default_rng(4).random((2, 60))
    y += 0.08
    mean = stats.permutation_test(
        (x, y),
        lambda a, b, axis: (a - b).mean(axis=axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=20_000,
        rng=np.random.default_rng(0),
    )
    assert randomisation_test(x - y, 20_000, seed=1) == pytest.approx(mean.pvalue, abs=0.015)


def test_equal_sums_in_another_order_count_as_extreme():
    differences = np.array([0.1, 0.2, 0.3, -0.3, 0.1])  # in floating point these add up in many ways
    sums = [round(abs(np.dot(signs, [1, 2, 3, -3, 1]))) for signs in itertools.product([1, -1], repeat=5)]
    assert randomisation_test(differences) == np.mean(np.array(sums) >= 4)


def test_queries_without_difference_change_nothing():
    differences = np.random.default_rng(5).normal(0.5, 1, 8)
    padded = np.concatenate([differences, np.zeros(500)])
    assert randomisation_test(padded) == randomisation_test(differences)
    assert randomisation_test(np.zeros(50)) == 1


def test_a_sampled_p_value_is_never_zero():
    assert randomisation_test(np.ones(100), permutations=999) == 1 / 1000


@pytest.mark.parametrize(("test", "low", "high"), [(randomisation_test, 0.02, 0.085), (t_test, 0.02, 0.085)])
def test_one_null_experiment_in_twenty_is_significant(test, low, high):
    null = np.random.default_rng(6).normal(0, 1, (400, 30))
    arguments = (500,) if test is randomisation_test else ()
    rate = np.mean([test(differences, *arguments) < 0.05 for differences in null])
    assert low < rate < high


def test_t_test_is_scipys():
    for size in (2, 3, 40):
        x, y = np.random.default_rng(size).random((2, size))
        assert t_test(x - y) == pytest.approx(stats.ttest_rel(x, y).pvalue)


def test_t_test_of_constant_differences_is_no_nan():
    assert t_test(np.zeros(5)) == 1
    assert t_test(np.full(5, 0.25)) == 0
    assert t_test(np.array([0.3])) == 1


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]).tolist() == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]).tolist() == [1, 1]
    assert holm([0.02]).tolist() == [0.02]
    assert holm([]).tolist() == []


def test_holm_never_reorders_and_is_between_no_correction_and_bonferroni():
    ps = np.random.default_rng(7).random(30) ** 3
    corrected = holm(ps)
    assert np.all(np.diff(corrected[np.argsort(ps)]) >= 0)
    assert np.all((corrected >= ps) & (corrected <= np.minimum(1, 30 * ps)))


def test_cohens_d():
    differences = np.array([0.1, 0.3, 0.2, 0.4])
    assert cohens_d(differences) == pytest.approx(0.25 / np.std(differences, ddof=1))
    assert cohens_d(np.zeros(4)) == 0
    assert cohens_d(np.full(4, -2.0)) == -np.inf
    assert cohens_d(np.array([1.0])) == 0


def test_bootstrap_intervals_are_scipys():
    values = np.random.default_rng(8).gamma(2, size=80)
    expected = stats.bootstrap((values,), np.mean, method="percentile", rng=np.random.default_rng(1))
    assert confidence_intervals(values)[0] == pytest.approx(list(expected.confidence_interval), abs=0.02)


def test_bootstrap_of_many_queries_goes_in_blocks():
    values = np.random.default_rng(9).random((2, 5000))
    low, high = confidence_intervals(values, resamples=2000)[0]
    error = values[0].std() / np.sqrt(5000)
    assert low == pytest.approx(values[0].mean() - 1.96 * error, abs=error / 5)
    assert high == pytest.approx(values[0].mean() + 1.96 * error, abs=error / 5)


def test_intervals_of_a_difference_keep_the_pairing():
    values = np.random.default_rng(10).random(50)
    comparison = compare({"a": evaluation(values), "b": evaluation(values + 0.125)})
    (row,) = comparison.differences
    assert (row.low, row.high) == pytest.approx((0.125, 0.125))


def test_rows_say_what_was_compared():
    rng = np.random.default_rng(11)
    base = rng.random(40)
    systems = {
        "bm25": evaluation(base, RR=base),
        "same": evaluation(base, RR=base),
        "good": evaluation(base + rng.random(40), RR=base),
    }
    comparison = compare(systems, seed=3)
    assert [(row.system, row.other) for row in comparison.differences if row.measure == "AP"] == [
        ("same", "bm25"),
        ("good", "bm25"),
        ("good", "same"),
    ]
    row = comparison.of("good", "bm25", "AP")
    assert row.difference == pytest.approx(systems["good"]["AP"] - systems["bm25"]["AP"])
    assert row.low < row.difference < row.high
    assert (row.wins, row.losses, row.ties) == (40, 0, 0)
    assert row.p == pytest.approx(1 / 10_001)
    assert row.corrected == pytest.approx(3 * row.p)
    assert row.is_significant()
    unchanged = comparison.of("same", "bm25", "AP")
    assert (unchanged.difference, unchanged.p, unchanged.effect, unchanged.ties) == (0, 1, 0, 40)
    assert not unchanged.is_significant()
    assert [mean.system for mean in comparison.means if mean.measure == "RR"] == ["bm25", "same", "good"]
    assert all(mean.low <= mean.mean <= mean.high for mean in comparison.means)


def test_a_baseline_is_compared_with_each_other_system():
    systems = {name: evaluation(np.random.default_rng(seed).random(9)) for seed, name in enumerate("abc")}
    comparison = compare(systems, baseline="b", test="t")
    assert [(row.system, row.other) for row in comparison.differences] == [("a", "b"), ("c", "b")]
    assert comparison.differences[0].p == pytest.approx(
        stats.ttest_rel(systems["a"].values["AP"], systems["b"].values["AP"]).pvalue
    )


def test_equal_seeds_give_equal_results():
    systems = {name: evaluation(np.random.default_rng(seed).random(70)) for seed, name in enumerate("ab")}
    first, again, other = (compare(systems, permutations=200, seed=seed) for seed in (1, 1, 2))
    assert first == again
    assert first.differences != other.differences


def test_systems_must_have_the_same_queries():
    a = evaluation([0.1, 0.2], ["q1", "q2"])
    with pytest.raises(BadInput, match="2 of them, such as 'q2', are only in one"):
        compare({"a": a, "b": evaluation([0.1, 0.2], ["q1", "q3"])})
    with pytest.raises(BadInput, match="their order differs"):
        compare({"a": a, "b": evaluation([0.1, 0.2], ["q2", "q1"])})
    with pytest.raises(BadInput, match="2 queries and 'b' on 3"):
        compare({"a": a, "b": evaluation([0.1, 0.2, 0.3])})


def test_bad_requests_are_refused():
    a, b = evaluation([0.1, 0.2]), evaluation([0.2, 0.2])
    with pytest.raises(BadInput, match="there is 1"):
        compare({"a": a})
    with pytest.raises(UnknownName, match="Did you mean 'bm25'"):
        compare({"bm25": a, "b": b}, baseline="bm52")
    with pytest.raises(UnknownName, match="'nDCG@10'"):
        compare({"a": a, "b": b}, measures=["nDCG@10"])
    with pytest.raises(UnknownName, match="randomisation"):
        compare({"a": a, "b": b}, test="randomization")
    with pytest.raises(BadInput, match="no measure in common"):
        compare({"a": a, "b": evaluation([0.1, 0.2], measure="RR")})
    with pytest.raises(UnknownName, match="a - b on AP"):
        compare({"a": a, "b": b}).of("a", "b", "AP")


def test_evaluations_of_runs_are_compared():
    judgments = Candidates.of([[0, 1], [2]], [[1, 0], [1]])
    best = evaluate(Candidates.of([[0, 1], [2, 3]], [[2, 1], [2, 1]]), judgments, ["RR"])
    worst = evaluate(Candidates.of([[1, 0], [3, 2]], [[2, 1], [2, 1]]), judgments, ["RR"])
    (row,) = compare({"worst": worst, "best": best}).differences
    assert (row.difference, row.p, row.effect) == (0.5, 0.5, np.inf)


def test_a_comparison_goes_into_json_without_numbers_that_json_lacks():
    better = evaluation([0.75, 0.5], RR=[0.5, 1.0])
    comparison = compare({"a": evaluation([0.5, 0.25], RR=[0.5, 0.5]), "b": better}, permutations=100, seed=7)
    told = json.loads(json.dumps(comparison.to_dict(), allow_nan=False))
    constant, varied = told["differences"]
    assert comparison.differences[0].effect == np.inf
    assert constant["effect"] is None
    assert (constant["system"], constant["other"], constant["difference"], constant["wins"]) == ("b", "a", 0.25, 2)
    assert varied["effect"] == pytest.approx(0.25 / np.sqrt(0.125))
    assert told["means"][0] == {"system": "a", "measure": "AP", "mean": 0.375, "low": 0.25, "high": 0.5}
    assert [told[name] for name in ("queries", "test", "permutations", "seed")] == [2, "randomisation", 100, 7]
