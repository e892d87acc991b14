"""The index of learned weights: against brute force, ties, builds that die, what does not belong together."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("torch")

import nirank
from nirank.data import Documents, Queries, SparseVectors
from nirank.errors import BadInput, CompositionError, StaleIndex
from nirank.execution import indexes
from nirank.plugins import Component
from nirank_sparse import postings
from nirank_sparse.impact import ImpactIndex

SIZE = 60
NUMBERS = [*range(40), 3, 17, 3, 25]  # some documents twice and three times
QUERIES = [str(number) for number in range(6)]


class Numbered:
    """An encoder of texts that are numbers: each has weights of its own, number 5 none at all."""

    vectors = "sparse"
    fingerprint = "numbered"

    def __init__(self, dies_at=None):
        self.dies_at, self.calls = dies_at, 0

    def encode(self, queries):
        return self.encode_documents([str(1000 + int(text)) for text in queries.contents])

    def encode_documents(self, contents):
        if self.calls == self.dies_at:
            raise KeyboardInterrupt
        self.calls += 1
        return SparseVectors.of(np.array([self.row(int(text)) for text in contents], np.float32).reshape(-1, SIZE))

    def row(self, number):
        random = np.random.default_rng(number)
        weights = random.random(SIZE) * (random.random(SIZE) < 0.08)
        weights[SIZE - 3 :] = 0  # the last terms are nobody's
        return (weights * (number % 1000 != 5)).astype(np.float32)


def _corpus(numbers):
    return Documents([f"d{place}" for place in range(len(numbers))], [str(number) for number in numbers])


def _opened(tmp_path, numbers=NUMBERS, encoder=None, chunk=7):
    index = ImpactIndex(chunk=chunk)
    encoder = Component("encoder", encoder or Numbered())
    indexes.prepare(Component("index", index), _corpus(numbers), encoder, tmp_path / "index")
    return index


def _search(index, k, queries=QUERIES):
    asked = Queries.of(queries)
    return index.generate(asked.with_vectors(Numbered().encode(asked)), k)


def _brute(query):
    """The score of each document for one query, added up by rising term in float32."""
    asked, scores = Numbered().row(1000 + int(query)), []
    for number in NUMBERS:
        score, told = np.float32(0), Numbered().row(number)
        for term in range(SIZE):
            score += asked[term] * told[term]
        scores.append(score)
    return np.array(scores)


@pytest.mark.parametrize("at_once", [3, 1 << 22])
@pytest.mark.parametrize("k", [0, 1, 7, 1000])
def test_search_is_brute_force_with_ties_by_ordinal(tmp_path, monkeypatch, at_once, k):
    monkeypatch.setattr(postings, "_WEIGHTS_AT_ONCE", at_once)
    found = _search(_opened(tmp_path), k)
    for row, query in enumerate(QUERIES):
        expected = _brute(query)
        order = np.lexsort((np.arange(len(NUMBERS)), -expected))
        order = order[expected[order] > 0][:k]
        assert found[row][0].tolist() == order.tolist()
        assert found[row][1].tolist() == expected[order].tolist()
    assert len(found[5][0]) == 0


def test_batches_of_queries_do_not_change_what_is_found(tmp_path):
    index = _opened(tmp_path)
    together = _search(index, 10)
    for row, query in enumerate(QUERIES):
        alone = _search(index, 10, [query])
        assert alone.docs.tolist() == together[row][0].tolist()
        assert alone.scores.tolist() == together[row][1].tolist()
    assert len(_search(index, 10, [])) == 0


@pytest.mark.parametrize("least", [0.25, 0, -1.0])
@pytest.mark.parametrize("k", [1, 10, 31, 32, 500, 5000])
def test_postings_find_what_the_product_of_matrices_has(tmp_path, least, k):
    random, documents, terms, asked = np.random.default_rng(k), 2011, 90, 12

    def drawn(rows, share):
        # quarters, so that many documents have equal scores, and some of these are 0 where weights cancel out
        weights = (random.integers(1, 6, (rows, terms)) / 4 + least - 0.25).astype(np.float32)
        kept = random.random((rows, terms)) < share
        offsets, (_, columns) = np.cumsum([0, *kept.sum(1)]), np.nonzero(kept)
        return SparseVectors(offsets, columns.astype(np.int32), weights[kept], terms)

    known, queries = drawn(documents, 0.02), drawn(asked, 0.05)
    postings.ImpactPostings.write(tmp_path, known.offsets, known.terms, known.weights)
    found = postings.ImpactPostings.load(tmp_path).search(queries, k)
    product = (queries.matrix() @ known.matrix().T).tocsr()
    for row in range(asked):
        here = slice(*product.indptr[row : row + 2])
        docs, scores = product.indices[here], product.data[here]
        order = np.lexsort((docs, -scores))[:k]
        assert found[row][0].tolist() == docs[order].tolist()
        assert found[row][1].tobytes() == (scores[order] + np.float32(0)).tobytes()


@pytest.mark.parametrize("dies_at", [0, 1, 4, 6])
def test_a_build_that_dies_leaves_nothing_half_and_goes_on(tmp_path, dies_at):
    with pytest.raises(KeyboardInterrupt):
        _opened(tmp_path, encoder=Numbered(dies_at))
    assert not (tmp_path / "index").exists()
    again = Numbered()
    resumed = _search(_opened(tmp_path, encoder=again), 44)
    assert again.calls == 7 - dies_at
    whole = _search(_opened(tmp_path / "other", chunk=100), 44)
    assert resumed.docs.tolist() == whole.docs.tolist()
    assert resumed.scores.tolist() == whole.scores.tolist()


def test_documents_that_come_and_go_leave_the_others_their_ids(tmp_path):
    before = Documents([f"d{number}" for number in range(30)], [str(number) for number in range(30)])
    numbers = [33, *(number for number in range(29, -1, -1) if number % 4), 31, 32]
    after = Documents([f"d{number}" for number in numbers], [str(number) for number in numbers])
    encoder, found = Component("encoder", Numbered()), {}
    for home, corpus, since in (("one", before, None), ("one", after, before), ("two", after, None)):
        component = Component("index", ImpactIndex(chunk=7))
        encoder.target.calls = 0
        folder = tmp_path / home / indexes.place(component, corpus, encoder)
        indexes.prepare(component, corpus, encoder, folder, since)
        found[home, since is None] = _search(component.target, 12)
        if since:
            assert encoder.target.calls == 2  # the chunks in which there is a new document
    updated, anew = found["one", False], found["two", True]
    assert updated.docs.tolist() == anew.docs.tolist()
    assert updated.scores.tolist() == anew.scores.tolist()
    ids = [after.ids[int(doc)] for doc in updated.docs]
    assert not {f"d{number}" for number in range(0, 30, 4)} & set(ids)


def test_documents_without_a_weight_are_never_found(tmp_path):
    index = _opened(tmp_path, [5, 5, 5])
    assert _search(index, 10).pairs == 0


def test_what_cannot_be_searched_is_refused(tmp_path):
    index = ImpactIndex()
    with pytest.raises(BadInput, match="no open index"):
        _search(index, 3)
    with pytest.raises(BadInput, match="encoder >> impact"):
        index.build(_corpus(NUMBERS), tmp_path)
    index = _opened(tmp_path)
    with pytest.raises(BadInput, match="k = -1"):
        _search(index, -1)
    with pytest.raises(BadInput, match="no sparse vectors"):
        index.generate(Queries.of(["1"]), 3)
    with pytest.raises(BadInput, match="9 dimensions, the index has"):
        index.generate(Queries.of(["1"]).with_vectors(SparseVectors.of(np.ones((1, 9), np.float32))), 3)
    with pytest.raises(BadInput, match="44 documents, but the corpus has 2"):
        index.open(_corpus([1, 2]), tmp_path / "index")
    (tmp_path / "index" / "weights.npy").write_bytes(b"")
    with pytest.raises(StaleIndex, match="incomplete"):
        index.open(_corpus(NUMBERS), tmp_path / "index")


def test_weights_of_another_kind_are_refused_when_a_pipeline_is_written():
    with pytest.raises(CompositionError, match="makes sparse vectors"):
        nirank.load(Numbered(), "splade") >> nirank.load("bm25")
    with pytest.raises(CompositionError, match="makes sparse vectors"):
        nirank.load(Numbered(), "splade") >> nirank.load("exact")
