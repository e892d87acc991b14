"""Runs and judgments as other libraries have them: the same nDCG@10 of every query, on both sides."""

from __future__ import annotations

import warnings

import ir_measures
import numpy as np
import pytest
import pytrec_eval

import nirank
from nirank import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank_adapters import dictionaries
from tests.adapted import Adapted
from tests.conftest import SHARED


@pytest.fixture(scope="module")
def adapted():
    return Adapted.of(SHARED / "nfcorpus")


@pytest.fixture(scope="module")
def found(adapted):
    return adapted.found(nirank.load("bm25", k1=0.9, b=0.4) % 100)


def test_pytrec_eval_measures_every_query_the_same(adapted, found):
    run, qrels = dictionaries.run_to_dict(found), dictionaries.judgments_to_dict(adapted.judgments)
    measured = pytrec_eval.RelevanceEvaluator(qrels, {"ndcg_cut.10"}).evaluate(run)
    assert {query: values["ndcg_cut_10"] for query, values in measured.items()} == adapted.values(found)
    assert (
        sum(grade == 2 for grades in qrels.values() for grade in grades.values())
        == (adapted.judgments.scores == 2).sum()
    )


def test_ir_measures_measures_the_same(adapted, found):
    run, qrels = dictionaries.run_to_dict(found), dictionaries.judgments_to_dict(adapted.judgments)
    measured = ir_measures.calc_aggregate([ir_measures.nDCG @ 10], qrels, run)
    assert measured[ir_measures.nDCG @ 10] == adapted.value(found)


def test_what_comes_back_is_what_went(adapted, found):
    back = dictionaries.from_dict(dictionaries.run_to_dict(found))
    qrels = dictionaries.from_dict(dictionaries.judgments_to_dict(adapted.judgments))
    assert adapted.values(back) == adapted.values(found)
    assert adapted.value(back, qrels) == adapted.value(found)
    assert adapted.value(found, qrels) == adapted.value(found)
    aligned = back.align(adapted.queries.ids, adapted.corpus.ids)
    assert np.array_equal(aligned.docs, found.docs)
    assert np.array_equal(aligned.scores, found.scores)


def test_ranx_measures_every_query_the_same(adapted, found):
    ranx = pytest.importorskip("ranx")
    from nirank_adapters.ranx import from_ranx, to_qrels, to_run

    run, qrels = to_run(found, "bm25"), to_qrels(adapted.judgments)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # numba, of ranx's own functions
        ranx.evaluate(qrels, run, "ndcg@10", make_comparable=True)  # queries for which nothing was found count
    theirs, ours = dict(run.scores["ndcg@10"]), adapted.values(found)
    # ranx adds up in another order: the last of 53 bits may differ
    assert theirs.keys() == ours.keys()
    np.testing.assert_allclose([theirs[query] for query in ours], [*ours.values()], rtol=1e-15, atol=1e-15)
    assert adapted.value(from_ranx(run), from_ranx(qrels)) == adapted.value(found)
    assert from_ranx(run).tag == "bm25"


def test_columns_in_any_order_are_a_run():
    run = dictionaries.from_columns(["b", "a", "b"], ["x", "y", "z"], [1.0, 2.0, 3.0], tag="t")
    assert dictionaries.run_to_dict(run) == {"b": {"x": 1.0, "z": 3.0}, "a": {"y": 2.0}}
    assert run.tag == "t"


def test_scores_that_float32_cannot_tell_apart_keep_their_order():
    run = dictionaries.from_dict({"q": {"a": 1.0, "b": 1.0 + 1e-12}})
    judged = dictionaries.from_dict({"q": {"b": 1}})
    assert nirank.evaluate(run, judged, ["RR"])["RR"] == 1
    assert dictionaries.run_to_dict(run) == {"q": {"a": 1.0, "b": 1.0 + 1e-12}}


def test_queries_without_documents_count_as_they_do_in_a_file():
    run = dictionaries.from_dict({"p": {}, "q": {"a": 1.0}, "r": {}})
    measured = nirank.evaluate(run, dictionaries.from_dict({"q": {"a": 1}, "r": {"a": 1}}), ["P@1"])
    assert (measured["P@1"], measured.empty) == (0.5, 1)
    nothing = Candidates.of([[], [0]], corpus=Documents(["a"], ["x"])).for_queries(["p", "q"])
    assert dictionaries.run_to_dict(nothing) == {"p": {}, "q": {"a": 0.0}}


@pytest.mark.parametrize(
    ("scored", "words"),
    [
        ({"q": {1: 2.0}}, "here is 1, of the type int"),
        ({1: {"a": 2.0}}, "here is 1, of the type int"),
        ({"q": {"a": "high"}}, "scores are numbers"),
        ({"q": {"a": float("nan")}}, "not a number"),
        ({"q": ["a"]}, "a dictionary"),
        ([], "a dictionary"),
    ],
)
def test_what_is_no_run_is_refused(scored, words):
    with pytest.raises(BadInput, match=words):
        dictionaries.from_dict(scored)


def test_pairs_that_come_twice_are_refused():
    with pytest.raises(BadInput, match="twice"):
        dictionaries.from_columns(["q", "q"], ["a", "a"], [1.0, 2.0])
    with pytest.raises(BadInput, match="one each a row"):
        dictionaries.from_columns(["q", "q"], ["a", "a"], [1.0])


def test_what_a_dictionary_would_lose_is_refused():
    corpus = Documents(["a", "b"], ["x", "y"])
    for run, words in (
        (Candidates.of([[0], [1]], [[1], [2]], corpus).for_queries(["q", "q"]), "'q'"),
        (Candidates.of([[0, 0]], [[2, 1]], corpus).for_queries(["q"]), "come twice"),
    ):
        for made in (dictionaries.run_to_dict, dictionaries.judgments_to_dict):
            with pytest.raises(BadInput, match=words):
                made(run)


@pytest.mark.parametrize("scored", [{"q": {"a": [1, 2], "b": [3, 4]}}, {"q": {"a": [1]}}])
def test_a_document_has_one_score(scored):
    with pytest.raises(BadInput, match="one score each"):
        dictionaries.from_dict(scored)


def test_what_has_no_ids_is_refused():
    corpus = Documents(["a"], ["x"])
    for run, words in [
        (Candidates.of([[0]], corpus=corpus), "the ids of their queries"),
        (Candidates.of([[0]]).for_queries(["q"]), "a corpus"),
        (Candidates.of([[5]], corpus=corpus).for_queries(["q"]), "read_qrels"),
        ({}, "not a dict"),
    ]:
        with pytest.raises(BadInput, match=words):
            dictionaries.run_to_dict(run)
    half = Candidates.of([[0]], [[0.5]], corpus).for_queries(["q"])
    with pytest.raises(BadInput, match="whole"):
        dictionaries.judgments_to_dict(half)


def test_judgments_become_those_of_a_collection():
    corpus, judged = Documents(["a", "b"], ["x", "y"]), dictionaries.from_dict({"q": {"b": 2}})
    collection = nirank.Collection("few", corpus, Queries(["q"], ["x"]), judged)
    assert collection.judgments[0][0].tolist() == [1]
