"""The time that one query takes, stage by stage."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

import numpy as np

from nirank.component import Component
from nirank.data.collection import Collection
from nirank.execution import sharing
from nirank.hooks import hookimpl
from nirank.pipeline.algebra import Ranking
from nirank.plugins.loading import active

#: The whole pipeline, beside its stages.
TOTAL = "total"


class Stopwatch:
    """A plugin that notes the seconds of each stage; a stage that is called twice for a query counts as one.

    It notes what happens in the context of a query: in `query()`, and in no other thread or task. So several threads
    may ask queries at a time, each with its own `query()`, and what else is searched meanwhile counts for none of them.
    With `keep = False` nothing is kept of a query when its block is left, as a server wants it. With `apart = True` a
    stage within another one counts for itself alone, so that stages add up to no more than the total.
    """

    def __init__(self, keep: bool = True, apart: bool = False) -> None:
        self.keep, self.apart = keep, apart
        self.seconds: dict[str, list[float]] = defaultdict(list)
        self._query: ContextVar[dict[str, float] | None] = ContextVar("query", default=None)
        #: The seconds of the stages within the one that is running.
        self._inner: ContextVar[list[float] | None] = ContextVar("inner", default=None)

    @contextmanager
    def query(self) -> Iterator[dict[str, float]]:
        """Round the search for one query; what it gives are the seconds of its stages, complete behind the block."""
        mine: dict[str, float] = defaultdict(float)
        token, start = self._query.set(mine), time.perf_counter()
        try:
            yield mine
        finally:
            self._query.reset(token)
        mine[TOTAL] = time.perf_counter() - start
        if self.keep:
            for stage, seconds in mine.items():
                self.seconds[stage].append(seconds)

    @contextmanager
    def watching(self) -> Iterator[Stopwatch]:
        """Listen to the hooks in the block."""
        manager = active().manager
        manager.register(self)
        try:
            yield self
        finally:
            manager.unregister(self)

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_encode(self, encoder: Component) -> Generator[None, Any, Any]:
        """Time the encoding of the query."""
        return (yield from self._timed(f"encode {encoder.name}"))

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_generate(self, generator: Component) -> Generator[None, Any, Any]:
        """Time the search for candidates."""
        return (yield from self._timed(f"generate {generator.name}"))

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_score(self, scorer: Component) -> Generator[None, Any, Any]:
        """Time the scoring."""
        return (yield from self._timed(f"score {scorer.name}"))

    def _timed(self, stage: str) -> Generator[None, Any, Any]:
        start, around, inner = time.perf_counter(), self._inner.get(), list[float]()
        token = self._inner.set(inner)
        try:
            return (yield)
        finally:
            self._inner.reset(token)
            seconds = time.perf_counter() - start
            if around is not None:
                around.append(seconds)
            if (mine := self._query.get()) is not None:
                mine[stage] += seconds - (sum(inner) if self.apart else 0)


def measure(ranking: Ranking, collection: Collection, queries: int = 100) -> dict[str, dict[str, float]]:
    """Ask the first `queries` queries one at a time; p50, p95 and p99 of each stage, in milliseconds.

    The first query is asked once before, so that what is loaded or compiled at first use is not counted. Caches
    and other middleware are left out: what counts is how long the work takes where it is done. The order of the
    stages is that in which they first ran; `total` is the whole pipeline. A bi-encoder that scores also encodes:
    its query's encoding is counted in both stages.
    """
    watch = Stopwatch()
    with _bare(ranking.components()), sharing.nothing():
        ranking.search(collection.queries.take(slice(0, 1)), collection.corpus)
        with watch.watching():
            for row in range(min(queries, len(collection.queries))):
                with watch.query():
                    ranking.search(collection.queries.take(slice(row, row + 1)), collection.corpus)
    return {stage: _percentiles(np.array(seconds)) for stage, seconds in watch.seconds.items()}


@contextmanager
def _bare(components: list[Component]) -> Iterator[None]:
    """The components without their middleware."""
    kept = [component.middleware for component in components]
    for component in components:
        component.middleware = []
    try:
        yield
    finally:
        for component, middleware in zip(components, kept, strict=True):
            component.middleware = middleware


def _percentiles(seconds: np.ndarray[Any, np.dtype[np.float64]]) -> dict[str, float]:
    return {f"p{percent}": round(1000 * float(np.percentile(seconds, percent)), 3) for percent in (50, 95, 99)}
