"""Rewritten queries: who reads them, whose ids they have, and what their results become."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, ComponentError, CompositionError

CORPUS = Documents(list("abcdef"), ["small cat", "big dog", "small dog", "red car", "a red dog", "cat car"])
ASKED = Queries(["q1", "q2", "q3"], ["cat", "dog", "car"])


class Words:
    """Finds and scores by shared words, and notes what it is asked."""

    def __init__(self):
        self.asked, self.scored, self.found = [], [], []

    def build(self, corpus, folder, encode=None):
        pass

    def open(self, corpus, folder):
        self.corpus = corpus

    def generate(self, queries, k):
        self.asked.append(list(queries.contents))
        self.found.append(queries.found)
        everything = Candidates.of([np.arange(len(self.corpus))] * len(queries), corpus=self.corpus)
        found = everything.with_scores(self._scores(queries, everything))
        return found.where(found.scores > 0).top(k)

    def score(self, queries, candidates):
        self.scored.append(list(queries.contents))
        return self._scores(queries, candidates)

    def _scores(self, queries, candidates):
        texts = candidates.corpus[candidates.docs]
        rows = candidates.rows.tolist()
        shared = [
            len(set(queries.contents[row].split()) & set(text.split())) for row, text in zip(rows, texts, strict=True)
        ]
        return np.array(shared, np.float32)


class Letters:
    """An encoder by which letters a text has."""

    vectors = "dense"

    def __init__(self):
        self.asked = []

    def encode(self, queries):
        self.asked.append(list(queries.contents))
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        return np.array([[text.count(letter) for letter in "abcdegimorst"] for text in contents], np.float32)


@pytest.fixture
def words():
    return nirank.load(Words(), "words")


def other(text):
    return {"cat": "dog", "dog": "red", "car": "nothing"}[text]


def louder(text):
    return f"{text} small"


def _lists(found):
    return [found[row][0].tolist() for row in range(len(found))]


def test_what_follows_reads_the_rewritten_query_and_ids_stay(words):
    found = (nirank.rewrite(other) >> words).search(ASKED, CORPUS)
    assert words.component.target.asked == [["dog", "red", "nothing"]]
    assert list(found.query_ids) == ["q1", "q2", "q3"]
    by_hand = words.search(Queries(["1", "2", "3"], ["dog", "red", "nothing"]), CORPUS)
    assert _lists(found) == _lists(by_hand) == [[1, 2, 4], [3, 4], []]


@pytest.mark.parametrize(
    ("written", "asked", "scored"),
    [
        ("rewrite(other) >> words >> words", "dog", "cat"),
        ("rewrite(other) >> (words >> words)", "dog", "dog"),
        ("words >> (rewrite(other) >> 1 * words)", "cat", "dog"),
        ("words >> (rewrite(other) >> words)", "cat", "dog"),
        ("words >> 0.5 * (rewrite(other) >> words)", "cat", "dog"),
        ("rewrite(other) >> words % 2 >> words", "dog", "cat"),
        ("rewrite(louder) >> rewrite(shout) >> words >> words", "cat small dog", "cat"),
        ("rewrite(louder) >> (rewrite(shout) >> words)", "cat small dog", None),
        ("(words | rewrite(other) >> words) >> words", "cat", "cat"),
    ],
)
def test_brackets_say_which_stages_read_it(words, written, asked, scored):
    functions = {f.__name__: nirank.load(_Named(f), f.__name__) for f in (other, louder)}
    functions["shout"] = nirank.load(_Named(lambda text: f"{text} dog"), "shout")
    ranking = nirank.parse(written, {"words": words, **functions})
    assert repr(nirank.parse(repr(ranking), {"words": words, **functions})) == repr(ranking)
    if ranking.scored:
        ranking.search(Queries(["q1"], ["cat"]), CORPUS)
    target = words.component.target
    assert target.asked[0] == [asked]
    assert target.scored == ([[scored]] if scored else [])


class _Named:
    """A component that rewrites by a function."""

    def __init__(self, function):
        self.function = function

    def rewrite(self, queries):
        return [self.function(text) for text in queries.contents]


def test_an_encoder_reads_it_and_an_index_follows(words):
    letters, exact = nirank.load(Letters(), "letters"), nirank.load("exact", device="cpu")
    plain = ((letters >> exact) % 3).search(["dog"], CORPUS)
    for written in ("rewrite(other) >> letters >> exact", "rewrite(other) >> (letters >> exact)"):
        ranking = nirank.parse(
            written, {"letters": letters, "exact": exact, "other": nirank.load(_Named(other), "other")}
        )
        assert repr(ranking) == "rewrite(other) >> (letters >> exact)"
        assert _lists((ranking % 3).search(["cat"], CORPUS)) == _lists(plain)
    scored = (words >> (nirank.rewrite(other) >> letters)).search(["cat"], CORPUS)
    assert letters.component.target.asked[-1] == ["dog"]
    assert scored.pairs == 2


def test_feedback_gives_a_rewriter_what_was_found(words):
    given = []

    def expanded(query, documents):
        given.append((query, documents))
        return f"{query} {documents[0] if documents else ''}"

    ranking = words % 2 >> nirank.rewrite(expanded, feedback=True) >> words
    assert repr(ranking) == "(words % 2) >> rewrite(expanded, feedback=True) >> words"
    found = ranking.search(ASKED, CORPUS)
    assert given == [
        ("cat", ["small cat", "cat car"]),
        ("dog", ["big dog", "small dog"]),
        ("car", ["red car", "cat car"]),
    ]
    assert words.component.target.asked[1][0] == "cat small cat"
    assert words.component.target.found[1] is None  # and the search after it does not get them
    assert found[0][0].tolist() == [0, 2, 5]
    for wrong in (
        lambda: words >> nirank.rewrite(other) >> words,
        lambda: nirank.rewrite(expanded, feedback=True) >> words,
    ):
        with pytest.raises(CompositionError, match="write `"):
            wrong()


def test_rewrites_are_fused_like_any_ranking(words):
    fused = nirank.fuse(words, nirank.rewrite(louder) >> words)
    assert repr(fused) == "fuse(words, rewrite(louder) >> words, method='rrf')"
    by_hand = nirank.fuse(words, words)
    assert fused.search(ASKED, CORPUS).pairs >= by_hand.search(ASKED, CORPUS).pairs


def test_variants_are_searched_each_and_fused(words):
    def several(text):
        return {"cat": ["cat", "dog", "red"], "dog": ["dog"], "car": ["nothing", "car"]}[text]

    ranking = nirank.variants(several, k=10) >> words
    assert repr(ranking) == "variants(several, method='rrf', k=10) >> words"
    found = ranking.search(ASKED, CORPUS)
    assert words.component.target.asked == [["cat", "dog", "red", "dog", "nothing", "car"]]
    for row, text in enumerate(ASKED.contents):
        expected = {}
        for variant in several(text):
            for rank, doc in enumerate(words.search([variant], CORPUS)[0][0].tolist(), start=1):
                expected[doc] = expected.get(doc, 0.0) + 1 / (10 + rank)
        assert dict(zip(*map(np.ndarray.tolist, found[row]), strict=True)) == pytest.approx(expected)
        assert found[row][0].tolist() == sorted(expected, key=lambda doc: (-np.float32(expected[doc]), doc))
    for wrong in ([], "dog", None, [3]):
        with pytest.raises(ComponentError, match="a list with at least one query is expected"):
            (nirank.variants(lambda text, wrong=wrong: wrong) >> words).search(["cat"], CORPUS)


def test_each_query_goes_by_its_own_route_and_results_keep_their_order(words):
    other_words = nirank.load(Words(), "others")

    def by_letter(text):
        return "d" if text == "dog" else "c"

    ranking = nirank.route(by_letter, {"c": words % 1, "d": nirank.rewrite(other) >> other_words})
    assert repr(ranking) == "route(by_letter, {'c': words % 1, 'd': rewrite(other) >> others})"
    found = ranking.search(ASKED, CORPUS)
    assert _lists(found) == [[0], [3, 4], [3]]
    assert (words.component.target.asked, other_words.component.target.asked) == ([["cat", "car"]], [["red"]])
    assert _lists((ranking >> words).search(Queries.of(["dog"]), CORPUS)) == [[4, 3]]
    assert len(ranking.search(Queries([], []), CORPUS)) == 0
    with pytest.raises(ComponentError, match="the function <lambda> returned 'x'; one of 'c' is expected"):
        nirank.route(lambda text: "x", {"c": words}).search(["a"], CORPUS)


def test_a_filter_goes_through_to_the_search(words):
    corpus = Documents(CORPUS.ids, CORPUS[:], {"red": ["red" in text for text in CORPUS]})
    routed = nirank.route(lambda text: "a", {"a": words})
    for ranking in (nirank.rewrite(louder) >> words, nirank.variants(lambda text: [text, "red"]) >> words, routed):
        filtered = (ranking >> nirank.where("red")) % 3
        assert "where('red')" in repr(filtered)
        full = ranking.search(ASKED, corpus)
        expected = full.where(np.array(corpus._columns["red"])[full.docs])
        assert [sorted(each) for each in _lists(filtered.search(ASKED, corpus))] == [
            sorted(each)[:3] for each in _lists(expected)
        ]


def test_depths(words):
    ranking = nirank.rewrite(other) >> words
    assert (ranking.depth, (ranking % 3).depth, ranking.at_depth(5).depth) == (1000, 3, 5)
    assert repr(ranking % 3) == "rewrite(other) >> (words % 3)"
    routed = nirank.route(other, {"a": words % 3, "b": words})
    assert (routed.depth, routed.at_depth(5).depth) == (1000, 5)


@pytest.mark.parametrize(
    ("rewrite", "told"),
    [
        (lambda self, queries: queries.contents[1:], "returned 2 results for 3 inputs"),
        (lambda self, queries: [3] * len(queries), "returned 3, which is no query"),
        (lambda self, queries: Queries(["x"] * 3, queries.contents), "queries of other ids"),
        (lambda self, queries: None, "returned None"),
    ],
)
def test_what_a_rewriter_should_not_return_is_told(words, rewrite, told):
    rewriter = type("Odd", (), {"rewrite": rewrite})()
    with pytest.raises(ComponentError, match=told):
        (nirank.rewrite(rewriter) >> words).search(ASKED, CORPUS)


def test_queries_that_become_empty_are_told(words, caplog):
    (nirank.rewrite(lambda text: " " if text == "cat" else text) >> words).search(ASKED, CORPUS)
    assert "<lambda> left 1 of 3 queries empty" in caplog.text


def test_what_does_not_fit_is_refused(words):
    rewriter = nirank.load(_Named(other), "other")
    for wrong, told in (
        (lambda: rewriter >> words, r"write `rewrite\(other\) >> ranking`"),
        (lambda: nirank.rewrite(3), "rewrite takes a function, not 3"),
        (lambda: nirank.rewrite(words), "words is a component"),
        (lambda: words >> nirank.variants(other), "comes before a search"),
        (lambda: nirank.variants(other) >> (words | words), "cannot be fused"),
        (lambda: nirank.route(other, {"a": words | words}), "no order before it is scored"),
        (lambda: nirank.rewrite(other) >> 3, "3 is not a stage"),
    ):
        with pytest.raises(CompositionError, match=told):
            wrong()
    for wrong in ({}, [words], {1: words}):
        with pytest.raises(BadInput, match="not a table of rankings by name"):
            nirank.route(other, wrong)


def test_a_rewriter_with_an_index_has_it_built(words):
    class Corrected(_Named):
        def build(self, corpus, folder, encode=None):
            (folder / "words.txt").write_text("\n".join(sorted({word for text in corpus for word in text.split()})))

        def open(self, corpus, folder):
            self.words = (folder / "words.txt").read_text().split("\n")

        def rewrite(self, queries):
            return [next(word for word in self.words if word[0] == text[0]) for text in queries.contents]

    found = (nirank.rewrite(Corrected(None)) >> words).search(["dawg"], CORPUS)
    assert words.component.target.asked == [["dog"]]
    assert found.pairs == 3
    assert [part.name for part in (nirank.rewrite(Corrected(None)) >> words).components()] == ["Corrected", "words"]
