"""Explanations of pipelines: parts that add up to the score that a search gives, with marks that lie in the texts."""

import numpy as np
import pytest

from nirank import (
    Documents,
    apply,
    expanded,
    fuse,
    load,
    normalise,
    others,
    passages,
    rewrite,
    route,
    score_by,
    scores,
    top,
    variants,
    where,
)
from nirank.data import Explanation
from nirank.errors import BadInput, ComponentError, CompositionError

CORPUS = Documents(
    list("abcdef"),
    [
        "The cats sat on a mat; a cat!",
        "A dog ran over the bridge",
        "Café CAFÉ cafe\N{COMBINING ACUTE ACCENT} 東京都 cats",
        "small dogs and small cats sat",
        "a bridge of small stones",
        "nothing of interest",
    ],
)
QUERY = "small cats sat on a bridge"


@pytest.fixture(scope="module")
def bm25():
    return load("bm25")


@pytest.fixture(scope="module")
def ql():
    return load("ql")


def _found(ranking, query, name):
    """The score with which a search finds a document."""
    found = ranking.search(query, CORPUS)
    docs, scores = found[0]
    return scores[CORPUS.ids.take(docs).index(name)]


def _told(explanation):
    return {part.label: part.score for part in explanation.parts}


def _check(ranking, name="d", query=QUERY):
    explanation = ranking.explain(query, name, CORPUS)
    assert np.float32(explanation.score) == pytest.approx(_found(ranking, query, name), rel=1e-6)
    assert explanation.adds_up()
    for mark in explanation.document_marks:
        assert 0 <= mark.start < mark.end <= len(explanation.document)
    for mark in explanation.query_marks:
        assert 0 <= mark.start < mark.end <= len(explanation.query)
    return explanation


@pytest.mark.parametrize("variant", ["lucene", "robertson", "atire", "bm25l", "bm25+"])
def test_bm25_is_the_sum_of_its_terms(variant):
    explanation = _check(load("bm25", variant=variant))
    assert sorted(_told(explanation)) == ["bridg", "cat", "sat", "small"]
    assert _told(explanation)["bridg"] == 0


def test_bm25_by_hand(bm25):
    """Idf and saturation of each term, written out."""
    terms = {"small": (2, 2), "cat": (1, 3), "sat": (1, 2), "bridg": (0, 2)}  # tf and df
    lengths = np.array([4, 4, 7, 5, 3, 2])  # without a, and, of, on, the
    norm = 0.9 * (1 - 0.4 + 0.4 * 5 / lengths.mean())
    expected = {t: np.log1p((6 - df + 0.5) / (df + 0.5)) * tf / (tf + norm) for t, (tf, df) in terms.items()}
    assert _told(bm25.explain(QUERY, "d", CORPUS)) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("smoothing", ["dirichlet", "jelinek-mercer"])
def test_query_likelihood_has_the_length_of_the_document_as_a_part(smoothing):
    explanation = _check(load("ql", smoothing=smoothing))
    assert ("length of the document" in _told(explanation)) == (smoothing == "dirichlet")


def test_tfidf_is_the_sum_of_its_terms():
    assert sorted(_told(_check(load("tfidf")))) == ["bridg", "cat", "sat", "small"]


def test_words_are_marked_where_they_stand_whatever_their_form(bm25):
    explanation = _check(bm25, "c", "cat CAFÉ 京")
    marked = [explanation.document[mark.start : mark.end] for mark in explanation.document_marks]
    assert marked == ["Café", "CAFÉ", "京", "cats"]  # composed letters match, and others do not in English
    assert [explanation.query[mark.start : mark.end] for mark in explanation.query_marks] == ["cat", "CAFÉ", "京"]


def test_marks_of_a_repeated_word_share_its_part(bm25):
    explanation = bm25.explain("small", "d", CORPUS)
    assert [mark.weight for mark in explanation.document_marks] == pytest.approx([explanation.score / 2] * 2)


def test_a_sum_has_its_terms_as_parts(bm25, ql):
    explanation = _check(bm25 >> (0.3 * bm25 + ql - 2 * bm25))
    own = bm25.explain(QUERY, "d", CORPUS).score
    assert _told(explanation) == pytest.approx(
        {"0.3 * bm25": 0.3 * own, "ql": ql.explain(QUERY, "d", CORPUS).score, "-(2.0 * bm25)": -2 * own}, rel=1e-5
    )
    assert len(explanation.parts[0].parts) == 4


@pytest.mark.parametrize(
    "method", ["rrf", "combsum", "combmnz", "combgmnz", "wmnz", "combanz", "isr", "log_isr", "rbc", "borda"]
)
def test_a_fused_score_is_the_sum_of_what_each_list_brings(bm25, ql, method):
    ranking = fuse(bm25 % 3, ql, method=method, weights=[0.3, 0.7])
    assert len(_check(ranking).parts) == 2


def test_rrf_by_hand(bm25, ql):
    parts = fuse(bm25, ql % 1).explain(QUERY, "a", CORPUS).parts
    assert [part.score for part in parts] == pytest.approx([1 / 63, 0.0])
    assert [part.note for part in parts] == ["rank 3 of 5 from bm25", "not among the 1 documents that ql % 1 found"]


@pytest.mark.parametrize("method", ["combmax", "combmin", "combmed", "condorcet"])
def test_a_fusion_that_is_no_sum_says_what_it_is(bm25, ql, method):
    explanation = _check(fuse(bm25, ql, method=method))
    assert not explanation.parts
    assert explanation.note


def test_a_reranker_tells_the_rank_that_it_found(bm25, ql):
    assert "rank 1 of 5 from bm25; rank 1 of 5" in (bm25 >> ql).explain(QUERY, "d", CORPUS).note
    assert "not among the 2 documents" in (bm25 % 2 >> ql).explain(QUERY, "b", CORPUS).note


def test_what_was_not_found_and_has_no_score_is_refused(bm25, ql):
    with pytest.raises(BadInput, match="'f' has no score to explain"):
        fuse(bm25, ql).explain(QUERY, "f", CORPUS)
    with pytest.raises(BadInput, match="no document 'x'"):
        bm25.explain(QUERY, "x", CORPUS)
    with pytest.raises(BadInput, match="one query"):
        bm25.explain(["one", "two"], "a", CORPUS)
    with pytest.raises(CompositionError, match="does not order"):
        (bm25 | ql).explain(QUERY, "a", CORPUS)


class Scorer:
    """Scores every document 1, and explains it as told."""

    def __init__(self, made):
        self.made = made

    def score(self, queries, candidates):
        return np.ones(candidates.pairs, np.float32)

    def explain(self, queries, candidates):
        return self.made


@pytest.mark.parametrize(
    ("made", "match"),
    [
        ([], "0 results for 1"),
        (["why not"], "an Explanation is expected"),
        ([Explanation("x", 1.0, (Explanation("a", 0.5), Explanation("b", 0.4)))], "leave 0.1 over"),
        ([Explanation("x", 1.0, (Explanation("a", 1.0, (Explanation("b", 0.4),)),))], "or a part by its own"),
    ],
)
def test_what_a_component_may_not_say(bm25, made, match):
    with pytest.raises(ComponentError, match=match):
        (bm25 >> Scorer(made)).explain(QUERY, "d", CORPUS)


def test_a_component_says_it(bm25):
    explanation = (bm25 >> Scorer([Explanation("x", 1.0, (Explanation("a", 0.5), Explanation("b", 0.5)))])).explain(
        QUERY, "d", CORPUS
    )
    assert _told(explanation) == {"a": 0.5, "b": 0.5}


# Every other kind of step


def _shouted(query):
    return query.replace("small", "bridge")


def test_normalised_scores_are_a_line_of_what_they_were_made_of(bm25, ql):
    for norm in ("minmax", "zscore", "sum", "max"):
        explanation = _check(bm25 >> 0.3 * normalise(bm25, norm) + ql)
        assert [part.label for part in explanation.parts[0].parts][1] == "shift of the list"
    assert "softmax among the 5 scores" in _check(bm25 >> normalise(bm25, "softmax")).note
    with pytest.raises(CompositionError, match="by the others of its list"):
        normalise(bm25).explain(QUERY, "d", CORPUS)


def test_scores_of_what_is_found_and_of_what_is_not(bm25, ql):
    scoring = scores(ql % 2, missing=0.5)
    assert len(_check(bm25 >> scoring).parts) == 5
    missing = _check(bm25 >> scoring, "b")
    assert (missing.score, missing.parts) == (0.5, ())
    assert "did not find it" in missing.note


def test_a_rewritten_query_is_explained_as_it_was_asked(bm25):
    for ranking in (rewrite(_shouted) >> bm25, bm25 >> (rewrite(_shouted) >> bm25)):
        explanation = _check(ranking)
        assert "for the query 'bridge cats sat on a bridge'" in explanation.note
        assert not explanation.query_marks
        assert "small" not in _told(explanation)


def test_variants_have_a_part_each(bm25):
    def both(query):
        return ["small cats", "bridge"]

    explanation = _check(variants(both) >> bm25)
    assert [part.label for part in explanation.parts] == ["small cats", "bridge"]
    assert explanation.parts[1].note == "not among the 2 documents found"


def test_routes_and_filters_explain_the_search_behind_them(bm25, ql):
    def kind(query):
        return "long"

    assert "sent to 'long'" in _check(route(kind, {"short": bm25, "long": ql})).note
    assert _check(bm25 >> where(lambda text: "cats" in text)).parts
    assert _check(bm25 % 5 >> where(lambda text: "cats" in text)).parts
    note = (bm25 >> where(lambda text: "bridge" in text)).explain(QUERY, "d", CORPUS).note
    assert "not among the 2 documents" in note


def test_reranking_the_best_leaves_places_behind(bm25, ql):
    ranking = bm25 >> top(2, ql)
    assert _check(ranking).parts
    behind = _check(ranking, "b")
    assert not behind.parts
    assert "behind the best 2" in behind.note
    assert _check(others(bm25)).parts


def test_a_second_list_is_moved_behind_the_first(bm25, ql):
    explanation = _check(bm25 % 1 ^ ql, "b")
    assert [part.label for part in explanation.parts] == ["ql", "moved behind the first list"]


def test_functions_say_that_they_say_nothing(bm25):
    def turned(queries, found):
        return found.with_scores(-found.scores)

    assert "as the function turned left it" in _check(bm25 >> apply(turned)).note
    assert "does not say" in _check(bm25 >> score_by(lambda query, text: len(text))).note


@pytest.mark.parametrize("fold", ["max", "first"])
def test_passages_are_marked_in_their_document(bm25, fold):
    explanation = _check(passages(bm25, words=2, stride=2, fold=fold))
    marked = [explanation.document[mark.start : mark.end] for mark in explanation.document_marks]
    assert marked == (["cats", "sat"] if fold == "max" else ["small"])
    assert f"of {3 if fold == 'max' else 1} (fold='{fold}')" in explanation.note


def test_a_mean_of_passages_has_each_as_a_part(bm25):
    explanation = _check(bm25 >> passages(bm25, words=2, stride=2, fold="mean", best=2))
    assert len(explanation.parts) == 2
    marked = {explanation.document[mark.start : mark.end] for mark in explanation.document_marks}
    assert marked == {"small", "cats", "sat"}


def test_expanded_documents_are_marked_in_their_own_text(bm25):
    class Writer:
        def write(self, contents):
            return ["small bridge" for _ in contents]

    for ranking in (expanded(bm25, Writer()), bm25 >> expanded(bm25, Writer())):
        explanation = _check(ranking)
        marked = {explanation.document[mark.start : mark.end] for mark in explanation.document_marks}
        assert marked == {"small", "cats", "sat"}
        assert _told(explanation)["bridg"] > 0


def test_marks_of_another_text_than_the_documents_stand_nowhere(bm25):
    corpus = Documents(["a", "b"], ["a long text of cats", "dogs"], {"title": ["cats", "cats and dogs"]})
    for ranking in (load("bm25", field="title"), passages(bm25, words=2, title="title"), passages(bm25, field="title")):
        for whole in (ranking, bm25 >> 0.5 * ranking):
            explanation = whole.explain("cats", "b", corpus)
            assert explanation.score > 0
            assert not _all_marks(explanation), whole
            assert explanation.query_marks


def _all_marks(explanation):
    return explanation.document_marks + tuple(mark for part in explanation.parts for mark in _all_marks(part))
