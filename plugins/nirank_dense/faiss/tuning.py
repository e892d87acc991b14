"""Tuning: recall and speed of an approximate index at each of its search settings, and the choice of the best one.

    points = tune(minilm >> hnsw, queries, corpus, recall=0.95)

Queries should be like those to come: documents in their place would flatter the index.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from nirank.data import Candidates, Corpus, Queries
from nirank.errors import BadInput
from nirank.kit import encode
from nirank.pipeline import Generated, Ranking
from nirank_dense.faiss.search import FaissSearch

#: Searches of which the fastest counts.
_LAPS = 3


@dataclass(frozen=True)
class Point:
    """One setting of the dials: the share of the exact best k that was found, and queries a second."""

    setting: dict[str, int]
    recall: float
    rate: float


def tune(ranking: Ranking, queries: Queries, corpus: Corpus, k: int = 10, recall: float = 0.95) -> list[Point]:
    """Measure an index at every setting of its dials, and set it to the fastest that reaches `recall`.

    `ranking` is `encoder >> index` with an index of faiss, which is built if need be. Returns what was measured, in the
    order in which settings cost more. Raises `BadInput` for another ranking, where there are no queries, and where no
    setting reaches the recall: then the index stays as it was.
    """
    if not isinstance(ranking, Generated) or not isinstance(ranking.generator.target, FaissSearch):
        raise BadInput(f"{ranking!r} has nothing to tune: `encoder >> index` with a faiss index is expected.")
    if not len(queries):
        raise BadInput("there are no queries to tune the index with: at least one is needed.")
    ranking.index(corpus)
    index = ranking.generator.target
    encoded = encode(ranking.encoder, queries) if ranking.encoder else queries
    points = list(measured(index, encoded, k))
    reached = [point for point in points if point.recall >= recall]
    if not reached:
        best = max(points, key=lambda point: point.recall)
        raise BadInput(
            f"recall@{k} = {recall} is not reached: the best setting, {best.setting}, reaches {best.recall:.4f}. "
            "Ask for less, or build a finer index."
        )
    chosen = max(reached, key=lambda point: point.rate).setting
    for name, value in chosen.items():
        setattr(index, name, value)
    ranking.generator.settings.update(chosen)
    return points


def measured(index: FaissSearch, queries: Queries, k: int) -> Iterator[Point]:
    """An open index at each setting of its dials, for queries with vectors."""
    exact = index.exactly(queries, k)
    for setting in index.dials(k):
        turned = index.turned(setting)
        found, seconds = min((_timed(turned, queries, k) for _ in range(_LAPS)), key=lambda lap: lap[1])
        yield Point(setting, _recall(found, exact), len(queries) / seconds)


def _timed(index: FaissSearch, queries: Queries, k: int) -> tuple[Candidates, float]:
    start = time.perf_counter()
    found = index.generate(queries, k)
    return found, time.perf_counter() - start


def _recall(found: Candidates, exact: Candidates) -> float:
    """The share of the exact documents that were found, over all queries."""
    return float(np.mean(exact.places(found) >= 0)) if exact.pairs else 1.0
