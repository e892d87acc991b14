"""Settings that give Lucene's numbers: its lengths against its own encoding, its scores, RM3 and Rocchio against it."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

import nirank
from nirank.data import Documents, Queries
from nirank.errors import UnknownName
from nirank.kit.text.lengths import in_a_byte


def _byte(number):
    """SmallFloat.longToInt4: four significant bits and an exponent."""
    bits = number.bit_length()
    return number if bits < 4 else ((number >> (bits - 4)) & 7) | ((bits - 3) << 3)


def _back(byte):
    shift = (byte >> 3) - 1
    return byte & 7 if shift < 0 else ((byte & 7) | 8) << shift


def test_lengths_are_those_of_lucenes_byte():
    lengths = np.unique(np.concatenate([np.arange(5000), 2 ** np.arange(13, 31), 2 ** np.arange(13, 31) - 1]))
    slow = [n if n < 24 else 24 + _back(_byte(n - 24)) for n in lengths.tolist()]
    assert in_a_byte(lengths.astype(np.int32)).tolist() == slow
    assert in_a_byte(np.empty(0, np.int32)).tolist() == []


@pytest.mark.parametrize(
    ("name", "settings"),
    [("bm25", {"lengths": "bytes"}), ("ql", {"formula": "lucine"}), ("tfidf", {"formula": "lucine"})],
)
def test_settings_that_there_are_not_are_refused(name, settings):
    with pytest.raises((UnknownName, nirank.errors.BadInput), match=r"byte|lucene"):
        nirank.load(name, **settings)


RANDOM = np.random.default_rng(3)
WORDS = [f"w{number}" for number in range(400)]
SHARES = 1 / np.arange(2, 402)
TEXTS = [
    " ".join(RANDOM.choice(WORDS, size, p=SHARES / SHARES.sum())) for size in RANDOM.integers(0, 300, 150).tolist()
]
CORPUS = Documents([f"d{number:03}" for number in range(152)], [*TEXTS, "", "the"])
QUERIES = Queries.of([" ".join(RANDOM.choice(WORDS, 5)) for _ in range(30)] + ["w0", "w1 w1 w1 w80", "nowhere", ""])


@pytest.fixture
def alike():
    pytest.importorskip("jnius_config")
    pytest.importorskip("pyserini")

    def compare(ours, theirs, queries=QUERIES, corpus=CORPUS, k=200):
        """The same documents with the same scores in float32; in the same order, up to what is nearly equal."""
        found, expected = ((ranking % k).search(queries, corpus) for ranking in (ours, theirs))
        assert found.lengths.tolist() == expected.lengths.tolist()
        at = expected.lookup(found)
        np.testing.assert_allclose(found.scores, expected.scores, rtol=2e-6, atol=1e-6)
        np.testing.assert_allclose(at[~np.isnan(at)], expected.scores[~np.isnan(at)], rtol=2e-6, atol=1e-6)
        assert np.isnan(at).sum() <= 0.001 * len(at) + (0 if k > len(corpus) else 20)  # equal to the last, left out
        return found, expected

    return compare


EXACTLY = {"lengths": "byte", "formula": "lucene"}


@pytest.mark.lucene
@pytest.mark.parametrize("settings", [{}, {"k1": 2.0, "b": 0.9}, {"b": 0.0}])
def test_bm25_with_lengths_in_a_byte_is_lucenes(alike, settings):
    alike(nirank.load("bm25", lengths="byte", **settings), nirank.load("lucene", **settings))


@pytest.mark.lucene
@pytest.mark.parametrize("mu", [1000, 20])
def test_query_likelihood_by_lucenes_formula_is_lucenes(alike, mu):
    alike(nirank.load("ql", mu=mu, **EXACTLY), nirank.load("lucene", similarity="ql", mu=mu))


@pytest.mark.lucene
@pytest.mark.parametrize("model", ["bm25", "ql"])
def test_rm3_by_lucenes_formula_is_anserinis(alike, model):
    first = nirank.load(model, lengths="byte", **({"formula": "lucene"} if model == "ql" else {}))
    alike(first % 10 >> nirank.load("rm3", formula="lucene") >> first, nirank.load("lucene_rm3", similarity=model))


@pytest.mark.lucene
@pytest.mark.parametrize("name", ["cranfield", "nfcorpus"])
def test_real_collections_have_lucenes_scores(alike, shared, name):
    collection = nirank.collection(f"beir:{shared(name)}")
    bm25, ql = nirank.load("bm25", lengths="byte"), nirank.load("ql", **EXACTLY)
    rm3 = nirank.load("rm3", formula="lucene")
    for ours, theirs in (
        (bm25, nirank.load("lucene")),
        (ql, nirank.load("lucene", similarity="ql")),
        (bm25 % 10 >> rm3 >> bm25, nirank.load("lucene_rm3")),
    ):
        found, expected = alike(ours, theirs, collection.queries, collection.corpus, 1000)
        values = [nirank.evaluate(each, collection.judgments, ["nDCG@10"], ties="rising") for each in (found, expected)]
        assert values[0]["nDCG@10"] == pytest.approx(values[1]["nDCG@10"], abs=5e-5)


def test_rm3_weighs_by_likelihood_after_query_likelihood_alone():
    ql, lucene_ql, bm25 = nirank.load("ql"), nirank.load("ql", formula="lucene"), nirank.load("bm25")
    for first, weights in ((ql, "likelihood"), (lucene_ql, "score"), (bm25, "score"), (bm25 % 50 >> ql, "likelihood")):
        by_default, stated = (
            (first % 10 >> nirank.load("rm3", max_df=1.0, **settings) >> bm25).search(QUERIES, CORPUS)
            for settings in ({}, {"weights": weights})
        )
        other = "score" if weights == "likelihood" else "likelihood"
        differently = (first % 10 >> nirank.load("rm3", max_df=1.0, weights=other) >> bm25).search(QUERIES, CORPUS)
        assert by_default.scores.tolist() == stated.scores.tolist() != differently.scores.tolist()


# Ties, and queries that are documents


def test_ties_go_by_rising_id_on_demand():
    corpus = Documents(["b", "a", "c"], ["", "", ""])
    run = nirank.Candidates.of([[0, 1, 2]], [[1.0, 1.0, 1.0]], corpus)
    judged = nirank.Candidates.of([[1]], [[1]], corpus)
    falling, rising = (nirank.evaluate(run, judged, ["RR"], ties=ties) for ties in ("falling", "rising"))
    assert (falling["RR"], falling.rule) == (pytest.approx(1 / 3), "docno")
    assert (rising["RR"], rising.rule, rising.ties) == (1, "rising docno", 2)
    assert "rising document id" in " ".join(rising.notes())
    with pytest.raises(UnknownName, match="falling"):
        nirank.evaluate(run, judged, ["RR"], ties="fallling")


OWN = Documents(["x", "y", "z"], ["the small grey cat sleeps", "a dog that barks", "a cat and a dog"])


def test_queries_that_find_themselves_are_told(caplog):
    bm25 = nirank.load("bm25")
    queries = Queries(["x", "y"], [OWN[0], OWN[1]])
    found = bm25.search(queries, OWN)
    assert "2 of 2 queries are documents of the corpus" in caplog.text
    judged = nirank.Candidates.of([[2], [2]], [[1], [1]], OWN).for_queries(["x", "y"])
    assert any("others(...)" in warning for warning in nirank.evaluate(found, judged, ["RR"]).warnings)
    caplog.clear()
    left = nirank.others(bm25).search(queries, OWN)
    assert not caplog.text
    assert not any("others(...)" in warning for warning in nirank.evaluate(left, judged, ["RR"]).warnings)


def test_ids_that_are_alike_by_accident_are_not_told(caplog):
    nirank.load("bm25").search(Queries(["x", "y"], ["cat", "dog"]), OWN)
    assert not caplog.text
