"""Effectiveness on real collections, beside the figures that are published or were measured with Lucene."""

from __future__ import annotations

import json
from collections import defaultdict

import numpy as np
import pytest
import pytrec_eval

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

from nirank.data import Documents, Queries
from nirank_lexical.rankers import BM25, TFIDF, QueryLikelihood


def _rows(path):
    with path.open(encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def _qrels(path):
    qrels = defaultdict(dict)
    for line in path.read_text().splitlines():
        query, _, document, grade = line.split()
        qrels[query][document] = int(grade)
    return qrels


@pytest.fixture(scope="module")
def measured(shared, tmp_path_factory):
    """Gives a measure of a ranker on a collection: 1,000 documents a query, judged queries only."""
    indexes = tmp_path_factory.mktemp("indexes")

    def measure(name, ranker, measure):
        folder = shared(name)
        rows = _rows(folder / "corpus.jsonl")
        corpus = Documents([row["id"] for row in rows], [f"{row['title']} {row['text']}" for row in rows])
        qrels = _qrels(folder / "qrels.txt")
        asked = [row for row in _rows(folder / "queries.jsonl") if row["id"] in qrels]
        if not (indexes / name).exists():
            (indexes / name).mkdir()
            ranker.build(corpus, indexes / name)
        ranker.open(corpus, indexes / name)
        found = ranker.generate(Queries([row["id"] for row in asked], [row["text"] for row in asked]), 1000)
        ids = np.array(corpus.ids.take(np.arange(len(corpus))), dtype=object)
        run = {
            row["id"]: dict(zip(ids[found[number][0]], found[number][1].tolist(), strict=True))
            for number, row in enumerate(asked)
        }
        values = pytrec_eval.RelevanceEvaluator(qrels, {measure}).evaluate(run)
        return np.mean([next(iter(values.get(query, {"": 0.0}).values())) for query in qrels])

    return measure


@pytest.mark.parametrize(
    ("name", "measure", "published"),
    [("nfcorpus", "ndcg_cut.10", 0.3218), ("scifact", "ndcg_cut.10", 0.6789), ("vaswani", "map", 0.2856)],
)
def test_bm25_is_as_good_as_lucenes(measured, name, measure, published):
    assert measured(name, BM25(), measure) == pytest.approx(published, abs=0.002)


def test_query_likelihood_is_near_bm25_and_tfidf_is_not_far(measured):
    for ranker in (QueryLikelihood(), QueryLikelihood("jelinek-mercer")):
        assert measured("nfcorpus", ranker, "ndcg_cut.10") > 0.29
    assert measured("nfcorpus", TFIDF(), "ndcg_cut.10") > 0.25
