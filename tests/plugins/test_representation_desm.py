"""DESM: its score against the equations of the paper, one word at a time, and where its vectors come from."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("gensim")
pytest.importorskip("regex")

import nirank
from nirank.checkpoints import checkpoint as weights
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, StaleIndex
from nirank.execution import stages as execute
from nirank.kit.text import Analyzer, SkipGram, Word2Vec
from nirank_representation import desm as module
from nirank_representation.desm import tiny
from tests.flat import flat

DESM = flat(module.DESM)
WORDS = ["cat", "dogs", "東京", "mat", "zebra", "nothing"]
DOCUMENTS = [
    "cat dogs Cat",
    "",
    "unknown words alone",
    "東京 mat, the unknown mat",
    "zebra",
    "cat " * 5000 + "mat",
    "nothing",
    "e\u0301 \ud800",
    "nothing cat",
]
QUERIES = ["cat mat", "", "cat cat zebra", "unknown", "nothing", "東京?"]


@pytest.fixture
def model(tmp_path):
    """Vectors of six words, one of them of length 0 on both sides."""
    random = np.random.default_rng(0)
    inputs, outputs = random.normal(size=(2, len(WORDS), 5)).astype(np.float32)
    inputs[5] = outputs[5] = 0
    analysis = Analyzer("english", None, []).settings
    Word2Vec(WORDS, inputs, outputs, {"analysis": analysis}).save(tmp_path / "words.safetensors")
    return str(tmp_path / "words.safetensors")


def _slowly(model, variant, query, document):
    """Equations (1) to (3) of Mitra et al., in float64; 0 where a side has no word with a vector."""
    made = Word2Vec.load(model)
    matrices = {"in": made.inputs.astype(np.float64), "out": made.outputs.astype(np.float64)}
    sides = [matrices[side] for side in variant.split("-")]
    analyzer = Analyzer("english", None, [])
    asked, read = (
        [side[WORDS.index(word)] for word in analyzer(text) if word in WORDS]
        for side, text in zip(sides, (query, document), strict=True)
    )
    centroid = np.zeros(5)
    for vector in read:
        centroid += vector / (np.linalg.norm(vector) or 1) / len(read)
    score = 0.0
    for vector in asked:
        lengths = np.linalg.norm(vector) * np.linalg.norm(centroid)
        score += vector @ centroid / (lengths or 1) / len(asked)
    return score


@pytest.mark.parametrize("variant", ["in-out", "in-in", "out-out"])
def test_scores_are_those_of_the_equations(model, variant):
    corpus = Documents([str(number) for number in range(len(DOCUMENTS))], DOCUMENTS)
    lists = Candidates.of([range(len(DOCUMENTS))] * len(QUERIES), corpus=corpus)
    scores = nirank.load("desm", variant=variant, model=model).score(Queries.of(QUERIES), lists)
    expected = [_slowly(model, variant, query, document) for query in QUERIES for document in DOCUMENTS]
    np.testing.assert_allclose(scores, expected, atol=1e-6)
    assert len(set(np.round(expected, 6))) > len(DOCUMENTS)


def test_no_queries_no_documents_and_no_candidates(model):
    desm = DESM(model=model)
    assert desm.encode(Queries.of([])).shape == desm.encode_documents([]).shape == (0, 5)
    corpus = Documents(["a"], ["cat"])
    assert nirank.load(desm).score(Queries.of(["cat"]), Candidates.empty(1, corpus)).shape == (0,)


SENTENCES = ["a cat sat on a mat", "the dogs ran", "cats and dogs", "a zebra in 東京"] * 10
SETTINGS = {"dim": 6, "min_count": 2, "sample": 0.0}


@pytest.fixture
def corpus():
    return Documents([str(number) for number in range(len(SENTENCES))], SENTENCES)


def test_vectors_are_trained_on_the_corpus_that_is_searched(corpus):
    pytest.importorskip("torch")
    desm = nirank.load("desm", **SETTINGS)
    search = desm >> nirank.load("exact", device="cpu") % 5
    found = search.search(["zebra", "unknown"], corpus)
    settings = SkipGram(dim=6, min_count=2, sample=0.0)
    analyzer = Analyzer("english", None, None)
    assert set(desm.component.target._words.words) == {term for text in SENTENCES for term in analyzer(text)}
    assert desm.component.target.skipgram == settings
    again = execute.score(desm.component, Queries.of(["zebra", "unknown"]), found)
    np.testing.assert_allclose(again, found.scores, atol=1e-6)
    assert not found[1][1].any()


def test_the_mixture_with_bm25_is_an_expression(corpus):
    stages = {"bm25": nirank.load("bm25"), "desm": nirank.load("desm", **SETTINGS)}
    mixed = nirank.parse("bm25 % 9 >> 0.97 * desm + 0.03 * bm25", stages)
    found = mixed.search("zebra cat", corpus)
    desm, bm25 = (stages[name].score(Queries.of("zebra cat"), found) for name in ("desm", "bm25"))
    np.testing.assert_allclose(found.scores, 0.97 * desm + 0.03 * bm25, atol=1e-6)
    assert found.pairs == 9


def test_variants_share_vectors_and_are_told_apart():
    made = [DESM(variant=variant) for variant in ("in-out", "in-in", "in-out")]
    assert made[0].index_key == made[1].index_key
    assert made[0].fingerprint == made[2].fingerprint != made[1].fingerprint
    assert DESM(seed=1).index_key != made[0].index_key
    assert DESM(seed=1).fingerprint != made[0].fingerprint


def test_a_checkpoint_has_the_vectors_and_how_words_are_read(tmp_path):
    pytest.importorskip("torch")
    first = nirank.load("desm", **SETTINGS, stemmer="porter", variant="in-in")
    first.component.target.build(Documents(["a"], ["cats sit on mats " * 9]), tmp_path)
    first.component.target.open(Documents([], []), tmp_path)
    weights.save(first.component, tmp_path / "checkpoint")
    again = weights.load(tmp_path / "checkpoint")
    assert again.target.variant == "in-in"
    texts = ["cat", "sitting mats"]
    assert np.array_equal(again.target.encode_documents(texts), first.component.target.encode_documents(texts))
    assert again.target.encode_documents(texts).any(axis=1).all()


def test_a_model_is_the_same_wherever_its_file_lies(model, tmp_path):
    before = DESM(model=model).fingerprint
    moved = (tmp_path / "words.safetensors").rename(tmp_path / "moved.safetensors")
    assert DESM(model=str(moved)).fingerprint == before
    assert DESM(model=str(moved), variant="in-in").fingerprint != before


def test_what_cannot_be_used_is_told(model, tmp_path):
    with pytest.raises(BadInput, match="variant = 'out'"):
        DESM(variant="out")
    with pytest.raises(StaleIndex, match="has no word vectors"):
        DESM().encode(Queries.of(["cat"]))
    with pytest.raises(BadInput, match=r"content \d+ is of type PosixPath"):
        tiny().encode_documents(["a", tmp_path])
    with pytest.raises(BadInput, match="no word occurs min_count = 5 times"):
        DESM().build(Documents(["a"], ["too few"]), tmp_path)


def test_a_word_is_near_to_the_documents_that_it_stands_in(shared):
    cranfield = nirank.collection(f"beir:{shared('cranfield')}")
    desm = nirank.load("desm", dim=50, epochs=10)
    everything = Candidates.of([range(len(cranfield.corpus))] * len(cranfield.queries), corpus=cranfield.corpus)
    by_ordinal, by_words = -everything.docs.astype(np.float32), desm.score(cranfield.queries, everything)
    chance, found = (
        nirank.evaluate(everything.with_scores(scores).ranked(), cranfield.judgments, ["AP"])["AP"]
        for scores in (by_ordinal, by_words)
    )
    assert found > 3 * chance
