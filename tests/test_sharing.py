"""What pipelines have in common is computed once in a block, with the results of computing it each time."""

from __future__ import annotations

import numpy as np
import pytest

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.execution import indexes, sharing
from nirank.experiments import latency
from nirank.pipeline.structure import structure

CORPUS = Documents([f"d{n}" for n in range(30)], [f"cat {'dog ' * (n % 7)} w{n}" for n in range(30)])
QUERIES = Queries(["a", "b", "c"], ["cat w3", "dog", "w7 dog"])


class Counted:
    """A generator that ranks by the number of the document, and counts how often it is asked for how many."""

    def __init__(self, prefixes=True, shift=0):
        self.prefixes, self.shift, self.asked = prefixes, shift, []

    def generate(self, queries, k):
        self.asked.append(k)
        docs = [list(range(min(k, 30)))] * len(queries)
        return Candidates.of(docs, [[100.0 - doc for doc in row] for row in docs])


class Scored:
    def __init__(self, factor=1.0):
        self.factor, self.pairs = factor, 0

    def score(self, queries, candidates):
        self.pairs += candidates.pairs
        return self.factor * ((candidates.docs * 7) % 11) + candidates.rows


def _search(pipeline):
    return pipeline.search(QUERIES, CORPUS)


def _same(one, other):
    for name in ("offsets", "docs", "scores"):
        np.testing.assert_array_equal(getattr(one, name), getattr(other, name))


def test_a_common_first_stage_is_searched_once_and_what_is_found_is_the_same():
    first = nirank.load(Counted(), "first")
    scorers = [nirank.load(Scored(n), f"s{n}") for n in (1.0, 2.0, -1.0)]
    pipelines = [first % 10 >> scorer for scorer in scorers] + [(first % 10 >> scorers[0]) % 3]
    apart = [_search(pipeline) for pipeline in pipelines]
    first.component.target.asked.clear()
    with sharing.sharing():
        for pipeline, expected in zip(pipelines, apart, strict=True):
            _same(_search(pipeline), expected)
    assert first.component.target.asked == [10]
    assert scorers[0].component.target.pairs == 3 * 30  # twice above, and once in the block
    _search(pipelines[0])
    assert first.component.target.asked == [10, 10], "nothing is kept behind the block"


def test_fewer_are_taken_from_more_only_where_that_is_promised():
    for prefixes, asked in ((True, [20, 25]), (False, [20, 5, 25, 3])):
        first = nirank.load(Counted(prefixes), "first")
        with sharing.sharing():
            for k in (20, 5, 25, 3):
                found = _search(first % k)
                assert found.docs.tolist() == list(range(k)) * 3
                assert found.depth == k
        assert first.component.target.asked == asked


def test_other_queries_another_corpus_and_other_components_are_searched_anew():
    one, other = nirank.load(Counted(), "first"), nirank.load(Counted(), "first")
    equal = Queries(list(QUERIES.ids), list(QUERIES.contents))
    with sharing.sharing():
        one.search(QUERIES, CORPUS)
        one.search(equal, CORPUS)
        one.search(QUERIES, Documents(CORPUS.ids, CORPUS[:]))
        other.search(QUERIES, CORPUS)
    assert one.component.target.asked == [30, 30, 30]
    assert other.component.target.asked == [30]


def test_pipelines_are_the_same_where_all_their_parts_are():
    a, b, s = (nirank.load(Counted(), "a"), nirank.load(Counted(), "b"), nirank.load(Scored(), "s"))
    same = [
        lambda: a % 10 >> 0.5 * s,
        lambda: nirank.fuse(a, b, k=30.0),
        lambda: a % 5 | b,
        lambda: a >> nirank.top(3, s),
    ]
    for make in same:
        assert structure(make()) == structure(make())
    kinds = [a % 10, a % 11, b % 10, a % 10 >> s, a % 10 >> 0.5 * s, a % 10 >> 0.6 * s, a % 10 >> s + s,
             nirank.fuse(a, b), nirank.fuse(b, a), nirank.fuse(a, b, k=30.0), nirank.fuse(a, b, weights=[1, 2]),
             a | b, b | a, a >> nirank.top(3, s), a >> nirank.top(4, s), nirank.others(a)]  # fmt: skip
    assert len({structure(kind) for kind in kinds}) == len(kinds)


@pytest.mark.parametrize("text", ["bm25 % 10 >> rm3 >> bm25", "fuse(bm25, ql) % 7", "bm25 % 9 >> 0.5 * ql + tfidf"])
def test_pipelines_of_the_library_find_the_same(text):
    parts = {}
    pipeline, shorter = nirank.parse(text, parts), nirank.parse("bm25 % 10 >> ql")
    expected = _search(pipeline), _search(shorter)
    with sharing.sharing() as memo:
        for _ in range(2):
            _same(_search(pipeline), expected[0])
            _same(_search(shorter), expected[1])
    assert memo.saved > 0


def test_the_oldest_results_go_where_memory_is_short():
    first = nirank.load(Counted(False), "first")
    with sharing.sharing(limit=2500) as memo:  # a result is counted twice: by its pipeline, and once in a pipeline
        for k in (30, 29, 28, 30):
            _search(first % k)
            assert memo.size <= 2500
    assert first.component.target.asked == [30, 29, 28, 30]
    with sharing.sharing(limit=10):
        _search(first), _search(first)
    assert first.component.target.asked == [30, 29, 28, 30, 30, 30]


def test_the_seconds_of_what_was_shared_are_those_of_computing_it(monkeypatch):
    clock = iter(range(1000))
    monkeypatch.setattr(sharing.time, "perf_counter", lambda: next(clock))
    memo = sharing.Memo()
    nested = lambda: memo.recall("inner", lambda: np.zeros(3))  # noqa: E731
    memo.recall("outer", nested)  # the clock is read at 0, 1, 2 and 3
    assert memo.saved == 0
    memo.recall("inner", None)
    assert memo.saved == 1
    memo.recall("outer", None)
    assert memo.saved == 1 + 3
    memo.recall("third", nested)  # at 4 and 5; and the second that the inner one would have taken
    memo.recall("third", None)
    assert memo.saved == 4 + 1 + (1 + 1)


def test_nothing_is_shared_where_times_are_taken_and_where_weights_change():
    first = nirank.load(Counted(), "first")
    collection = nirank.Collection("toy", CORPUS, QUERIES, Candidates.of([[0], [1], [2]], [[1], [1], [1]]))
    with sharing.sharing():
        _search(first % 5)
        latency.measure(first % 5, collection, 2)
        assert first.component.target.asked == [5, 5, 5, 5]
        with indexes.apart(first.component):
            _search(first % 5)
        assert first.component.target.asked == [5] * 5
        _search(first % 5)
    assert first.component.target.asked == [5] * 5


def test_a_failure_is_not_kept():
    class Fails:
        times = 0

        def generate(self, queries, k):
            self.times += 1
            if self.times == 1:
                raise OSError("not now")

    first = nirank.load(Fails(), "first")
    with sharing.sharing():
        for error in (OSError, nirank.NirankError):
            with pytest.raises(error):
                _search(first)
