"""The queries of a collection, with each pipeline's measures and the differences of two: what to look at first.

All queries are searched once for each version that is served, in the background, a few at a time, so that those who
search meanwhile hardly wait.
"""

from __future__ import annotations

import logging
import math
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Corpus
from nirank.errors import BadInput, ComponentError
from nirank.evaluation.evaluating import Evaluation, check_measures, evaluate
from nirank.execution.sharing import sharing
from nirank.pipeline.algebra import Ranking
from nirank.plugins.faults import message_of
from nirank.serving.query_names import text_of
from nirank.serving.state import State

log = logging.getLogger("nirank")

Search = Callable[[Ranking, Queries, Corpus], Candidates]
#: By the size of the difference; by what a has more than b, or b more than a; or as the collection has them.
Sort = Literal["difference", "a", "b", "collection"]

#: Queries that are searched at a time: those who search meanwhile wait for no more.
_AT_A_TIME = 16
_MOST_MEASURES = 64  # that are kept of a version


@dataclass(frozen=True)
class Row:
    """A query, the value of each pipeline, and the difference of two of them; None where it is not judged."""

    id: str
    text: str
    values: dict[str, float | None]
    difference: float | None


@dataclass(frozen=True)
class Comparison:
    """The values of a measure: of each query in `rows`, the means of pipelines, and that of the differences a - b.

    `failed` says of a pipeline why it has no values, and `notes`, a sentence each, what to read with the figures.
    """

    measure: str
    a: str
    b: str | None
    rows: list[Row]
    mean: dict[str, float | None]
    difference: float | None
    failed: dict[str, str]
    notes: list[str]


class Survey:
    """The documents that each pipeline of a state finds for the queries of its collection.

    `done` of `total` searches of one pipeline for one query are made. It is `ready` when all are; then `found` has the
    documents that each pipeline found, and `failed` the error of each that could not be searched.
    """

    def __init__(self, state: State, search: Search = Ranking.search) -> None:
        self.state = state
        self.queries = state.topics or Queries([], [])
        self.found: dict[str, Candidates] = {}
        self.failed: dict[str, str] = {}
        self.done, self.total = 0, len(self.queries) * len(state.pipelines)
        self._search, self._measured = search, dict[tuple[str, str], Evaluation]()
        self._finished, self._stopped, self._mutex = threading.Event(), threading.Event(), threading.Lock()

    @property
    def ready(self) -> bool:
        """True when every pipeline was searched, or has failed."""
        return self._finished.is_set()

    def start(self) -> None:
        """Begin to search, in a thread that ends with the process."""
        threading.Thread(target=self.run, name="nirank-survey", daemon=True).start()

    def stop(self) -> None:
        """Search no further: another version is served."""
        self._stopped.set()

    def wait(self, seconds: float | None = None) -> bool:
        """Wait until it is ready; False where it is not, after so many seconds."""
        return self._finished.wait(seconds)

    def run(self) -> None:
        """Search everything, unless it is stopped."""
        parts: dict[str, list[Candidates]] = {name: [] for name in self.state.pipelines}
        for start in range(0, len(self.queries), _AT_A_TIME):
            asked = self.queries.take(slice(start, start + _AT_A_TIME))
            with sharing():  # what pipelines have in common is searched once
                for name in parts:
                    if self._stopped.is_set():
                        return
                    self._search_some(name, asked, parts[name])
        self.found = {name: Candidates.stack(some) for name, some in parts.items() if name not in self.failed}
        self._finished.set()

    def _search_some(self, name: str, asked: Queries, parts: list[Candidates]) -> None:
        try:
            if name not in self.failed:
                parts.append(_whole(self._search(self.state.pipelines[name], asked, self.state.corpus)))
        except Exception as error:  # of whatever component: the other pipelines have their figures nevertheless
            self.failed[name] = message_of(error)
            log.warning("%s cannot be compared: %s", name, self.failed[name])
        self.done += len(asked)

    def evaluation(self, pipeline: str, measure: str) -> Evaluation | None:
        """The values of a pipeline, computed once; None where no query is judged.

        Raises `UnknownName` for a measure that there is not, and `BadInput` for one that these judgments do not allow.
        """
        judgments = self.state.judgments
        if judgments is None or not judgments.pairs:
            return None
        with self._mutex:
            known = self._measured.get((pipeline, measure))
        if known is None:
            known = evaluate(self.found[pipeline], judgments, [measure])
            if len(known.values) != 1:
                raise BadInput(f"{measure!r} stands for {len(known.values)} measures: name one of them.")
            self._keep((pipeline, measure), known)
        return known

    def _keep(self, key: tuple[str, str], evaluation: Evaluation) -> None:
        with self._mutex:
            if len(self._measured) >= _MOST_MEASURES * len(self.state.pipelines):
                self._measured.pop(next(iter(self._measured)))
            self._measured[key] = evaluation

    def compare(
        self, measure: str, a: str | None = None, b: str | None = None, sort: Sort = "difference"
    ) -> Comparison:
        """The queries with the values of all pipelines, in the order of `sort`; a and b are the first two unless given.

        Before it is ready, and where nothing is judged, there are no values. Raises as `evaluation`, and `UnknownName`
        for a pipeline that there is not.
        """
        check_measures([measure])
        names = list(self.state.pipelines)
        first = a or names[0]
        second = b or next((name for name in names if name != first), None)
        for name in filter(None, (first, second)):
            self.state.ranking(name)
        evaluations = {name: self.evaluation(name, measure) for name in self.found if self.ready}
        values = {name: _values(evaluation, len(self.queries)) for name, evaluation in evaluations.items()}
        rows = self._rows(values, first, second)
        differences = [row.difference for row in rows if row.difference is not None]
        return Comparison(
            *(measure, first, second, sorted(rows, key=_ORDERS[sort])),
            {name: _mean(evaluation) for name, evaluation in evaluations.items()},
            math.fsum(differences) / len(differences) if differences else None,
            dict(self.failed),
            _notes(evaluations),
        )

    def _rows(self, values: Mapping[str, Sequence[float | None]], a: str, b: str | None) -> list[Row]:
        return [
            Row(query, text_of(content), of_query := {name: values[name][row] for name in values}, _gap(of_query, a, b))
            for row, (query, content) in enumerate(zip(self.queries.ids, self.queries.contents, strict=True))
        ]


class Surveys:
    """The survey of the version that is served: made when it is first asked for, and again for another version."""

    def __init__(self, search: Search = Ranking.search) -> None:
        self._search, self._mutex = search, threading.Lock()
        self._survey: Survey | None = None

    def of(self, state: State) -> Survey:
        """The survey of a state, which begins if it was not asked for before; that of another one is stopped."""
        with self._mutex:
            if self._survey is None or self._survey.state is not state:
                self.stop()
                self._survey = Survey(state, self._search)
                self._survey.start()
            return self._survey

    def stop(self) -> None:
        """Stop what is being searched."""
        if self._survey is not None:
            self._survey.stop()


def _values(evaluation: Evaluation | None, queries: int) -> list[float | None]:
    """The value of each query by its only measure."""
    values: list[float | None] = [None] * queries
    if evaluation is not None:
        (column,) = evaluation.values.values()
        for row, value in zip(evaluation.queries.tolist(), column.tolist(), strict=True):
            values[row] = _number(value)
    return values


def _mean(evaluation: Evaluation | None) -> float | None:
    return None if evaluation is None else _number(next(iter(evaluation.mean.values())))


def _number(value: float) -> float | None:
    """A number as JSON can hold it."""
    return value if math.isfinite(value) else None


def _gap(values: Mapping[str, float | None], a: str, b: str | None) -> float | None:
    first, second = values.get(a), values.get(b) if b else None
    return None if first is None or second is None else first - second


def _notes(evaluations: Mapping[str, Evaluation | None]) -> list[str]:
    """The sentences to read with the figures: each once, with the pipelines that it is of where it is not of all."""
    said: dict[str, list[str]] = {}
    for name, evaluation in evaluations.items():
        for note in evaluation.notes() if evaluation is not None else ():
            said.setdefault(note, []).append(name)
    return [note if len(names) == len(evaluations) else f"{', '.join(names)}: {note}" for note, names in said.items()]


def _last_if_none(key: Callable[[float], float]) -> Callable[[Row], tuple[bool, float]]:
    return lambda row: (row.difference is None, 0.0 if row.difference is None else key(row.difference))


_ORDERS: Mapping[Sort, Callable[[Row], tuple[bool, float]]] = {
    "difference": _last_if_none(lambda difference: -abs(difference)),
    "a": _last_if_none(lambda difference: -difference),
    "b": _last_if_none(lambda difference: difference),
    "collection": lambda row: (False, 0.0),
}


def _whole(found: Candidates) -> Candidates:
    """Pass on what was found. Raises `ComponentError` where shards did not answer: such figures are not compared."""
    if found.lost:
        raise ComponentError(f"{', '.join(found.lost)} did not answer, so documents are missing.")
    return found
