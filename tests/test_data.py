"""The columns that everything flows through, against slow dictionaries of lists."""

from __future__ import annotations

import dataclasses
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nirank.data import Candidates, Collection, Documents, Queries
from nirank.errors import BadInput

_scores = st.sampled_from([-np.inf, -2.5, -0.0, 0.0, 1e-30, 0.5, 0.5, 3.0, 1e30])
_lists = st.lists(st.dictionaries(st.integers(0, 12), _scores, max_size=9), max_size=6)


def _candidates(lists: list[dict[int, float]]) -> Candidates:
    return Candidates.of([list(row) for row in lists], [list(row.values()) for row in lists])


def _slow_ranking(row: dict[int, float]) -> list[int]:
    return sorted(row, key=lambda doc: (-row[doc], doc))


def _docs(candidates: Candidates) -> list[list[int]]:
    return [candidates[query][0].tolist() for query in range(len(candidates))]


@given(_lists, st.integers(1, 12))
def test_top_k_is_the_slow_sort_by_falling_score_then_rising_ordinal(lists, k):
    best = _candidates(lists).top(k)
    assert _docs(best) == [_slow_ranking(row)[:k] for row in lists]
    for query, row in enumerate(lists):
        docs, scores = best[query]
        assert scores.tolist() == [np.float32(row[doc]) for doc in docs.tolist()]


@given(st.dictionaries(st.integers(0, 60), _scores, min_size=1, max_size=40), st.integers(0, 41))
def test_one_query_alone_is_ranked_by_the_same_rule(row, k):
    best = _candidates([row]).top(k)
    assert _docs(best) == [_slow_ranking(row)[:k]]
    assert best.docs.dtype == np.int64
    assert best.scores.tolist() == [np.float32(row[doc]) for doc in best.docs.tolist()]


def test_what_is_no_number_is_refused_of_few_documents_too():
    for docs, scores in ((range(3), [1.0, np.nan, 2.0]), (range(50), [np.nan] * 50)):
        with pytest.raises(BadInput, match="not a number"):
            Candidates.of_one(np.array(docs), np.array(scores, np.float32)).top(1)


def test_one_query_with_far_more_documents_than_the_others_is_ranked_alike():
    generator = np.random.default_rng(0)
    lists = [dict.fromkeys(range(3), 1.0)] * 2000 + [dict(enumerate(generator.integers(0, 9, 5000).astype(float)))]
    for k in (1, 7, 6000):
        assert _docs(_candidates(lists).top(k)) == [_slow_ranking(row)[:k] for row in lists]


@given(_lists, _lists)
def test_union_has_each_document_once_with_its_higher_score(left, right):
    size = min(len(left), len(right))
    left, right = left[:size], right[:size]
    union = _candidates(left).union(_candidates(right))
    for query in range(size):
        expected = {doc: max(side[doc] for side in (left[query], right[query]) if doc in side)
                    for doc in left[query].keys() | right[query].keys()}  # fmt: skip
        docs, scores = union[query]
        assert dict(zip(docs.tolist(), scores.tolist(), strict=True)) == pytest.approx(expected)
        assert docs.tolist() == sorted(expected)


@given(_lists, _lists)
def test_lookup_finds_what_a_dictionary_finds(left, right):
    size = min(len(left), len(right))
    left, right = left[:size], right[:size]
    found = _candidates(left).lookup(_candidates(right), default=-7)
    assert found.tolist() == [np.float32(right[q].get(doc, -7)) for q, row in enumerate(left) for doc in row]


@given(_lists, st.data())
def test_take_and_where_keep_the_right_pairs(lists, data):
    candidates = _candidates(lists)
    rows = data.draw(st.lists(st.integers(0, len(lists) - 1), max_size=5)) if lists else []
    taken = candidates.take(np.array(rows, np.int64))
    assert _docs(taken) == [list(lists[row]) for row in rows]
    kept = candidates.where(candidates.docs % 2 == 0)
    assert _docs(kept) == [[doc for doc in row if doc % 2 == 0] for row in lists]


def test_padded_views_mask_what_is_not_there():
    docs, scores, mask = Candidates.of([[4, 2], [], [1]], [[0.5, -1], [], [2]]).padded()
    assert docs.tolist() == [[4, 2], [-1, -1], [1, -1]]
    assert scores.tolist() == [[0.5, -1], [-np.inf, -np.inf], [2, -np.inf]]
    assert mask.tolist() == [[True, True], [False, False], [True, False]]


def test_stacking_puts_queries_one_after_the_other():
    parts = [Candidates.of([[1], []], [[2.0], []]), Candidates.of([[5, 0]], [[1.0, 3.0]])]
    assert _docs(Candidates.stack(parts)) == [[1], [], [5, 0]]
    assert len(Candidates.stack([])) == 0


def test_scores_that_are_no_numbers_are_refused():
    with pytest.raises(BadInput, match="1 of 2 scores are not a number"):
        Candidates.of([[1, 2]], [[np.nan, 1.0]]).ranked()


@pytest.mark.parametrize(
    ("offsets", "docs", "scores"),
    [([0, 1], [1, 2], [1, 2]), ([1, 2], [1, 2], [1, 2]), ([0, 2], [1, 2], [1]), ([0, 2, 1, 2], [1, 2], [1, 2])],
)
def test_columns_that_do_not_fit_are_refused(offsets, docs, scores):
    with pytest.raises(BadInput):
        Candidates(np.array(offsets), np.array(docs), np.array(scores))


def test_documents_are_ordinals():
    with pytest.raises(BadInput, match="ordinals"):
        Candidates(np.array([0, 1]), np.array(["d1"]), np.array([1.0]))


def test_queries_of_a_text_of_texts_and_of_queries():
    one = Queries.of("two words")
    assert (one.ids, one.contents) == (["1"], ["two words"])
    assert Queries.of(["a", "b"]).ids == ["1", "2"]
    assert Queries.of(one) is one
    assert Queries.of(Path("cat.png")).contents == [Path("cat.png")]
    with pytest.raises(BadInput, match="2 query ids for 1"):
        Queries(["1", "2"], ["a"])


def test_queries_keep_their_vectors_when_taken():
    queries = Queries(["x", "y", "z"], ["1", "2", "3"]).with_vectors(np.arange(6).reshape(3, 2))
    taken = queries.take(np.array([2, 0]))
    assert (taken.ids, taken.vectors.tolist()) == (["z", "x"], [[4, 5], [0, 1]])


def test_a_collection_needs_a_row_of_judgments_for_each_query():
    corpus = Documents(["d"], ["text"])
    with pytest.raises(BadInput, match="2 queries with judgments of 1"):
        Collection("tiny", corpus, Queries.of(["a", "b"]), Candidates.empty(1))
    collection = Collection("tiny", corpus, Queries.of(["a", "b"]), Candidates.of([[0], []], [[1], []]))
    assert repr(collection) == "<Collection tiny: 1 documents, 2 queries, 1 judgments>"
    assert collection.take(slice(1, 2)).queries.contents == ["b"]


@pytest.mark.parametrize("pairs", [0, 1, 2, 3, 32, 33, 100])
def test_one_query_with_few_documents_is_looked_at_as_many_are(pairs):
    generator = np.random.default_rng(pairs)
    for _ in range(50):
        docs = generator.permutation(200)[:pairs]
        scores = generator.choice([0.0, 1.0, np.nan], pairs, p=[0.45, 0.54, 0.01]).astype(np.float32)
        if generator.random() < 0.6:
            order = np.lexsort((docs, -scores))
            docs, scores = docs[order], scores[order]
        one = Candidates(np.array([0, pairs]), docs, scores)
        two = Candidates(np.array([0, pairs, pairs]), docs, scores)  # the same, by numpy
        assert one.is_ranked() == two.is_ranked()
        assert one.longest == two.longest == pairs
        assert one.extent == ((docs.min(), docs.max()) if pairs else (0, -1))


# The best of a matrix of scores


def _best_by_sorting(scores, k):
    """The same, slowly: each row's documents sorted by falling score, then rising ordinal."""
    found = [[(-score, doc) for doc, score in enumerate(row) if score != -np.inf] for row in scores.tolist()]
    return [[(doc, -score) for score, doc in sorted(row)[:k]] for row in found]


def _as_pairs(candidates):
    return [
        list(zip(docs.tolist(), scores.tolist(), strict=True))
        for docs, scores in map(candidates.__getitem__, range(len(candidates)))
    ]


def test_candidates_of_one_query_are_those_of_any():
    docs, scores, corpus = np.array([3, 1], np.int32), np.array([2.0, 1.0], np.float32), Documents(["a"], ["b"])
    one, any_ = Candidates.of_one(docs, scores, corpus), Candidates([0, 2], docs, scores, corpus)
    for name in (each.name for each in dataclasses.fields(Candidates)):
        assert getattr(one, name) is getattr(any_, name) or np.array_equal(getattr(one, name), getattr(any_, name))
    for read in (one, pickle.loads(pickle.dumps(one.over(None)))):
        assert (len(read), read.depth, read.query_ids, read.lost, read.extent) == (1, None, None, (), (1, 3))
        assert read.for_queries(["q"]).query_ids == ["q"]
    with pytest.raises(ValueError, match="read-only"):
        one.offsets[1] = 1  # which all candidates of so many documents share


def test_one_query_is_one_of_several():
    one, many = Queries.of_one("a cat"), Queries.of(["a cat"])
    assert one == many
    assert (one.vectors, one.found, one.with_vectors("v").vectors) == (None, None, "v")
    assert pickle.loads(pickle.dumps(one)) == many


@pytest.mark.parametrize("k", [0, 1, 3, 12, 40])
@pytest.mark.parametrize("at_once", [1, 30, 2**22])
def test_the_best_of_a_matrix_are_those_that_sorting_finds(monkeypatch, k, at_once):
    monkeypatch.setattr("nirank.data.candidates._SCORES_AT_ONCE", at_once)
    rng = np.random.default_rng(k)
    scores = rng.integers(-2, 3, (9, 12)).astype(np.float32)  # few values: nearly all tie
    scores[rng.random(scores.shape) < 0.3] = -np.inf
    scores[0], scores[1, 3] = -np.inf, np.inf
    found = Candidates.from_scores(scores, k)
    assert _as_pairs(found) == _best_by_sorting(scores, k)
    assert found.is_ranked()
    assert _as_pairs(Candidates.from_scores(scores.astype(np.float64)[:, ::-1], k)) == _best_by_sorting(
        scores[:, ::-1], k
    )


def test_the_best_of_a_tensor_and_of_an_empty_matrix_know_their_corpus():
    torch = pytest.importorskip("torch")
    corpus = Documents(["d1", "d2", "d3"], ["a", "b", "c"])
    scores = torch.tensor([[0.5, 2.0, 2.0], [-0.0, 0.0, -1.0]], requires_grad=True)
    assert _as_pairs(Candidates.from_scores(scores.bfloat16(), 2)) == [[(1, 2.0), (2, 2.0)], [(0, 0.0), (1, 0.0)]]
    assert Candidates.from_scores(scores, 2, corpus).corpus is corpus
    empty = Candidates.from_scores(np.empty((0, 3)), 2, corpus)
    assert (len(empty), empty.corpus) == (0, corpus)
    with pytest.raises(BadInput, match="3 documents for a corpus of 1"):
        Candidates.from_scores(scores, 2, Documents(["d"], ["text"]))
    assert _docs(Candidates.from_scores(np.empty((2, 0)), 2)) == [[], []]


@pytest.mark.parametrize(
    ("scores", "k", "message"),
    [
        ([[0.0, np.nan]], 1, "1 of 2 scores are not a number"),
        ([0.0, 1.0], 1, r"shape \(2,\); a matrix"),
        ([[0.0, 1.0]], -1, "k = -1"),
    ],
)
def test_a_matrix_that_cannot_be_ranked_is_refused(scores, k, message):
    with pytest.raises(BadInput, match=message):
        Candidates.from_scores(np.array(scores), k)
