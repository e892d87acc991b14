"""Why two runs differ: parts that add up, queries counted, stages, documents, manifests, and what is refused."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Collection, Documents, Explanation, Queries
from nirank.differences.changed import changes
from nirank.errors import BadInput, DamagedFile, NirankError, UnknownName
from nirank.evaluation import Evaluation
from nirank.evaluation.evaluating import evaluate_files

MEASURES = ["nDCG@10", "AP", "RR@10", "P@5", "R@100", "ERR@20", "Rprec"]
LETTERS = "abcdefgh"


def _run(path, lists):
    """A run: for each query a list of documents in order, each with its score, or with one that falls by rank."""
    lines = []
    for query, documents in lists.items():
        for rank, document in enumerate(documents, 1):
            name, score = document if isinstance(document, tuple) else (document, 100 - rank)
            lines.append(f"{query} Q0 {name} {rank} {score} tag\n")
    path.write_text("".join(lines))
    return path


def _qrels(path, lists):
    path.write_text(
        "".join(f"{query} 0 {name} {grade}\n" for query, each in lists.items() for name, grade in each.items())
    )
    return path


def _compared(tmp_path, a, b, grades, measures=("nDCG@10",), **options):
    paths = _run(tmp_path / "a.run", a), _run(tmp_path / "b.run", b), _qrels(tmp_path / "qrels", grades)
    return nirank.why_different(*paths, measures, **options)


# The parts of a measure


def _parts(found):
    (row,) = found.measures
    return row.parts.ties, row.parts.ranks, row.parts.documents


def test_a_difference_by_ties_alone(tmp_path):
    # in a, x and z are tied and trec_eval puts z first; b has scores that put x first
    a = {"q": [("x", 2.0), ("z", 2.0), ("y", 1.0)]}
    b = {"q": [("x", 3.0), ("z", 2.0), ("y", 1.0)]}
    found = _compared(tmp_path, a, b, {"q": {"x": 1}}, ["RR@10"])
    assert (found.measures[0].a, found.measures[0].b) == (0.5, 1.0)
    assert _parts(found) == (0.5, 0.0, 0.0)
    assert found.agreement.ties == (1, 0)


def test_a_difference_by_rank_changes_alone(tmp_path):
    found = _compared(tmp_path, {"q": ["y", "x"]}, {"q": ["x", "y"]}, {"q": {"x": 1}}, ["RR@10"])
    assert _parts(found) == (0.0, 0.5, 0.0)


def test_a_difference_by_new_documents_alone(tmp_path):
    found = _compared(tmp_path, {"q": ["y", "z"]}, {"q": ["x", "z"]}, {"q": {"x": 1}}, ["RR@10"])
    assert _parts(found) == (0.0, 0.0, 1.0)


def test_ranks_and_new_documents_are_told_apart(tmp_path):
    # x goes from 3 to 1 among the documents of both; n, not relevant, is new before it. By hand, RR:
    # a = y z x: 1/3. Ranks first: x y z has 1; then the new document: n x y, 1/2. So ranks 2/3, new -1/2.
    # New first: n y x has 1/3, then ranks: n x y, 1/2. So new 0, ranks 1/6. The means: 5/12 and -1/4.
    found = _compared(tmp_path, {"q": ["y", "z", "x"]}, {"q": ["n", "x", "y"]}, {"q": {"x": 1}}, ["RR@10"])
    ties, ranks, documents = _parts(found)
    assert found.measures[0].difference == pytest.approx(1 / 6)
    assert ties == 0
    # z is in a alone, so that x and y are the documents of both; a' keeps z at its rank when they change places
    assert (ranks, documents) == (
        pytest.approx(((1 - 1 / 3) + (1 / 2 - 1 / 3)) / 2),
        pytest.approx(((1 / 2 - 1) + 0) / 2),
    )


def _random_runs(seed, queries=12):
    """Random lists of tied scores, and grades."""
    random = np.random.default_rng(seed)
    names = [f"d{number}" for number in range(14)]
    a, b, grades = {}, {}, {}
    for query in range(queries):
        for lists in (a, b):
            chosen = random.permutation(names)[: random.integers(1, 12)].tolist()
            lists[f"q{query}"] = sorted(
                ((each, float(random.integers(0, 5))) for each in chosen), key=lambda pair: -pair[1]
            )
        judged = random.permutation(names)[: random.integers(1, 9)].tolist()
        grades[f"q{query}"] = {each: int(random.integers(0, 3)) for each in judged}
    return a, b, grades


@pytest.mark.parametrize("seed", range(5))
def test_parts_add_up_and_have_the_other_sign_the_other_way_round(tmp_path, seed):
    a, b, grades = _random_runs(seed)
    found, back = _compared(tmp_path, a, b, grades, MEASURES), _compared(tmp_path, b, a, grades, MEASURES)
    for row, other in zip(found.measures, back.measures, strict=True):
        parts = (row.parts.ties, row.parts.ranks, row.parts.documents)
        assert sum(parts) == pytest.approx(row.difference, abs=1e-12)
        assert (-other.parts.ties, -other.parts.ranks, -other.parts.documents) == pytest.approx(parts, abs=1e-12)
    assert any(abs(row.parts.ties) > 1e-3 for row in found.measures)
    assert any(abs(row.parts.documents) > 1e-3 for row in found.measures)


@pytest.mark.parametrize("ties", ["falling", "rising"])
def test_figures_are_those_of_evaluate_and_compare(tmp_path, ties):
    a, b, grades = _random_runs(9)
    found = _compared(tmp_path, a, b, grades, MEASURES, ties=ties)
    evaluations = {
        name: evaluate_files(tmp_path / f"{name}.run", tmp_path / "qrels", MEASURES, ties=ties) for name in "ab"
    }
    compared = nirank.compare(evaluations, baseline="a")
    for row in found.measures:
        assert row.a == pytest.approx(evaluations["a"][row.name], abs=1e-15)
        assert row.b == pytest.approx(evaluations["b"][row.name], abs=1e-15)
        expected = compared.of("b", "a", row.name)
        assert (row.low, row.high, row.p) == pytest.approx((expected.low, expected.high, expected.p))


def test_scores_that_only_float64_tells_apart_are_no_ties(tmp_path):
    a = {"q": [("x", 1.000000001), ("z", 1.0)]}
    b = {"q": [("x", 2.0), ("z", 1.0)]}
    found = _compared(tmp_path, a, b, {"q": {"x": 1}}, ["RR@10"])
    assert found.measures[0].difference == 0
    assert found.agreement.ties == (0, 0)


# Documents and queries


def test_contributions_of_documents_add_up_to_the_difference_of_a_sum_of_gains(tmp_path):
    a, b, grades = _random_runs(3, queries=5)
    for query, documents in a.items():
        a[query] = [(name, 9.0 - place) for place, (name, _) in enumerate(documents)]
    found = _compared(tmp_path, a, b, grades, ["nDCG"], queries=5)
    assert found.moved
    for query in found.moved:
        if len(query.documents) < 3:  # of more than three only these are shown
            assert sum(each.contribution for each in query.documents) == pytest.approx(query.difference)


def test_the_documents_that_moved_a_query_are_named_with_their_ranks(tmp_path):
    a = {"q": ["u", "v", "x"], "r": ["x"]}
    b = {"q": ["x", "u", "n"], "r": ["x"]}
    found = _compared(tmp_path, a, b, {"q": {"x": 2, "n": 1, "v": 0}, "r": {"x": 1}}, ["P@3"])
    (moved,) = found.moved
    assert (moved.query, moved.measure, moved.difference) == ("q", "P@3", pytest.approx(1 / 3))
    assert [(each.id, each.rank_a, each.rank_b) for each in moved.documents] == [("n", None, 3)]
    by_rank = _compared(tmp_path, a, b, {"q": {"x": 2}, "r": {"x": 1}}, ["RR@10"]).moved[0].documents
    assert [(each.id, each.grade, each.rank_a, each.rank_b) for each in by_rank] == [("x", 2.0, 3, 1)]


def test_queries_are_counted_by_how_far_their_results_are_the_same(tmp_path):
    a = {"bits": ["x", "y"], "order": [("x", 2), ("y", 1)], "set": ["x", "y"], "other": ["x"], "alone": ["x"]}
    b = {"bits": ["x", "y"], "order": [("x", 3), ("y", 1)], "set": ["y", "x"], "other": ["z"], "new": ["x"]}
    found = _compared(tmp_path, a, b, {"bits": {"x": 1}, "unasked": {"x": 1}}).agreement
    assert (found.queries, found.same_bits, found.same_order, found.same_set, found.other) == (6, 1, 1, 1, 3)
    assert (found.only_a, found.only_b) == (1, 1)
    assert found.overlaps["bits"] == pytest.approx(1)
    assert found.overlaps["other"] == found.overlaps["new"] == 0
    assert found.gap == pytest.approx(1 / 3)


def test_rounding_is_told_by_its_size(tmp_path):
    a = {"q": [("x", 1.0), ("y", 0.5)]}
    found = _compared(tmp_path, a, {"q": [("x", 1.0000001), ("y", 0.5)]}, {"q": {"x": 1}})
    assert found.agreement.same_order == 1
    assert "only scores differ (by 1.2e-07 of a score at most)" in str(found)
    swapped = _compared(
        tmp_path, {"q": [("x", 0.5000001), ("y", 0.5)]}, {"q": [("y", 0.5000001), ("x", 0.5)]}, {"q": {"x": 1}}
    )
    assert "that is rounding" in str(swapped)
    assert "that is rounding" not in str(_compared(tmp_path, a, {"q": [("x", 0.1), ("y", 0.5)]}, {"q": {"x": 1}}))


def test_runs_are_compared_down_to_a_depth(tmp_path):
    found = _compared(tmp_path, {"q": ["x", "y", "z"]}, {"q": ["x", "y"]}, {"q": {"z": 1}}, depth=2)
    assert found.agreement.same_bits == 1
    assert found.measures[0].difference == 0


# Stages


class Found:
    """Finds the same documents for every query."""

    def __init__(self, docs, scores):
        self.docs, self.scores = docs, scores

    def generate(self, queries, k):
        return Candidates.of([self.docs] * len(queries), [self.scores] * len(queries)).top(k)


class Scores:
    """Gives each document its own score."""

    def __init__(self, scores):
        self.scores = np.asarray(scores, np.float32)

    def score(self, queries, candidates):
        return self.scores[candidates.docs]


def _collection():
    corpus = Documents([f"doc-{letter}" for letter in LETTERS], [f"text <b>{letter}</b>" for letter in LETTERS])
    return Collection("toy", corpus, Queries(["q1", "q2"], ["one", "two"]), Candidates.of([[0, 2], [1]], [[1, 2], [1]]))


def _stages(one, other):
    collection = _collection()
    runs = [ranking.search(collection.queries, collection.corpus) for ranking in (one, other)]
    return nirank.why_different(*runs, pipelines=(one, other), collection=collection)


def _stage(target, name):
    return nirank.load(target, name=name)


def test_the_first_stage_that_diverges_is_named():
    first = _stage(Found([0, 1, 2], [3, 2, 1]), "first")
    one, other = _stage(Scores(range(8)), "model"), _stage(Scores([9, 1, 2, 3, 4, 5, 6, 7]), "model")
    found = _stages(first >> one, first >> other)
    assert (found.stages.first.stage_a, found.stages.first.query) == ("first >> model", "q1")
    assert found.stages.first.stages == ("first", "first >> model")
    assert found.stages.first.queries == 2
    changed = _stage(Found([0, 1, 3], [3, 2, 1]), "first")
    assert _stages(first >> one, changed >> one).stages.first.stage_a == "first"


def test_the_term_of_a_sum_that_diverges_is_named():
    first = _stage(Found([0, 1, 2], [3, 2, 1]), "first")
    same = _stage(Scores(range(8)), "same")
    one, other = (_stage(Scores(values), "model") for values in ([1] * 8, [1, 2] * 4))
    found = _stages(first >> same + 0.5 * one, first >> same + 0.5 * other)
    assert found.stages.first.stage_a == "first >> model"
    assert found.stages.first.stages == ("first", "first >> same", "first >> model")


def test_a_stage_that_only_one_pipeline_has_is_named():
    first, model = _stage(Found([0, 1, 2], [3, 2, 1]), "first"), _stage(Scores(range(8)), "model")
    found = _stages(first, first >> model).stages.first
    assert (found.stage_a, found.stage_b, found.queries) == ("first", "first >> model", 2)
    assert _stages(first >> model, first).stages.first.stage_a == "first >> model"
    same = _stage(Scores([9, 8, 7, 6, 5, 4, 3, 2]), "same")
    assert _stages(first >> same, first >> same >> model).stages.first.stage_b.endswith("model")


def test_the_same_pipelines_do_not_diverge():
    ranking = _stage(Found([0, 1, 2], [3, 2, 1]), "first") >> _stage(Scores(range(8)), "model")
    found = _stages(ranking, ranking)
    assert found.stages.first is None
    assert "the same at every stage" in found.stages.note


def test_a_run_that_its_pipeline_does_not_find_is_told():
    ranking, collection = _stage(Found([0, 1], [3, 2]), "first"), _collection()
    run = ranking.search(collection.queries, collection.corpus)
    edited = run.with_scores([3, 1, 3, 2])
    found = nirank.why_different(run, edited, pipelines=(ranking, ranking), collection=collection)
    assert "the run of b is not what its pipeline finds here" in found.stages.note


def test_unions_and_fusions_are_searched_again_too():
    first, second = _stage(Found([0, 1], [3, 2]), "one"), _stage(Found([1, 2], [3, 2]), "two")
    model, other = _stage(Scores(range(8)), "model"), _stage(Scores([5] * 8), "model")
    assert _stages((first | second) >> model, (first | second) >> other).stages.first.stages == (
        "one", "two", "(one | two) >> model",
    )  # fmt: skip
    third = _stage(Found([1, 3], [3, 2]), "two")
    assert _stages(nirank.fuse(first, second), nirank.fuse(first, third)).stages.first.stage_a == "two"


class Encoder:
    """Encodes queries and documents by their first letters."""

    vectors = "dense"

    def __init__(self, shift=0.0):
        self.shift = shift

    def encode(self, queries):
        return self.encode_documents(queries.contents) + np.float32(self.shift)

    def encode_documents(self, contents):
        return np.array([[1.0, ord(text[-5]), ord(text[0])] for text in map("....{}....".format, contents)], np.float32)


def test_the_vectors_of_queries_are_a_stage():
    exact = nirank.load("exact")
    one, other = (_stage(Encoder(shift), "letters") >> exact for shift in (0.0, 0.5))
    found = _stages(one, other)
    assert found.stages.first.stage_a == "letters (vectors of queries)"
    assert _stages(one, one).stages.first is None


def test_rewritten_queries_and_passages_are_one_stage():
    first, other = _stage(Found([0, 1], [3, 2]), "one"), _stage(Found([1, 2], [3, 2]), "one")
    lower = nirank.rewrite(str.lower)
    assert _stages(lower >> first, lower >> other).stages.first.stages == (repr(lower >> first),)


# Explanations


def test_explanations_stand_side_by_side(monkeypatch):
    ranking = _stage(Found([0, 1, 2], [3, 2, 1]), "first")
    other = ranking >> _stage(Scores(range(8)), "model")

    def explain(self, query, document_id, corpus):
        parts = (Explanation("word <one>", 2.0), Explanation("length", -0.5 if self is other else 0.25))
        return Explanation(f"{query} {document_id}", sum(part.score for part in parts), parts)

    monkeypatch.setattr(type(ranking).__mro__[1], "explain", explain, raising=False)
    monkeypatch.setattr(type(other), "explain", explain, raising=False)
    found = _stages(ranking, other)
    document = found.moved[0].documents[0]
    assert (document.why_a.score, document.why_b.score) == (2.25, 1.5)
    assert document.why_a.label.startswith("one doc-")
    html = found._repr_html_()
    assert "word &lt;one&gt;" in html
    assert "-0.5000" in html
    assert found.to_dict()["moved"][0]["documents"][0]["why_b"]["parts"][1]["score"] == -0.5


def test_scores_of_bm25_are_explained_by_their_terms():
    texts = ["cat cat and a very long text about other animals that live in houses", "cat", "dog"]
    corpus = Documents(["long", "short", "other"], texts)
    collection = Collection("cats", corpus, Queries(["q"], ["cat"]), Candidates.of([[0, 2]], [[1, 1]]))
    pipelines = nirank.load("bm25", b=0.0), nirank.load("bm25", b=1.0)
    runs = [ranking.search(collection.queries, corpus) for ranking in pipelines]
    found = nirank.why_different(*runs, collection=collection, pipelines=pipelines)
    (document,) = found.moved[0].documents
    assert (document.id, document.rank_a, document.rank_b) == ("long", 1, 2)
    for why, run in zip((document.why_a, document.why_b), runs, strict=True):
        assert sum(leaf.score for leaf in why.leaves()) == pytest.approx(
            run[0][1][run[0][0].tolist().index(0)], rel=1e-6
        )
    assert "long for query q: its score in a and in b" in [table.title for table in found.tables()]
    assert "its score in a and in b" in found._repr_html_()
    assert not any("not what the run has" in why.note for why in (document.why_a, document.why_b))
    json.dumps(found.to_dict(), allow_nan=False)


def test_an_explanation_by_other_settings_than_the_runs_says_so():
    corpus = Documents(["long", "short"], ["cat cat and a very long text about other animals", "cat"])
    collection = Collection("cats", corpus, Queries(["q"], ["cat"]), Candidates.of([[0]], [[1]]))
    pipelines = nirank.load("bm25", b=0.0), nirank.load("bm25", b=1.0)
    runs = [ranking.search(collection.queries, corpus) for ranking in pipelines]
    found = nirank.why_different(*runs, collection=collection, pipelines=pipelines[::-1])
    (document,) = found.moved[0].documents
    for why, run in zip((document.why_a, document.why_b), runs, strict=True):
        assert f"not what the run has, which is {run.scores[run.docs.tolist().index(0)]:.4f}" in why.note


def test_documents_that_a_pipeline_does_not_find_have_no_explanation():
    first, second = _stage(Found([0], [3]), "one"), nirank.load("bm25")
    corpus = Documents(["one", "two"], ["cat cat", "cat and dog"])
    collection = Collection("cats", corpus, Queries(["q"], ["cat"]), Candidates.of([[1, 9]], [[1, 1]]))
    runs = [ranking.search(collection.queries, corpus) for ranking in (first, second)]
    found = nirank.why_different(*runs, collection=collection, pipelines=(first, second))
    (document,) = found.moved[0].documents
    assert document.why_a is None
    assert document.why_b is not None


# Manifests


def _manifest(**changed):
    made = {
        "when": "now",
        "versions": {"numpy": "2.0", "torch": "2.1"},
        "plugins": {"lexical": "0.1.0", "/home/me/nirank_plugin.py": ""},
        "code": {"lexical": "1"},
        "machine": {"cpu": {"features": ["a", "b", "c", "d"]}, "threads": {"torch": 1}},
        "seed": 0,
        "collection": {"name": "c", "corpus": "1", "queries_fingerprint": "2", "judgments_fingerprint": "3"},
        "pipelines": {"one": "bm25 % 100 >> minilm", "two": "other"},
        "components": {
            "bm25": {"use": "generator/bm25", "settings": {"k1": 0.9, "b": 0.4}, "fingerprint": "x"},
            "minilm": {"use": "encoder/minilm", "settings": {}, "fingerprint": "y"},
            "other": {"use": "generator/other", "settings": {"k1": 3}, "fingerprint": "z"},
        },
    }
    return made | changed


def _changed(**what):
    return [(row.about, str(row)) for row in changes(_manifest(), _manifest(**what), ("one", "one")).rows]


def test_what_differs_is_named_by_its_path():
    made = _manifest()
    bm25 = made["components"]["bm25"]
    assert _changed() == []
    assert _changed(when="later") == []
    assert _changed(components=made["components"] | {"bm25": bm25 | {"settings": {"k1": 1.2, "b": 0.4}}}) == [
        ("settings", "components.bm25.settings.k1: 0.9 -> 1.2")
    ]
    assert _changed(components=made["components"] | {"bm25": bm25 | {"fingerprint": "w"}}) == [
        ("models", "components.bm25.fingerprint: x -> w")
    ]
    assert _changed(components=made["components"] | {"other": {}}) == []  # of another system
    assert _changed(versions={"numpy": "2.0", "torch": "2.2"}) == [("versions", "versions.torch: 2.1 -> 2.2")]
    assert _changed(versions={"numpy": "2.0"}) == [("versions", "versions.torch: 2.1 -> (none)")]
    assert _changed(code={"lexical": "2"}) == [("code", "code.lexical: 1 -> 2")]
    assert _changed(collection=made["collection"] | {"judgments_fingerprint": "4"})[0][0] == "judgments"
    assert _changed(collection=made["collection"] | {"queries_fingerprint": "4"})[0][0] == "queries"
    assert _changed(collection=made["collection"] | {"corpus": "4"})[0][0] == "corpus"
    assert _changed(plugins={"lexical": "0.1.0", "/home/you/nirank_plugin.py": ""}) == []
    assert _changed(machine=made["machine"] | {"threads": {"torch": 2}}) == [
        ("machine", "machine.threads.torch: 1 -> 2")
    ]
    assert _changed(machine=made["machine"] | {"cpu": {"features": ["a", "b", "c", "e"]}}) == [
        ("machine", "machine.cpu.features: d -> e")
    ]
    assert _changed(experiment={"numbers": {"k": 1}}) == []  # which the other one does not tell


def test_components_of_one_kind_and_other_names_are_compared():
    other = _manifest(
        pipelines={"one": "tuned % 100 >> minilm"},
        components={
            "tuned": {"use": "generator/bm25", "settings": {"k1": 1.2, "b": 0.4}, "fingerprint": "x"},
            "minilm": {"use": "encoder/minilm", "settings": {}, "fingerprint": "y"},
        },
    )
    found = [str(row) for row in changes(_manifest(), other, ("one", "one")).rows]
    assert found == [
        "components.bm25.settings.k1: 0.9 -> 1.2",
        "pipeline: bm25 % 100 >> minilm -> tuned % 100 >> minilm",
    ]


def test_former_manifests_are_compared_as_far_as_they_go():
    former = {key: value for key, value in _manifest().items() if key not in ("machine", "code")}
    former["versions"] = {"numpy": "1.9"}
    found = changes(former, _manifest(), ("one", "one"))
    assert [str(row) for row in found.rows] == ["versions.numpy: 1.9 -> 2.0"]
    assert found.unknown == (
        "The manifest of run a does not tell code.",
        "The manifest of run a does not tell machine.",
    )
    assert "neither" not in str(found)
    assert changes(None, _manifest(), ("one", "one")).unknown[0].startswith("Nothing is known of what run a")


# Folders


EXPERIMENT = """
collection = "beir:{data}"
[pipelines]
{pipelines}
[stage.bm25]
k1 = {k1}
[evaluate]
measures = ["nDCG@10"]
"""
TEXTS = ["red apple pie", "green pear", "red red wine", "apple wine vinegar", "pear pie and more pie", "blue sky"]


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Results of four experiments: as it is, with edited judgments, with another k1, and with two systems."""
    place = tmp_path_factory.mktemp("folders")
    for name, grade in (("data", 2), ("edited", 0)):
        (place / name).mkdir()
        documents = [{"_id": f"d{number}", "text": text} for number, text in enumerate(TEXTS)]
        (place / name / "corpus.jsonl").write_text("\n".join(map(json.dumps, documents)))
        asked = [{"_id": f"q{number}", "text": text} for number, text in enumerate(["red apple", "pie pear", "wine"])]
        (place / name / "queries.jsonl").write_text("\n".join(map(json.dumps, asked)))
        _qrels(place / name / "qrels.txt", {"q0": {"d2": grade, "d3": 1}, "q1": {"d1": 1, "d4": 0}, "q2": {"d3": 1}})
    for name, data, k1, pipelines in (
        ("base", "data", 0.9, 'bm25 = "bm25"'),
        ("other-judgments", "edited", 0.9, 'bm25 = "bm25"'),
        ("other-k1", "data", 5.0, 'bm25 = "bm25"'),
        ("two", "data", 0.9, 'bm25 = "bm25"\ntwice = "bm25 % 3 >> 2 * bm25"'),
    ):
        text = EXPERIMENT.format(data=place / data, k1=k1, pipelines=pipelines)
        (place / f"{name}.toml").write_text(text)
        nirank.run(place / f"{name}.toml", place / name)
    return place


def test_edited_judgments_are_named(folders):
    found = nirank.why_different(
        folders / "base", folders / "other-judgments", folders / "data" / "qrels.txt", "nDCG@10"
    )
    assert found.agreement.same_bits == found.agreement.queries == 3
    assert [row.path for row in found.changes.about("judgments")] == ["collection.judgments_fingerprint"]
    assert {row.about for row in found.changes.rows} == {"judgments", "collection"}
    assert found.judged_as == "a"
    told = str(found)
    assert "The runs are the same to the bit for all 3 queries." in told
    assert "Different judgments: collection.judgments_fingerprint" in told
    assert "by these judgments" in told
    assert "a was measured by, and not b" in told
    back = nirank.why_different(
        folders / "base", folders / "other-judgments", folders / "edited" / "qrels.txt", "nDCG@10"
    )
    assert back.judged_as == "b"


def test_another_k1_is_named_with_the_stage(folders):
    qrels = folders / "data" / "qrels.txt"
    found = nirank.why_different(folders / "base", folders / "other-k1", qrels, recompute=True)
    assert [str(row) for row in found.changes.about("settings")] == ["components.bm25.settings.k1: 0.9 -> 5.0"]
    assert {row.about for row in found.changes.rows} == {"settings", "models"}
    assert found.stages.first.stage_a == "bm25"
    assert "not what its pipeline finds" not in found.stages.note
    unsearched = nirank.why_different(folders / "base", folders / "other-k1", qrels)
    assert unsearched.stages.first is None
    assert "cannot be known" in unsearched.stages.note
    assert "--recompute" in unsearched.stages.note


def test_another_number_of_threads_is_named(folders, tmp_path):
    pytest.importorskip("threadpoolctl")
    for threads in ("1", "2"):
        command = [sys.executable, "-m", "nirank", "run", str(folders / "base.toml"), "--out", str(tmp_path / threads)]
        variables = dict(_environment(), OMP_NUM_THREADS=threads)
        subprocess.run(command, env=variables, check=True, capture_output=True)
    found = nirank.why_different(tmp_path / "1", tmp_path / "2")
    paths = {row.path: (row.a, row.b) for row in found.changes.rows}
    assert paths["machine.environment.OMP_NUM_THREADS"] == ("1", "2")
    assert any(path.endswith("num_threads") and told == (1, 2) for path, told in paths.items())
    assert {row.about for row in found.changes.rows} == {"machine"}


def _environment():
    import os

    return os.environ


def test_a_folder_of_several_systems_needs_a_name(folders):
    with pytest.raises(BadInput, match=r"several systems.*bm25, twice.*bm25\.run"):
        nirank.why_different(folders / "two", folders / "base")
    named_ = nirank.why_different(folders / "two", folders / "base", system=("twice", "bm25"))
    assert named_.changes.about("settings")[-1].path == "pipeline"
    inside = nirank.why_different(folders / "two" / "twice.run", folders / "base")
    assert inside.changes == named_.changes
    with pytest.raises(UnknownName, match="system 'thrice'"):
        nirank.why_different(folders / "two", folders / "base", system="thrice")


def test_a_run_laid_beside_results_was_not_made_from_their_manifest(folders, tmp_path):
    shutil.copytree(folders / "base", tmp_path / "base")
    shutil.copy(folders / "base" / "bm25.run", tmp_path / "base" / "lucene.run")
    found = nirank.why_different(tmp_path / "base" / "lucene.run", tmp_path / "base")
    assert found.changes.rows == ()
    assert "run a was made from" in found.changes.unknown[0]


def test_a_folder_of_a_former_version_still_opens(folders, tmp_path):
    shutil.copytree(folders / "base", tmp_path / "former")
    manifest = json.loads((tmp_path / "former" / "manifest.json").read_text())
    for key in ("code", "machine"):
        del manifest[key]
    for key in ("queries_fingerprint", "judgments_fingerprint"):
        del manifest["collection"][key]
    (tmp_path / "former" / "manifest.json").write_text(json.dumps(manifest))
    (tmp_path / "former" / "measures.json").unlink()
    (tmp_path / "former" / "experiment.toml").unlink()
    found = nirank.why_different(tmp_path / "former", folders / "base", folders / "data" / "qrels.txt")
    assert found.agreement.same_bits == 3
    assert found.judged_as is None
    assert "does not tell machine" in str(found)


def test_results_in_python_are_sides_too(folders):
    results = nirank.run(folders / "base.toml"), nirank.run(folders / "other-k1.toml")
    found = nirank.why_different(*results)
    assert [str(row) for row in found.changes.about("settings")] == ["components.bm25.settings.k1: 0.9 -> 5.0"]
    assert found.stages.first.stage_a == "bm25"
    assert found.measures[0].queries == 3
    two = nirank.run(folders / "two.toml")
    with pytest.raises(BadInput, match="several systems, bm25, twice"):
        nirank.why_different(two, two)
    systems = nirank.why_different(two.systems["bm25"], two.systems["twice"], two.collection.judgments)
    assert systems.names == ("bm25", "twice")


def test_evaluations_have_figures_alone(folders):
    collection = _collection()
    one, other = (
        nirank.evaluate(Candidates.of(docs).over(collection.corpus).for_queries(["q1", "q2"]), collection.judgments)
        for docs in ([[0, 1], [1]], [[1, 0], [1]])
    )
    found = nirank.why_different(one, other)
    assert found.agreement is None
    assert found.measures[0].parts is None
    assert found.measures[0].difference == pytest.approx(other["nDCG@10"] - one["nDCG@10"])
    assert "nDCG@10" in found._repr_html_()
    run = Candidates.of([[0, 1], [1]]).over(collection.corpus).for_queries(["q1", "q2"])
    assert nirank.why_different(one, run, collection.judgments).measures[0].difference == 0
    shallow = nirank.evaluate(run, collection.judgments, depth=1)
    cut = nirank.why_different(shallow, run, collection.judgments, depth=1)
    assert [row.difference for row in cut.measures] == [0] * len(cut.measures)
    with pytest.raises(BadInput, match="an evaluation can only be compared"):
        nirank.why_different(one, run)


def test_candidates_with_judged_documents_beyond_their_corpus():
    collection = _collection()
    judged = replace(collection, judgments=Candidates.of([[0, 99], [1, 50]], [[1, 1], [1, 0]]))
    runs = [
        Candidates.of(docs).over(collection.corpus).for_queries(["q1", "q2"]) for docs in ([[0], [1]], [[1, 0], [1]])
    ]
    found = nirank.why_different(*runs, judged.judgments, ["R@10"])
    assert found.measures[0].a == 0.75
    assert found.measures[0].difference == 0


def test_runs_that_found_nothing():
    collection = _collection()
    empty = Candidates.empty(2, collection.corpus).for_queries(["q1", "q2"])
    found = nirank.why_different(empty, empty, collection.judgments)
    assert (found.agreement.queries, found.agreement.overlap) == (0, 1.0)
    assert found.measures[0].difference == 0
    some = Candidates.of([[0], []]).over(collection.corpus).for_queries(["q1", "q2"])
    against = nirank.why_different(empty, some, collection.judgments, "R@5")
    assert against.measures[0].parts.documents == against.measures[0].difference == 0.25
    str(found), str(against), against._repr_html_()


# What is refused


def test_what_cannot_be_compared_is_told(tmp_path, folders):
    a = _run(tmp_path / "a.run", {"q": ["x"]})
    other = _run(tmp_path / "other.run", {"r": ["x"]})
    empty = tmp_path / "empty.run"
    empty.write_text("")
    qrels = _qrels(tmp_path / "qrels", {"z": {"x": 1}})
    for message, wrong in (
        ("no query in common: a has 'q', b has 'r'", (a, other)),
        ("the judgments are of other queries: they have 'z'", (a, a, qrels)),
        (r"empty\.run: there are no lines", (a, empty)),
        ("without manifest.json", (a, tmp_path)),
        ("a run is expected: the path of a file", (a, 3)),
        ("without a corpus cannot be compared", (a, Candidates.of([[0]]))),
        ("judgments cannot be a dict", (a, a, {"q": {"x": 1}})),
    ):
        with pytest.raises(BadInput, match=message):
            nirank.why_different(*wrong)
    corpus = Documents(["x", "y"], ["x", "y"])
    twice = Candidates.of([[0, 1], [1, 0]], corpus=corpus).for_queries(["q", "q"])
    for message, wrong in (
        ("several queries of the id 'q'", (twice, a)),
        ("several queries of the id 'q'", (a, a, twice)),
        ("twice among the candidates", (Candidates.of([[0, 0]], corpus=corpus).for_queries(["q"]), a)),
    ):
        with pytest.raises(BadInput, match=message):
            nirank.why_different(*wrong)
    with pytest.raises(BadInput, match="one name, or two"):
        nirank.why_different(a, a, system=("one",))
    with pytest.raises(NirankError):
        nirank.why_different(a, tmp_path / "missing.run")
    with pytest.raises(UnknownName):
        nirank.why_different(a, a, _qrels(tmp_path / "good", {"q": {"x": 1}}), ["nDGC@10"])
    with pytest.raises(BadInput, match="give `collection` too"):
        nirank.why_different(a, a, pipelines=(None, None))
    with pytest.raises(BadInput, match="depth = 0"):
        nirank.why_different(a, a, depth=0)
    with pytest.raises(BadInput, match="persistence"):
        nirank.why_different(a, a, p=1.5)
    with pytest.raises(UnknownName, match="order of ties"):
        nirank.why_different(a, a, ties="random")
    shutil.copytree(folders / "base", tmp_path / "broken")
    (tmp_path / "broken" / "manifest.json").write_text("{")
    with pytest.raises(DamagedFile, match=r"manifest\.json: cannot be read"):
        nirank.why_different(tmp_path / "broken", a)
    (tmp_path / "broken" / "manifest.json").write_text("[]")
    with pytest.raises(DamagedFile, match="no table"):
        nirank.why_different(tmp_path / "broken", a)


@pytest.mark.parametrize(
    "told", [{}, {"pipelines": 3}, {"components": []}, {"collection": "x"}, {"versions": None, "machine": 1}]
)
def test_odd_manifests_end_in_no_raw_error(folders, tmp_path, told):
    shutil.copytree(folders / "base", tmp_path / "odd")
    (tmp_path / "odd" / "manifest.json").write_text(json.dumps(told))
    for pair in itertools.permutations([tmp_path / "odd", folders / "base"]):
        found = nirank.why_different(*pair, folders / "data" / "qrels.txt")
        assert found.agreement.same_bits == 3
        str(found)


# As it is shown


def test_what_is_shown_has_no_markup_of_others(tmp_path):
    a, b = {"<b>q</b>": ["<i>x</i>", "y"]}, {"<b>q</b>": ["y", "<i>x</i>"]}
    found = _compared(tmp_path, a, b, {"<b>q</b>": {"<i>x</i>": 1}})
    html = found._repr_html_()
    assert "<b>q</b>" not in html
    assert "&lt;i&gt;x&lt;/i&gt;" in html
    json.dumps(found.to_dict(), allow_nan=False)


def _command(*arguments):
    command = [sys.executable, "-m", "nirank", "why-different", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_the_command_prints_tables_or_json(folders):
    asked = (folders / "base", folders / "other-k1", folders / "data" / "qrels.txt", "-m", "RR@10")
    told = _command(*asked)
    assert told.returncode == 0, told.stderr
    for text in ("components.bm25.settings.k1", "by rank changes", "found at 80%", "b minus a"):
        assert text in told.stdout
    made = json.loads(_command(*asked, "--json", "--recompute").stdout)
    assert made["changes"]["rows"][0]["about"] == "settings"
    assert made["stages"]["first"]["stage_a"] == "bm25"
    assert [row["name"] for row in made["measures"]] == ["RR@10"]
    refused = _command(folders / "two", folders / "base")
    assert refused.returncode == 2
    assert "Name one, such as" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_result_is_one_object():
    collection = _collection()
    run = Candidates.of([[0, 1], [1]]).over(collection.corpus).for_queries(["q1", "q2"])
    found = nirank.why_different(run, run, collection.judgments)
    assert isinstance(found, nirank.Differences)
    assert isinstance(nirank.evaluate(run, collection.judgments), Evaluation)
