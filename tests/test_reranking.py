"""The best of a ranking ranked anew, and rankings without the query itself."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.data import Documents, Queries
from nirank.errors import CompositionError
from nirank.pipeline import load

CORPUS = Documents(["a", "b", "c", "d", "e"], ["abc", "abcd", "ab", "abcde", "xyz"])
QUERIES = Queries(["a", "d", "stranger"], ["abc", "abcde", "ab"])


class Turned:
    """The overlap with its sign turned, so that the best become the last."""

    def __init__(self, overlap):
        self.overlap = overlap

    def score(self, queries, candidates):
        return -self.overlap.score(queries, candidates)


@pytest.fixture
def finder(overlap):
    return load(overlap.index_texts(CORPUS), "finder")


@pytest.fixture
def turned(overlap):
    return load(Turned(overlap), "turned")


def _lists(found):
    return [found[row][0].tolist() for row in range(len(found))]


def _slowly(ranking, scoring, k):
    """What `ranking >> top(k, scoring)` finds: its documents, one query at a time."""
    found = ranking.search(QUERIES, CORPUS)
    lists = []
    for row in range(len(found)):
        docs = found[row][0].tolist()
        best = found.take(np.array([row])).top(k)
        scores = scoring.score(QUERIES.take(np.array([row])), best).tolist()
        head = sorted(zip(best.docs.tolist(), scores, strict=True), key=lambda pair: (-pair[1], pair[0]))
        lists.append([doc for doc, _ in head] + docs[k:])
    return lists


@pytest.mark.parametrize("k", [1, 2, 3, 100])
def test_the_best_are_ranked_anew_and_the_rest_stay_behind_them_in_order(finder, turned, k):
    found = (finder >> nirank.top(k, turned)).search(QUERIES, CORPUS)
    assert _lists(found) == _slowly(finder, turned, k)
    assert found.is_ranked()


def test_the_best_have_the_scores_of_the_scoring_and_the_rest_fall_by_one_below_them(finder, turned):
    docs, scores = (finder >> nirank.top(2, turned)).search(QUERIES, CORPUS)[0]
    assert docs.tolist() == [0, 1, 3, 2]
    assert scores.tolist() == [-3, -3, -4, -5]


def test_a_query_has_the_same_ranking_alone(finder, turned):
    pipeline = finder >> nirank.top(2, turned)
    together = pipeline.search(QUERIES, CORPUS)
    for row in range(len(QUERIES)):
        alone = pipeline.search(QUERIES.take(np.array([row])), CORPUS)
        assert alone.docs.tolist() == together[row][0].tolist()
        assert alone.scores.tolist() == together[row][1].tolist()


def test_a_query_that_finds_nothing_still_finds_nothing(finder, turned):
    found = (finder >> nirank.top(2, turned)).search(Queries.of(["???", "ab"]), CORPUS)
    assert found.lengths.tolist() == [0, 4]
    assert len((finder >> nirank.top(2, turned)).search(Queries.of([]), CORPUS)) == 0


def test_the_document_with_the_id_of_the_query_is_left_out(finder):
    found = nirank.others(finder).search(QUERIES, CORPUS)
    assert _lists(found) == [[1, 3, 2], [1, 0, 2], [0, 1, 2, 3]]


def test_leaving_the_query_out_takes_its_place_or_not_as_it_is_written(finder):
    assert nirank.others(finder % 2).search(QUERIES, CORPUS).lengths.tolist() == [1, 1, 2]
    assert (nirank.others(finder) % 2).search(QUERIES, CORPUS).lengths.tolist() == [2, 2, 2]


def test_both_read_back_what_they_print(finder, turned):
    parts = {"finder": finder, "turned": turned}
    for text in (
        "others(finder) >> top(2, turned)",
        "others(finder % 3 >> turned) % 2",
        "finder >> top(1, turned + turned)",
    ):
        pipeline = nirank.parse(text, parts)
        again = nirank.parse(repr(pipeline), parts)
        assert repr(again) == repr(pipeline)
        assert _lists(again.search(QUERIES, CORPUS)) == _lists(pipeline.search(QUERIES, CORPUS))
        assert set(pipeline.components()) <= {finder.component, turned.component}


@pytest.mark.parametrize("k", [0, -1, 1.5, True, "2"])
def test_top_takes_a_whole_number(k, turned):
    with pytest.raises(CompositionError, match="whole number from 1"):
        nirank.top(k, turned)


def test_what_has_no_order_has_no_best_and_no_others(finder, turned):
    with pytest.raises(CompositionError, match="no order before"):
        (finder | finder) >> nirank.top(2, turned)
    with pytest.raises(CompositionError, match="no order before"):
        nirank.others(finder | finder)
    with pytest.raises(CompositionError, match="scores none but the documents that it finds"):
        nirank.top(2, finder % 3)
