"""Splitting batches that do not fit in memory, with components that run out above a size of their own."""

from __future__ import annotations

import gc
import logging
import weakref

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nirank.data import Candidates, Queries
from nirank.execution import stages
from nirank.hooks import hookimpl
from nirank.plugins import Component
from nirank.plugins.observers import switched_on
from nirank_memory.shortage import is_shortage, release
from nirank_memory.split import Splitter


@pytest.fixture(autouse=True, scope="module")
def _nothing_else_is_collected():
    """Shortages here collect garbage a hundred times: not through all that other tests have left."""
    gc.collect()
    gc.freeze()


def _out_of_memory():
    return RuntimeError("CUDA out of memory. Tried to allocate 2.00 GiB.")


class Small:
    """Scores and encodes by ordinals and lengths; more than `room` entries at once do not fit."""

    vectors = "dense"

    def __init__(self, room, batch_size=None, listwise=False, error=_out_of_memory):
        self.room, self.batch_size, self.listwise, self.error = room, batch_size, listwise, error
        self.tried: list[int] = []

    def score(self, queries, candidates):
        self._fit(candidates.pairs)
        longest = candidates.lengths[candidates.rows] if self.listwise else 1
        return candidates.docs * longest + np.array([len(text) for text in queries.contents])[candidates.rows]

    def encode(self, queries):
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents):
        self._fit(len(contents))
        return np.array([[len(text)] for text in contents], np.float32)

    def _fit(self, entries):
        self.tried.append(entries)
        if entries > self.room:
            raise self.error()


def _request(lengths):
    rows = [list(range(length)) for length in lengths]
    return Queries.of(["q" * number for number in range(len(lengths))]), Candidates.of(rows)


_lengths = st.lists(st.integers(0, 9), min_size=1, max_size=6)


@settings(max_examples=25, deadline=None)
@given(_lengths, st.integers(1, 12), st.one_of(st.none(), st.integers(1, 20)))
def test_split_scores_are_those_of_whole_batches(lengths, room, batch_size):
    queries, candidates = _request(lengths)
    expected = stages.score(Component("large", Small(10**6)), queries, candidates)
    small = Component("small", Small(room, batch_size))
    with switched_on([Splitter()]):
        np.testing.assert_array_equal(stages.score(small, queries, candidates), expected)


@settings(max_examples=25, deadline=None)
@given(_lengths, st.integers(9, 12))
def test_lists_stay_whole_for_a_scorer_that_looks_at_all_of_them(lengths, room):
    queries, candidates = _request(lengths)
    expected = stages.score(Component("large", Small(10**6, listwise=True)), queries, candidates)
    with switched_on([Splitter()]):
        found = stages.score(Component("small", Small(room, listwise=True)), queries, candidates)
    np.testing.assert_array_equal(found, expected)


def test_vectors_are_split_too_and_come_back_in_order():
    texts = ["x" * length for length in (5, 1, 9, 2, 7, 3)]
    small = Component("small", Small(2))
    with switched_on([Splitter()]):
        assert stages.encode_documents(small, texts)[:, 0].tolist() == [5, 1, 9, 2, 7, 3]
        assert stages.encode(small, Queries.of(texts)).vectors[:, 0].tolist() == [5, 1, 9, 2, 7, 3]


def test_the_size_that_worked_is_kept_for_the_batches_that_follow(caplog):
    target, splitter = Small(3, batch_size=8), Splitter()
    component = Component("small", target)
    with caplog.at_level(logging.WARNING), switched_on([splitter]):
        stages.score(component, *_request([16]))
        assert target.tried == [8, 4, 2, 2, 2, 2, 2, 2, 2, 2]
        target.tried.clear()
        stages.score(component, *_request([4]))
    assert target.tried == [2, 2]
    assert splitter.sizes == {(component, "score"): 2}
    assert "small ran out of memory on 8 entries; from here on it gets 4 at once." in caplog.text


def test_each_method_has_a_size_of_its_own():
    splitter = Splitter()
    component = Component("small", Small(3))
    with switched_on([splitter]):
        stages.encode(component, Queries.of(["a"] * 4))
        assert splitter.sizes == {(component, "encode"): 2}
        component.target.tried.clear()
        stages.encode_documents(component, ["a", "b", "c"])
    assert component.target.tried == [3]


@pytest.mark.parametrize(
    ("small", "note"),
    [
        (Small(0), "small runs out of memory on one entry alone"),
        (Small(3, listwise=True), "the list of one query, which it must score at once"),
    ],
)
def test_what_cannot_be_cut_raises_the_original_with_a_note(small, note):
    with switched_on([Splitter()]), pytest.raises(RuntimeError, match="CUDA out of memory") as caught:
        stages.score(Component("small", small), *_request([4, 4]))
    assert any(note in one for one in caught.value.__notes__)


@pytest.mark.parametrize("error", [MemoryError, lambda: RuntimeError("DefaultCPUAllocator: not enough memory")])
def test_other_shortages_are_known(error):
    with switched_on([Splitter()]):
        assert len(stages.score(Component("small", Small(2, error=error)), *_request([5]))) == 5


@pytest.mark.parametrize("error", [ValueError("out of memory"), RuntimeError("shapes differ"), KeyboardInterrupt()])
def test_what_is_no_shortage_is_raised_at_once(error):
    target = Small(2, error=lambda: error)
    with switched_on([Splitter()]), pytest.raises(type(error)):
        stages.score(Component("small", target), *_request([5]))
    assert target.tried == [5]


def test_torchs_own_error_is_known():
    torch = pytest.importorskip("torch")
    assert is_shortage(torch.OutOfMemoryError("CUDA out of memory."))


def test_what_the_failed_pass_held_is_let_go():
    class Activations:
        pass

    held = []

    def forward():
        activations = Activations()
        activations.itself = activations  # a cycle, as graphs of gradients have them
        held.append(weakref.ref(activations))
        raise _out_of_memory()

    gc.disable()
    try:
        forward()
    except RuntimeError as error:
        kept = error
        release(error)
    finally:
        gc.enable()
    assert held[0]() is None
    assert kept.__traceback__ is not None


def test_other_plugins_still_wrap_a_batch_and_answer_for_it():
    wrapped, answered = [], []

    class Watching:
        @hookimpl(wrapper=True)
        def nirank_forward(self, batch):
            wrapped.append(len(batch))
            return (yield)

    class Elsewhere:
        @hookimpl
        def nirank_forward(self, component, method, batch):
            answered.append(len(batch))
            return batch.run(component.target, method)

    with switched_on([Splitter(), Watching(), Elsewhere()]):
        stages.score(Component("small", Small(2)), *_request([4]))
    assert wrapped == [4]
    assert answered == [4, 2, 2]
