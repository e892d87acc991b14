"""Lucene through nirank on NFCorpus and SciFact, beside what Anserini publishes and what it finds itself here."""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from quality_table import Cell, Figure, Table

import nirank
from nirank.data import Candidates, Collection
from nirank.evaluation import Evaluation, confidence_intervals
from nirank.pipeline import Stage

MEASURES = ("nDCG@10", "R@100", "R@1000")
_REGRESSIONS = "https://github.com/castorini/anserini/blob/master/docs/regressions/regressions-beir-v1.0.0-"
#: From `_REGRESSIONS` + "nfcorpus.flat.md" and "scifact.flat.md"; RM3 and query likelihood are not among them.
PUBLISHED = {"nfcorpus": (0.3218, 0.2457, 0.3704), "scifact": (0.6789, 0.9253, 0.9767)}
SYSTEMS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "BM25 (k1 = 0.9, b = 0.4)": ("lucene", {}),
    "BM25 + RM3": ("lucene_rm3", {}),
    "query likelihood (mu = 1000)": ("lucene", {"similarity": "ql"}),
}
_DEPTH = 1000


def tables(asked: argparse.Namespace) -> list[Table]:
    """One for each collection."""
    return [_table(name, asked) for name in PUBLISHED]


def _table(name: str, asked: argparse.Namespace) -> Table:
    collection = nirank.collection(f"beir:{asked.data / name}")
    if asked.quick:
        collection = collection.take(slice(0, 20))
    published = {next(iter(SYSTEMS)): PUBLISHED[name]}
    rows = [
        _row(system, collection, published.get(system, (None,) * len(MEASURES)))
        for system in SYSTEMS
        if not asked.only or system in asked.only
    ]
    return Table(
        title={"nfcorpus": "NFCorpus", "scifact": "SciFact"}[name],
        about=(
            f"{len(collection.corpus):,} documents, {len(collection.queries)} test queries, {_DEPTH:,} documents a "
            "query; title and text are one field. Means with 95 % bootstrap intervals over queries. Equal scores are "
            f'ordered by rising id, as Anserini orders them. Published: {_REGRESSIONS}{name}.flat.md. "Anserini '
            "itself\" is its SimpleSearcher, which pyserini's LuceneSearcher asks, on the same index in the same "
            "process; seconds are those of a second search by one thread."
        ),
        columns=[
            "system",
            *MEASURES,
            *(f"published {measure}" for measure in MEASURES),
            "nDCG@10 of Anserini itself",
            "nDCG@10 by trec_eval's ties",
            "seconds",
            "seconds of Anserini itself",
        ],
        rows=rows,
    )


def _row(system: str, collection: Collection, published: tuple[float | None, ...]) -> list[Cell]:
    name, settings = SYSTEMS[system]
    stage = nirank.load(name, threads=1, **settings)
    found = (stage % _DEPTH).search(collection.queries, collection.corpus)
    own = _evaluated(_by_rising_id(found), collection)
    start = time.perf_counter()
    (stage % _DEPTH).search(collection.queries, collection.corpus)
    seconds = time.perf_counter() - start
    theirs, their_seconds = _anserini(stage, collection)
    return [
        system,
        *(_figure(own, measure) for measure in MEASURES),
        *published,
        _evaluated(theirs, collection)["nDCG@10"],
        _evaluated(found, collection)["nDCG@10"],
        f"{seconds:.1f}",
        f"{their_seconds:.1f}",
    ]


def _figure(evaluation: Evaluation, measure: str) -> Figure:
    low, high = confidence_intervals(evaluation.values[measure])[0].tolist()
    return Figure(evaluation[measure], low=low, high=high)


def _evaluated(found: Candidates, collection: Collection) -> Evaluation:
    return nirank.evaluate(found.over(collection.corpus), collection.judgments, list(MEASURES))


def _by_rising_id(found: Candidates) -> Candidates:
    """Scores that fall from rank to rank, where equal ones are ordered by the ids of documents."""
    places = np.argsort(np.argsort(found.corpus.ids.take(np.arange(len(found.corpus)))))
    order = np.lexsort((places[found.docs], -found.scores, found.rows))
    return _falling(Candidates(found.offsets, found.docs[order], found.scores[order]))


def _falling(ranked: Candidates) -> Candidates:
    """The same ranking, by scores that no two documents share."""
    ranks = np.arange(ranked.pairs) - np.repeat(ranked.offsets[:-1], ranked.lengths)
    return ranked.with_scores(-ranks.astype(np.float32))


def _anserini(stage: Stage, collection: Collection) -> tuple[Candidates, float]:
    """What Anserini's own searcher finds in the index of a stage, in its order, and in how many seconds."""
    searcher = _searcher(stage)
    for _ in range(2):  # once more, so that Java has compiled what it will compile
        start = time.perf_counter()
        ids = [[hit.docid for hit in searcher.search(text, _DEPTH)] for text in collection.queries.contents]
        seconds = time.perf_counter() - start
    return _falling(Candidates.of([*map(collection.corpus.ids.find, ids)])), seconds


def _searcher(stage: Stage) -> Any:
    from nirank_lucene.java import java

    ranker, folder = stage.component.target, Path(stage.component.opened.folder)
    searcher = java("io.anserini.search.SimpleSearcher")(str(folder))
    searcher.set_bm25(ranker.k1, ranker.b) if ranker.similarity == "bm25" else searcher.set_qld(ranker.mu)
    if stage.component.spec.endswith("rm3"):
        searcher.set_rm3(ranker.fb_terms, ranker.fb_docs, ranker.original_query_weight)
    return searcher
