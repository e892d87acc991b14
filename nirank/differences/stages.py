"""The first stage at which two pipelines diverge: both are searched again, and compared stage by stage.

The stages of `bm25 % 100 >> 0.3 * bm25 + minilm` are `bm25 % 100`, the scores of `bm25` for what it found, those of
`minilm`, and the whole. Stages of two pipelines are compared in the order in which they run; the first one with another
result, and the first query for which it is another, are what to look at.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.queries import Queries
from nirank.data.types import Corpus
from nirank.differences.sides import Side, run_of
from nirank.execution.sharing import sharing
from nirank.formats.trec import Run
from nirank.pipeline.algebra import Generated, Ranking, Rescored, Scoring, Stage
from nirank.pipeline.parts import Pipeline

Find = Callable[[Queries, Corpus], Candidates]


@dataclass(frozen=True)
class Divergence:
    """The first stage whose results differ, as either pipeline writes it, and the first query for which they do.

    `queries` counts the queries whose results differ there. `stages` are those that were compared, in order.
    """

    stage_a: str
    stage_b: str
    query: str
    queries: int
    stages: tuple[str, ...]


@dataclass(frozen=True)
class Stages:
    """The outcome of searching again: where the pipelines diverge, if they do, and what is to be said of it."""

    first: Divergence | None
    note: str


def diverging(a: Side, b: Side) -> Stages:
    """Compare two pipelines stage by stage; where that cannot be done, the note says why."""
    if a.ranking is None or b.ranking is None or a.collection is None or b.collection is None:
        return Stages(None, _unknown(a, b))
    with sharing():
        found = _first(a, b, a.ranking, b.ranking)
        stale = [name for name, side in (("a", a), ("b", b)) if not _is_reproduced(side)]
    return Stages(found, _note(found, stale))


def _unknown(a: Side, b: Side) -> str:
    lacking = [name for name, side in (("a", a), ("b", b)) if side.ranking is None or side.collection is None]
    return (
        f"Which stage diverges first cannot be known: the pipeline of {' and '.join(lacking)} was not searched again. "
        "Of folders of `nirank run`, ask for it with --recompute; in Python, give pipelines and collection."
    )


def _note(found: Divergence | None, stale: list[str]) -> str:
    if found is None:
        told = "Searched again here, both pipelines find the same at every stage."
    else:
        names = found.stage_a if found.stage_a == found.stage_b else f"{found.stage_a} (a) and {found.stage_b} (b)"
        told = (
            f"Searched again here, the first stage that differs is {names}, for {found.queries:,} queries, the first "
        )
        told += f"of them {found.query!r}."
    if stale:
        told += (
            f" But the run of {' and that of '.join(stale)} is not what its pipeline finds here: it comes from other "
            "code, data or settings, or from another machine."
        )
    return told


def _first(a: Side, b: Side, one: Ranking, other: Ranking) -> Divergence | None:
    assert a.collection is not None  # noqa: S101 - `diverging` has asked
    assert b.collection is not None  # noqa: S101
    compared: list[str] = []
    for (name, find), (second, find_second) in zip(_paired(one), _paired(other), strict=False):
        compared.append(name)
        differ = _different(_found(find, a.collection), _found(find_second, b.collection))
        if differ:
            return Divergence(name, second, differ[0], len(differ), tuple(compared))
    return None


def _paired(ranking: Ranking) -> list[tuple[str, Find]]:
    """The stages of a ranking, by name, in the order in which they run, and itself at last; each once."""
    stages: dict[str, Find] = {}
    for name, find in _stages(ranking):
        stages.setdefault(name, find)
    return list(stages.items())


def _stages(part: Pipeline) -> Iterator[tuple[str, Find]]:
    for inner in part._parts():
        if not isinstance(inner, Scoring) or isinstance(inner, Generated):
            yield from _stages(inner)
    if isinstance(part, Rescored):
        yield from (_scored(part.ranking, leaf) for leaf in _leaves(part.scoring) if leaf is not part.scoring)
    if isinstance(part, Ranking) and part.scored:
        yield repr(part), part.search


def _leaves(scoring: Pipeline) -> Iterator[Scoring]:
    """The scorers of a sum."""
    if isinstance(scoring, Stage):
        yield scoring
        return
    for part in scoring._parts():
        yield from _leaves(part)


def _scored(ranking: Ranking, scorer: Scoring) -> tuple[str, Find]:
    """One scorer of a sum as a stage: what the ranking before it found, with its scores alone."""

    def find(queries: Queries, corpus: Corpus) -> Candidates:
        found = ranking.search(queries, corpus) if ranking.scored else ranking._find(queries, corpus)
        return found.with_scores(scorer.score(queries, found)).ranked().over(corpus).for_queries(queries.ids)

    return f"{ranking!r} >> {scorer!r}", find


def _found(find: Find, collection: Collection) -> Run:
    return run_of(find(collection.queries, collection.corpus), "a run")


def _different(one: Run, other: Run) -> list[str]:
    """The queries of both for which documents, order or scores differ, in order."""
    rows = {query: row for row, query in enumerate(other.query_ids)}
    return [
        query
        for row, query in enumerate(one.query_ids)
        if query in rows and _list_of(one, row) != _list_of(other, rows[query])
    ]


def _list_of(run: Run, row: int) -> tuple[list[str], bytes]:
    docs, scores = run.candidates[row]
    return run.ids.take(docs), scores.tobytes()


def _is_reproduced(side: Side) -> bool:
    """True where the pipeline finds, as far as the run goes, what its run has: the same documents in the same order."""
    assert side.ranking is not None  # noqa: S101
    assert side.collection is not None  # noqa: S101
    if side.run is None:
        return True
    again = _found(side.ranking.search, side.collection)
    rows = {query: row for row, query in enumerate(again.query_ids)}
    return all(
        _begins(side.run, row, again, rows[query]) for row, query in enumerate(side.run.query_ids) if query in rows
    )


def _begins(run: Run, row: int, again: Run, other: int) -> bool:
    """True where the shorter of two lists is the first part of the other one, in documents and scores."""
    (names, scores), (found, second) = (
        (each.ids.take(each.candidates[at][0]), each.candidates[at][1]) for each, at in ((run, row), (again, other))
    )
    length = min(len(names), len(found))
    return names[:length] == found[:length] and np.array_equal(scores[:length], second[:length])
