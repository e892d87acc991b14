"""Queries of a collection with each pipeline's measures: searched once in the background, sorted by difference."""

from __future__ import annotations

import threading
import time

import numpy as np
import pytest

import nirank
from nirank.errors import UnknownName
from nirank.serving.comparing import Survey, Surveys
from nirank.serving.state import Holder, State

IDS = [f"d{number}" for number in range(40)]
WORDS = ["cat", "dog", "mat", "sun", "hat", "fish", "tree"]


def _texts():
    random = np.random.default_rng(5)
    return [" ".join(random.choice(WORDS, 6)) for _ in IDS]


@pytest.fixture(scope="module")
def collection():
    random = np.random.default_rng(6)
    corpus = nirank.Documents(IDS, _texts())
    queries = nirank.Queries([f"q{n}" for n in range(20)], [" ".join(random.choice(WORDS, 2)) for _ in range(20)])
    docs = [random.choice(40, 8, replace=False) for _ in range(19)] + [[]]  # the last one is not judged
    grades = [random.integers(0, 4, len(row)) for row in docs]
    return nirank.Collection("toy", corpus, queries, nirank.Candidates.of(docs, grades, corpus))


def _state(collection, **pipelines):
    pipelines = pipelines or {"one": nirank.parse("bm25"), "two": nirank.parse("bm25 % 5"), "ql": nirank.parse("ql")}
    return State("toy", collection.corpus, pipelines, collection.queries, collection.judgments)


@pytest.fixture(scope="module")
def survey(collection):
    survey = Survey(_state(collection))
    survey.run()
    return survey


def _gain(grade):
    return float(grade)


def _ndcg(ids, judged, cutoff=10):
    """nDCG as it is defined, for one query."""
    ideal = sorted(judged.values(), reverse=True)
    dcg, best = (
        sum(_gain(grade) / np.log2(rank + 2) for rank, grade in enumerate(grades[:cutoff]))
        for grades in ([judged.get(document, 0) for document in ids], ideal)
    )
    return dcg / best if best else 0.0


def test_each_query_has_the_measure_of_each_pipeline(survey, collection):
    compared = survey.compare("nDCG@10", sort="collection")
    assert [row.id for row in compared.rows] == list(collection.queries.ids)
    assert [row.text for row in compared.rows] == list(collection.queries.contents)
    for name, ranking in survey.state.pipelines.items():
        found = ranking.search(collection.queries, collection.corpus)
        for place, row in enumerate(compared.rows[:-1]):
            scored = zip(found[place][1].tolist(), collection.corpus.ids.take(found[place][0]), strict=True)
            ids = [document for _, document in sorted(scored, reverse=True)]  # equal scores by falling id
            judged = dict(
                zip(
                    collection.corpus.ids.take(collection.judgments[place][0]),
                    collection.judgments[place][1],
                    strict=True,
                )
            )
            assert row.values[name] == pytest.approx(_ndcg(ids, judged), abs=1e-6)
        evaluation = nirank.evaluate(found, collection.judgments, ["nDCG@10"])
        assert compared.mean[name] == evaluation["nDCG@10"]
    assert compared.rows[-1].values == {"one": None, "two": None, "ql": None}
    assert "1 queries without judgments are left out." in compared.notes


@pytest.mark.parametrize(
    ("sort", "key"),
    [("difference", lambda gap: -abs(gap)), ("a", lambda gap: -gap), ("b", lambda gap: gap)],
)
def test_queries_are_sorted_by_the_difference_of_two(survey, sort, key):
    compared = survey.compare("nDCG@10", "one", "ql", sort)
    gaps = [row.difference for row in compared.rows]
    assert gaps[-1] is None  # what is not judged stands last
    assert gaps[:-1] == sorted(gaps[:-1], key=key)
    assert max(map(abs, gaps[:-1])) > 0
    for row in compared.rows[:-1]:
        assert row.difference == row.values["one"] - row.values["ql"]
    assert compared.difference == pytest.approx(compared.mean["one"] - compared.mean["ql"])


def test_the_first_two_pipelines_are_compared_unless_others_are_named(survey):
    assert (survey.compare("AP").a, survey.compare("AP").b) == ("one", "two")
    assert (survey.compare("AP", b="one").a, survey.compare("AP", a="two").b) == ("one", "one")
    for wrong in ({"a": "three"}, {"b": "three"}):
        with pytest.raises(UnknownName, match="no pipeline 'three'"):
            survey.compare("AP", **wrong)
    with pytest.raises(UnknownName, match="no measure 'nDGC@10'"):
        survey.compare("nDGC@10")


def test_one_pipeline_alone_has_values_and_no_differences(collection):
    alone = Survey(_state(collection, bm25=nirank.parse("bm25")))
    alone.run()
    compared = alone.compare("AP")
    assert compared.b is None
    assert compared.difference is None
    assert compared.mean["bm25"] > 0
    assert {row.difference for row in compared.rows} == {None}


def test_without_judgments_or_queries_nothing_is_measured(collection):
    unjudged = Survey(State("toy", collection.corpus, {"bm25": nirank.parse("bm25")}, collection.queries))
    unjudged.run()
    assert [row.values for row in unjudged.compare("AP").rows] == [{"bm25": None}] * 20
    nothing = Survey(State("toy", collection.corpus, {"bm25": nirank.parse("bm25")}))
    nothing.run()
    assert (nothing.ready, nothing.total, nothing.compare("AP").rows) == (True, 0, [])


def test_a_pipeline_that_fails_is_told_and_the_others_are_measured(collection):
    def search(ranking, queries, corpus):
        if repr(ranking) == "ql":
            raise RuntimeError("no memory")
        return ranking.search(queries, corpus)

    survey = Survey(_state(collection), search)
    survey.run()
    compared = survey.compare("AP", "one", "ql")
    assert survey.ready
    assert survey.done == survey.total == 60
    assert compared.failed == {"ql": "RuntimeError: no memory"}
    assert compared.mean.keys() == {"one", "two"}
    assert {row.difference for row in compared.rows} == {None}


def test_all_is_searched_once_a_few_queries_at_a_time(collection):
    asked = []

    def search(ranking, queries, corpus):
        asked.append(len(queries))
        return ranking.search(queries, corpus)

    surveys, state = Surveys(search), _state(collection)
    assert surveys.of(state) is surveys.of(state)
    assert surveys.of(state).wait(20)
    assert [surveys.of(state).compare(measure).measure for measure in ("AP", "RR", "AP")] == ["AP", "RR", "AP"]
    assert asked == [16, 16, 16, 4, 4, 4]


def test_before_it_is_ready_queries_have_no_values_and_another_version_stops_it(collection):
    going, asked = threading.Event(), []

    def search(ranking, queries, corpus):
        asked.append(repr(ranking))
        assert going.wait(20)
        return ranking.search(queries, corpus)

    surveys, first, second = Surveys(search), _state(collection), _state(collection, ql=nirank.parse("ql"))
    survey = surveys.of(first)
    compared = survey.compare("AP")
    assert not survey.ready
    assert (survey.done, survey.total) == (0, 60)
    assert [row.id for row in compared.rows] == list(collection.queries.ids)
    assert {row.difference for row in compared.rows} == {None}
    assert compared.mean == {}
    after = surveys.of(second)
    going.set()
    assert after.wait(20)
    deadline = time.monotonic() + 20
    while survey.done < 16 and time.monotonic() < deadline:
        time.sleep(0.01)
    assert not survey.ready
    assert asked.count("bm25") == 1  # and no more of the first version
    assert surveys.of(second) is after


def test_measures_are_computed_once_and_not_kept_without_bound(survey, monkeypatch):
    from nirank.serving import comparing

    computed, evaluate = [], comparing.evaluate
    monkeypatch.setattr(comparing, "evaluate", lambda *given: computed.append(given[2]) or evaluate(*given))
    for _ in range(2):
        survey.compare("P@3")
    assert computed == [["P@3"]] * 3
    for cutoff in range(1, 90):
        survey.compare(f"P@{cutoff}")
    assert len(survey._measured) <= 64 * 3


# Over HTTP


@pytest.fixture(scope="module")
def client(collection):
    pytest.importorskip("fastapi")
    from fastapi.testclient import TestClient

    from nirank.serving.app import application
    from nirank.serving.options import Options

    with TestClient(application(Holder(_state(collection)), Options()), "http://localhost") as client:
        yield client


def _ready(client, **params):
    from nirank.serving.comparing_routes import QueriesAnswer

    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        response = client.get("/queries", params=params)
        assert response.status_code == 200, response.text
        QueriesAnswer.model_validate(response.json())
        if response.json()["ready"]:
            return response.json()
        time.sleep(0.02)
    raise AssertionError("it is never ready")


def test_the_server_gives_the_queries_with_their_measures(client, survey):
    first = client.get("/queries").json()
    assert [query["id"] for query in first["queries"]]  # also before all is searched
    answer, compared = _ready(client, measure="AP", a="ql", b="one"), survey.compare("AP", "ql", "one")
    assert (answer["measure"], answer["a"], answer["b"]) == ("AP", "ql", "one")
    assert answer["pipelines"] == ["one", "two", "ql"]
    assert answer["version"] == client.get("/about").json()["version"]
    assert (answer["done"], answer["total"]) == (60, 60)
    assert answer["mean"] == compared.mean
    assert answer["notes"] == compared.notes
    assert [(query["id"], query["values"], query["difference"]) for query in answer["queries"]] == [
        (row.id, row.values, row.difference) for row in compared.rows
    ]


@pytest.mark.parametrize(
    ("params", "said"),
    [
        ({"measure": "nDGC@10"}, "Did you mean"),
        ({"measure": "official"}, "29 measures"),
        ({"measure": "alpha_nDCG@20"}, "subtopics"),
        ({"measure": ""}, "at least 1 character"),
        ({"a": "three"}, "no pipeline 'three'"),
        ({"sort": "size"}, "sort"),
    ],
)
def test_what_cannot_be_compared_is_refused(client, params, said):
    _ready(client)
    response = client.get("/queries", params=params)
    assert response.status_code == 422
    assert said in response.json()["detail"]


def test_a_parameter_that_there_is_not_is_refused(client):
    for path in ("/queries?mesure=AP", "/queries?A=bm25"):
        answer = client.get(path)
        assert answer.status_code == 422
        assert "measure" in answer.json()["detail"]
