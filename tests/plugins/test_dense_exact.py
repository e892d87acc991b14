"""Exact search in one pass and in two, against a double loop that scores every pair by itself."""

from __future__ import annotations

import dataclasses
import logging
import math
import shutil
import subprocess
import sys
import threading
import types

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")
pytest.importorskip("numba")

import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nirank.data import Documents, Queries
from nirank.errors import BadInput, MissingDependency, StaleIndex
from nirank.execution import indexes
from nirank.plugins import Component
from nirank_dense.exact import (
    code_products,
    first_pass_tiles,
    floors,
    instructions,
    kernels,
    one_pass,
    rounded,
    tiles,
    two_pass,
)
from nirank_dense.exact import search as exact
from nirank_dense.exact.code_products import Codes, Processor
from nirank_dense.exact.one_pass import Scan
from nirank_dense.exact.quantised import CODES, Quantised, QuantisedQueries, askable, lengths_of
from nirank_dense.exact.sample import DocumentSample
from nirank_dense.exact.scores_on_device import OnDevice, OnHost
from nirank_dense.exact.search import ExactSearch

#: Not timed: where the machine is busy, a product of bytes may seem slow, and would not be used.
UNTIMED = Processor(matrix_is_fast=lambda: True)
#: The same without instructions for the first pass.
BY_PRODUCTS = dataclasses.replace(UNTIMED, instructions=lambda: False)


@pytest.fixture(params=["instructions", "products"], scope="module")
def either(request):
    """Both kinds of first pass: by instructions that the processor may have, and without them."""
    if request.param == "products":
        return BY_PRODUCTS
    if not instructions.available():
        pytest.skip("this processor has neither AVX512-VNNI nor AVX2")
    return UNTIMED


def _searching(vectors, processor=UNTIMED, **settings):
    search = ExactSearch(**{"device": "cpu", "precision": "int8", **settings})
    search.search_in(np.asarray(vectors, np.float32), processor)
    return search


def _generate(search, queries, k):
    queries = np.asarray(queries, np.float32)
    return search.generate(Queries.of(["q"] * len(queries)).with_vectors(queries), k)


def _expected(vectors, query):
    """Document by document: the score of each pair, without any error but one rounding, then a sort.

    All documents and their scores, ranked.
    """
    vectors, query = np.asarray(vectors, np.float32).astype(float), np.asarray(query, np.float32).astype(float)
    scores = [np.float32(math.fsum(vector * query)) for vector in vectors]
    ranked = sorted(range(len(vectors)), key=lambda document: (-scores[document], document))
    return ranked, [scores[document] for document in ranked]


def _assert_exact(search, vectors, queries, *depths):
    ranked = [_expected(vectors, query) for query in queries]
    for k in depths:
        found = _generate(search, queries, k)
        assert len(found) == len(queries)
        for row, (docs, scores) in enumerate(ranked):
            assert found[row][0].tolist() == docs[:k]
            assert found[row][1].tolist() == scores[:k]  # bit by bit


def _unit(vectors):
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float32)


def _normal(documents, dim, seed):
    return np.random.default_rng(seed).standard_normal((documents, dim))


def _like_sentences(documents, dim, seed):
    """Clusters round a common direction, as encoders of sentences make them: near to each other, of length one."""
    generator = np.random.default_rng(seed)
    spread = np.exp(-np.arange(dim) / dim * 3)
    topics = generator.standard_normal((20, dim)) * spread
    vectors = topics[generator.integers(0, 20, documents)] + 0.7 * generator.standard_normal((documents, dim)) * spread
    return _unit(vectors + 1.5 * spread)


@pytest.mark.parametrize(("documents", "dim", "queries", "k"), [
    (700, 16, 1, 1), (1500, 31, 6, 10), (2049, 64, 33, 20), (3000, 384, 3, 40), (1024, 130, 9, 16), (1500, 1, 7, 9),
])  # fmt: skip
@pytest.mark.parametrize("make", [_normal, _like_sentences])
def test_two_passes_find_what_a_double_loop_finds(either, make, documents, dim, queries, k):
    vectors, asked = make(documents, dim, 1), make(queries, dim, 2)
    for block in (None, 200):
        search = _searching(vectors, either, block=block)
        _assert_exact(search, vectors, asked, k)
        assert search.passes.queries == queries or not either.pays(queries, dim)


def test_both_ways_agree_on_many_queries_and_every_k(either):
    vectors, asked = _like_sentences(9000, 48, 3), _like_sentences(1200, 48, 4)
    two, one = _searching(vectors, either), _searching(vectors, either, precision="float32")
    for queries, k in ((1200, 10), (1200, 1), (70, 140), (4, 9000), (3, 20_000), (2, 8999), (1, 0)):
        ours, theirs = _generate(two, asked[:queries], k), _generate(one, asked[:queries], k)
        for name in ("offsets", "docs", "scores"):
            np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name))
            assert getattr(ours, name).dtype == getattr(theirs, name).dtype
    if either.pays(1200, 48):
        assert two.passes.scored < 0.1 * 2400 * 9000
        assert two.passes.scanned < 100


def _adversaries():
    normal = _normal(1500, 24, 5)
    outlier, huge = normal.copy(), normal.copy()
    outlier[:, 3] *= 1e4
    huge[7], huge[1400] = huge[7] * 1e6, huge[1400] * -1e6
    zeros, lengths = normal.copy(), normal * np.geomspace(1e-12, 1e6, 1500)[:, None]
    zeros[::3] = 0
    shifted = normal * 1e-3 + 5
    close = np.repeat(normal[:1], 1500, axis=0) + np.float32(1e-7) * _normal(1500, 24, 6)
    return {
        "one outlying dimension": outlier,
        "two huge vectors": huge,
        "zeros": zeros,
        "lengths of all orders": lengths,
        "duplicates": np.tile(normal[:100], (15, 1)),
        "all equal": np.tile(normal[:1], (1500, 1)),
        "far from the origin": shifted,
        "adversarially close": close,
        "small whole numbers": np.random.default_rng(7).integers(-2, 3, (1500, 24)),
        "denormal": normal * 1e-41,
        "tiny": normal * 1e-20,
        "very large": normal * 1e16,
        "negative scores only": -np.abs(normal),
        "one dimension": normal[:, :1],
        "a copy at every eighth place": np.where(np.arange(1500)[:, None] % 8 == 0, normal[:1] * 3, normal),
    }


@pytest.mark.parametrize("name", _adversaries())
def test_odd_vectors_are_searched_exactly(either, name):
    vectors = _adversaries()[name].astype(np.float32)
    asked = np.abs(_normal(6, vectors.shape[1], 8)).astype(np.float32)
    asked[3], asked[4] = 0, asked[4] * 1e-40
    asked[5] = vectors[11]
    _assert_exact(_searching(vectors, either, block=333), vectors, asked, 1, 5, 23)


@settings(deadline=None, max_examples=40)
@given(
    st.integers(64, 400), st.integers(1, 9), st.integers(1, 8), st.integers(0, 2**32 - 1),
    st.sampled_from([1.0, 1e-3, 1e3]), st.booleans(), st.integers(1, 64),
)  # fmt: skip
def test_any_vectors_are_searched_exactly(either, documents, dim, queries, seed, length, coarse, block):
    generator = np.random.default_rng(seed)
    vectors = generator.standard_normal((documents, dim)) * length * generator.choice([1, 1, 100], (documents, 1))
    vectors = np.rint(vectors) if coarse else vectors
    asked = generator.standard_normal((queries, dim)) + 3
    search = _searching(vectors, either, block=block)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_pass, "_SCORED_SHARE", 1)  # whatever reaches the floor is worth scoring
        _assert_exact(search, vectors, asked, max(1, documents // 40))


def _bounds(vectors, asked, times=1):
    """Exact scores of all pairs in float64, and the highest that the codes allow, `[queries, documents]`."""
    documents = Quantised.of(vectors)
    queries = QuantisedQueries.of(asked, documents.centre, lengths_of(asked)).coarser(times)
    assert np.abs(queries.codes).max() <= 128 // times
    products = (queries.codes.astype(np.int32) @ documents.codes.T.astype(np.int32)).astype(np.float32)
    steps = products * documents.scales
    steps += queries.by_length[:, None] * documents.lengths + queries.by_error[:, None] * documents.errors
    highest = np.stack([queries.scores_of(column) for column in steps.T], axis=1)
    return asked.astype(np.float64) @ vectors.astype(np.float64).T, highest, queries, documents


@pytest.mark.parametrize("name", _adversaries())
@pytest.mark.parametrize("times", [1, 4])
def test_no_score_lies_above_its_bound(name, times):
    vectors = _adversaries()[name].astype(np.float32)
    asked = np.concatenate([_normal(20, vectors.shape[1], 9), -vectors[:20] * 3]).astype(np.float32)
    asked = asked[askable(lengths_of(asked))]
    scores, highest, queries, documents = _bounds(vectors, asked, times)
    norms = np.linalg.norm(vectors.astype(np.float64), axis=1)
    room = len(vectors[0]) * 2.0**-24 * queries.norms[:, None] * norms  # what a float32 score may lie above
    assert (highest >= scores + room).all()
    assert (documents.norms >= norms).all()


def test_bounds_are_narrow_also_where_all_vectors_point_to_one_side():
    asked = _unit(_normal(50, 384, 9))
    for vectors in (_unit(_normal(2000, 384, 10)), _unit(_normal(2000, 384, 10) + 10)):
        scores, highest, _, _ = _bounds(vectors, asked)
        spread = scores.std(axis=1).mean()
        assert (highest - scores).mean() < 0.4 * spread
        assert (highest - scores).min() > 0


def test_a_floor_that_was_too_high_is_lowered_until_the_bound_holds(either, monkeypatch):
    vectors, asked = _normal(4000, 16, 11), _normal(30, 16, 12)
    search = _searching(vectors, either)
    monkeypatch.setattr(DocumentSample, "rank", lambda sample, k: 1)  # as if the best of all were the tenth
    _assert_exact(search, vectors, asked, 10)
    assert search.passes.widened >= 30
    assert search.passes.scanned == 0
    assert search.passes.queries == 30


def test_documents_that_the_sample_misses_are_found(either):
    vectors = _normal(20_000, 16, 13)
    search = _searching(vectors, either)
    size = search._two_pass.loaded._sample.size
    chosen = np.arange(size) * 20_000 // size
    vectors[chosen] = 0.1 * vectors[chosen]  # nothing in the sample comes near the best
    search.search_in(vectors.astype(np.float32), either)
    asked = _normal(5, 16, 14)
    _assert_exact(search, vectors, asked, 30)
    vectors[np.setdiff1d(np.arange(20_000), chosen)] *= 1e-3  # and now all of the best are in it
    search.search_in(vectors.astype(np.float32), either)
    _assert_exact(search, vectors, asked, 30)


def test_queries_that_nearly_everything_answers_are_scanned_instead(caplog):
    vectors = np.tile(_normal(1, 16, 15), (3000, 1))
    search = _searching(vectors)
    with caplog.at_level(logging.DEBUG, "nirank"):
        found = _generate(search, _normal(3, 16, 16), 5)
    assert found.docs.tolist() == [0, 1, 2, 3, 4] * 3
    assert (search.passes.queries, search.passes.scanned, search.passes.scored) == (3, 3, 0)
    assert "scanned=3" in caplog.text


def test_threads_do_not_change_what_is_found(either, monkeypatch):
    vectors, asked = _like_sentences(20_000, 24, 17), _like_sentences(200, 24, 18)
    alone = _generate(_searching(vectors, either), asked, 100)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 3)
    monkeypatch.setattr(first_pass_tiles, "_DOCUMENTS", 1)
    together = _generate(_searching(vectors, either), asked, 100)
    np.testing.assert_array_equal(alone.docs, together.docs)
    np.testing.assert_array_equal(alone.scores, together.scores)


def test_one_index_may_be_searched_from_many_threads_at_once():
    vectors, asked = _like_sentences(9000, 24, 19), _like_sentences(64, 24, 20)
    search, found = _searching(vectors), {}
    threads = [
        threading.Thread(target=lambda part=part: found.update({part: _generate(search, asked[part::4], 20)}))
        for part in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for part in range(4):
        expected = _generate(search, asked[part::4], 20)
        np.testing.assert_array_equal(found[part].docs, expected.docs)
        np.testing.assert_array_equal(found[part].scores, expected.scores)


def _vectors_of(kind, documents, dim, generator):
    random = generator.standard_normal((documents, dim))
    if kind == "clustered":
        return _unit(random[generator.integers(0, 5, documents)] + 0.1 * random)
    if kind == "close":  # to each other, by a few units in the last place of float32
        return random[:1] + 1e-7 * random
    if kind == "cancelling":  # what is added up is a million times as large as the sum
        return np.concatenate([random, -random + 1e-6 * generator.standard_normal((documents, dim))], axis=1)
    return random * (generator.choice([1e-3, 1, 1e3], (documents, 1)) if kind == "of all lengths" else 1)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.sampled_from(["random", "clustered", "close", "cancelling", "of all lengths"]),
    st.integers(64, 900), st.integers(2, 70), st.integers(1, 40), st.integers(0, 2**32 - 1),
)  # fmt: skip
def test_the_ids_are_those_of_a_search_in_float64(either, kind, documents, dim, queries, seed):
    generator = np.random.default_rng(seed)
    vectors = _vectors_of(kind, documents, dim, generator).astype(np.float32)
    asked = generator.standard_normal((queries, vectors.shape[1])).astype(np.float32)
    asked[0] = vectors[3]
    if kind == "cancelling":
        asked[:, dim:] = asked[:, :dim]
    exact = np.array([[math.fsum(row) for row in query * vectors.astype(float)] for query in asked.astype(float)])
    k, search = max(1, documents // 64), _searching(vectors, either)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(two_pass, "_SCORED_SHARE", 1)
        found = _generate(search, asked, k)
    for row, scores in enumerate(exact):
        docs = found[row][0]
        in_float32 = scores.astype(np.float32)
        assert docs.tolist() == np.lexsort((np.arange(documents), -in_float32))[:k].tolist()
        left = np.setdiff1d(np.arange(documents), docs)
        # nothing that was left scores more in float64, but where the two are one number in float32
        worst = scores[docs].min()
        assert (scores[left] <= worst).all() or (in_float32[left].max() == np.float32(worst))


def test_products_are_rounded_once_whatever_they_are():
    generator = np.random.default_rng(50)
    left, right = _normal(300, 64, 51).astype(np.float32), _normal(400, 64, 52).astype(np.float32)
    left[1], left[2], left[3] = 0, np.rint(left[2]), left[3] * 1e-30
    right[1], right[2], right[3] = 0, np.rint(right[2]), right[3] * 1e-20
    left[4, 32:], right[4, 32:] = -left[4, :32], right[4, :32] * np.float32(1 + 2.0**-20)
    left[5, 32:], right[5, 32:] = -left[5, :32], right[5, :32]
    left[6], right[6] = 3e38, 3e38
    rows, docs = generator.integers(0, 300, 2000), generator.integers(0, 400, 2000)
    rows[:8] = docs[:8] = np.arange(8)
    with np.errstate(over="ignore"):
        expected = [
            np.float64(math.fsum((left[row].astype(float) * right[doc]).tolist())).astype(np.float32)
            for row, doc in zip(rows, docs, strict=True)
        ]
    found = rounded.products(left, right, rows, docs)
    np.testing.assert_array_equal(found, expected)
    assert found[5] == 0
    shuffled = generator.permutation(64)
    np.testing.assert_array_equal(rounded.products(left[:, shuffled], right[:, shuffled], rows, docs), found)
    alone = [rounded.products(left, right, rows[pair : pair + 1], docs[pair : pair + 1])[0] for pair in range(20)]
    np.testing.assert_array_equal(found[:20], alone)


@pytest.mark.skipif(not instructions.available(), reason="needs AVX512-VNNI or AVX2")
@pytest.mark.parametrize(("documents", "dim"), [(1, 1), (12, 4), (13, 63), (16, 64), (17, 65), (500, 31), (241, 384)])
@pytest.mark.parametrize("queries", [1, 6, 7, 32, 33, 70])
def test_instructions_find_all_pairs_of_codes_that_reach_what_is_wanted(documents, dim, queries):
    generator = np.random.default_rng(documents)
    codes = generator.integers(-127, 128, (documents, dim)).astype(np.int8)
    most = 128 // tiles.COARSER - (tiles.COARSER == 1)
    asked = generator.integers(-most, most + 1, (queries, dim)).astype(np.int8)
    codes[-1], asked[-1], asked[0] = 127, most, -most
    one, nothing = np.ones(documents, np.float32), np.zeros(documents, np.float32)
    products = asked.astype(np.int64) @ codes.T.astype(np.int64)
    whole = tiles.whole(Quantised(codes, one, nothing, nothing, np.zeros(dim, np.float32)))
    assert whole.documents.codes.shape[1] >= instructions.CHUNK  # else one would hold more than the next one
    wanted = np.quantile(products, 0.7, axis=1).astype(np.float32)
    weights = kernels.Weights(np.zeros(queries, np.float32), np.zeros(queries, np.float32), wanted)
    expected = sorted(zip(*np.nonzero(products >= wanted[:, None]), strict=True))
    found = kernels.space(max(16 * queries, 24 * tiles.PANEL * -(-queries // tiles.PANEL)))
    for compare in (
        lambda low: tiles.many(
            whole, tiles.panels(asked), tiles.panel_weights(weights), 24, low, documents, *found[:2]
        ),
        lambda low: tiles.few(whole, tiles.chunks(asked), tiles.rows(weights), low, documents, *found[:2]),
    ):
        pairs, low = [], 0
        while low < documents:
            count, low = compare(low)
            pairs += zip(found.rows[:count].tolist(), found.docs[:count].tolist(), strict=True)
        assert sorted(pairs) == expected


@pytest.mark.skipif(not instructions.available(), reason="needs AVX512-VNNI or AVX2")
@pytest.mark.parametrize(("documents", "groups"), [(1, 1), (13, 5), (64, 8), (501, 63)])
@pytest.mark.parametrize("queries", [1, 6, 7, 33])
def test_instructions_find_the_best_of_each_group(documents, groups, queries):
    generator = np.random.default_rng(documents)
    codes = generator.integers(-127, 128, (documents, 40)).astype(np.int8)
    asked = generator.integers(-31, 32, (queries, 40)).astype(np.int8)
    scales, nothing = generator.random(documents).astype(np.float32), np.zeros(documents, np.float32)
    whole = tiles.whole(Quantised(codes, scales, nothing, nothing, np.zeros(40, np.float32)))
    scores = (asked.astype(np.int32) @ codes.T.astype(np.int32)).astype(np.float32) * scales
    expected = np.stack([scores[:, group::groups].max(axis=1) for group in range(groups)], axis=1)
    panels, few = tiles.panels(asked), np.empty((queries, groups), np.float32)
    best = np.empty((len(panels), groups, tiles.PANEL), np.float32)
    tiles.best_of_groups(whole, panels, best)
    tiles.best_of_groups_for_few(whole, tiles.chunks(asked), few)
    np.testing.assert_array_equal(best.transpose(0, 2, 1).reshape(-1, groups)[:queries], expected)
    np.testing.assert_array_equal(few, expected)


@pytest.mark.skipif(not instructions.available(), reason="needs AVX512-VNNI or AVX2")
@pytest.mark.parametrize("extreme", [(127, 127), (-127, 127), (127, -127), (-127, -127)])
def test_instructions_do_not_overflow(extreme):
    codes, asked = (np.full((20, 384), code, np.int8) for code in extreme)
    one, nothing = np.ones(20, np.float32), np.zeros(20, np.float32)
    whole = tiles.whole(Quantised(codes, one, nothing, nothing, np.zeros(384, np.float32)))
    coarse = np.rint(asked / tiles.COARSER).astype(np.int8)
    best, few = np.empty((1, 2, tiles.PANEL), np.float32), np.empty((20, 2), np.float32)
    tiles.best_of_groups(whole, tiles.panels(coarse), best)
    tiles.best_of_groups_for_few(whole, tiles.chunks(asked), few)
    assert (best[0, :, :20] == 384 * extreme[0] * int(coarse[0, 0])).all()
    assert (few == 384 * extreme[0] * extreme[1]).all()


def test_floors_are_raised_only_to_what_all_better_scores_reach():
    vectors, asked = _unit(_normal(500, 24, 53)), _normal(40, 24, 54).astype(np.float32)
    documents = Quantised.of(vectors)
    queries = QuantisedQueries.of(asked, documents.centre, lengths_of(asked))
    scores = asked.astype(float) @ vectors.T.astype(float)
    steps = np.full(40, np.finfo(np.float32).min)
    best = kernels.BestScores(np.zeros((40, 1), np.float32), np.partition(scores, -10, axis=1)[:, -10])
    higher = floors.raised(queries, steps, best)
    assert (higher > steps).all()
    assert (queries.scores_of(higher) <= best.floor).all()
    assert (queries.scores_of(higher) > best.floor - 1e-5).all()
    again = floors.raised(queries, higher, best._replace(floor=best.floor - 1))
    np.testing.assert_array_equal(again, higher)


@pytest.mark.parametrize("lacking", ["matrix_is_fast", "matrix_is_exact"])
def test_without_a_good_product_of_bytes_many_queries_are_scanned(lacking):
    vectors, asked = _normal(2000, 40, 21), _normal(20, 40, 22)
    search = _searching(vectors, dataclasses.replace(BY_PRODUCTS, **{lacking: lambda *_: False}))
    _assert_exact(search, vectors, asked, 7)
    assert search.passes.queries == 0
    _assert_exact(search, vectors, asked[:4], 7)  # few need no matrix product
    assert search.passes.queries == 4


@pytest.mark.parametrize("dim", [1, 2, 31, 32, 33, 100, 384, 1000])
def test_products_that_are_used_are_exact(dim):
    generator = np.random.default_rng(23)
    codes = generator.choice(np.array([-127, 127, 126, -1], np.int8), (3000, dim))
    for queries, start, stop in ((1, 0, 3000), (5, 10, 11), (6, 0, 3000), (6, 1, 3), (9, 700, 707), (300, 5, 2053)):
        if UNTIMED.pays(queries, dim):
            asked = generator.integers(-127, 128, (queries, dim)).astype(np.int8)
            asked[0] = 127
            found = Codes(codes, UNTIMED).products(asked, start, stop, np.empty(queries * (stop - start) + 3, np.int32))
            np.testing.assert_array_equal(found, asked.astype(np.int64) @ codes[start:stop].T.astype(np.int64))


def test_a_product_that_saturates_is_noticed(monkeypatch):
    def saturating(left, right):
        return (left.int() @ right.int()).clamp(-32768, 32767)

    monkeypatch.setattr(torch, "_int_mm", saturating)
    assert not code_products.matrix_is_exact.__wrapped__(64)


def _asked_much(search):
    """The same search after one query, as if that had been enough to load what reads bytes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(exact, "_WORTH_LOADING", 1)
        search.search_in(search._products.vectors, UNTIMED)
        _generate(search, search._products.vectors[:1], 1)
    return search


def test_two_passes_are_loaded_when_so_much_was_asked_for_that_it_pays(monkeypatch):
    vectors, asked = _like_sentences(9000, 8, 34), _like_sentences(30, 8, 35)
    monkeypatch.setattr(exact, "_WORTH_LOADING", 9000 * 8 * (10 + exact._READING_QUERIES + 3 + exact._READING_QUERIES))
    search = _searching(vectors, precision=None)
    found = [_generate(search, asked[:10], 7)]
    assert search.passes is None
    found += [_generate(search, asked[10:13], 7), _generate(search, asked[13:], 7)]
    assert search.passes.queries == (20 if UNTIMED.pays(17, 8) else 3)
    assert _generate(search, asked, 7).docs.tolist() == np.concatenate([part.docs for part in found]).tolist()
    expected = _generate(_searching(vectors, precision="float32"), asked, 7)
    np.testing.assert_array_equal(np.concatenate([part.scores for part in found]), expected.scores)


def test_a_first_query_needs_neither_numba_nor_torch(tmp_path):
    program = """
import sys
import numpy as np
from nirank.data import Queries
from nirank_dense.exact.search import ExactSearch
search = ExactSearch(device="cpu")
search.search_in(np.ones((9000, 4), np.float32))
print(search.generate(Queries.of("q").with_vectors(np.ones((1, 4), np.float32)), 3).docs.tolist())
print({"numba", "torch"} & sys.modules.keys())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert done.stdout == "[0, 1, 2]\nset()\n"


def test_threads_that_ask_at_once_load_two_passes_once(monkeypatch):
    loaded, started = [], threading.Barrier(4)

    def load():
        loaded.append(1)
        return "two passes"

    two_pass, found = exact._InTime(load, 3), []

    def ask():
        started.wait()
        found.append(two_pass.after(1))

    threads = [threading.Thread(target=ask) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert loaded == [1]
    assert sorted(found, key=str) == [None, None, "two passes", "two passes"]


def test_an_index_whose_folder_is_gone_is_still_searched(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "_WORTH_LOADING", 1)
    vectors = _normal(9000, 4, 36)
    index = Component("exact", ExactSearch(device="cpu"))
    indexes.prepare(index, _numbered(9000), Component("given", Given(vectors)), tmp_path / "index")
    shutil.rmtree(tmp_path / "index")
    _assert_exact(index.target, vectors, vectors[:2], 3)
    assert index.target.passes.queries == 2


@pytest.mark.parametrize("precision", ["int8", "float32"])
def test_fewer_than_no_documents_are_refused(precision):
    with pytest.raises(BadInput, match=r"k = -1; it must be 0 or more\."):
        _generate(_searching(_normal(100, 4, 37), precision=precision), np.ones((1, 4)), -1)


def test_few_documents_are_scanned_and_many_are_not_unless_said():
    vectors = _normal(9000, 4, 24)
    assert _asked_much(_searching(vectors, precision=None)).passes is not None
    assert _asked_much(_searching(vectors[:1000], precision=None)).passes is None
    assert _searching(vectors, precision="float32").passes is None
    assert _searching(vectors[:1000]).passes is not None


def test_bytes_without_numba_are_refused_and_not_chosen(monkeypatch):
    monkeypatch.setattr(exact, "_compiles", lambda: False)
    with pytest.raises(MissingDependency, match=r"nirank\[dense\]"):
        ExactSearch(device="cpu", precision="int8")
    assert _asked_much(_searching(_normal(9000, 4, 25), precision=None)).passes is None


def test_no_documents_no_queries_and_views_of_other_arrays_are_fine():
    nothing = _searching(np.empty((0, 3)))
    assert _generate(nothing, np.ones((2, 3)), 4).pairs == 0
    vectors = _normal(1000, 12, 26).astype(np.float32)
    assert _generate(_searching(vectors), np.empty((0, 12)), 4).pairs == 0
    every_other = np.asfortranarray(vectors)[::2, ::2]
    every_other.flags.writeable = False
    _assert_exact(_searching(every_other), every_other, _normal(2, 6, 27), 3)


class Given:
    """An encoder whose vectors are given."""

    vectors = "dense"

    def __init__(self, vectors):
        self.given, self.fingerprint = np.asarray(vectors, np.float32), "given"

    def encode_documents(self, contents):
        return self.given[list(map(int, contents))]


def _numbered(documents):
    names = list(map(str, range(documents)))
    return Documents(names, names)


def test_an_index_on_disk_holds_the_bytes_and_is_searched_alike(tmp_path, monkeypatch):
    monkeypatch.setattr(exact, "_WORTH_LOADING", 1)
    vectors, asked = _like_sentences(9001, 20, 28), _like_sentences(40, 20, 29)
    index = Component("exact", ExactSearch(device="cpu", chunk=1000))
    indexes.prepare(index, _numbered(9001), Component("given", Given(vectors)), tmp_path / "index")
    codes = np.load(tmp_path / "index" / CODES)
    np.testing.assert_array_equal(codes, Quantised.of(vectors).codes)
    in_memory, on_disk = (_generate(search, asked, 25) for search in (_searching(vectors), index.target))
    np.testing.assert_array_equal(in_memory.docs, on_disk.docs)
    np.testing.assert_array_equal(in_memory.scores, on_disk.scores)
    assert index.target.passes is not None


def test_an_index_of_the_version_before_is_refused(tmp_path, monkeypatch):
    index, corpus, encoder = (
        Component("exact", ExactSearch(device="cpu")),
        _numbered(5),
        Component("e", Given(np.eye(5))),
    )
    before = {"index": "vectors", "version": 2, "precision": "float32"}
    with monkeypatch.context() as patch:
        patch.setattr(ExactSearch, "index_key", before)
        indexes.prepare(index, corpus, encoder, tmp_path / "index")
    index.opened = None
    with pytest.raises(StaleIndex, match="version, codes differ"):
        indexes.prepare(index, corpus, encoder, tmp_path / "index")


def test_numbers_that_are_none_are_refused_as_before():
    search = _searching(_normal(1000, 3, 30))
    with pytest.raises(BadInput, match="numbers that are not finite"):
        _generate(search, [(0, np.nan, 1)], 3)


def test_compiled_loops_agree_with_numpy_at_the_ends_of_groups():
    generator = np.random.default_rng(31)
    for length in (1, 7, kernels.GROUP - 1, kernels.GROUP, kernels.GROUP + 1, 3 * kernels.GROUP + 5):
        products = generator.integers(-1000, 1000, (4, length)).astype(np.int32)
        columns = [generator.random(length).astype(np.float32) for _ in range(3)]
        weights = kernels.Weights(
            *(generator.random(4).astype(np.float32) for _ in range(2)), np.float32([0, 200, 1e9, -1e9])
        )
        bound = products * columns[0] + weights.by_length[:, None] * columns[1] + weights.by_error[:, None] * columns[2]
        counts = np.empty(4, np.int64)
        kernels.count(products, kernels.bounds(*columns), weights, counts)
        np.testing.assert_array_equal(counts, (bound >= weights.steps[:, None]).sum(axis=1))


def test_a_scan_alone_needs_no_bytes():
    vectors, asked = _normal(300, 8, 32).astype(np.float32), _normal(4, 8, 33).astype(np.float32)
    found = Scan(OnHost(vectors), float(np.linalg.norm(vectors, axis=1).max()), block=64).search(asked, 9)
    for row in range(4):
        assert found[row][0].tolist() == _expected(vectors, asked[row])[0][:9]


@pytest.mark.parametrize("dim", [1, 2, 64, 5000])
def test_what_a_scan_keeps_allows_for_the_rounding_of_both_scores(dim):
    asked = _normal(8, dim, 38).astype(np.float32) * np.float32([[1e-30], [1e-23], [1e-3], [1], [1], [1], [1e3], [1e9]])
    unit = dim * 2.0**-24
    apart = 2 * unit / (1 - unit) * 2.5 * np.linalg.norm(asked.astype(np.float64), axis=1)  # Higham 2002, eq. 3.5
    assert (one_pass._slack(asked, 2.5) > 2 * apart).all()


def test_queries_so_short_that_float32_has_no_square_of_them_are_scanned_exactly():
    vectors = np.repeat(_normal(1, 24, 39), 600, axis=0) + np.float32(1e-7) * _normal(600, 24, 40)
    search = _searching(vectors, precision="float32", block=64)
    _assert_exact(search, vectors, _normal(6, 24, 41) * 1e-26, 1, 5, 23)


@pytest.mark.parametrize("precision", ["highest", "high"])
def test_a_device_multiplies_in_full_also_where_less_is_allowed(precision):
    class Watched:
        def __matmul__(self, right):
            seen.append(torch.backends.cuda.matmul.allow_tf32 if legacy else matmul.fp32_precision)

    matmul, seen = torch.backends.cuda.matmul, []
    legacy = not hasattr(matmul, "fp32_precision")
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision(precision)
        OnDevice(np.ones((3, 2), np.float32), "cpu").scores(Watched(), 0, 3)
        assert seen == [False if legacy else "ieee"]
        assert matmul.allow_tf32 == (precision == "high")
    finally:
        torch.set_float32_matmul_precision(before)


def _assert_pairs_are_rounded_once(device):
    vectors, asked = _normal(500, 384, 42).astype(np.float32), _normal(20, 384, 43).astype(np.float32)
    generator = np.random.default_rng(44)
    rows, docs = generator.integers(0, 20, 1000), generator.integers(0, 500, 1000)
    products = OnDevice(vectors, device)
    queries = products.queries(asked)
    together = products.each(queries, rows, docs)
    alone = [products.each(queries, rows[pair : pair + 1], docs[pair : pair + 1])[0] for pair in range(1000)]
    np.testing.assert_array_equal(together, alone)
    exact = [math.fsum(asked[row].astype(float) * vectors[doc]) for row, doc in zip(rows, docs, strict=True)]
    np.testing.assert_array_equal(together, np.float32(exact))


def test_a_device_rounds_the_score_of_a_pair_once():
    _assert_pairs_are_rounded_once("cpu")


@pytest.mark.gpu
def test_on_a_gpu_a_score_does_not_depend_on_the_number_of_pairs_nor_the_ranking_on_tf32():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    _assert_pairs_are_rounded_once("cuda")
    vectors, asked = _like_sentences(20_000, 384, 45), _like_sentences(50, 384, 46)
    search = _searching(vectors, device="cuda", precision=None)
    found = _generate(search, asked, 100)
    before = torch.get_float32_matmul_precision()
    try:
        torch.set_float32_matmul_precision("high")
        again = _generate(search, asked, 100)
    finally:
        torch.set_float32_matmul_precision(before)
    np.testing.assert_array_equal(found.docs, again.docs)
    np.testing.assert_array_equal(found.scores, again.scores)


def test_what_a_product_of_bytes_is_found_to_be_is_logged(caplog):
    code_products.matrix_is_fast.cache_clear()
    with caplog.at_level(logging.DEBUG, "nirank"):
        fast = code_products.matrix_is_fast()
    assert ("compared by bytes first" if fast else "scanned") in caplog.text


_BUILT = "cuda: Optional[str] = {}\nhip: Optional[str] = {}\n"


@pytest.mark.parametrize("driver", [True, False])
@pytest.mark.parametrize(
    ("version", "may"),
    [
        (_BUILT.format(None, None), lambda driver: False),
        (_BUILT.format("'12.8'", None), lambda driver: driver),
        (_BUILT.format(None, "'6.4'"), lambda driver: True),
        ("", lambda driver: True),  # of a torch that tells nothing
    ],
    ids=["cpu", "cuda", "rocm", "unknown"],
)
def test_torch_is_asked_for_a_device_only_where_it_may_have_one(version, may, driver, tmp_path, monkeypatch):
    (tmp_path / "version.py").write_text(version)
    found = types.SimpleNamespace(origin=str(tmp_path / "__init__.py"))
    monkeypatch.setattr(exact.importlib.util, "find_spec", lambda name: found)
    monkeypatch.setattr(exact, "_has_no_driver", lambda: not driver)
    assert exact._may_have_cuda() is may(driver)


def test_a_first_answer_imports_no_torch_where_it_was_built_without_devices(tmp_path):
    if exact._may_have_cuda():
        pytest.skip("this torch may have a device, and is asked")
    program = f"""
import sys
from pathlib import Path
import numpy as np
import nirank

class Lookup:
    vectors = "dense"
    fingerprint = "numbers"

    def encode(self, queries):
        return np.eye(4, dtype=np.float32)[list(map(int, queries.contents))]

    def encode_documents(self, contents):
        return np.eye(4, dtype=np.float32)[list(map(int, contents))]

pipeline, corpus = nirank.load(Lookup()) >> nirank.load("exact"), nirank.Documents(list("abcd"), list("0123"))
pipeline.index(corpus, Path({str(tmp_path / "index")!r}))
print((pipeline % 1).search("2", corpus).docs.tolist(), "torch" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=100)
    assert done.stdout.split("\n")[0] == "[2] False", done.stderr
