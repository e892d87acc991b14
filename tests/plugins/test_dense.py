"""Bi-encoders and exact search, against numpy and against sentence-transformers called directly."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("sentence_transformers")

import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank.execution import indexes, stages
from nirank.pipeline import fusion
from nirank.plugins import Component
from nirank_dense import tiny
from nirank_dense.exact.one_pass import Scan
from nirank_dense.exact.running_best import RunningBest
from nirank_dense.exact.scores_on_device import OnDevice
from nirank_dense.exact.search import ExactSearch
from nirank_dense.stored import VECTORS
from tests.built import built

TEXTS = ["a cat", "", "the dog ran over a long bridge " * 20, "ünïcödé ∑ 🙂", "cat", "b", "a cat", "\x00\n", "dog"]


@pytest.fixture(autouse=True, scope="module")
def _without_gradients():
    with torch.inference_mode():
        yield


@pytest.fixture(scope="module")
def encoder():
    return tiny.encoder()


def _searching(vectors, **settings):
    search = ExactSearch(**{"device": "cpu", **settings})
    search.search_in(np.asarray(vectors, np.float32))
    return search


def _exhaustive(queries, vectors, k):
    scores = np.asarray(queries, np.float32) @ np.asarray(vectors, np.float32).T
    return [np.lexsort((np.arange(len(vectors)), -row))[:k].tolist() for row in scores]


def _found(search, queries, k):
    found = search.generate(Queries.of(["q"] * len(queries)).with_vectors(np.asarray(queries, np.float32)), k)
    return [found[query][0].tolist() for query in range(len(queries))]


@settings(deadline=None, max_examples=60)
@given(
    st.lists(st.tuples(st.integers(-2, 2), st.integers(-2, 2)), min_size=1, max_size=40),
    st.integers(1, 50),
    st.integers(1, 9),
)
def test_exact_search_is_the_exhaustive_one_ties_included(vectors, k, block):
    queries = [(1, 0), (0, 0), (-1, 2), (1, 1)]  # small integers: many ties, and sums without rounding
    assert _found(_searching(vectors, block=block), queries, k) == _exhaustive(queries, vectors, k)


def test_many_blocks_and_many_queries_agree_with_numpy():
    generator = np.random.default_rng(1)
    vectors = generator.integers(-8, 9, (5000, 16))
    queries = generator.integers(-8, 9, (1500, 16))
    for k in (1, 10, 700):
        assert _found(_searching(vectors, block=512), queries, k) == _exhaustive(queries, vectors, k)


def test_fewer_are_a_prefix_of_more():
    vectors = np.random.default_rng(2).integers(-1, 2, (300, 4))
    search = _searching(vectors, block=64)
    ten, hundred = (_found(search, [(1, -1, 1, 0)], k)[0] for k in (10, 100))
    assert hundred[:10] == ten


def test_running_best_keeps_the_best_and_what_is_close_however_pairs_come_in():
    generator = np.random.default_rng(3)
    rows, docs = np.repeat(np.arange(5), 200), np.tile(np.arange(200), 5)
    scores = generator.integers(0, 60, 1000).astype(np.float32)
    best = RunningBest(17, np.full(5, 2, np.float32))
    for part in np.array_split(np.arange(1000), 13):
        part = part[scores[part] >= best.floor[rows[part]]]
        best.add(rows[part], docs[part], scores[part])
    kept = best.candidates()
    whole = Candidates(np.arange(0, 1001, 200), docs, scores).ranked()
    for query in range(5):
        _, ranked = whole[query]
        close = int((ranked >= ranked[16] - 2).sum())
        assert kept[query][0].tolist() == whole[query][0][:close].tolist()


def test_equal_documents_score_alike_wherever_they_stand_and_whoever_asks_beside():
    generator = np.random.default_rng(6)
    vectors = np.tile(generator.standard_normal((50, 96)).astype(np.float32), (61, 1))
    queries = generator.standard_normal((40, 96)).astype(np.float32)
    search = _searching(vectors)
    together = search.generate(Queries.of(["q"] * 40).with_vectors(queries), 70)
    for query in range(40):
        alone = search.generate(Queries.of("q").with_vectors(queries[query : query + 1]), 70)
        assert alone.docs.tolist() == together[query][0].tolist()
        assert alone.scores.tolist() == together[query][1].tolist()
        assert together[query][0][0] < 50  # the first of equal ones
        assert len(set(together[query][1][:61].tolist())) == 1


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
def test_vectors_that_are_no_numbers_are_refused(tmp_path, wrong):
    search = _searching(np.eye(3), chunk=2)
    with pytest.raises(BadInput, match=r"1 of 2 query vectors .* the first is query 2"):
        _found(search, [(1, 0, 0), (1, wrong, 0)], 1)
    with pytest.raises(BadInput, match=r"document vectors .* the first is document 3"):
        search.build(Documents(list("abcd"), list("abcd")), tmp_path, lambda texts: np.array([[wrong, 1.0]] * 2)
                     if "c" in texts else np.ones((2, 2)))  # fmt: skip


def test_queries_without_vectors_or_of_another_size_are_refused():
    search = _searching(np.eye(3))
    with pytest.raises(BadInput, match="have no vectors"):
        search.generate(Queries.of("q"), 1)
    with pytest.raises(BadInput, match=r"shape \(1, 2\), the index has 3 dimensions"):
        _found(search, [(1, 2)], 1)
    with pytest.raises(BadInput, match="no open index"):
        ExactSearch(device="cpu").generate(Queries.of("q"), 1)


@pytest.mark.parametrize("queries", [1, 7])
def test_a_device_computes_what_the_host_computes(queries):
    generator = np.random.default_rng(5)
    vectors, asked = generator.integers(-4, 5, (200, 8)), generator.integers(-4, 5, (queries, 8))
    search = _searching(vectors, block=32)
    torchs = OnDevice(np.asarray(vectors, np.float32), "cpu")  # torch's path, on the device there is
    search._scan = Scan(torchs, float(np.linalg.norm(vectors, axis=1).max()), block=32)
    assert _found(search, asked, 9) == _exhaustive(asked, vectors, 9)


def test_no_queries_find_nothing():
    assert _searching(np.eye(3)).generate(Queries([], [], np.empty((0, 3), np.float32)), 2).pairs == 0


def test_vectors_are_those_of_sentence_transformers(encoder):
    own = encoder.model.encode(TEXTS, normalize_embeddings=True)
    np.testing.assert_allclose(encoder.encode_documents(TEXTS), own, atol=1e-6)
    np.testing.assert_allclose(encoder.encode(Queries.of(TEXTS)), own, atol=1e-6)


def test_a_text_has_the_vector_it_has_alone(encoder):
    component = Component("tiny", encoder)
    together = stages.encode_documents(component, TEXTS * 5)
    assert together.shape == (45, 16)
    for place, text in enumerate(TEXTS):
        alone = encoder.encode_documents([text])[0]
        np.testing.assert_allclose(together[place], alone, atol=1e-6)
        np.testing.assert_allclose(together[36 + place], alone, atol=1e-6)


def test_what_is_no_text_is_refused_before_it_reaches_the_model(encoder, tmp_path):
    with pytest.raises(BadInput, match="content 1 is of type PosixPath; only texts"):
        encoder.encode_documents(["a", tmp_path])


def test_different_texts_differ_and_no_texts_are_fine(encoder):
    vectors = encoder.encode_documents(["a cat", "b"])
    assert (vectors[0] - vectors[1]).abs().max() > 1e-3
    assert encoder.encode_documents([]).shape == (0, 16)


def test_a_pipeline_searches_and_rescores_with_the_same_numbers(encoder):
    corpus = Documents([str(place) for place in range(len(TEXTS))], TEXTS)
    letters, exact = nirank.load(encoder, "letters"), nirank.load("exact", device="cpu", block=4, chunk=4)
    found = (letters >> exact % 5).search(["cat", "dog"], corpus)
    again = (letters >> exact % 5 >> letters).search(["cat", "dog"], corpus)
    np.testing.assert_array_equal(found.docs, again.docs)
    np.testing.assert_allclose(found.scores, again.scores, atol=1e-6)
    vectors = encoder.encode_documents(TEXTS).numpy()
    scores = encoder.encode(Queries.of(["cat", "dog"])).numpy() @ vectors.T
    for query in range(2):
        np.testing.assert_allclose(found[query][1], np.sort(scores[query])[::-1][:5], atol=1e-6)


def test_one_index_searches_the_vectors_of_two_encoders(encoder):
    corpus = Documents([str(place) for place in range(len(TEXTS))], TEXTS)
    exact, one, two = nirank.load("exact", device="cpu"), nirank.load(encoder), nirank.load(tiny.encoder(seed=1))
    apart = [(each >> exact % 4).search("dog", corpus) for each in (one, two)]
    fused = nirank.fuse(one >> exact % 4, two >> exact % 4)
    assert not np.allclose(apart[0].scores, apart[1].scores)
    expected = fusion.rrf(apart, np.ones(2))
    np.testing.assert_array_equal(fused.search("dog", corpus).docs, expected.docs)


class Counting:
    """An encoder that counts the texts it is given and fails at one of them."""

    vectors = "dense"
    fingerprint = "counting"

    def __init__(self, failing=None):
        self.failing, self.seen = failing, []

    def encode_documents(self, contents):
        if self.failing in contents:
            raise KeyboardInterrupt
        self.seen += contents
        return np.array([[len(text), 1.0] for text in contents], np.float32)


def test_an_interrupted_encoding_goes_on_where_it_stopped(tmp_path):
    corpus = Documents([str(n) for n in range(10)], ["x" * n for n in range(10)])
    first, second = Counting(failing="x" * 7), Counting()
    index = Component("exact", ExactSearch(device="cpu", chunk=2))
    with pytest.raises(KeyboardInterrupt):
        indexes.prepare(index, corpus, Component("counting", first), tmp_path / "index")
    assert not (tmp_path / "index").exists()
    with (tmp_path / "index.partial" / VECTORS).open("ab") as file:
        file.write(b"half a vec")
    indexes.prepare(index, corpus, Component("counting", second), tmp_path / "index")
    assert len(first.seen) == 6
    assert sorted(second.seen, key=len) == ["x" * n for n in range(6, 10)]
    np.testing.assert_array_equal(index.target._products.vectors[:, 0], np.arange(10))


def test_the_fingerprint_is_of_the_weights_and_not_of_the_folder(encoder):
    assert tiny.encoder().fingerprint == encoder.fingerprint
    assert tiny.encoder(seed=1).fingerprint != encoder.fingerprint


def test_prompts_and_lengths_are_part_of_the_vectors(encoder, tmp_path):

    tiny.save(tmp_path)
    prompted = built("sentence", tmp_path, query_prompt="query ")
    np.testing.assert_allclose(prompted.encode(Queries.of("cat")), encoder.encode_documents(["query cat"]), atol=1e-6)
    np.testing.assert_allclose(prompted.encode_documents(["cat"]), encoder.encode_documents(["cat"]), atol=1e-6)
    assert prompted.fingerprint != encoder.fingerprint
    short = built("sentence", tmp_path, max_length=4)
    np.testing.assert_allclose(short.encode_documents(["a b c d"]), encoder.encode_documents(["a b"]), atol=1e-6)


def test_a_model_that_compares_by_distance_is_refused(tmp_path):
    import json

    tiny.save(tmp_path)
    config = tmp_path / "config_sentence_transformers.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"similarity_fn_name": "euclidean"}))
    with pytest.raises(BadInput, match="euclidean"):
        built("sentence", tmp_path)


def test_bfloat16_is_close_and_of_length_one(encoder, tmp_path):

    tiny.save(tmp_path)
    vectors = built("sentence", tmp_path, precision="bfloat16").encode_documents(TEXTS)
    assert vectors.dtype == torch.float32
    np.testing.assert_allclose(vectors.norm(dim=1), 1, atol=1e-6)
    np.testing.assert_allclose(vectors, encoder.encode_documents(TEXTS), atol=0.05)


@pytest.mark.gpu
def test_a_gpu_finds_what_the_cpu_finds():
    if not torch.cuda.is_available():
        pytest.skip("no CUDA device")
    generator = np.random.default_rng(4)
    vectors, queries = generator.integers(-8, 9, (50_000, 32)), generator.integers(-8, 9, (300, 32))
    assert _found(_searching(vectors, device="cuda"), queries, 100) == _exhaustive(queries, vectors, 100)
