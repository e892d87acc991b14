"""Lexical search beyond BM25 of a whole text: neighbours (SDM), weighted fields (BM25F), and Bo1 and KL beside RM3.

All systems have their default settings; weights of titles are shown as they are, and none was chosen.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from quality_table import Cell, Figure, Table

import nirank
from nirank.data import Collection
from nirank.evaluation import Comparison, Evaluation
from nirank.pipeline import Ranking

MEASURES = ("AP", "nDCG@10", "R@100")
DEPTH = 1000
TITLES = (0.5, 1.0, 2.0, 3.0, 5.0)
NAMES = {"cranfield": "Cranfield", "vaswani": "Vaswani", "nfcorpus": "NFCorpus", "scifact": "SciFact"}


@dataclass(frozen=True)
class Work:
    """Systems that are compared with the first of them by one measure, on some collections."""

    title: str
    about: str
    measure: str
    collections: tuple[str, ...]
    systems: Mapping[str, Ranking]


def _works() -> list[Work]:
    """What is compared, in the order of the tables."""
    bm25, ql = nirank.load("bm25"), nirank.load("ql")
    fielded = {
        f"BM25F, title {weight:g}, text 1": nirank.load("bm25f", fields={"title": weight, "text": 1.0}) % DEPTH
        for weight in TITLES
    }
    expanded = {
        f"{name} of {docs} documents": bm25 % docs >> nirank.load(encoder) >> bm25 % DEPTH
        for name, encoder, docs in (("RM3", "rm3", 10), ("RM3", "rm3", 3), ("Bo1", "bo1", 3), ("Bo1", "bo1", 10))
    }
    for docs in (3, 10):
        expanded[f"KL of {docs} documents"] = bm25 % docs >> nirank.load("kl_expansion") >> bm25 % DEPTH
    return [
        Work(
            "neighbours",
            "Query likelihood with mu = 1000, and SDM with the same and weights of .85, .10 and .05.",
            "AP",
            tuple(NAMES),
            {"query likelihood": ql % DEPTH, "SDM": nirank.load("sdm") % DEPTH},
        ),
        Work(
            "weighted fields",
            "BM25 reads title and text as one, BM25F each; k1 = .9, b = .4 everywhere.",
            "nDCG@10",
            ("nfcorpus", "scifact"),
            {"BM25": bm25 % DEPTH, "BM25, text alone": nirank.load("bm25", field="text") % DEPTH, **fielded},
        ),
        Work(
            "expansion",
            "BM25 with k1 = .9, b = .4, and its queries expanded by 10 terms.",
            "AP",
            ("cranfield", "vaswani", "nfcorpus"),
            {"BM25": bm25 % DEPTH, **expanded},
        ),
    ]


def tables(asked: argparse.Namespace) -> list[Table]:
    """A table for each work on each of its collections; `--only` names collections."""
    return [
        _table(work, name, read(asked.data / name, asked.quick))
        for work in _works()
        for name in work.collections
        if not asked.only or name in asked.only
    ]


def read(folder: Path, quick: bool) -> Collection:
    """Cranfield's documents are relevant or not: what its grades mean is disputed."""
    collection = nirank.collection(f"beir:{folder}")
    if (binary := folder / "qrels.binary.txt").exists():
        judgments = nirank.read_qrels(binary).align(collection.queries.ids, collection.corpus.ids)
        collection = replace(collection, judgments=judgments)
    return collection.take(slice(0, 12)) if quick else collection


def _table(work: Work, name: str, collection: Collection) -> Table:
    size = f"{len(collection.queries)} queries, {len(collection.corpus):,} documents"
    return Table(
        title=f"{NAMES[name]}, {work.title}",
        about=(
            f"{size}, {DEPTH:,} documents a query. {work.about} The difference is of {work.measure}, from the first "
            "row, with a 95 % bootstrap interval over queries and p of a randomisation test, corrected by Holm over "
            "the rows."
        ),
        columns=["system", *MEASURES, "difference", "better / worse", "CPU ms a query"],
        rows=list(_rows(work, collection)),
    )


def _rows(work: Work, collection: Collection) -> Iterator[list[Cell]]:
    measured = {name: _measured(ranking, collection) for name, ranking in work.systems.items()}
    baseline = next(iter(measured))
    compared = nirank.compare({name: found for name, (found, _) in measured.items()}, baseline, [work.measure])
    for name, (found, seconds) in measured.items():
        means: list[Any] = [found[measure] for measure in MEASURES]
        difference = [None, None] if name == baseline else _difference(compared, name, baseline, work.measure)
        yield [name, *means, *difference, f"{1000 * seconds / len(collection.queries):.2f}"]


def _measured(ranking: Ranking, collection: Collection) -> tuple[Evaluation, float]:
    ranking.search(collection.queries, collection.corpus)  # indexes, and what is compiled
    start = time.process_time()
    found = ranking.search(collection.queries, collection.corpus)
    seconds = time.process_time() - start
    return nirank.evaluate(found, collection.judgments, list(MEASURES)), seconds


def _difference(compared: Comparison, name: str, baseline: str, measure: str) -> list[Cell]:
    row = compared.of(name, baseline, measure)
    return [Figure(row.difference, low=row.low, high=row.high, p=row.corrected), f"{row.wins} / {row.losses}"]
