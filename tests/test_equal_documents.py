"""Equal documents of one list tie, in every scorer and encoder that reads texts, so that ties go by position."""

from __future__ import annotations

import numpy as np
import pytest

from nirank.data import Candidates, Documents, Queries, batches, to_numpy
from nirank.data.batches import first_of_equal, first_of_equal_documents
from nirank.execution import stages
from nirank.plugins import Component, active
from nirank.testing import samples
from nirank.testing.subject import Subject

WORDS = ("cat", "dog", "bridge", "car", "bus", "fast", "slow", "small", "red", "mat", "zebra", "river", "long", "warm")
READERS = [entry for entry in active().registry if entry.kind in ("scorer", "encoder")]


def _list(random):
    """Thirty documents of twelve texts of different length, a query, and which text each document has."""
    texts = [" ".join(random.choice(WORDS, random.integers(1, 60))) for _ in range(12)]
    places = random.integers(0, 12, 30)
    corpus = Documents([*map(str, range(30))], [texts[place] for place in places])
    return Queries.of(" ".join(random.choice(WORDS, 3))), corpus, places


@pytest.mark.parametrize("entry", READERS, ids=lambda entry: entry.spec)
def test_equal_documents_of_a_list_tie(entry):
    try:
        subject = Subject(entry.kind, entry.resolve_tiny()(), entry)
    except ImportError as error:
        pytest.skip(str(error))
    traits = subject.traits
    if traits.reads not in ("text", "either") or traits.listwise:
        pytest.skip("its scores do not follow from a query and a text")
    component = Component(entry.name, subject.target, {}, entry)
    for seed in range(8):
        queries, corpus, places = _list(np.random.default_rng(seed))
        scores = stages.score(component, queries, Candidates.of([range(30)], corpus=corpus))
        assert len({(place, score) for place, score in zip(places.tolist(), scores.tolist(), strict=True)}) == len(
            set(places.tolist())
        )
        ranked = Candidates.of([range(30)], [scores], corpus).ranked().docs
        assert all((np.diff(ranked[places[ranked] == place]) > 0).all() for place in range(12))


class Positions:
    """Scores by the place in the batch, as a matrix product does in its last bits; notes what it was asked."""

    def __init__(self, **traits):
        vars(self).update(traits)
        self.asked = []

    def score(self, queries, candidates):
        self.asked.append(candidates.docs.tolist())
        return np.arange(candidates.pairs, dtype=np.float32)


def _asked(**traits):
    component = Component("positions", Positions(**traits))
    corpus = Documents([*"abcd"], ["x", "y", "x", "y"])
    lists = Candidates.of([[3, 2, 0], [1, 0], [], [2, 0, 2]], corpus=corpus)
    return stages.score(component, Queries.of([*"1234"]), lists).tolist(), component.target.asked


def test_a_scorer_of_contents_is_asked_once_for_equal_documents_of_a_query():
    assert _asked(reads="text") == ([0, 1, 1, 2, 3, 4, 4, 4], [[3, 2, 1, 0, 2]])


@pytest.mark.parametrize("traits", [{}, {"reads": "text", "listwise": True}, {"reads": "text", "cacheable": False}])
def test_what_may_depend_on_more_than_contents_is_asked_for_every_pair(traits):
    assert _asked(**traits) == ([*range(8)], [[3, 2, 0, 1, 0, 2, 0, 2]])


def test_equal_images_are_one_content_wherever_they_lie(tmp_path):
    for name in "abc":
        (tmp_path / name).write_bytes(b"picture" if name != "b" else b"other")
    paths = [tmp_path / name for name in "abc"]
    assert first_of_equal([*paths, b"picture", "picture"]).tolist() == [0, 1, 0, 0, 4]
    assert first_of_equal(paths[:2]) is None
    assert first_of_equal([*paths, tmp_path / "missing"]) is None


def test_of_many_documents_only_some_are_read_at_a_time(monkeypatch):
    asked, texts = [], [*map(str, np.random.default_rng(1).integers(0, 40, 100))]

    class Counting(Documents):
        def __getitem__(self, which):
            asked.append(len(which))
            return super().__getitem__(which)

    corpus, docs = Counting([*map(str, range(100))], texts), np.arange(99, -1, -1)
    expected = first_of_equal([texts[doc] for doc in docs])
    monkeypatch.setattr(batches, "_HASHED", 7)
    assert np.array_equal(first_of_equal_documents(corpus, docs), expected)
    assert max(asked) == 7
    distinct = Documents([*map(str, range(9))], ["x", b"x", *"abcdefg"])
    assert first_of_equal_documents(distinct, np.arange(9)) is None


def test_equal_documents_have_one_vector_in_the_order_of_the_documents():
    entry = active().registry.find("encoder/words")
    component = Component(entry.name, entry.resolve_tiny()(), {}, entry)
    texts = [*samples.DOCUMENTS, *samples.DOCUMENTS[::-1]]
    vectors = to_numpy(stages.encode_documents(component, texts))
    assert np.array_equal(vectors, vectors[::-1])
    alone = np.concatenate([to_numpy(stages.encode_documents(component, [text])) for text in texts])
    np.testing.assert_allclose(vectors, alone, atol=1e-6)
