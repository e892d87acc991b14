"""Batches, and what happens when no plugin steps in."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nirank.data import Candidates, ContentBatch, Documents, Pairs, Queries, concatenate, cuts
from nirank.data.batches import by_length
from nirank.errors import BadInput, ComponentError
from nirank.execution import stages
from nirank.hooks import hookimpl
from nirank.pipeline import load
from nirank.plugins import Component, active
from nirank.testing import samples

_lengths = st.lists(st.integers(0, 7), max_size=8)


def _pairs(lengths):
    rows = [list(range(length)) for length in lengths]
    return Pairs(Queries.of([f"q{n}" for n in range(len(rows))]), Candidates.of(rows))


def _told(pairs):
    """Each pair as (query, document), however the pairs are cut."""
    contents = pairs.queries.contents
    return [(contents[row], int(doc)) for row, doc in zip(pairs.candidates.rows, pairs.candidates.docs, strict=True)]


@given(_lengths, st.integers(1, 9))
def test_cut_pairs_are_all_pairs_in_order_and_no_part_is_too_large(lengths, size):
    pairs = _pairs(lengths)
    parts = list(cuts(pairs, size))
    assert [pair for part in parts for pair in _told(part)] == _told(pairs)
    assert all(len(part) <= size for part in parts)


@given(_lengths, st.integers(1, 9))
def test_lists_stay_whole_for_a_scorer_that_looks_at_all_of_them(lengths, size):
    pairs = _pairs(lengths)
    parts = list(cuts(pairs, size, whole_queries=True))
    assert [pair for part in parts for pair in _told(part)] == _told(pairs)
    for part in parts:
        for query, count in zip(part.queries.contents, part.candidates.lengths, strict=True):
            assert count == lengths[int(query[1:])]
        assert len(part) <= max(size, max(part.candidates.lengths, default=0))


def test_texts_are_batched_by_length_longest_first():
    assert by_length(["bb", "a", "dddd", "ccc"]).tolist() == [2, 3, 0, 1]
    assert by_length(["text", 3.0]) is None


def test_results_join_as_arrays_tensors_or_types_of_their_own():
    torch = pytest.importorskip("torch")

    class Ragged(list):
        @classmethod
        def concatenate(cls, parts):
            return cls(itertools.chain(*parts))

    assert concatenate([np.array([1]), np.array([2])]).tolist() == [1, 2]
    assert torch.equal(concatenate([torch.ones(1), torch.zeros(1)]), torch.tensor([1.0, 0.0]))
    assert concatenate([Ragged([1]), Ragged([2])]) == [1, 2]


class Sizes:
    """Encodes a text as its length, and remembers how long the batches were."""

    vectors = "dense"
    batch_size = 3

    def __init__(self):
        self.batches = []

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        self.batches.append([len(content) for content in contents])
        return np.array([[len(content)] for content in contents], np.float32)


def test_documents_are_encoded_in_batches_of_similar_length_and_come_back_in_order():
    sizes = Sizes()
    contents = ["x" * length for length in (5, 1, 9, 2, 7)]
    vectors = stages.encode_documents(Component("sizes", sizes), contents)
    assert vectors[:, 0].tolist() == [5, 1, 9, 2, 7]
    assert sizes.batches == [[9, 7, 5], [2, 1]]


def test_a_document_that_many_queries_found_is_encoded_once():
    sizes = Sizes()
    corpus = Documents(["a", "b"], ["xx", "xxx"])
    queries = Queries.of(["q", "qq", "qqq"])
    candidates = Candidates.of([[0, 1], [1], [1, 0]], corpus=corpus)
    scores = stages.score(Component("sizes", sizes), queries, candidates)
    assert scores.tolist() == [2, 3, 6, 9, 6]
    assert sum(len(batch) for batch in sizes.batches) == 3 + 2


def test_stages_are_hooks_called_once_and_batches_are_hooks_called_often():
    calls = []

    class Watching:
        @hookimpl(wrapper=True)
        def nirank_encode(self, encoder):
            calls.append("encode")
            return (yield)

        @hookimpl(wrapper=True)
        def nirank_forward(self, method, batch):
            calls.append((method, len(batch)))
            return (yield)

    watching = Watching()
    active().manager.register(watching)
    try:
        stages.encode(Component("sizes", Sizes()), Queries.of(list("abcdefg")))
    finally:
        active().manager.unregister(watching)
    assert calls == ["encode", ("encode", 3), ("encode", 3), ("encode", 1)]


def test_middleware_may_score_only_what_it_does_not_know():
    asked = []

    class Doubling:
        def score(self, queries, candidates):
            asked.append(candidates.pairs)
            return candidates.docs * 2

    known = {3: 6.0}

    def cache(call, method, queries, candidates):
        missing = ~np.isin(candidates.docs, list(known))
        scores = np.array([known.get(doc, np.nan) for doc in candidates.docs.tolist()])
        scores[missing] = call(queries, candidates.where(missing))
        return scores

    component = Component("doubling", Doubling())
    component.middleware = [cache]
    scores = stages.score(component, Queries.of(["q", "r"]), Candidates.of([[3, 4], [5]]))
    assert scores.tolist() == [6, 8, 10]
    assert asked == [2]


def test_inference_is_without_gradients_and_in_evaluation_mode():
    torch = pytest.importorskip("torch")

    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.linear = torch.nn.Linear(1, 1)

        def score(self, queries, candidates):
            assert not self.training
            assert not torch.is_grad_enabled()
            return self.linear(torch.from_numpy(candidates.docs).float()[:, None])[:, 0]

    model = Model().train()
    scores = stages.score(Component("model", model), Queries.of("q"), Candidates.of([[1, 2]]))
    assert scores.dtype == np.float32
    assert model.training


def test_a_loss_is_dispatched_through_its_hook():
    class Squares:
        def __call__(self, scores, labels, mask, weight=1):
            return weight * ((scores - labels) ** 2)[mask].sum()

    scores, labels, mask = np.array([[1.0, 2.0]]), np.array([[0.0, 5.0]]), np.array([[True, False]])
    assert stages.loss(Component("squares", Squares()), scores, labels, mask, weight=3) == 3


def test_bfloat16_scores_arrive_as_float32():
    torch = pytest.importorskip("torch")

    class Half:
        def score(self, queries, candidates):
            return torch.ones(candidates.pairs, dtype=torch.bfloat16)

    assert stages.score(Component("half", Half()), Queries.of("q"), Candidates.of([[1]])).tolist() == [1.0]


def test_an_empty_batch_is_one_part():
    assert [len(part) for part in cuts(ContentBatch([]), 4)] == [0]


class OneTooMany(Sizes):
    """Returns an entry more than it was given."""

    def encode_documents(self, contents):
        return np.ones((len(contents) + 1, 1), np.float32)


def test_a_batch_with_another_number_of_results_is_refused():
    with pytest.raises(ComponentError, match="4 results for 3 inputs"):
        stages.encode_documents(Component("more", OneTooMany()), list("abcdef"))


@pytest.mark.parametrize(
    ("found", "message"),
    [
        (None, "returned a NoneType; Candidates are expected"),
        (Candidates.of([[0, 1]], [[1.0, 2.0]]), "returned documents out of order"),
        (Candidates.of([[1, 0]], [[1.0, 1.0]]), "returned documents out of order"),
        (Candidates.of([[-1]], [[1.0]]), "returned the document -1"),
        (Candidates.of([[7]], [[1.0]]), "returned the document 7 of a corpus of 3"),
        (Candidates.of([[0], [1]]), "2 lists for 1 queries"),
        (Candidates.of([[0, 1, 2, 3]]), "4 documents for a query; at most k = 3"),
    ],
)
def test_what_is_no_ranking_of_the_corpus_is_refused(found, message):
    class Faulty:
        def generate(self, queries, k):
            return found

    with pytest.raises(ComponentError, match=message):
        (load(Faulty()) % 3).search("q", Documents(list("abc"), list("abc")))


@pytest.mark.parametrize("name", ["bm25", "ql", "tfidf"])
@pytest.mark.parametrize("stranger", [2, 10**12, -1])
def test_documents_that_the_corpus_lacks_are_not_scored(name, stranger):
    pytest.importorskip("numba")
    corpus = Documents(["a", "b"], ["red fox", "dog"])
    ranker = load(name)
    with pytest.raises(BadInput, match=rf"1 of 2 documents that {name} is to score .* corpus of 2, such as {stranger}"):
        (1 * ranker).score(Queries.of("fox"), Candidates.of([[0, stranger]], corpus=corpus))


def test_a_plugin_that_watches_generators_is_asked_also_for_one_query():
    class Watcher:
        def __init__(self):
            self.seen = []

        @hookimpl(wrapper=True)
        def nirank_generate(self, queries, k):
            self.seen.append((len(queries), k))
            return (yield)

    corpus, bm25 = samples.corpus(), load("bm25")
    plain = (bm25 % 3).search("small cat", corpus)
    watcher = Watcher()
    active().listen(watcher, "a test")
    try:
        watched = (bm25 % 3).search("small cat", corpus)
    finally:
        active().manager.unregister(watcher)
    assert watcher.seen == [(1, 3)]
    assert watched.docs.tolist() == plain.docs.tolist()
    assert watched.scores.tobytes() == plain.scores.tobytes()
    (bm25 % 3).search("small cat", corpus)
    assert len(watcher.seen) == 1


def test_a_hook_that_one_plugin_implements_is_known_until_another_does():
    class Answers:
        @hookimpl
        def nirank_generate(self, queries):
            return Candidates.empty(len(queries))

    manager = active().manager
    assert manager.sole["nirank_generate"] is stages.nirank_generate
    assert "nirank_register" not in manager.sole  # many implement it
    for _ in range(2):
        plugin = Answers()
        manager.register(plugin)
        try:
            assert "nirank_generate" not in manager.sole
            assert not (load("bm25") % 3).search("small cat", samples.corpus()).pairs
        finally:
            manager.unregister(plugin)
        assert manager.sole["nirank_generate"] is stages.nirank_generate
        assert (load("bm25") % 3).search("small cat", samples.corpus()).pairs
