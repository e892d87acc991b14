"""Indexes of vectors as scorers: the numbers of their own search, to the bit, and those of a slow loop."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("transformers")

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput

INDEXES = {
    "exact": ("nirank_dense.tiny:encoder", "nirank_dense.exact.search:tiny", "sentence_transformers"),
    **{
        name: ("nirank_dense.tiny:encoder", f"nirank_dense.faiss.tiny:{name}", "faiss")
        for name in ("flat", "sq8", "hnsw", "ivf_flat", "ivf_pq")
    },
    "maxsim": ("nirank_late.tiny:encoder", "nirank_late.tiny:exact", "numba"),
    "plaid": ("nirank_late.tiny:encoder", "nirank_late.plaid:tiny", "numba"),
    "impact": ("nirank_sparse.tiny:encoder", "nirank_sparse.impact:tiny", "scipy"),
    "alpha_qe": ("nirank_dense.tiny:encoder", "nirank_stir.alpha_qe:tiny", "sentence_transformers"),
    "dba": ("nirank_dense.tiny:encoder", "nirank_stir.alpha_qe:tiny_dba", "sentence_transformers"),
    "k_reciprocal": ("nirank_dense.tiny:encoder", "nirank_stir.k_reciprocal:tiny", "sentence_transformers"),
}
#: Those that keep vectors as the encoder made them.
KEEPING = ["exact", "flat", "sq8", "hnsw", "ivf_flat", "ivf_pq", "impact"]


def _texts(count, seed):
    random = np.random.default_rng(seed)
    return ["".join(random.choice(list("abcdefgh "), random.integers(2, 30))) + "a" for _ in range(count)]


CORPUS = Documents([f"d{place}" for place in range(60)], [*_texts(55, 0), *_texts(5, 0)])  # some of them twice
QUERIES = Queries.of(_texts(7, 1))
EVERY = Candidates.of([range(60)] * 7, corpus=CORPUS)


def _made(path):
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)()


@pytest.fixture(params=INDEXES)
def named(request, tmp_path, monkeypatch):
    """The name of an index, its encoder, and a search with both."""
    encoder, index, package = INDEXES[request.param]
    pytest.importorskip(package)
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path))
    stage = nirank.load(_made(encoder), "encoder")
    return request.param, stage, stage >> nirank.load(_made(index), request.param)


def test_a_pair_has_the_score_that_a_search_gives_it_to_the_bit(named):
    _, _, ranking = named
    found = ranking.search(QUERIES, CORPUS)
    assert found.pairs
    random = np.random.default_rng(2)
    order = np.lexsort((random.random(found.pairs), found.rows))
    mixed = Candidates(found.offsets, found.docs[order], found.scores[order], CORPUS)
    assert nirank.scores(ranking).score(QUERIES, mixed).tolist() == mixed.scores.tolist()
    one = np.array([3])
    alone = nirank.scores(ranking).score(QUERIES.take(one), mixed.take(one))
    np.testing.assert_allclose(alone, mixed[3][1], rtol=1e-5, atol=1e-6)  # the encoder saw another batch


def _slowly(name, encoder, queries, contents):
    """The scores of all pairs as float64 has them, one by one, `[queries, documents]`."""
    asked, documents = encoder.encode(Queries.of(queries)), encoder.encode_documents(contents)
    if name == "impact":
        return asked.toarray().astype(np.float64) @ documents.toarray().astype(np.float64).T
    if name == "maxsim":
        half = [matrix.numpy().astype(np.float16).astype(np.float64) for matrix in documents]
        return np.array([[(one.numpy().astype(np.float64) @ two.T).max(1).sum() for two in half] for one in asked])
    asked, documents = (np.asarray(vectors, np.float64) for vectors in (asked, documents))
    return asked @ documents.T


def test_scores_of_any_pair_are_those_of_a_slow_loop(named):
    import torch

    name, encoder, ranking = named
    if name not in (*KEEPING, "maxsim"):
        pytest.skip("its scores are not products of the vectors of the encoder")
    with torch.inference_mode():
        expected = _slowly(name, encoder.component.target, QUERIES.contents, CORPUS[:])
    scores = nirank.scores(ranking).score(QUERIES, EVERY)
    np.testing.assert_allclose(scores.reshape(expected.shape), expected, rtol=2e-6, atol=1e-6)


def test_a_scorer_with_its_own_index_encodes_nothing_and_scores_alike(named, monkeypatch):
    name, encoder, ranking = named
    if name not in KEEPING:
        pytest.skip("it keeps no vectors as they were made")
    pipeline = nirank.load("bm25") | ranking
    pipeline = (pipeline | ranking % 60) >> encoder
    pipeline.index(CORPUS)
    with monkeypatch.context() as patch:
        patch.setattr(
            type(encoder.component.target), "encode_documents", lambda *_: pytest.fail("it encoded documents")
        )
        found = pipeline.search(QUERIES, CORPUS)
    again = encoder.score(QUERIES, found)
    np.testing.assert_allclose(found.scores, again, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("docs", [[60], [-1]])
def test_documents_that_the_index_lacks_are_told(named, docs):
    name, encoder, ranking = named
    if name in ("alpha_qe", "dba", "k_reciprocal"):
        pytest.skip("they are asked by pipelines only, which look at the documents themselves")
    ranking.index(CORPUS)
    asked = QUERIES.take(np.array([0])).with_vectors(encoder.component.target.encode(QUERIES.take(np.array([0]))))
    with pytest.raises(BadInput, match=f"no document {docs[0]}"):
        ranking.generator.target.score(asked, Candidates.of([docs]))
    with pytest.raises(BadInput, match="not in the corpus"):
        nirank.scores(ranking).score(QUERIES.take(np.array([0])), Candidates.of([docs], corpus=CORPUS))


def test_no_pairs_have_no_scores(named):
    _, _, ranking = named
    assert nirank.scores(ranking).score(QUERIES, Candidates.empty(7, CORPUS)).shape == (0,)
    assert nirank.scores(ranking).score(Queries.of([]), Candidates.empty(0, CORPUS)).shape == (0,)
