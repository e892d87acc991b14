"""What one writes first, and what stands in the wrong place: it works, or ends in a sentence, and never in an error of
Python's own."""

import re
from pathlib import Path

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput, NirankError, UnknownName

RUN, QRELS = "1 Q0 a 1 2 x\n1 Q0 b 2 1 x\n2 Q0 c 1 1 x\n", "1 0 a 1\n1 0 b 0\n2 0 c 2\n"


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    Path("run").write_text(RUN)
    Path("qrels").write_text(QRELS)
    return "run", "qrels"


@pytest.fixture
def corpus():
    return Documents(["a", "b", "c"], ["small cat", "dog", "car bus"])


@pytest.fixture
def queries():
    return Queries(["1", "2"], ["cat", "bus"])


def test_one_measure_is_a_text(files):
    found = nirank.evaluate(*files, "ndcg@10")
    assert (list(found), found["ndcg@10"], "ndcg@10" in found, "map" in found) == (["ndcg@10"], 1.0, True, False)
    assert nirank.compare({"a": found, "b": found}, measures="ndcg@10").queries == 2
    assert nirank.evaluate(*files, {"map"})["map"] == 1.0
    with pytest.raises(UnknownName, match=r"no measure in this evaluation, 'ndcg@1'\. Did you mean 'ndcg@10'"):
        found["ndcg@1"]


def test_an_object_of_ir_measures_is_a_measure(files):
    ir_measures = pytest.importorskip("ir_measures")
    assert nirank.evaluate(*files, ir_measures.nDCG @ 10)["nDCG@10"] == 1.0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"measures": None}, "no measure 'None'"),
        ({"measures": 10}, "no measure '10'"),
        ({"measures": "map, ndcg"}, "no measure 'map, ndcg'"),
        ({"relevance_level": "2"}, "must be whole numbers from 1 on"),
        ({"relevance_level": None}, "must be whole numbers from 1 on"),
        ({"relevance_level": True}, "must be whole numbers from 1 on"),
        ({"depth": "2"}, "must be whole numbers from 1 on"),
        ({"depth": 1.5}, "must be whole numbers from 1 on"),
        ({"trec_eval": "9"}, "not a version that nirank follows"),
    ],
)
def test_settings_of_an_evaluation_are_checked(files, settings, message):
    for given in (files, (nirank.read_run(files[0]), nirank.read_qrels(files[1]))):
        with pytest.raises(NirankError, match=re.escape(message)):
            nirank.evaluate(*given, **settings)


@pytest.mark.parametrize(
    "settings",
    [
        {"permutations": 0},
        {"permutations": "10"},
        {"resamples": 0},
        {"resamples": -1},
        {"seed": -1},
        {"seed": "a"},
        {"baseline": 0},
        {"baseline": "c"},
        {"measures": "P@5"},
        {"measures": [None]},
    ],
)
def test_settings_of_a_comparison_are_checked(files, settings):
    found = nirank.evaluate(*files, "AP")
    with pytest.raises(NirankError, match=str(next(iter(settings))).rstrip("s") + r"|There is no system|no measure"):
        nirank.compare({"a": found, "b": found}, **settings)


@pytest.mark.parametrize("given", [[], "ab", [0.1, float("nan")], [[]], None])
def test_intervals_are_of_numbers(given):
    with pytest.raises(BadInput):
        nirank.confidence_intervals(given)


@pytest.mark.parametrize("settings", [{"level": 95}, {"level": "0.9"}, {"resamples": 0}])
def test_settings_of_intervals_are_checked(settings):
    with pytest.raises(BadInput, match=next(iter(settings))):
        nirank.confidence_intervals([0.1, 0.2], **settings)


def test_queries_that_cannot_be_told_apart_are_not_joined(files, corpus):
    found = nirank.load("bm25").search(Queries(["1", "1"], ["cat", "bus"]), corpus)
    with pytest.raises(BadInput, match="several queries of the id '1'"):
        nirank.evaluate(found, files[1])


def test_judgments_of_a_file_make_a_collection(files, corpus, queries):
    made = Collection("mine", corpus, queries, nirank.read_qrels(files[1]))
    assert [made.judgments[row][0].tolist() for row in range(2)] == [[0, 1], [2]]
    assert nirank.evaluate(nirank.load("bm25").search(queries, corpus), made.judgments, "RR@10")["RR@10"] == 1.0


@pytest.mark.parametrize(
    ("parts", "message"),
    [
        ({"judgments": {"1": {"a": 1}}}, "judgments are `nirank.Candidates`"),
        ({"queries": ["cat", "bus"]}, "`nirank.Queries(ids, contents)` are expected, not a list"),
        ({"corpus": ["cat"]}, "`nirank.Documents(ids, texts)`, not a list"),
        ({"judgments": Candidates.of([[-1], [0]])}, "`ids.find` returns -1"),
    ],
)
def test_the_parts_of_a_collection_are_checked(corpus, queries, parts, message):
    given = {"corpus": corpus, "queries": queries, "judgments": Candidates.of([[0], [2]])} | parts
    with pytest.raises(BadInput, match=re.escape(message)):
        Collection("mine", **given)


def test_a_dictionary_of_queries_has_their_ids(corpus):
    asked = Queries.of({"x": "cat", "y": "bus"})
    assert (asked.ids, asked.contents) == (["x", "y"], ["cat", "bus"])
    found = nirank.load("bm25").search({"x": "cat"}, corpus)
    assert found.docs.tolist() == [0]


def test_tables_of_pandas_are_no_queries_and_their_columns_are(corpus):
    pandas = pytest.importorskip("pandas")
    table = pandas.DataFrame({"qid": ["1"], "query": ["cat"]})
    assert nirank.load("bm25").search(table["query"], corpus).docs.tolist() == [0]
    with pytest.raises(BadInput, match=r"not a DataFrame: write `nirank\.Queries"):
        nirank.load("bm25").search(table, corpus)


def _taken(rows):
    return lambda parts: parts["queries"].take(rows)


@pytest.mark.parametrize(
    ("use", "message"),
    [
        (lambda parts: parts["found"]["1"], "a query is told by its place, from 0 to 1, and not by '1'"),
        (lambda parts: parts["found"][0:1], "`take` returns several queries"),
        (_taken(["1"]), "queries are taken by their places"),
        (_taken(1), "queries are taken by their places"),
        (lambda parts: parts["corpus"].ids["a"], "`ids.find(['a'])`"),
        (lambda _: Candidates.of([["a"]]), "documents are ordinals"),
        (lambda _: Candidates.of([[0.5]]), "documents are ordinals"),
        (lambda _: Candidates.of([[0]], [["x"]]), "scores are numbers"),
        (lambda parts: nirank.evaluate(Candidates.of([[-1]]), parts["found"]), "`ids.find` returns -1"),
        (lambda _: Queries("12", "ab"), "ids and contents of queries are sequences"),
        (lambda _: Documents([1], ["x"]), "here is 1, of the type int"),
        (lambda _: Documents({"a": "x"}, {"a": "x"}), "the second is a dict"),
        (lambda _: Documents(["a"], "x"), "the second is a str"),
        (lambda _: Documents(["a"], (text for text in "x")), "the second is a generator"),
        (lambda parts: nirank.load("bm25").index(["a"]), "here is a list: wrap texts as"),
        (lambda parts: nirank.load("bm25").index(parts["collection"]), "here is a Collection; it has one"),
        (lambda parts: nirank.load("bm25").score(["cat"], ["a cat"]), "got list and list"),
        (lambda parts: nirank.load("bm25").score(parts["found"], parts["queries"]), "got Candidates and Queries"),
        (lambda _: nirank.load(None), "not None"),
        (lambda _: nirank.load(3), "not 3"),
        (lambda _: nirank.load(dict), "dict is a class"),
        (lambda _: nirank.load("bm25", 0.9), "Settings are named"),
        (lambda _: nirank.parse(None), "not None"),
        (lambda _: nirank.collection(Path("x")), "'beir:FOLDER', not by"),
        (lambda _: nirank.collection("some/folder"), "write beir:some/folder, jsonl:some/folder"),
        (lambda _: nirank.collection("run"), "There is no collection 'run'"),
        (lambda _: nirank.read_run(None), "a run is given by its path, not by a NoneType"),
        (lambda _: nirank.read_qrels({"1": {}}), "a file of judgments is given by its path, not by a dict"),
        (lambda _: nirank.run(None), "an experiment is given by its path, not by a NoneType"),
        (lambda parts: nirank.write_run("out", parts["collection"], parts["found"]), "give its `queries`"),
        (lambda parts: nirank.write_run("out", ["cat"], parts["found"]), "`nirank.Queries(ids, contents)` are written"),
        (lambda parts: nirank.write_run("out", parts["queries"], parts["run"]), "not a Run"),
        (lambda parts: nirank.write_run("out", parts["queries"], {"1": {}}), "not a dict"),
        (lambda parts: nirank.write_run(".", parts["queries"], parts["found"]), "this is a folder"),
        (lambda parts: nirank.write_run("out", parts["queries"], parts["found"], tag=None), "the tag None"),
    ],
)
def test_what_stands_in_the_wrong_place_is_told(files, corpus, queries, use, message):
    found = nirank.load("bm25").search(queries, corpus)
    collection = Collection("mine", corpus, queries, Candidates.of([[0], [2]]))
    parts = {"corpus": corpus, "queries": queries, "found": found, "collection": collection}
    with pytest.raises(NirankError, match=re.escape(message)):
        use(parts | {"run": nirank.read_run(files[0])})


def test_a_training_takes_a_collection(queries, corpus):
    pytest.importorskip("torch")
    with pytest.raises(BadInput, match="`fit` trains a component"):
        nirank.fit(nirank.load("bm25"), "mse", queries)


def test_an_experiment_may_be_a_dictionary(files):
    with pytest.raises(NirankError, match="There is no collection 'none'"):
        nirank.run({"collection": "none", "pipeline": "bm25"})


def test_rows_of_numpy_are_places(queries):
    assert queries.take(np.array([1])).ids == queries.take([1]).ids == queries.take(slice(1, 2)).ids == ["2"]
