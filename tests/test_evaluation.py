import json
import math
from pathlib import Path

import ir_measures
import numpy as np
import pytest
import pytrec_eval

from nirank.data import Candidates, Documents, Ids, Queries
from nirank.errors import BadInput, MissingDependency, UnknownName
from nirank.evaluation import check_measures, evaluate
from nirank.evaluation.evaluating import evaluate_files, rank
from nirank.evaluation.external import trec_names
from nirank.evaluation.measures import Measure
from nirank.formats import read_qrels, read_run, write_qrels, write_run

TREC_EVAL = Path(__file__).parents[1] / "../shared/data/eval_reference/trec_eval"
NAMES = [f"d{number}" for number in range(40)] + ["ä", "Z", "a", "日本", "\U0001f600", "\uffff", "é", "e\u0301"]
NATIVE = {
    "nDCG": "ndcg",
    "nDCG@3": "ndcg_cut_3",
    "nDCG@10": "ndcg_cut_10",
    "AP": "map",
    "AP@5": "map_cut_5",
    "RR": "recip_rank",
    "P@1": "P_1",
    "P@5": "P_5",
    "P@30": "P_30",
    "R@5": "recall_5",
    "R@1000": "recall_1000",
    "Success@1": "success_1",
    "Success@5": "success_5",
}


def random_rows(seed, scores=6, queries=25):
    """A run and judgments with many ties, all sorts of grades, and queries that lack one or the other or both."""
    rng = np.random.default_rng(seed)
    run, judgments = {}, {}
    for query in map(str, range(queries)):
        found = rng.choice(len(NAMES), rng.integers(0, 30), replace=False)
        run[query] = {NAMES[doc]: float(np.float32(rng.integers(scores) / 7)) for doc in found}
        judged = rng.choice(len(NAMES), rng.integers(0, 20), replace=False)
        judgments[query] = {NAMES[doc]: int(rng.integers(-1, 4)) for doc in judged}
    run["3"], judgments["4"], run["5"], judgments["5"] = {}, {}, {}, {}
    judgments["6"] = {NAMES[0]: 0, NAMES[1]: -1}
    return run, judgments


def columns(rows, ids):
    docs = [ids.find(list(row)) for row in rows.values()]
    return Candidates.of(docs, [list(row.values()) for row in rows.values()])


def reference(run, judgments, measures, level=1):
    # pytrec_eval loops or crashes on a query of which all grades are negative
    judged = {query: {**row, "nowhere": 0} if max(row.values()) < 0 else row for query, row in judgments.items() if row}
    evaluator = pytrec_eval.RelevanceEvaluator(judged, measures, relevance_level=level)
    found = evaluator.evaluate({query: run[query] for query in judged if run[query]})
    nothing = dict.fromkeys(next(iter(found.values())), 0)  # without results it divides by zero
    return {query: found.get(query, nothing) for query in judged}


def test_native_measures_are_trec_evals():
    ids = Ids(NAMES)
    for seed in range(30):
        run, judgments = random_rows(seed)
        level = 1 + seed % 3
        found = evaluate(columns(run, ids), columns(judgments, ids), list(NATIVE), ids, relevance_level=level)
        expected = reference(run, judgments, NATIVE.values(), level)
        assert [str(row) for row in found.queries] == list(expected)
        for name, theirs in NATIVE.items():
            values = [row[theirs] for row in expected.values()]
            np.testing.assert_allclose(found.values[name], values, atol=1e-12, err_msg=f"{name}, seed {seed}")
            assert found[name] == pytest.approx(np.mean(values))


def test_measures_computed_by_pytrec_eval_are_as_if_it_had_the_strings():
    ids = Ids(NAMES)
    for seed in range(5):
        run, judgments = random_rows(seed)
        found = evaluate(columns(run, ids), columns(judgments, ids), ["all_trec"], ids, complete=False, trec_eval=9)
        expected = reference(run, {query: row for query, row in judgments.items() if run[query]}, {"all_trec"})
        assert set(found.measures) == set(next(iter(expected.values()))) - {"runid", "relstring"}
        for name in found.measures:
            values = [row[name] for row in expected.values()]
            ours = np.log(found.values[name]) if name.startswith("gm_") else found.values[name]
            np.testing.assert_allclose(ours, values, err_msg=name)
            assert found[name] == pytest.approx(pytrec_eval.compute_aggregated_measure(name, values))


def test_all_other_measures_are_ir_measures():
    ids = Ids(NAMES)
    names = ["Bpref", "Rprec", "SetP(rel=2)", "SetF", "NumRet", "NumRelRet", "Compat(p=0.8)", "IPrec@0.2", "infAP"]
    names += [
        "RR(rel=2)@3",
        "AP(rel=3)@7",
        "Judged@4",
        "Judged",
        "P(rel=2,judged_only=True)@5",
        "nDCG(judged_only=True)@3",
    ]
    for seed in range(3):
        run, judgments = random_rows(seed, scores=10**9)  # without ties, which every package breaks in its own way
        found = evaluate(columns(run, ids), columns(judgments, ids), names, ids)
        judged = {query: row for query, row in judgments.items() if row}
        non_empty = {query: row for query, row in run.items() if row}
        for name in names:
            measure = ir_measures.parse_measure(name)
            expected = {metric.query_id: metric.value for metric in measure.iter_calc(judged, non_empty)}
            ours = dict(zip(map(str, found.queries), found.values[name], strict=True))
            assert ours == pytest.approx({query: expected[query] for query in ours}), name
            assert found[name] == pytest.approx(measure.calc_aggregate(judged, non_empty))


@pytest.mark.parametrize(
    "name", ["AP(rel=2)@100", "AP(rel=2)", "RR@10", "RR(rel=2)@2", "nDCG", "Judged@10", "MAP", "MRR@3"]
)
def test_common_measures_need_no_other_package(name):
    assert Measure.parse(name).native() is not None


@pytest.mark.parametrize(
    "name", ["P", "R", "P@0", "P@2.5", "nDCG(rel=2)", "AP(judged_only=True)", "RR(rel='a')", "Foo"]
)
def test_what_is_not_plain_is_left_to_others(name):
    measure = Measure.parse(name)
    assert measure is None or measure.native() is None


def test_ties_go_by_falling_id_and_are_counted():
    ids = Ids(["a", "c", "b", "z"])
    run = Candidates.of([[0, 1, 2, 3], [3, 0]], [[1, 1, 1, 5], [2, 1]])
    ranked, ties = rank(run, ids)
    assert [[ids[doc] for doc in ranked[row][0]] for row in range(2)] == [["z", "c", "b", "a"], ["z", "a"]]
    assert ties == 2
    found = evaluate(run, Candidates.of([[2], [0]], [[1], [1]]), ["RR"], ids)
    assert found.values["RR"].tolist() == [1 / 3, 1 / 2]
    assert (found.ties, found.rule) == (2, "docno")


def test_ties_without_ids_go_by_rising_ordinal():
    run = Candidates.of([[5, 2, 9]], [[1, 1, 1]])
    found = evaluate(run, Candidates.of([[2]], [[1]]), ["RR", "recip_rank"])
    assert (found["RR"], found["recip_rank"], found.ties, found.rule) == (1, 1, 2, "ordinal")


def test_ids_of_the_corpus_break_ties():
    corpus = Documents(["a", "b"], ["x", "y"])
    run = Candidates.of([[0, 1]], [[1, 1]], corpus)
    assert evaluate(run, Candidates.of([[1]], [[1]]), ["RR"])["RR"] == 1


def test_ids_are_fetched_for_ties_alone():
    class Recording:
        def take(self, ordinals):
            asked.extend(ordinals)
            return [str(ordinal) for ordinal in ordinals]

    asked = []
    evaluate(Candidates.of([[7, 8, 9]], [[3, 1, 1]]), Candidates.of([[7]], [[1]]), ["AP"], Recording())
    assert asked == [8, 9]


def test_scores_that_float32_cannot_tell_apart_are_ties():
    run = {"1": {"a": 1.0, "b": 1.0 + 1e-9}}
    expected = reference(run, {"1": {"a": 1}}, {"recip_rank"})["1"]["recip_rank"]
    ids = Ids(["a", "b"])
    assert evaluate(columns(run, ids), Candidates.of([[0]], [[1]]), ["RR"], ids)["RR"] == expected == 0.5


def test_a_tie_among_documents_without_ids_is_told():
    with pytest.raises(BadInput, match="equal scores need ids"):
        evaluate(Candidates.of([[0, 5]], [[1, 1]]), Candidates.of([[0]], [[1]]), ["AP"], Ids(["a"]))


def test_queries_without_judgments_or_without_results():
    run = Candidates.of([[0], [], [0], []], [[1], [], [1], []])
    judgments = Candidates.of([[0], [0], [], []], [[1], [1], [], []])
    found = evaluate(run, judgments, ["AP", "map", "num_rel", "gm_map", "Bpref", "Judged"], query_ids=list("abcd"))
    assert found.query_ids == ["a", "b"]
    assert found.queries.tolist() == [0, 1]
    assert (found.empty, found.unjudged) == (1, 2)
    assert found.mean == pytest.approx(
        {"AP": 0.5, "map": 0.5, "num_rel": 2, "gm_map": math.sqrt(1e-5), "Bpref": 0.5, "Judged": 0.5}
    )
    only_found = evaluate(run, judgments, ["AP", "num_q"], complete=False)
    assert (len(only_found), only_found["AP"], only_found["num_q"]) == (1, 1, 1)


def test_a_query_without_relevant_documents_counts_as_zero():
    found = evaluate(Candidates.of([[0], [1]]), Candidates.of([[0], [1]], [[1], [0]]), ["AP", "nDCG", "R@1", "map"])
    assert set(found.mean.values()) == {0.5}


def test_depth_cuts_the_run_as_trec_evals_m_does():
    run, judgments = Candidates.of([[0, 1, 2]], [[3, 2, 1]]), Candidates.of([[1, 2]], [[1, 1]])
    found = evaluate(run, judgments, ["R@10", "num_ret", "num_rel_ret", "Judged"], depth=2)
    assert found.mean == {"R@10": 0.5, "num_ret": 2, "num_rel_ret": 1, "Judged": 0.5}


def test_one_measure_may_be_asked_for_in_many_ways():
    names = ["P.1,2", "P_2", "P@2", "ndcg_cut", "ndcg_cut.7", "success", "official"]
    found = evaluate(Candidates.of([[0]]), Candidates.of([[0]], [[1]]), names)
    assert found.measures[:4] == ["P_1", "P_2", "P@2", "ndcg_cut_5"]
    assert {"ndcg_cut_1000", "ndcg_cut_7", "success_10", "map", "P_1000"} <= set(found.measures)
    assert found["P_2"] == found["P@2"] == 0.5


@pytest.mark.parametrize(
    ("name", "advice"),
    [("ndgc_cut_10", "ndcg_cut_10"), ("nDGC@10", "nDCG@10"), ("mapp", "map"), ("official!", "official"), ("P_", "")],
)
def test_an_unknown_measure_is_refused_with_near_ones(name, advice):
    with pytest.raises(UnknownName, match=f"There is no measure '{name}'.*{advice}"):
        evaluate(Candidates.of([[0]]), Candidates.of([[0]], [[1]]), [name])


@pytest.mark.parametrize(
    "name", ["ndcg_1", "utility_2", "P_0", "P_-1", "set_F_x", "runid", "relstring", "all_prefs", "map_"]
)
def test_what_would_crash_pytrec_eval_never_reaches_it(name):
    assert trec_names(name) is None
    with pytest.raises(UnknownName):
        evaluate(Candidates.of([[0]]), Candidates.of([[0]], [[1]]), [name])


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("R", "needs a cutoff: R@10"),
        ("P@0.5", "cannot have cutoff=0.5"),
        ("nDCG(rel=2)@10", "no setting of nDCG 'rel'"),
        ("alpha_nDCG@10", "needs judgments of subtopics"),
    ],
)
def test_a_measure_with_wrong_settings_is_refused(name, message):
    with pytest.raises((BadInput, UnknownName), match=message):
        evaluate(Candidates.of([[0]]), Candidates.of([[0]], [[1]]), [name])


@pytest.mark.parametrize("family", ["nDCG", "AP", "RR", "P", "R", "Success", "Judged", "ERR", "RBP"])
@pytest.mark.parametrize("cutoff", ["0", "-1", "2.5", "True", "'ten'"])
def test_a_cutoff_that_is_no_rank_is_refused_before_anything_is_computed(family, cutoff):
    for name in (f"{family}@{cutoff}", f"{family}(cutoff={cutoff})"):
        with pytest.raises(BadInput, match=f"{family} cannot have cutoff={cutoff}; a whole number from 1 on"):
            check_measures([name])


def test_the_parameter_of_another_measure_is_no_rank():
    check_measures(["IPrec@0.0", "IPrec@1.0", "Judged@1"])


def test_queries_without_results_are_counted_among_the_queries():
    found = evaluate(Candidates.of([[0], []]), Candidates.of([[0], [1]], [[1], [1]]), ["NumQ", "num_q", "NumRet"])
    assert found.mean == {"NumQ": 2, "num_q": 2, "NumRet": 1}


@pytest.mark.parametrize("level", [1, 2, 3])
def test_a_level_changes_counts_of_what_is_relevant_and_no_others(level):
    run = Candidates.of([[0, 1, 2, 9], [4]], [[4, 3, 2, 1], [1]])
    judgments = Candidates.of([[0, 1, 2, 3], [5]], [[2, 1, 0, 3], [2]])
    grades = [2, 1, 0, 3, 2]
    names = ["NumRet", "NumRel", "num_ret", "num_rel", "num_rel_ret", "NumRet(rel=2)", "Accuracy@10"]
    found = evaluate(run, judgments, names, relevance_level=level)
    relevant = sum(grade >= level for grade in grades)
    assert [found[name] for name in names[:-1]] == [5, relevant, 5, relevant, {1: 2, 2: 1, 3: 0}[level], 1]
    assert found["Accuracy@10"] == {1: 0.5, 2: 0.5, 3: 0}[level]


def test_a_measure_that_nothing_installed_computes_is_told(monkeypatch):
    def refuse(*arguments):
        raise ValueError("Unsupported measures")

    monkeypatch.setattr(ir_measures, "iter_calc", refuse)
    with pytest.raises(MissingDependency, match="Bpref"):
        evaluate(Candidates.of([[0]]), Candidates.of([[0]], [[1]]), ["Bpref"])


def test_bad_input_is_refused():
    run, judgments = Candidates.of([[0, 1]], [[1, 2]]), Candidates.of([[0]], [[1]])
    with pytest.raises(BadInput, match="the run has 1 queries, the judgments have 2"):
        evaluate(run, Candidates.empty(2), ["AP"])
    with pytest.raises(BadInput, match="3 query ids"):
        evaluate(run, judgments, ["AP"], query_ids=list("abc"))
    with pytest.raises(BadInput, match="none of the 1 queries has judgments"):
        evaluate(run, Candidates.empty(1), ["AP"])
    with pytest.raises(BadInput, match="NaN"):
        evaluate(run.with_scores([1, np.nan]), judgments, ["AP"])
    with pytest.raises(BadInput, match="NaN"):
        evaluate(Candidates.of([[0]], [[np.nan]]), judgments, ["AP"])
    with pytest.raises(BadInput, match="NaN"):
        evaluate(run, judgments.with_scores([np.nan]), ["AP"])
    with pytest.raises(BadInput, match="ordinal 0 is twice among the candidates of query 0"):
        evaluate(Candidates.of([[0, 0]], [[2, 1]]), judgments, ["AP"])
    with pytest.raises(BadInput, match="not whole numbers"):
        evaluate(run, judgments.with_scores([0.5]), ["map"])
    with pytest.raises(BadInput, match="depth = 0 must be whole numbers from 1 on"):
        evaluate(run, judgments, ["AP"], depth=0)
    with pytest.raises(BadInput, match="relevance_level = 0"):
        evaluate(run, judgments, ["AP"], relevance_level=0)
    with pytest.raises(UnknownName, match="no measure"):
        evaluate(run, judgments, "no such")
    assert evaluate(run, judgments, "AP").mean == evaluate(run, judgments, ["AP"]).mean  # one name is a name


def test_a_query_with_negative_grades_alone_is_survived():
    names = ["all_trec", "Bpref", *NATIVE]
    found = evaluate(Candidates.of([[0, 1]]), Candidates.of([[0, 2]], [[-1, -2]]), names)
    counts = {"num_q": 1, "num_ret": 2}
    expected = {name: counts.get(name, 0) for name in found.measures}
    expected |= {"gm_map": 1e-5, "gm_bpref": 1e-5, "utility": -2}
    assert found.mean == pytest.approx(expected)


def test_the_run_is_left_alone():
    run = Candidates.of([[1, 0, 2]], [[1, 1, 3]])
    evaluate(run, Candidates.of([[0]], [[1]]), ["AP"], Ids(["x", "y", "z"]))
    assert run.docs.tolist() == [1, 0, 2]
    assert run.scores.tolist() == [1, 1, 3]


def test_an_evaluation_prints_and_goes_into_json():
    run = Candidates.of([[0], [1, 0], [0]], [[1], [1, 1], [1]])
    found = evaluate(run, Candidates.of([[0], [0], []], [[1], [1], []]), ["RR", "P@1"], query_ids=["q1", "q2", "q3"])
    assert str(found).splitlines() == [
        "RR   1.0000",
        "P@1  1.0000",
        "",
        "2 queries were evaluated.",
        "1 queries without judgments are left out.",
        "1 ties were broken by rising ordinal.",
    ]
    assert repr(found) == "<Evaluation of 2 queries: RR 1.0000, P@1 1.0000>"
    told = json.loads(json.dumps(found.to_dict(per_query=True)))
    assert told["measures"] == {"RR": 1.0, "P@1": 1.0}
    assert told["per_query"] == {"q1": {"RR": 1.0, "P@1": 1.0}, "q2": {"RR": 1.0, "P@1": 1.0}}
    assert told["ties"] == {"count": 1, "broken_by": "ordinal"}
    assert "per_query" not in found.to_dict()


def write_random(folder, seed):
    run, judgments = random_rows(seed)
    ids = Ids(NAMES)
    names = [query for query in run if run[query]]
    write_run(folder / "run", Queries(names, names), columns({query: run[query] for query in names}, ids), ids=ids)
    names = [query for query in judgments if judgments[query]][::-1]
    write_qrels(
        folder / "qrels", Queries(names, names), columns({query: judgments[query] for query in names}, ids), ids=ids
    )
    return run, judgments


def test_files_are_evaluated_as_pytrec_eval_does(tmp_path):
    for seed in range(5):
        run, judgments = write_random(tmp_path, seed)
        found = evaluate_files(tmp_path / "run", tmp_path / "qrels", [*NATIVE, "bpref"])
        expected = reference(run, judgments, {*NATIVE.values(), "bpref"})
        assert set(found.query_ids) == set(expected)
        for name, theirs in [*NATIVE.items(), ("bpref", "bpref")]:
            values = [expected[query][theirs] for query in found.query_ids]
            np.testing.assert_allclose(found.values[name], values, atol=1e-12, err_msg=name)
        assert found.unjudged == len([query for query in run if run[query] and not judgments[query]])


@pytest.mark.parametrize("order", [1, -1], ids=["falling", "rising"])
@pytest.mark.parametrize(
    "score", [lambda rank: 1 - rank * 1e-9, lambda rank: 1e8 - rank, lambda rank: 10.0 ** (60 - rank)]
)
def test_a_file_is_ranked_by_double_as_trec_eval_10_does_or_by_float_as_9(score, order, tmp_path):
    lines = [f"{query} Q0 d{rank:02} 0 {score(rank)!r} x" for query in "ab" for rank in range(15)][::order]
    (tmp_path / "run").write_text("\n".join([*lines[::2], *lines[1::2], ""]))  # the lines of a query stand apart
    (tmp_path / "sorted").write_text("\n".join([*lines, ""]))
    (tmp_path / "qrels").write_text("a 0 d00 1\nb 0 d01 1\n")
    for name in ("run", "sorted"):
        for run in (tmp_path / name, read_run(tmp_path / name)):
            ten = evaluate(run, read_qrels(tmp_path / "qrels"), ["RR"])
            assert dict(zip(ten.query_ids, ten.values["RR"], strict=True)) == {"a": 1, "b": 1 / 2}
            assert ten.ties == 0
            nine = evaluate(run, read_qrels(tmp_path / "qrels"), ["RR"], trec_eval=9)
            assert dict(zip(nine.query_ids, nine.values["RR"], strict=True))["b"] < 1 / 2
            assert nine.ties > 0
        assert evaluate_files(tmp_path / name, tmp_path / "qrels", ["RR"]).mean == ten.mean
        assert evaluate_files(tmp_path / name, tmp_path / "qrels", ["RR"], trec_eval=9).mean == nine.mean


def test_ties_of_doubles_are_ties(tmp_path):
    (tmp_path / "run").write_text("q Q0 a 1 0.1000000001 x\nq Q0 c 2 0.1000000001 x\nq Q0 b 3 0.1 x\n")
    (tmp_path / "qrels").write_text("q 0 a 1\n")
    found = evaluate_files(tmp_path / "run", tmp_path / "qrels", ["RR"])
    assert (found["RR"], found.ties) == (0.5, 1)


def test_a_version_that_is_not_known_is_refused():
    with pytest.raises(BadInput, match="write 9 or 10"):
        evaluate(Candidates.of([[0]]), Candidates.of([[0]], [[1]]), ["RR"], trec_eval=8)


def test_files_and_what_is_read_from_them_are_evaluated_alike(tmp_path):
    write_random(tmp_path, 9)
    run, qrels = read_run(tmp_path / "run"), read_qrels(tmp_path / "qrels")
    judgments = qrels.align(qrels.query_ids, run.ids)
    aligned = evaluate(run.align(qrels.query_ids, run.ids), judgments, list(NATIVE), run.ids)
    whole = evaluate_files(tmp_path / "run", tmp_path / "qrels", list(NATIVE))
    assert aligned.mean == pytest.approx(whole.mean)
    assert aligned.ties == whole.ties > 0


def test_a_whole_thousand_by_a_thousand_is_evaluated_without_strings():
    rng = np.random.default_rng(0)
    docs = rng.permuted(np.tile(np.arange(5000), (200, 1)), axis=1)[:, :1000]
    scores = np.sort(rng.random((200, 1000), np.float32))[:, ::-1]
    run = Candidates.from_matrix(docs, scores, np.ones_like(docs, bool))
    judgments = Candidates.of(list(docs[:, ::100]), [[1] * 10] * 200)
    found = evaluate(run, judgments, ["R@1000", "P@1", "R@500"])
    assert found.mean == pytest.approx({"R@1000": 1, "P@1": 1, "R@500": 0.5})


# trec_eval's own files. What it prints and nirank does not: the name of the run and strings of grades, which are no
# measures; and three whose parameters pytrec_eval cannot pass on. The figures are those of its version 10.

NOT_OFFERED = {"runid", "relstring", "relstring_20"}
NOT_OFFERED |= {"utility_2,-1,0,0", "11pt_avg_.25,.5,.75", "ndcg_1=3,2=9,4=4.5"}
PRESENT = {"complete": False}


@pytest.mark.skipif(not TREC_EVAL.is_dir(), reason="trec_eval's test files are not at ../shared/data")
@pytest.mark.parametrize(
    ("output", "qrels", "run", "settings"),
    [
        ("out.test", "qrels.test", "results.test", PRESENT),
        ("out.test", "qrels.test.with-comments", "results.test", PRESENT),
        ("out.test.a", "qrels.test", "results.test", PRESENT),
        ("out.test.aq", "qrels.test", "results.test", PRESENT),
        ("out.test.aqc", "qrels.test", "results.trunc", {}),
        ("out.test.aqcM", "qrels.test", "results.trunc", {"depth": 100}),
        ("out.test.aql", "qrels.rel_level", "results.test", {"relevance_level": 2, **PRESENT}),
        ("out.test.meas_params", "qrels.test", "results.test", PRESENT),
    ],
)
def test_trec_evals_own_figures(output, qrels, run, settings):
    lines = [map(str.strip, line.split("\t")) for line in (TREC_EVAL / output).read_text().splitlines()]
    expected = {(name, query): value for name, query, value in lines}
    offered = list({name: None for name, _ in expected if name not in NOT_OFFERED})
    found = evaluate_files(TREC_EVAL / run, TREC_EVAL / qrels, offered, **settings)
    compared = 0
    for (name, query), value in expected.items():
        if name in NOT_OFFERED:
            continue
        ours = found[name] if query == "all" else found.values[name][found.query_ids.index(query)]
        assert ours == pytest.approx(float(value), abs=1e-4), (name, query)
        compared += 1
    assert compared >= 29


@pytest.mark.parametrize(("ties", "told"), [("falling", False), ("rising", True)])
def test_queries_that_find_themselves_first_are_told_in_the_order_that_is_measured(ties, told):
    corpus = Documents([*"abz"], ["x"] * 3)
    judgments = Candidates.of([[1], [0], [1]], [[1], [1], [1]]).for_queries([*"abq"])
    run = Candidates.of([[0, 2], [1, 2], []], [[1, 1], [1, 1], []], corpus).for_queries([*"abq"])
    found = evaluate(run, judgments.over(corpus), "AP", ties=ties)
    assert (
        any("2 of 2 queries have found first the document with their own id" in one for one in found.warnings) == told
    )
