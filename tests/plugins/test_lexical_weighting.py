"""Every weighting against a slow reading of its formula, and BM25 against bm25s."""

from __future__ import annotations

import random
from collections import Counter
from math import log, sqrt

import numpy as np
import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput, UnknownName
from nirank_lexical.rankers import BM25, TFIDF, QueryLikelihood

GENERATOR = random.Random(11)
WORDS = [f"w{number}" for number in range(40)]
TEXTS = [" ".join(GENERATOR.choices(WORDS, range(40, 0, -1), k=GENERATOR.randint(0, 60))) for _ in range(120)]
QUERIES = ["w0", "w1 w1 w39", "w3 w17 w30 nowhere", "w0 w1 w2 w3 w4", "nowhere", ""]


class Counts:
    """The corpus as plain dictionaries."""

    def __init__(self, texts):
        self.documents = [Counter(text.split()) for text in texts]
        self.n = len(texts)
        self.df = Counter(term for document in self.documents for term in document)
        self.cf = sum(self.documents, Counter())
        self.total = self.cf.total()
        self.mean = self.total / self.n

    def sum(self, query, document, weight):
        matching = [term for term in query.split() if self.documents[document][term]]
        return sum(weight(self.documents[document][t], t, self.documents[document].total()) for t in matching)


COUNTS = Counts(TEXTS)


def _bm25(variant, k1, b, delta):
    n = COUNTS.n

    def weight(tf, term, length):
        df, norm = COUNTS.df[term], 1 - b + b * length / COUNTS.mean
        if variant == "lucene":
            return log(1 + (n - df + 0.5) / (df + 0.5)) * tf / (tf + k1 * norm)
        if variant == "robertson":
            return max(0, log((n - df + 0.5) / (df + 0.5))) * tf / (tf + k1 * norm)
        if variant == "atire":
            return log(n / df) * (k1 + 1) * tf / (tf + k1 * norm)
        if variant == "bm25l":
            c = tf / norm
            return log((n + 1) / (df + 0.5)) * (k1 + 1) * (c + delta) / (k1 + c + delta)
        return log((n + 1) / df) * ((k1 + 1) * tf / (tf + k1 * norm) + delta)

    return lambda query, document: COUNTS.sum(query, document, weight)


def _dirichlet(mu):
    def score(query, document):
        length = COUNTS.documents[document].total()
        known = [term for term in query.split() if COUNTS.cf[term]]
        match = COUNTS.sum(query, document, lambda tf, t, _: log(1 + tf / (mu * COUNTS.cf[t] / COUNTS.total)))
        return match + len(known) * log(mu / (length + mu))

    return score


def _jelinek_mercer(lambda_):
    def weight(tf, term, length):
        return log(1 + (1 - lambda_) * tf / (lambda_ * length * COUNTS.cf[term] / COUNTS.total))

    return lambda query, document: COUNTS.sum(query, document, weight)


def _tfidf(query, document):
    def weight(tf, term, length):
        return sqrt(tf) * (1 + log((COUNTS.n + 1) / (COUNTS.df[term] + 1))) ** 2 / sqrt(length)

    return COUNTS.sum(query, document, weight)


RANKERS = [
    *((BM25(1.2, 0.75, variant), _bm25(variant, 1.2, 0.75, {"bm25l": 0.5}.get(variant, 1.0))) for variant in
      ("lucene", "robertson", "atire", "bm25l", "bm25+")),
    (BM25(0.0, 0.0), _bm25("lucene", 0.0, 0.0, 0)),
    (BM25(2.0, 1.0, "bm25l", 0.25), _bm25("bm25l", 2.0, 1.0, 0.25)),
    (BM25(0.9, 0.4, "bm25+", 0.0), _bm25("bm25+", 0.9, 0.4, 0.0)),
    (QueryLikelihood(), _dirichlet(1000)),
    (QueryLikelihood(mu=5.0), _dirichlet(5)),
    (QueryLikelihood("jelinek-mercer"), _jelinek_mercer(0.1)),
    (QueryLikelihood("jelinek-mercer", lambda_=0.7), _jelinek_mercer(0.7)),
    (TFIDF(), _tfidf),
]  # fmt: skip


@pytest.fixture(scope="module")
def opened(tmp_path_factory):
    corpus, folder = Documents([f"d{number}" for number in range(len(TEXTS))], TEXTS), tmp_path_factory.mktemp("index")
    BM25().build(corpus, folder)

    def open_one(ranker):
        ranker.open(corpus, folder)
        return ranker

    return open_one


@pytest.mark.parametrize(("ranker", "reference"), RANKERS, ids=[repr(ranker) for ranker, _ in RANKERS])
def test_scores_are_those_of_the_formula(opened, ranker, reference):
    everything = Candidates.of([range(len(TEXTS))] * len(QUERIES))
    scores = opened(ranker).score(Queries.of(QUERIES), everything)
    expected = [reference(query, document) for query in QUERIES for document in range(len(TEXTS))]
    np.testing.assert_allclose(scores, expected, rtol=2e-6, atol=1e-6)


@pytest.mark.parametrize(("ranker", "reference"), RANKERS, ids=[repr(ranker) for ranker, _ in RANKERS])
def test_all_documents_with_a_term_that_counts_are_found(opened, ranker, reference):
    found = opened(ranker).generate(Queries.of(QUERIES), len(TEXTS))
    for row, query in enumerate(QUERIES):
        docs, scores = found[row]
        with_term = {d for d in range(len(TEXTS)) if set(query.split()) & set(COUNTS.documents[d])}
        if ranker.weighting != BM25(1.2, 0.75, "robertson").weighting:
            assert set(docs.tolist()) == with_term
        np.testing.assert_allclose(scores, [reference(query, doc) for doc in docs], rtol=2e-6, atol=1e-6)


def test_robertsons_idf_never_counts_against_a_document(opened):
    ranker = opened(BM25(variant="robertson"))
    assert COUNTS.df["w0"] > len(TEXTS) / 2
    assert ranker.generate(Queries.of(["w0"]), 10).pairs == 0
    assert (ranker.score(Queries.of(QUERIES), Candidates.of([range(len(TEXTS))] * len(QUERIES))) >= 0).all()


@pytest.mark.parametrize("variant", ["lucene", "robertson", "atire"])
def test_bm25_agrees_with_bm25s(opened, variant):
    bm25s = pytest.importorskip("bm25s")
    theirs = bm25s.BM25(k1=1.5, b=0.6, method=variant)
    theirs.index([text.split() for text in TEXTS], show_progress=False)
    ours = opened(BM25(1.5, 0.6, variant))
    for query in QUERIES[:4]:
        known = [term for term in query.split() if COUNTS.df[term]]
        scores = ours.score(Queries.of([query]), Candidates.of([range(len(TEXTS))]))
        np.testing.assert_allclose(scores, theirs.get_scores(known), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("settings", [{"k1": -1}, {"k1": float("nan")}, {"b": 1.1}, {"delta": -0.5}])
def test_parameters_of_bm25_out_of_range_are_refused(settings):
    with pytest.raises(BadInput, match=next(iter(settings))):
        BM25(**settings)


@pytest.mark.parametrize("settings", [{"mu": 0}, {"lambda_": 1.0}, {"lambda_": 0.0}])
def test_parameters_of_smoothing_out_of_range_are_refused(settings):
    with pytest.raises(BadInput, match=next(iter(settings))):
        QueryLikelihood(**settings)


def test_unknown_variants_and_smoothings_list_the_known_ones():
    with pytest.raises(UnknownName, match="lucene"):
        BM25(variant="lucen")
    with pytest.raises(UnknownName, match="jelinek-mercer"):
        QueryLikelihood("jm")
