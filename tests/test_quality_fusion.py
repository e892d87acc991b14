"""benchmarks/quality_fusion.py: every row runs, and what is written by hand is what the pipeline would do."""

from __future__ import annotations

import argparse

import numpy as np
import pytest

pytest.importorskip("numba")

import nirank
from nirank.data import Candidates, Collection, Documents, Queries

DOCUMENTS, QUERIES = 40, 30
WORDS = ["cat", "dog", "owl", "fox", "hen", "ant", "bee", "cow"]


class Dense:
    """Stands in for MiniLM: scores of every document, better for those that are relevant."""

    def __init__(self, collection):
        self.scores = np.random.default_rng(1).random((QUERIES, DOCUMENTS)).astype(np.float32)
        self.scores[collection.judgments.rows, collection.judgments.docs] += 0.3

    def score(self, queries, candidates):
        rows = np.array([int(name[1:]) for name in queries.ids])
        return self.scores[rows[candidates.rows], candidates.docs]


@pytest.fixture
def quality(benchmark, monkeypatch):
    """The benchmark, over a small collection."""
    module, generator = benchmark("quality_fusion"), np.random.default_rng(0)
    texts = [" ".join(generator.choice(WORDS, 6)) for _ in range(DOCUMENTS)]
    corpus = Documents([f"d{n}" for n in range(DOCUMENTS)], texts)
    queries = Queries([f"q{n}" for n in range(QUERIES)], [" ".join(generator.choice(WORDS, 2)) for _ in range(QUERIES)])
    relevant = [np.sort(generator.choice(DOCUMENTS, 4, replace=False)) for _ in range(QUERIES)]
    collection = Collection("few", corpus, queries, Candidates.of(relevant, [[1] * 4] * QUERIES, corpus))
    bm25, dense = nirank.load("bm25", k1=0.9, b=0.4), Dense(collection)
    everything = Candidates.from_scores(dense.scores, DOCUMENTS, corpus).for_queries(queries.ids)
    found = {
        "BM25": bm25.search(queries, corpus),
        "RM3": (bm25 % 3 >> nirank.load("rm3") >> bm25).search(queries, corpus),
        "MiniLM": everything.top(20),
    }
    searched = module.Searched(collection, found, everything)
    monkeypatch.setattr(module, "searched", lambda *_: searched)
    module.made, module.dense = searched, dense
    return module


def test_every_row_runs_and_is_compared_with_its_parts(quality):
    (table,) = quality.tables(argparse.Namespace(only=[], quick=True, data=None))
    assert len(table.rows) == 11
    figures = {row[0]: row for row in table.rows}
    for name, row in figures.items():
        assert len(row) == len(table.columns)
        assert (row[4] is None) == (name == "BM25")
        assert (row[5] is None) == (name == "MiniLM")
        assert (row[6] is None) == (name == "RM3")
    folded = [row[7] for name, row in figures.items() if "folded" in name]
    assert [weights.count(";") for weights in folded] == [4] * 5
    (table,) = quality.tables(argparse.Namespace(only=["reciprocal ranks"], quick=True, data=None))
    assert [row[0] for row in table.rows] == ["BM25", "MiniLM", "RM3", "reciprocal ranks"]


def test_a_sum_of_normalised_scores_is_that_of_the_pipeline(quality, monkeypatch):
    """With one choice of weights there is nothing to choose: the row is the pipeline with these."""
    monkeypatch.setattr(quality, "STEP", 2)  # of which only the weight 0, for BM25, is left
    searched = quality.made
    bm25, dense = nirank.load("bm25", k1=0.9, b=0.4), nirank.load(quality.dense, "dense")
    pipeline = (searched.generator("BM25") | searched.generator("MiniLM")) >> 0.0 * nirank.normalise(
        bm25, "minmax"
    ) + 1.0 * nirank.normalise(dense, "minmax")
    found = pipeline.search(searched.collection.queries, searched.collection.corpus)
    expected = nirank.evaluate(found, searched.collection.judgments, list(quality.MEASURES))
    assert quality._union_by_scores(searched).evaluation.mean == expected.mean


def test_what_rm3_did_not_find_has_its_least_score(quality, monkeypatch):
    monkeypatch.setattr(quality, "SCALES", (1000.0,))
    searched = quality.made
    expanded = searched.found["RM3"]
    union = expanded.union(searched.found["MiniLM"])
    scores = []
    for row in range(QUERIES):
        given = dict(zip(*map(list, expanded[row]), strict=True))
        docs = union[row][0].tolist()
        scores += [1000 * given.get(doc, min(given.values())) + quality.dense.scores[row, doc] for doc in docs]
    expected = nirank.evaluate(union.with_scores(scores).ranked(), searched.collection.judgments, ["AP"])
    assert quality._union_by_rm3(searched).evaluation["AP"] == pytest.approx(expected["AP"])
