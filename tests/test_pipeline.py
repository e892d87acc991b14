"""Composition: what the operators mean, what they refuse, and that text and objects say the same."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, ComponentError, CompositionError, UnknownName
from nirank.pipeline import Ranking, Stage, parse


class Letters:
    """An encoder: which of five letters occur."""

    vectors = "dense"

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        return np.array([[letter in content for letter in "abcde"] for content in contents], np.float32)


class LetterIndex:
    """A generator that searches vectors of letters."""

    searches = "dense"

    def build(self, corpus, folder, encode):
        np.save(folder / "v.npy", encode(corpus[:]))

    def open(self, corpus, folder):
        self.found = np.load(folder / "v.npy")

    def generate(self, queries, k):
        scores = queries.vectors @ self.found.T
        everything = [np.arange(len(self.found))] * len(queries)
        return Candidates.of(everything, list(scores)).top(k)


class First:
    """A scorer: how early in the alphabet a document begins."""

    def score(self, queries, candidates):
        return np.array([-ord((text or "~")[0]) for text in candidates.corpus[candidates.docs]], np.float32)


@pytest.fixture
def parts(overlap):
    return {
        "overlap": nirank.load(overlap, "overlap"),
        "letters": nirank.load(Letters(), "letters"),
        "index": nirank.load(LetterIndex(), "index"),
        "first": nirank.load(First(), "first"),
    }


def _docs(ranking, corpus, query="bcd"):
    return ranking.search(query, corpus)[0][0].tolist()


def test_a_generator_alone_is_a_ranking(parts, corpus):
    assert _docs(parts["overlap"], corpus) == [1, 0, 2]


def test_percent_keeps_the_best_and_is_pushed_into_the_generator(parts, corpus, monkeypatch):
    asked = []
    generate = type(parts["overlap"].component.target).generate
    monkeypatch.setattr(
        type(parts["overlap"].component.target),
        "generate",
        lambda self, queries, k: asked.append(k) or generate(self, queries, k),
    )
    assert _docs(parts["overlap"] % 2, corpus) == [1, 0]
    assert _docs(parts["overlap"] % 2 % 4, corpus) == [1, 0]
    assert asked == [2, 2]


def test_the_same_cut_is_the_same_ranking_and_another_is_another(parts):
    first = parts["overlap"]
    assert first % 5 is first % 5
    assert [repr(first % k) for k in (5, 7, 5, np.int64(7))] == ["overlap % 5", "overlap % 7"] * 2
    assert [repr(first % 5 % k) for k in (3, 9, 3)] == ["overlap % 3", "overlap % 5", "overlap % 3"]
    one = first % 1
    for k in (True, 1.0, 0, "1"):
        with pytest.raises(CompositionError, match="whole number from 1"):
            first % k
    assert one is first % 1


@pytest.mark.parametrize("name", ["overlap", "bm25"])
def test_a_text_is_searched_as_queries_are_before_its_index_is_open_and_after(parts, corpus, name):
    ranking = (parts["overlap"] if name == "overlap" else nirank.load(name)) % 2
    query = " ".join(corpus[:2])
    for found in (ranking.search(query, corpus), ranking.search(query, corpus)):
        several = ranking.search([query], corpus)
        assert len(found.docs) == 2
        assert found.corpus is corpus
        assert (found.docs.tolist(), found.scores.tolist()) == (several.docs.tolist(), several.scores.tolist())
        assert (found.query_ids, found.depth) == (several.query_ids, several.depth)


@pytest.mark.parametrize("text", ["a text", ["two", "texts"]])
def test_an_index_of_vectors_needs_its_encoder_though_it_is_open(parts, corpus, text):
    encoder, index = parts["letters"], parts["index"]
    (encoder >> index).search("bcd", corpus)
    with pytest.raises(CompositionError, match="searches dense vectors"):
        (index % 3).search(text, corpus)


def test_a_scorer_reorders_what_was_found(parts, corpus):
    assert _docs(parts["overlap"] % 2 >> parts["first"], corpus) == [0, 1]
    assert _docs((parts["overlap"] >> parts["first"]) % 1, corpus) == [0]


def test_an_encoder_searches_through_an_index_and_scores_as_a_reranker(parts, corpus):
    dense = parts["letters"] >> parts["index"] % 3
    assert _docs(dense, corpus) == [1, 0, 2]
    assert _docs(parts["overlap"] >> parts["letters"], corpus) == [1, 0, 2]


def test_weights_and_sums_are_those_of_the_scores(parts, corpus):
    queries, candidates = Queries.of(["bcd", "a"]), Candidates.of([[0, 1, 4], [2]], corpus=corpus)
    total = (0.5 * parts["first"] + parts["overlap"] * 2).score(queries, candidates)
    expected = 0.5 * parts["first"].score(queries, candidates) + 2 * parts["overlap"].score(queries, candidates)
    np.testing.assert_allclose(total, expected)


def test_a_union_is_scored_before_it_is_a_ranking(parts, corpus):
    union = parts["overlap"] % 1 | parts["letters"] >> parts["index"] % 2
    assert sorted(_docs(union >> parts["first"], corpus)) == [0, 1]
    for refused in (lambda: union.search("bcd", corpus), lambda: union % 3, lambda: nirank.fuse(union, union)):
        with pytest.raises(CompositionError, match=r"union has no order|does not order"):
            refused()


def test_fusing_by_reciprocal_ranks_is_the_formula(parts, corpus):
    fused = nirank.fuse(parts["overlap"], parts["overlap"] >> parts["first"], k=10, weights=[2, 1])
    docs, scores = fused.search("bcd", corpus)[0]
    expected = {0: 2 / 12 + 1 / 11, 1: 2 / 11 + 1 / 12, 2: 2 / 13 + 1 / 13}
    assert dict(zip(docs.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("overlap", "overlap"),
        ("overlap % 10", "overlap % 10"),
        ("overlap % 100 >> first", "(overlap % 100) >> first"),
        ("letters >> index % 100 >> 0.3 * first + letters", "(letters >> (index % 100)) >> ((0.3 * first) + letters)"),
        ("(overlap | letters >> index) >> first", "(overlap | (letters >> index)) >> first"),
        ("(overlap >> first) % 5", "(overlap >> first) % 5"),
        ("overlap >> first * -2", "overlap >> (-2.0 * first)"),
        (
            "fuse(overlap, letters >> index, weights=[1, 0.5], k=20) >> first",
            "fuse(overlap, letters >> index, method='rrf', k=20, weights=[1, 0.5]) >> first",
        ),
    ],
)
def test_repr_prints_the_parentheses_and_reads_back(parts, text, shown):
    pipeline = parse(text, parts)
    assert repr(pipeline) == shown
    assert repr(parse(shown, parts)) == shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("first % 3", "finds none"),
        ("overlap >> index", "no method `score`"),
        ("index", "write `encoder >> index`"),
        ("index % 3 >> first", "write `encoder >> index`"),
        ("index | overlap", "write `encoder >> index`"),
        ("letters % 3", "finds none"),
        ("letters >> overlap", "takes queries as they are"),
        ("letters >> first", "finds none"),
        ("overlap >> fuse(overlap, overlap)", "scores none"),
        ("overlap % 0", "whole number from 1"),
        ("overlap % 2.5", "whole number from 1"),
        ("overlap >> 3", "not a stage"),
    ],
)
def test_stages_that_do_not_fit_are_refused_when_composed(parts, corpus, text, message):
    with pytest.raises(CompositionError, match=message):
        parse(text, parts).search("b", corpus)


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "overlap.component",
        "(lambda: overlap)()",
        "overlap >> [first][0]",
        "overlap if 1 else first",
        "'overlap'",
        "overlap / first",
        "~overlap",
        "overlap >>",
        "",
        "fuse(overlap, overlap, k=open('x'))",
        "3",
    ],
)
def test_anything_but_names_numbers_and_operators_is_refused(parts, text):
    with pytest.raises(BadInput):
        parse(text, parts)


def test_an_unknown_name_lists_the_nearest(parts):
    with pytest.raises(UnknownName, match="bm25"):
        parse("bm52 >> first", parts)
    with pytest.raises(UnknownName, match="combsum"):
        nirank.fuse(parts["overlap"], parts["overlap"], method="combsom")


def test_a_plain_object_composes_without_being_registered(parts, corpus):
    assert _docs(parts["overlap"] >> First(), corpus) == [0, 1, 2]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (np.zeros(2), "score returned 2 results for 3 inputs"),
        (np.zeros((3, 1)), r"shape \(3, 1\) for 3 pairs"),
        (np.array([1.0, np.nan, 0.0]), "1 scores of 3 .*NaN"),
    ],
)
def test_a_scorer_that_returns_what_it_must_not_is_named(parts, corpus, result, message):
    class Faulty:
        def score(self, queries, candidates):
            return result

    with pytest.raises(ComponentError, match=f"Faulty.*{message}") as caught:
        (parts["overlap"] >> Faulty()).search("bcd", corpus)
    assert "ran score on 1 queries, 3 pairs" in "".join(caught.value.__notes__)


def test_an_exception_keeps_its_type_and_learns_where_it_was(parts, corpus):
    class Broken:
        def score(self, queries, candidates):
            raise KeyError("lost")

    with pytest.raises(KeyError, match="lost") as caught:
        (parts["overlap"] >> nirank.load(Broken(), "broken")).search("bcd", corpus)
    assert "while broken = Broken()" in caught.value.__notes__[0]


def test_scores_do_not_depend_on_the_batch(parts):
    contents = ["abc", "", "x" * 5000, "a b", "é", "bcd", "e"] * 9
    corpus = Documents([str(i) for i in range(len(contents))], contents)
    letters = parts["letters"].component.target
    pipeline = parts["letters"] >> parts["index"] % 20 >> parts["letters"]
    together = pipeline.search(["abc", "e", ""], corpus)
    letters.batch_size = 4
    again = pipeline.search(["abc", "e", ""], corpus)
    alone = [pipeline.search(text, corpus) for text in ("abc", "e", "")]
    for query in range(3):
        assert together[query][0].tolist() == again[query][0].tolist() == alone[query][0][0].tolist()


def test_no_queries_and_no_candidates_are_fine(parts, corpus):
    assert len((parts["overlap"] >> parts["first"]).search([], corpus)) == 0
    assert (parts["overlap"] >> parts["first"] + parts["letters"]).search("q", corpus).pairs == 0


def test_a_setting_for_an_object_that_is_built_is_refused(overlap):
    with pytest.raises(BadInput, match="built already"):
        nirank.load(overlap, weight=2)


# Feedback


class Told(Letters):
    """An encoder that is told what was found: the letters of the best documents. It notes what it was told."""

    feedback = True
    cacheable = False

    def encode(self, queries):
        self.seen = queries.found
        best = [queries.found[row][0][:1] for row in range(len(queries))]
        return self.encode_documents(["".join(queries.found.corpus[docs]) for docs in best])


@pytest.fixture
def feedback(parts):
    return parts | {"told": nirank.load(Told(), "told"), "again": nirank.load(Told(), "again")}


@pytest.mark.parametrize(
    "text",
    [
        "overlap >> told >> index",
        "overlap % 2 >> told >> (index % 3)",
        "overlap % 2 >> told >> index >> again >> index",
        "(overlap >> told >> index) % 2 >> first",
        "letters >> index >> told >> index % 2",
    ],
)
def test_feedback_composes_and_reads_back(feedback, corpus, text):
    pipeline = parse(text, feedback)
    again = parse(repr(pipeline), feedback)
    assert repr(again) == repr(pipeline)
    one, two = (each.search(["a", "b c"], corpus) for each in (pipeline, again))
    assert (one.docs.tolist(), one.scores.tolist()) == (two.docs.tolist(), two.scores.tolist())


def test_feedback_is_told_what_the_ranking_before_it_found(feedback, corpus):
    queries = Queries.of(["a", "b c"])
    first = (feedback["overlap"] % 2).search(queries, corpus)
    pipeline = feedback["overlap"] % 2 >> feedback["told"] >> feedback["index"]
    found = pipeline.search(queries, corpus)
    assert feedback["told"].component.target.seen.docs.tolist() == first.docs.tolist()
    best = [corpus[first[row][0][:1]][0] if len(first[row][0]) else "" for row in range(2)]
    assert found.scores.tolist() == (feedback["letters"] >> feedback["index"]).search(best, corpus).scores.tolist()
    assert [component.name for component in pipeline.components()] == ["overlap", "told", "index"]


@pytest.mark.parametrize(
    ("compose", "message"),
    [
        (lambda p: p["told"] >> p["index"], "write `ranking >> told >> index`"),
        (lambda p: (p["overlap"] | p["overlap"]) >> p["told"], "has no order before it is scored"),
        (lambda p: p["overlap"] >> p["told"] >> p["overlap"], "takes queries as they are"),
        (lambda p: p["overlap"] >> p["told"] >> p["first"], "finds none"),
    ],
)
def test_feedback_in_the_wrong_place_is_refused(feedback, compose, message):
    with pytest.raises(CompositionError, match=message):
        compose(feedback)
    with pytest.raises(BadInput, match="is not a pipeline"):
        parse("overlap >> told", feedback)


def test_what_was_found_goes_with_its_queries():
    queries = Queries.of(["a", "b", "c"]).with_found(Candidates.of([[1], [2, 3], []]))
    taken = queries.take(np.array([1, 0]))
    assert (taken.contents, taken.found.docs.tolist()) == (["b", "a"], [2, 3, 1])
    assert queries.take(slice(0, 2)).with_vectors(np.zeros((2, 1))).found.docs.tolist() == [1, 2, 3]
    with pytest.raises(BadInput, match="found has 1 rows for 3 queries"):
        queries.with_found(Candidates.of([[1]]))


def test_what_operators_make_is_known_to_a_type_checker():
    for made in (Ranking.__rshift__, Stage.__rshift__, Ranking.__mod__, Ranking.__or__):
        assert made.__annotations__["return"] == "Ranking"


def test_a_scorer_that_returns_nothing_is_told():
    class Nothing:
        def score(self, queries, candidates):
            return None

    ranking = nirank.load("bm25") % 3 >> nirank.load(Nothing(), "nothing")
    with pytest.raises(ComponentError, match="score returned None for 1 inputs"):
        ranking.search(["cat"], nirank.Documents(["1", "2"], ["small cat", "dog"]))
