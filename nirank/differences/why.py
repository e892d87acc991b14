"""The comparison of two runs: what is known of both is compared, from settings to single documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.explanation import Explanation
from nirank.data.prints import print_of_judgments
from nirank.differences.agreement import agreement
from nirank.differences.aligned import Aligned, align, in_order
from nirank.differences.changed import changes, table_of
from nirank.differences.documents import MovedDocument, moved_documents
from nirank.differences.figures import Measure, MovedQuery
from nirank.differences.found import Differences
from nirank.differences.parts import Parts, parts
from nirank.differences.sides import Side, run_of, side_of
from nirank.differences.stages import diverging
from nirank.errors import BadInput, NirankError
from nirank.evaluation.evaluating import MEASURES, Evaluation, Ties, check_ties, evaluate
from nirank.evaluation.measures import is_rank
from nirank.evaluation.overlap import PERSISTENCE
from nirank.evaluation.power import detectable_difference
from nirank.evaluation.significance import compare
from nirank.formats.trec import Run
from nirank.pipeline.algebra import Ranking

_DOCUMENTS = 3  # of each query, and how many of them are explained


def why_different(
    a: Any,
    b: Any,
    judgments: Candidates | Run | str | Path | None = None,
    measures: Sequence[str] | str = MEASURES,
    *,
    system: str | tuple[str, str] | None = None,
    pipelines: tuple[Ranking, Ranking] | None = None,
    collection: Collection | None = None,
    recompute: bool = False,
    relevance_level: int = 1,
    depth: int | None = None,
    ties: Ties = "falling",
    p: float = PERSISTENCE,
    queries: int = 5,
) -> Differences:
    """Tell why two runs differ: in what they were made from, in their results, and in what measures say of these.

    `a` and `b` are each the path of a run or of a folder that `nirank run` wrote, or what `search`, `read_run`,
    `evaluate` or `nirank.run` returned. Of a folder, or results, with several systems `system` names the one that is
    meant, or those of a and b. Without `judgments` (or a `collection`, which has some) nothing is measured.

    With two `pipelines` and a `collection`, or `recompute=True` for folders, both are searched again and compared stage
    by stage, and the documents that moved are explained. `relevance_level`, `depth` and `ties` are those of
    `nirank.evaluate`, `p` is the persistence of rank-biased overlap, and `queries` says for how many queries the
    documents that moved are looked for.

    Raises `BadInput` for runs without a common query, judgments of other queries, and anything that is no run.
    """
    check_ties(ties)
    if not (depth is None or is_rank(depth)):
        raise BadInput(f"depth = {depth!r} must be a whole number from 1 on.")
    first, second = _sides(a, b, system, pipelines, collection, recompute)
    known = changes(first.manifest, second.manifest, (first.system, second.system))
    told = _judgments(judgments, collection, first, second)
    names = (first.name, second.name)
    recorded = {
        name: (first.recorded[name], second.recorded[name]) for name in first.recorded if name in second.recorded
    }
    if first.run is None or second.run is None:
        asked = {"measures": measures, "relevance_level": relevance_level, "depth": depth, "ties": ties}
        rows = _figures(first, second, told, asked)
        return Differences(names, known, None, diverging(first, second), rows, (), recorded)
    aligned = align(first.run, second.run, told, ties, depth)
    judge = _Judge(aligned, measures, relevance_level)
    return Differences(
        names=names,
        changes=known,
        agreement=agreement(aligned, p),
        stages=diverging(first, second),
        measures=judge.measures(),
        moved=tuple(_explained(query, first, second) for query in judge.moved(queries)),
        recorded=recorded,
        judged_as=_judged_as(told, first, second),
    )


def _judged_as(judgments: Run | None, a: Side, b: Side) -> str | None:
    """The only side that was measured by these judgments when it was made; None where it is not one alone."""
    if judgments is None:
        return None
    own = print_of_judgments(judgments.candidates, judgments.query_ids, judgments.ids)
    then = [table_of(side.manifest or {}, "collection").get("judgments_fingerprint") for side in (a, b)]
    same = [name for name, known in zip("ab", then, strict=True) if known == own]
    return same[0] if len(same) == 1 and all(then) else None


def _sides(
    a: Any, b: Any, system: Any, pipelines: Any, collection: Collection | None, recompute: bool
) -> tuple[Side, Side]:
    systems = system if isinstance(system, tuple) else (system, system)
    if len(systems) != 2:
        raise BadInput(f"system = {system!r}; one name, or two of them, those of a and b, are expected.")
    first, second = (side_of(value, name, which) for value, name, which in zip((a, b), "ab", systems, strict=True))
    if recompute:
        first, second = first.searchable(), second.searchable()
    if pipelines is not None:
        if collection is None:
            raise BadInput("pipelines are searched again for a collection's queries: give `collection` too.")
        first, second = (
            replace(side, ranking=ranking) for side, ranking in zip((first, second), pipelines, strict=True)
        )
    if collection is not None:
        first, second = (replace(side, collection=collection) for side in (first, second))
    return first, second


def _judgments(given: Any, collection: Collection | None, a: Side, b: Side) -> Run | None:
    """The judgments that are given, or those of a collection at hand."""
    if given is not None:
        return run_of(given, "judgments")
    for known in (collection, a.collection, b.collection):
        if known is not None:
            return run_of(known.judgments, "judgments")
    return None


def _figures(a: Side, b: Side, judgments: Run | None, judge: dict[str, Any]) -> tuple[Measure, ...]:
    """The differences of measures alone, where there is no more of a run than its evaluation."""
    found = [
        side.evaluation
        if side.evaluation is not None and side.run is None
        else evaluate(side.run, judgments, **judge)
        if side.run is not None and judgments is not None
        else None
        for side in (a, b)
    ]
    if found[0] is None or found[1] is None:
        raise BadInput("an evaluation can only be compared with another, or with a run and its judgments.")
    return _rows(found[0], found[1], {})


class _Judge:
    """Two aligned runs, measured on the queries that are judged."""

    def __init__(self, aligned: Aligned, measures: Any, level: int) -> None:
        self._aligned, self._names, self._level = aligned, measures, level
        self._judged = np.flatnonzero(aligned.judgments.lengths)
        if len(self._judged):
            self._a, self._b = (self._measured(in_order(side.run)) for side in (aligned.a, aligned.b))

    def measures(self) -> tuple[Measure, ...]:
        """Each measure of both runs, with the test of their difference and its parts."""
        if not len(self._judged):
            return ()
        found = parts(self._aligned.a, self._aligned.b, self._measured, self._a.measures)
        return _rows(self._a, self._b, found)

    def moved(self, most: int) -> list[MovedQuery]:
        """The queries whose first measure moved most, each with the documents that did it."""
        if not len(self._judged):
            return []
        measure = self._a.measures[0]
        differences = self._b.values[measure] - self._a.values[measure]
        best = np.argsort(-np.abs(differences), kind="stable")[:most]
        return [self._moved(measure, place) for place in best.tolist() if differences[place]]

    def _moved(self, measure: str, place: int) -> MovedQuery:
        row = int(self._judged[place])
        documents = moved_documents(self._aligned, row, measure, self._judge, _DOCUMENTS)
        values = float(self._a.values[measure][place]), float(self._b.values[measure][place])
        return MovedQuery(self._aligned.query_ids[row], measure, *values, documents)

    def _measured(self, run: Candidates) -> Evaluation:
        return self._judge(run, self._aligned.judgments)

    def _judge(self, run: Candidates, judgments: Candidates) -> Evaluation:
        names = [str(row) for row in range(len(run))]
        runs = run.for_queries(names), judgments.for_queries(names)
        return evaluate(*runs, self._names, relevance_level=self._level)


def _rows(a: Evaluation, b: Evaluation, found: dict[str, Parts]) -> tuple[Measure, ...]:
    """One row a measure that both have."""
    tested = compare({"b": b, "a": a}, baseline="a")
    return tuple(
        Measure(
            name=row.measure,
            a=a[row.measure],
            b=b[row.measure],
            difference=b[row.measure] - a[row.measure],
            low=row.low,
            high=row.high,
            p=row.p,
            detectable=detectable_difference(b.values[row.measure] - a.values[row.measure]),
            queries=len(a),
            parts=found.get(row.measure),
        )
        for row in tested.differences
    )


def _explained(moved: MovedQuery, a: Side, b: Side) -> MovedQuery:
    """The same with explanations of its documents from both pipelines, where these are at hand and explain."""
    return replace(moved, documents=tuple(_with_reasons(moved.query, each, a, b) for each in moved.documents))


def _with_reasons(query: str, document: MovedDocument, a: Side, b: Side) -> MovedDocument:
    return replace(document, why_a=_reason(query, document, a), why_b=_reason(query, document, b))


def _reason(query: str, document: MovedDocument, side: Side) -> Explanation | None:
    """The explanation of a document's score; None where the pipeline did not find it, or does not explain."""
    explain = getattr(side.ranking, "explain", None)
    if explain is None or side.collection is None or query not in side.collection.queries.ids:
        return None
    asked = side.collection.queries
    content = asked.contents[list(asked.ids).index(query)]
    try:
        explained: Explanation = explain(content, document.id, side.collection.corpus)
    except NirankError:
        return None
    score = _found_score(query, document, side)
    if score is None or explained.is_of(score):
        return explained
    return explained.noted(f"not what the run has, which is {score:.4f}: other settings, weights or texts made it")


def _found_score(query: str, document: MovedDocument, side: Side) -> float | None:
    """The score that a document has in the run; None where it is not there."""
    if side.run is None or query not in side.run.query_ids:
        return None
    docs, scores = side.run.candidates[side.run.query_ids.index(query)]
    places = np.flatnonzero(docs == side.run.ids.find([document.id])[0])
    return float(scores[places[0]]) if len(places) else None
