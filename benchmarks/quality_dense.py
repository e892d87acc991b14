"""MiniLM on NFCorpus and SciFact, searched exactly and through each index of faiss; and computed in less precision.

Documents are encoded once, into the index of exact search, where the vectors of the other indexes are looked up. An
index is measured with its defaults, and at the fastest setting of its dials that finds 95 % of the exact best ten.
"""

from __future__ import annotations

import argparse
import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from quality_table import Cell, Figure, Table, number

import nirank
from nirank.data import Candidates, Collection, Documents, Floats, Queries
from nirank.evaluation import confidence_intervals
from nirank.execution import indexes, stages
from nirank.kit import digest
from nirank.kit.transformers import Precision
from nirank.pipeline import Stage
from nirank_dense.faiss.tuning import measured
from nirank_dense.stored import VECTORS

#: nDCG@10 of all-MiniLM-L6-v2 as the MTEB leaderboard has it.
PUBLISHED = {"nfcorpus": 0.3159, "scifact": 0.6451}
INDEXES = ("flat", "sq8", "ivf_flat", "ivf_pq", "hnsw")
#: The precisions of MiniLM beside float32, and what `--only` calls their tables.
PRECISIONS: tuple[Precision, ...] = ("bfloat16", "int8")
_BY_PRECISION = "precision"
#: What part of the exact best ten a tuned index finds at least.
RECALL = 0.95
_DEEP, _LAPS = 1000, 3


@dataclass(frozen=True)
class Encoded:
    """A collection whose documents MiniLM has encoded: `vectors`, float32 `[documents, 384]`."""

    collection: Collection
    vectors: Floats
    #: The queries with their vectors, and what exact search finds for them.
    queries: Queries
    exact: Candidates

    @property
    def encoder(self) -> Stage:
        """What knows the vectors already."""
        return nirank.load(_Known(self.collection.corpus[:], self.vectors), "minilm")


class _Known:
    """An encoder of documents whose vectors are known."""

    vectors = "dense"

    def __init__(self, contents: Sequence[str], vectors: Floats) -> None:
        self._vectors, self._places = vectors, {content: place for place, content in enumerate(contents)}
        self.fingerprint = digest([float(vectors.sum()), len(vectors)])

    def encode(self, queries: Queries) -> Floats:
        """Those that the queries have."""
        if queries.vectors is None:
            raise ValueError("these queries are not encoded.")
        return np.asarray(queries.vectors)

    def encode_documents(self, contents: Sequence[str]) -> Floats:
        """Those that were made before."""
        return self._vectors[[self._places[content] for content in contents]]


def tables(asked: argparse.Namespace) -> list[Table]:
    """A table of indexes and one of precisions for each collection."""
    encoded = {name: _encoded(asked.data / name, asked.quick) for name in PUBLISHED}
    of_indexes = not asked.only or bool({*asked.only} - {_BY_PRECISION})
    found = [_table(name, one, asked) for name, one in encoded.items() if of_indexes]
    if not asked.only or _BY_PRECISION in asked.only:
        found += [_by_precision(name, one, asked) for name, one in encoded.items()]
    return found


def _by_precision(name: str, whole: Encoded, asked: argparse.Namespace) -> Table:
    rows: list[list[Cell]] = [["float32", _quality(whole.exact.top(10), whole), None, None]]
    for precision in PRECISIONS:
        rounded = _encoded(asked.data / name, asked.quick, precision).exact
        recalls = [_recall(rounded.top(k), whole.exact.top(k)) for k in (10, 100)]
        rows.append([precision, _quality(rounded.top(10), whole), *map(number, recalls)])
    return Table(
        title=f"{name}, by {_BY_PRECISION}",
        about=(
            "MiniLM's texts and queries computed in a precision, and searched exactly. Recall is the share of the best "
            "10, and 100, in float32 that is found; nDCG@10 has a 95 % bootstrap interval over queries."
        ),
        columns=[_BY_PRECISION, "nDCG@10", "recall@10", "recall@100"],
        rows=rows,
    )


def _encoded(folder: Path, quick: bool, precision: Precision = "float32") -> Encoded:
    collection = nirank.collection(f"beir:{folder}")
    if quick:
        collection = _few(collection)
    minilm, exact = nirank.load("minilm", precision=precision), nirank.load("exact", device="cpu")
    ranking = minilm >> exact
    ranking.index(collection.corpus)
    place = indexes.prepare(ranking.generator, collection.corpus, minilm.component)
    queries = stages.encode(minilm.component, collection.queries)
    found = stages.generate(ranking.generator, queries, _DEEP, len(collection.corpus))
    return Encoded(collection, np.load(Path(str(place)) / VECTORS, mmap_mode="r"), queries, found)


def _few(collection: Collection) -> Collection:
    """The beginning of a collection."""
    ids, contents = collection.corpus.ids[:120], collection.corpus[:120]
    judged = collection.judgments.where(collection.judgments.docs < 120)
    corpus = Documents(ids, contents)
    return dataclasses.replace(collection, corpus=corpus, judgments=judged.over(corpus))


def _table(name: str, encoded: Encoded, asked: argparse.Namespace) -> Table:
    rows = [_exact_row(name, encoded)]
    for index in INDEXES:
        if not asked.only or index in asked.only:
            rows += _rows(index, encoded)
    corpus, queries = encoded.collection.corpus, encoded.queries
    return Table(
        title=name,
        about=(
            f"{len(corpus):,} documents, {len(queries):,} queries. Recall is the share of the best 10, and 100, of "
            "exact search that an index finds; nDCG@10 has a 95 % bootstrap interval over queries. Queries are "
            "searched in one batch, encoded before; the seconds are those of making the index from vectors."
        ),
        columns=["index", "settings", "nDCG@10", "published", "recall@10", "recall@100", "queries/s", "seconds"],
        rows=rows,
    )


def _exact_row(name: str, encoded: Encoded) -> list[Cell]:
    return ["exact", "", _quality(encoded.exact.top(10), encoded), PUBLISHED[name], None, None, None, None]


def _rows(name: str, encoded: Encoded) -> list[list[Cell]]:
    """An index with its defaults, and at the fastest setting that reaches `RECALL`."""
    stage = nirank.load(name)
    with TemporaryDirectory(prefix="nirank-quality-") as folder:
        start = time.perf_counter()
        (encoded.encoder >> stage).index(encoded.collection.corpus, Path(folder))
        seconds, index = time.perf_counter() - start, stage.component.target
        rows = [[name, "defaults", *_measured(index, encoded), f"{seconds:.1f}"]]
        points = [point for point in measured(index, encoded.queries, 10) if point.recall >= RECALL and point.setting]
        for point in sorted(points, key=lambda point: -point.rate)[:1]:
            told = ", ".join(f"{key}={value}" for key, value in point.setting.items())
            rows.append([name, told, *_measured(index.turned(point.setting), encoded), None])
    return rows


def _measured(index: Any, encoded: Encoded) -> list[Cell]:
    """nDCG@10, nothing published, recall at 10 and 100, and queries a second."""
    ten, hundred = (index.generate(encoded.queries, k) for k in (10, 100))
    laps = [_seconds(index, encoded.queries) for _ in range(_LAPS)]
    recalls = [_recall(found, encoded.exact.top(k)) for found, k in ((ten, 10), (hundred, 100))]
    return [_quality(ten, encoded), None, *map(number, recalls), f"{len(encoded.queries) / min(laps):,.0f}"]


def _seconds(index: Any, queries: Queries) -> float:
    start = time.perf_counter()
    index.generate(queries, 10)
    return time.perf_counter() - start


def _recall(found: Candidates, exact: Candidates) -> float:
    return float(np.mean(exact.places(found) >= 0))


def _quality(found: Candidates, encoded: Encoded) -> Figure:
    known = found.over(encoded.collection.corpus)
    values = nirank.evaluate(known, encoded.collection.judgments, ["nDCG@10"]).values["nDCG@10"]
    low, high = confidence_intervals(values)[0].tolist()
    return Figure(float(values.mean()), None, low, high)
