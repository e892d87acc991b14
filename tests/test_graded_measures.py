import math
from pathlib import Path

import numpy as np
import pytest

from nirank.data import Candidates
from nirank.errors import BadInput, MissingDependency, UnknownName
from nirank.evaluation import check_measures, evaluate
from nirank.evaluation.evaluating import evaluate_files

TREC_EVAL = Path(__file__).parents[1] / "../shared/data/eval_reference/trec_eval"
#: Grades by rank (None is not judged), then those of documents that were not found.
LISTS = [([3, None, 0, 4, 1, None, 0], [4, 2]), ([0, 0, None], [1]), ([1, 2], []), ([None, -1, 2], [0]), ([0], [0])]


def rows():
    """The lists as a run and judgments."""
    run, docs, grades, start = [], [], [], 0
    for found, missed in LISTS:
        run.append(range(start, start + len(found)))
        judged = {start + place: grade for place, grade in enumerate([*found, *missed]) if grade is not None}
        docs.append(list(judged))
        grades.append(list(judged.values()))
        start += 20
    return Candidates.of(run, [-np.arange(len(row)) for row in run]), Candidates.of(docs, grades)


def measured(name, **settings):
    return evaluate(*rows(), [name], **settings).values[name].tolist()


def slow(function, k=None):
    return pytest.approx([function([grade or 0 for grade in found[:k]], found[:k], missed) for found, missed in LISTS])


def dcg(grades, k, gain):
    return sum(gain(max(grade, 0)) / math.log2(rank + 1) for rank, grade in enumerate(grades[:k], 1))


@pytest.mark.parametrize("k", [1, 3, None])
def test_ndcg_with_exponential_gains(k):
    def expected(place):
        found, missed = LISTS[place]
        judged = sorted([grade for grade in [*found, *missed] if grade is not None], reverse=True)
        best = dcg(judged, k, lambda grade: 2**grade - 1)
        return dcg([grade or 0 for grade in found], k, lambda grade: 2**grade - 1) / best if best else 0

    cut = "" if k is None else f"@{k}"
    assert measured(f"nDCG(dcg='exp-log2'){cut}") == pytest.approx([expected(place) for place in range(len(LISTS))])
    assert measured(f"nDCG(dcg='log2'){cut}") == measured(f"nDCG{cut}")


def test_ndcg_with_exponential_gains_of_grades_that_no_power_holds():
    run, judgments = Candidates.of([[0, 1]], [[2, 1]]), Candidates.of([[0, 1]], [[4999, 5000]])
    value = evaluate(run, judgments, ["nDCG(dcg='exp-log2')"])["nDCG(dcg='exp-log2')"]
    assert value == pytest.approx((0.5 + 1 / math.log2(3)) / (1 + 0.5 / math.log2(3)))


def test_dcg():
    assert measured("DCG@3") == slow(lambda grades, *_: dcg(grades, 3, float), 3)
    assert measured("DCG(dcg='exp-log2')") == slow(lambda grades, *_: dcg(grades, None, lambda grade: 2**grade - 1))


@pytest.mark.parametrize("largest", [4, 6])
def test_err_is_the_cascade(largest):
    def err(grades, *_):
        value, left = 0.0, 1.0
        for rank, grade in enumerate(grades, 1):
            stop = (2 ** max(grade, 0) - 1) / 2**largest
            value, left = value + left * stop / rank, left * (1 - stop)
        return value

    assert measured(f"ERR(max_rel={largest})") == slow(err)
    assert measured("ERR@4") == slow(err, 4) or largest != 4


@pytest.mark.parametrize("largest", [53, 54, 200])
def test_err_of_grades_beyond_the_precision_of_a_float(largest):
    run, judgments = Candidates.of([[0, 1]], [[2, 1]]), Candidates.of([[0, 1]], [[largest, largest]])
    assert evaluate(run, judgments, [f"ERR(max_rel={largest})"])[f"ERR(max_rel={largest})"] == pytest.approx(1)


def test_err_refuses_grades_that_it_was_not_told_of():
    run, judgments = Candidates.of([[0]], [[1]]), Candidates.of([[0]], [[5]])
    with pytest.raises(BadInput, match=r"up to 4, but the highest is 5: ERR\(max_rel=5\)"):
        evaluate(run, judgments, ["ERR@20"])


def test_rbp_and_its_residual():
    def rbp(p, gain):
        return lambda grades, raw, missed: sum(
            (1 - p) * p**place * gain(grade, [*filter(None, [*raw, *missed])]) for place, grade in enumerate(raw)
        )

    def part(grade, judged):
        return max(grade or 0, 0) / max([1, *judged])

    assert measured("RBP") == slow(rbp(0.8, part))
    assert measured("rbp") == slow(rbp(0.9, part))
    assert measured("RBP(p=0.5,rel=2)@3") == slow(rbp(0.5, lambda grade, _: (grade or 0) >= 2), 3)
    assert measured("RBP", relevance_level=2) == measured("RBP(rel=2)")
    judged = slow(rbp(0.9, lambda grade, _: grade is not None and grade >= 0)).expected
    assert measured("rbp_resid") == pytest.approx([1 - value for value in judged])


def test_f1_is_of_precision_and_recall():
    for name, theirs in {"F1@3": ("P@3", "R@3"), "F1": ("set_P", "set_recall")}.items():
        precision, recall = (measured(other) for other in theirs)
        assert measured(name) == pytest.approx(
            [2 * p * r / (p + r) if p + r else 0 for p, r in zip(precision, recall, strict=True)]
        )


@pytest.mark.parametrize("k", [1, 2, 10, None])
def test_accuracy_counts_pairs(k):
    def accuracy(grades, *_):
        good = [place for place, grade in enumerate(grades) if grade >= 1]
        bad = [place for place, grade in enumerate(grades) if grade < 1]
        pairs = [one < other for one in good for other in bad]
        return sum(pairs) / len(pairs) if pairs else float(bool(good))

    assert measured("Accuracy" if k is None else f"Accuracy@{k}") == slow(accuracy, k)


@pytest.mark.parametrize(
    ("name", "same"),
    [
        *[("ndcg@3", "nDCG@3"), ("mrr@10", "RR@10"), ("recall@3", "R@3"), ("map@3", "AP@3"), ("map", "AP")],
        *[("precision@3", "P@3"), ("Hits@1", "Success@1"), ("hit_rate@3", "Success@3"), ("Map@3", "AP@3")],
        *[("f1@3", "F1@3"), ("rprec", "Rprec"), ("err@3", "ERR@3"), ("MRR", "RR")],
        *[("r-precision", "Rprec"), ("rbp.95", "RBP(p=0.95, rel=1)"), ("ndcg_burges@3", "nDCG(dcg='exp-log2')@3")],
        *[("dcg_burges@3", "DCG(dcg='exp-log2')@3")],
    ],
)
def test_names_are_understood_as_others_write_them(name, same):
    assert measured(name) == pytest.approx(measured(same))


def test_levels_count_as_for_trec_eval():
    run, judgments = rows()
    names = ["NumRet", "NumRel", "NumRelRet", "num_ret", "num_rel", "num_rel_ret"]
    for level in (1, 2, 3):
        found = evaluate(run, judgments, names, relevance_level=level)
        for ours, theirs in zip(names[:3], names[3:], strict=True):
            assert found[ours] == found[theirs], (ours, level)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        *[
            ("Rprec(rel=0)", "cannot have rel=0"),
            ("SetP(rel=0)", "cannot have rel=0"),
            ("RBP(p=2.0)", "cannot have p=2"),
        ],
        *[("ERR(max_rel=0)", "max_rel=0"), ("F1(rel=0)", "rel=0"), ("DCG(dcg='x')", "dcg='x'"), ("NumRel@3", "none")],
        *[("DCG@0", "cutoff=0; a whole number"), ("ERR(rel=2)", "setting of ERR 'rel'"), ("ndcg@0", "cutoff=0")],
        ("nDCG(dcg='exp-log2',judged_only=True)@10", "nothing that is installed"),
    ],
)
def test_what_cannot_be_computed_is_refused_before_a_search(name, message):
    with pytest.raises((BadInput, UnknownName, MissingDependency), match=message):
        check_measures([name])


@pytest.mark.parametrize(
    ("name", "columns"),
    [
        ("iprec_at_recall_0.1,0.10", ["iprec_at_recall_0.10"]),
        ("Rprec_mult.0.2,0.20,0.4", ["Rprec_mult_0.20", "Rprec_mult_0.40"]),
        ("P.5,5,3", ["P_3", "P_5"]),
    ],
)
def test_a_parameter_that_comes_twice_counts_once(name, columns):
    assert sorted(evaluate(*rows(), [name]).measures) == columns


@pytest.mark.skipif(not TREC_EVAL.is_dir(), reason="trec_eval's test files are not at ../shared/data")
@pytest.mark.parametrize(
    ("output", "qrels", "run", "settings"),
    [
        ("out.test.aq", "qrels.test", "results.test", {"complete": False}),
        ("out.test.aqc", "qrels.test", "results.trunc", {}),
        ("out.test.aqcM", "qrels.test", "results.trunc", {"depth": 100}),
        ("out.test.aql", "qrels.rel_level", "results.test", {"relevance_level": 2, "complete": False}),
    ],
)
def test_measures_of_version_ten_are_trec_evals(output, qrels, run, settings):
    found = evaluate_files(TREC_EVAL / run, TREC_EVAL / qrels, ["rbp", "rbp_resid", "unj"], **settings)
    lines = [line.split("\t") for line in (TREC_EVAL / output).read_text().splitlines()]
    expected = {(name.strip(), query): float(value) for name, query, value in lines if name.strip() in found.measures}
    assert len(expected) >= 15
    for (name, query), value in expected.items():
        ours = found[name] if query == "all" else found.values[name][found.query_ids.index(query)]
        assert ours == pytest.approx(value, abs=6e-5), (name, query)


def test_recall_levels_are_rounded_by_version_ten_and_raised_by_nine():
    run = Candidates.of([[0, 10, 11, 1, 2]], [[5, 4, 3, 2, 1]])
    judgments = Candidates.of([[0, 1, 2]], [[1, 1, 1]])
    names = ["iprec_at_recall_0.40", "iprec_at_recall_0.50", "iprec_at_recall_0.90", "11pt_avg"]
    ten = evaluate(run, judgments, names).mean
    # of three relevant documents 1.2, 1.5 and 2.7 are asked for: 1, 2 and 3
    assert list(ten.values())[:3] == pytest.approx([1, 3 / 5, 3 / 5])
    assert ten["11pt_avg"] == pytest.approx((5 * 1 + 6 * 3 / 5) / 11)
    nine = evaluate(run, judgments, names, trec_eval=9).mean
    assert nine["iprec_at_recall_0.40"] == pytest.approx(3 / 5)
