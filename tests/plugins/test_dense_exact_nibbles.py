"""Exact search for one query by nibbles first, against products without any error."""

from __future__ import annotations

import dataclasses
import math

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("torch")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from nirank.data import Documents, Queries
from nirank.errors import DamagedFile
from nirank_dense.exact import gathered, instructions, nibble_bounds, nibbles, one_query, quantised, tiles
from nirank_dense.exact.first_pass import FirstPass
from nirank_dense.exact.quantised import Quantised, QuantisedQueries, lengths_of
from nirank_dense.exact.search import ExactSearch

if not instructions.available():
    pytest.skip("needs AVX512-VNNI or AVX2", allow_module_level=True)


def _normal(documents, dim, seed):
    return np.random.default_rng(seed).standard_normal((documents, dim)).astype(np.float32)


def _search(vectors):
    search = ExactSearch(device="cpu", precision="int8")
    search.search_in(np.asarray(vectors, np.float32))
    return search


def _asked(search, query, k):
    found = search.generate(Queries.of(["q"]).with_vectors(np.asarray(query, np.float32)[None]), k)
    return found.docs.tolist(), found.scores.tolist()


def _expected(vectors, query, k):
    exact = np.asarray(vectors, np.float32).astype(np.float64), np.asarray(query, np.float32).astype(np.float64)
    scores = [np.float32(math.fsum(vector * exact[1])) for vector in exact[0]]
    docs = sorted(range(len(scores)), key=lambda document: (-scores[document], document))[:k]
    return docs, [scores[document] for document in docs]


def _quantised_query(documents, query):
    vectors = np.asarray(query, np.float32)[None]
    return QuantisedQueries.of(vectors, documents.centre, lengths_of(vectors))


def _unpacked(documents, dim):
    codes = documents.nibbles.codes
    return np.concatenate([codes & 15, codes >> 4], axis=1)[:, :dim]  # what fills up an odd dimension is the last


def _bounds(documents, query, low=0, high=None, k=1):
    """Bounds in steps of the query, the likely documents, and what they should be but for rounding."""
    whole, high = nibble_bounds.whole(documents.nibbles), len(documents) if high is None else high
    likely = nibble_bounds.Likely(np.full(k, -np.inf, np.float32), np.full(k, -1, np.int32))
    bounds = np.full(-(-(high - low) // nibble_bounds.GROUP) * nibble_bounds.GROUP, np.nan, np.float32)
    asked = nibble_bounds.query(query.codes[0], query.by_length[0], query.by_error[0])
    nibble_bounds.bound(whole, asked, low, high, bounds, likely)
    held, numbers = documents.nibbles, nibbles.LEVELS[_unpacked(documents, query.codes.shape[1])].astype(np.int64)
    coarse = (numbers @ query.codes[0].astype(np.int64)).astype(np.float32) * held.scales
    expected = coarse + query.by_length[0] * held.lengths + query.by_error[0] * held.errors
    return bounds, likely, expected[low:high], coarse[low:high]


@pytest.mark.parametrize("dim", [1, 2, 31, 63, 64, 65, 128, 129, 384, 770])
@pytest.mark.parametrize("documents", [1, 7, 16, 33, 150])
def test_bounds_are_those_of_plain_products(documents, dim):
    held, query = Quantised.of(_normal(documents, dim, 1)), _normal(1, dim, 2)[0]
    bounds, likely, expected, coarse = _bounds(held, _quantised_query(held, query), k=min(documents, 5))
    np.testing.assert_allclose(bounds[:documents], expected, rtol=2e-6, atol=1e-3)
    assert (bounds[documents:] == -np.inf).all()
    assert sorted(likely.scores.tolist()) == sorted(coarse.tolist())[-len(likely.docs) :]
    assert (coarse[likely.docs] == likely.scores).all()


def test_some_documents_have_the_bounds_that_they_have_among_all():
    held, query = Quantised.of(_normal(100, 48, 3)), _normal(1, 48, 4)[0]
    asked = _quantised_query(held, query)
    whole, *_ = _bounds(held, asked)
    part, likely, *_ = _bounds(held, asked, low=32, high=91, k=3)
    assert part[:59].tolist() == whole[32:91].tolist()
    assert ((likely.docs >= 32) & (likely.docs < 91)).all()


@pytest.mark.parametrize("extreme", [(15, 127), (0, 127), (15, -127), (0, -127)])
def test_sums_of_the_largest_codes_do_not_overflow(extreme):
    code, asked = extreme
    dim = 1600
    held = nibbles.Nibbles(np.full((20, dim // 2), code * 17, np.uint8), *np.ones((3, 20), np.float32))
    query = nibble_bounds.query(np.full(dim, asked, np.int8), 0.0, 0.0)
    likely = nibble_bounds.Likely(np.full(1, -np.inf, np.float32), np.zeros(1, np.int32))
    bounds = np.empty(-(-20 // nibble_bounds.GROUP) * nibble_bounds.GROUP, np.float32)
    nibble_bounds.bound(nibble_bounds.whole(held), query, 0, 20, bounds, likely)
    assert (bounds[:20] == int(nibbles.LEVELS[code]) * asked * dim).all()


@settings(max_examples=80, deadline=None)
@given(
    st.integers(1, 40), st.integers(1, 70), st.integers(0, 9), st.sampled_from([0.0, 1e-8, 1.0, 1e8]),
    st.sampled_from([0.0, 5.0]),
)  # fmt: skip
def test_no_score_lies_above_its_bound(documents, dim, seed, length, shift):
    random = np.random.default_rng(seed)
    vectors = (random.standard_normal((documents, dim)) * length + shift).astype(np.float32)
    query = random.standard_normal(dim).astype(np.float32)
    held = Quantised.of(vectors)
    asked = _quantised_query(held, query)
    bounds, *_ = _bounds(held, asked)
    exact = vectors.astype(np.float64) @ query.astype(np.float64)
    highest = asked.offsets[0] + asked.steps[0] * bounds[:documents].astype(np.float64) + asked.margins[0]
    assert (exact <= highest).all()


@pytest.mark.parametrize("size", [1e-45, 3e-44, 1e-43, 1e-40, 1e-38])
def test_numbers_that_float32_hardly_has_are_quantised(size):
    vectors = np.array([[1, 0], [-1, 0], [0, size], [size, -size], [0, 0]], np.float32)
    for some in (vectors, vectors[2:], vectors[2:3]):
        held = Quantised.of(some)
        coarse = held.nibbles.scales[:, None].astype(float) * nibbles.LEVELS[_unpacked(held, 2)]
        left = np.linalg.norm(some.astype(float) - held.centre - coarse, axis=1)
        assert (left <= held.nibbles.errors).all()
        assert (np.linalg.norm(coarse, axis=1) <= held.nibbles.lengths).all()
    assert _asked(_search(np.tile(vectors, (40, 1))), [1, 1], 2) == _expected(np.tile(vectors, (40, 1)), [1, 1], 2)


def test_bounds_are_reached_from_the_number_itself_on():
    bounds = np.repeat(np.float32([1, 2, 3, -np.inf]), 16)
    docs = np.empty(64, np.int32)
    for least, first in ((1.0, 0), (np.nextafter(np.float32(1), np.float32(2)), 16), (3.0, 32), (3.5, 48)):
        count = nibble_bounds.reached(bounds, least, 100, docs)
        assert docs[:count].tolist() == list(range(100 + first, 148))


@pytest.mark.parametrize("dim", [3, 64, 100, 384])
def test_documents_here_and_there_are_compared_as_all_are(dim):
    held, query = Quantised.of(_normal(75, dim, 5)), _normal(1, dim, 6)[0]
    asked = _quantised_query(held, query)
    coarse = (held.codes.astype(np.int64) @ asked.codes[0].astype(np.int64)).astype(np.float32) * held.scales
    bounds = coarse + asked.by_length[0] * held.lengths + asked.by_error[0] * held.errors
    steps = np.float32(np.sort(bounds)[37:39].mean())
    weights = np.array([asked.by_length[0], asked.by_error[0], steps], np.float32)
    docs = np.sort(np.random.default_rng(7).permutation(75)[:50]).astype(np.int32)
    given, whole, chunk = docs.copy(), tiles.whole(held), tiles.chunks(asked.codes)[0]
    count = gathered.reaching(whole, chunk, weights, len(docs), docs)
    near = np.abs(bounds[given] - steps) < 1e-5 * np.abs(steps)
    assert not near.any()
    assert docs[:count].tolist() == given[bounds[given] >= steps].tolist()


@pytest.mark.parametrize("dim", [24, 384])
def test_one_query_finds_what_a_double_loop_finds_without_a_sample(dim, monkeypatch):
    vectors, asked = _normal(9000, dim, 8), _normal(3, dim, 9)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    search = _search(vectors)
    loaded = search._two_pass.loaded
    monkeypatch.setattr(loaded._sample, "floors", None)  # would be called by the other way
    assert [_asked(search, query, 4) for query in asked] == [_expected(vectors, query, 4) for query in asked]
    assert loaded.passes.queries == 3
    assert loaded.passes.scored < 3 * 100


@pytest.mark.parametrize("k", [7, 60])  # of which the last block has more, and fewer
@pytest.mark.parametrize("threads", [1, 3])
def test_blocks_and_threads_do_not_change_what_is_found(threads, k, monkeypatch):
    vectors, asked = _normal(3000, 40, 10), _normal(4, 40, 11)
    vectors[100:140] = vectors[17]  # ties, on both sides of the borders
    asked[0] = vectors[17]
    monkeypatch.setattr(one_query, "_BLOCK", 64)
    monkeypatch.setattr(one_query, "_DOCUMENTS", 500)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        search = _search(vectors)
        monkeypatch.setattr(one_query, "_LEFT", 0)
        monkeypatch.setattr(search._two_pass.loaded._sample, "floors", None)  # would be called by the other way
        assert [_asked(search, query, k) for query in asked] == [_expected(vectors, query, k) for query in asked]
    finally:
        torch.set_num_threads(before)


def test_documents_that_all_come_near_are_left_to_bytes_and_to_a_scan(monkeypatch):
    one = _normal(1, 16, 12)[0]
    vectors = np.concatenate([np.tile(one, (9000, 1)), -np.tile(one, (10, 1))]).astype(np.float32)
    search, spared = _search(vectors), []
    kernel = nibble_bounds.bound
    monkeypatch.setattr(nibble_bounds, "bound", lambda *arguments: spared.append(1) or kernel(*arguments))
    for _ in range(1 + one_query._WITHOUT):
        assert _asked(search, one, 3)[0] == [0, 1, 2]
    assert len(spared) == 1  # and the next of them are not tried
    _asked(search, one, 3)
    assert len(spared) == 2


class Given:
    """An encoder that knows the vectors of its contents."""

    vectors = "dense"
    fingerprint = "given"

    def __init__(self, vectors):
        self._vectors = vectors

    def encode(self, queries):
        return self._vectors[[int(text) for text in queries.contents]]

    def encode_documents(self, contents):
        return self._vectors[[int(text) for text in contents]]


def _index(folder, vectors):
    names = [str(number) for number in range(len(vectors))]
    search = ExactSearch(device="cpu", precision="int8")
    search.build(Documents(names, names), folder, Given(vectors).encode_documents)
    return Documents(names, names)


@pytest.mark.parametrize("files", [(), (quantised.NIBBLES, quantised.NIBBLE_BOUNDS)])
def test_an_index_is_searched_alike_with_and_without_nibbles(files, tmp_path):
    vectors, query = _normal(2000, 20, 13), _normal(1, 20, 14)[0]
    corpus = _index(tmp_path, vectors)
    for name in files:
        (tmp_path / name).unlink()
    search = ExactSearch(device="cpu", precision="int8")
    search.open(corpus, tmp_path)
    assert _asked(search, query, 5) == _expected(vectors, query, 5)
    has = search._two_pass.loaded._first_pass._one_query is not None
    assert has == (not files)


@pytest.mark.parametrize("name", [quantised.NIBBLES, quantised.NIBBLE_BOUNDS])
@pytest.mark.parametrize("damage", ["cut", "gone", "other"])
def test_damaged_nibbles_are_told(name, damage, tmp_path):
    corpus = _index(tmp_path, _normal(300, 20, 15))
    path = tmp_path / name
    if damage == "cut":
        path.write_bytes(path.read_bytes()[:-5])
    elif damage == "gone":
        path.unlink()
    else:
        np.save(path, np.zeros((300, 3), np.float64))
    with pytest.raises((DamagedFile, FileNotFoundError), match=name.removesuffix(".npy")):
        ExactSearch(device="cpu", precision="int8").open(corpus, tmp_path)


@pytest.mark.parametrize("name", [quantised.BOUNDS, quantised.NIBBLE_BOUNDS])
@pytest.mark.parametrize(("row", "number"), [(0, np.nan), (1, -np.inf), (1, np.inf), (2, np.nan), (2, -1.0)])
def test_bounds_that_can_be_none_are_told(name, row, number, tmp_path):
    corpus = _index(tmp_path, _normal(300, 20, 16))
    bounds = np.load(tmp_path / name)
    bounds[row, 7] = number
    np.save(tmp_path / name, bounds)
    with pytest.raises(DamagedFile, match="bounds lie between"):
        ExactSearch(device="cpu", precision="int8").open(corpus, tmp_path)


def test_what_cannot_be_trusted_is_never_followed():
    """Numbers as no file that is opened has them: whatever is found, it is found by other ways, and of documents."""
    vectors, query = _normal(300, 20, 17), _normal(1, 20, 18)[0]
    held, asked = Quantised.of(vectors), np.asarray(query)[None]
    for broken in (np.nan, -np.inf):
        column = np.full(300, broken, np.float32)
        spoilt = dataclasses.replace(held, nibbles=dataclasses.replace(held.nibbles, scales=column))
        passes = FirstPass(vectors, spoilt)
        assert passes.pairs_of_one(QuantisedQueries.of(asked, held.centre, lengths_of(asked)), 10) is None


def test_what_few_documents_do_for_one_depth_is_no_matter_to_smaller_ones(monkeypatch):
    vectors, query = _normal(20_000, 64, 19), _normal(1, 64, 20)[0]
    search, spared = _search(vectors), []
    kernel = nibble_bounds.bound
    monkeypatch.setattr(nibble_bounds, "bound", lambda *arguments: spared.append(1) or kernel(*arguments))
    monkeypatch.setattr(one_query, "_LEFT", 1_000_000)
    _asked(search, query, 200)  # leaves too many
    monkeypatch.setattr(one_query, "_LEFT", 1)
    for _ in range(3):
        assert _asked(search, query, 10) == _expected(vectors, query, 10)
    assert len(spared) == 4
    _asked(search, query, 200)
    assert len(spared) == 4
