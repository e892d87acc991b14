"""The first stage at which two pipelines diverge: both are searched again, and compared stage by stage.

The stages of `bm25 % 100 >> 0.3 * bm25 + minilm` are `bm25 % 100`, the scores of `bm25` for what it found, those of
`minilm`, and the whole; those of `minilm >> exact` are the vectors of queries, and the search. Stages of two pipelines
are compared in the order in which they run; the first one with another result, and the first query for which it is
another, are what to look at.
"""

from __future__ import annotations

from dataclasses import dataclass

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.differences.sides import Side
from nirank.differences.walking import Outcome, Step, lists, steps
from nirank.execution.sharing import sharing
from nirank.formats.trec import Run
from nirank.pipeline.algebra import Ranking


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
    searched: bool = True


def diverging(a: Side, b: Side) -> Stages:
    """Compare two pipelines stage by stage; where that cannot be done, the note says why."""
    one, other = _Search.of(a), _Search.of(b)
    if one is None or other is None:
        lacking = [name for name, search in (("a", one), ("b", other)) if search is None]
        return Stages(None, _unknown(lacking), searched=False)
    with sharing():
        found = _first(one, other)
        stale = [name for name, search in (("a", one), ("b", other)) if not search.finds_its_run()]
    return Stages(found, _note(found, stale))


@dataclass(frozen=True, eq=False)
class _Search:
    """A pipeline with the queries and the corpus that it is searched for again, and the run that it had."""

    ranking: Ranking
    collection: Collection
    run: Run | None

    @classmethod
    def of(cls, side: Side) -> _Search | None:
        """The search of a side; None where it cannot be searched."""
        if side.ranking is None or side.collection is None:
            return None
        return cls(side.ranking, side.collection, side.run)

    def outcome(self, step: Step) -> Outcome:
        """The results of a stage."""
        _, made = step
        return made(self.collection.queries, self.collection.corpus)

    def finds_its_run(self) -> bool:
        """True where the pipeline finds, as far as the run goes, what its run has, in documents, order and scores."""
        if self.run is None:
            return True
        queries, corpus = self.collection.queries, self.collection.corpus
        again = lists(self.ranking.search(queries, corpus), queries)
        own = _written(self.run)
        return all(_begins(own[query], again[query]) for query in own if query in again)


def _unknown(lacking: list[str]) -> str:
    return (
        f"Which stage diverges first cannot be known: the pipeline of {' and '.join(lacking)} was not searched again. "
        "Of folders of `nirank run`, ask for it with --recompute; in Python, give pipelines and collection."
    )


def _note(found: Divergence | None, stale: list[str]) -> str:
    if found is None:
        told = "Searched again here, both pipelines find the same at every stage."
    else:
        names = found.stage_a if found.stage_a == found.stage_b else f"{found.stage_a} (a) and {found.stage_b} (b)"
        told = f"Searched again here, the first stage that differs is {names}: for {found.queries:,} queries, "
        told += f"the first of them {found.query!r}."
    if stale:
        told += (
            f" But the run of {' and that of '.join(stale)} is not what its pipeline finds here: it comes from other "
            "code, data or settings, or from another machine."
        )
    return told


def _first(one: _Search, other: _Search) -> Divergence | None:
    """The first divergence; where one pipeline has ended, its last stage is held against what the other adds."""
    compared: list[str] = []
    left, right = [*steps(one.ranking)], [*steps(other.ranking)]
    missing = len(right) - len(left)
    for step, second in zip(left + left[-1:] * missing, right + right[-1:] * -missing, strict=True):
        compared.append(step[0])
        found, against = one.outcome(step), other.outcome(second)
        if differ := [query for query in found if query in against and found[query] != against[query]]:
            return Divergence(step[0], second[0], differ[0], len(differ), tuple(compared))
    return None


def _written(run: Run) -> Outcome:
    """The lists of a run, as those of a stage."""
    ranked: Candidates = run.candidates
    rows = [ranked[row] for row in range(len(ranked))]
    return {
        query: (tuple(run.ids.take(docs)), scores.tobytes())
        for query, (docs, scores) in zip(run.query_ids, rows, strict=True)
    }


def _begins(one: tuple[tuple[str, ...], bytes], other: tuple[tuple[str, ...], bytes]) -> bool:
    """True where the shorter of two lists is the first part of the other one, in documents and scores (float32)."""
    (names, scores), (found, second) = one, other
    length = min(len(names), len(found))
    return names[:length] == found[:length] and scores[: 4 * length] == second[: 4 * length]
