"""Scorers that rank each list by asking a model about several of its documents at a time."""

from __future__ import annotations

import functools
import logging
from collections import Counter
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Floats, Queries
from nirank.errors import BadInput
from nirank.kit import digest, progress
from nirank.kit.text import require_text
from nirank_seq2seq.writers import Question, Writer

log = logging.getLogger("nirank")

#: Lists that are ranked side by side, whose questions are asked together.
_SIDE_BY_SIDE = 32

#: The ranking of a list: asks questions, is sent their answers, and returns a score for each text.
Ranking = Generator[list[Question], list[Any], NDArray[np.float32]]


@dataclass(frozen=True)
class RankedList:
    """The distinct texts of a list in the order in which ranking begins, and for each of its pairs its text."""

    query: str
    texts: list[str]
    places: NDArray[np.int64]


class Listwise:
    """Scores lists by `ranking`, with a model that answers through `ask`.

    A list begins in the order of the scores that it comes with, equal ones by rising ordinal, so that it does not
    matter how it is stored; documents with equal texts are shown once, and tie. `counts` says of the last call how
    many questions were asked, how many answers had to be repaired and how many passages were cut; a warning at its end
    says it too.
    """

    reads = "text"
    listwise = True

    def __init__(self, writer: Writer, name: str, settings: Sequence[object]) -> None:
        self.writer, self.name, self.counts, self._settings = writer, name, Counter[str](), settings

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that the scores depend on: the model, prompt and settings."""
        return digest([self.writer.fingerprint, self.name, *self._settings])

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """Scores, float32 `[pairs]`, which order the documents of one list and compare with no other's."""
        self.counts = Counter()
        if not candidates.pairs:
            return np.empty(0, np.float32)
        lists = list(lists_of(queries, candidates))
        with progress(f"Ranking with {self.name}", len(lists)) as advance:
            found = in_step((self.ranking(each) for each in lists), self.ask, advance)
        self._tell()
        columns = [scores[each.places] for scores, each in zip(found, lists, strict=True)]
        return np.concatenate(columns)

    def ranking(self, ranked: RankedList) -> Ranking:
        """The ranking of one list."""
        raise NotImplementedError

    def ask(self, questions: Sequence[Question]) -> list[Any]:
        """The answer of the model to each question."""
        raise NotImplementedError

    def _tell(self) -> None:
        counts = self.counts
        if counts["repaired"]:
            faults = [f"{counts[fault]} {fault}" for fault in counts if fault.startswith("with ")]
            log.warning(
                "%s: %d of %d answers had to be repaired (%s).",
                *(self.name, counts["repaired"], counts["questions"], ", ".join(faults)),
            )
        if counts["cut to fit"] or counts["queries cut to fit"]:
            log.warning(
                "%s: %d of %d passages were cut to fit what the model reads, and the query of %d of %d questions; "
                "fewer at a time, or a larger max_length, would show more.",
                *(self.name, counts["cut to fit"], counts["passages"]),
                *(counts["queries cut to fit"], counts["questions"]),
            )


def lists_of(queries: Queries, candidates: Candidates) -> Iterator[RankedList]:
    """The list of each query, of some documents or none. Raises `BadInput` for contents that are no texts."""
    corpus = candidates.corpus_for("a scorer of texts")
    ordinals, places = np.unique(candidates.docs, return_inverse=True)
    texts = require_text(corpus[ordinals], "a document")
    asked = require_text(queries.contents, "query")
    for row, (start, stop) in enumerate(pairwise(candidates.offsets.tolist())):
        order = np.lexsort((candidates.docs[start:stop], -candidates.scores[start:stop]))
        first: dict[str, int] = {}
        numbers = [first.setdefault(texts[place], len(first)) for place in places[start:stop][order].tolist()]
        of_pair = np.empty(len(order), np.int64)
        of_pair[order] = numbers
        yield RankedList(asked[row], list(first), of_pair)


def in_step(
    rankings: Iterable[Ranking], ask: Callable[[list[Question]], list[Any]], advance: Callable[[int], None]
) -> list[NDArray[np.float32]]:
    """The results of rankings that go on side by side: in each step the questions of all are asked together."""
    waiting, found = enumerate(rankings), dict[int, NDArray[np.float32]]()
    running: dict[int, tuple[Ranking, list[Question]]] = {}

    def go_on(number: int, ranking: Ranking, answers: list[Any] | None) -> None:
        try:
            running[number] = ranking, next(ranking) if answers is None else ranking.send(answers)
        except StopIteration as done:
            found[number] = done.value
            running.pop(number, None)
            advance(1)

    while True:
        while len(running) < _SIDE_BY_SIDE and (more := next(waiting, None)):
            go_on(*more, None)
        if not running:
            return [found[number] for number in range(len(found))]
        answers = iter(ask([question for _, questions in running.values() for question in questions]))
        for number, (ranking, questions) in list(running.items()):
            go_on(number, ranking, [next(answers) for _ in questions])


def falling(order: Sequence[int]) -> NDArray[np.float32]:
    """Whole numbers from the length of an order down to 1, `[texts]`, the best having the highest."""
    scores = np.empty(len(order), np.float32)
    scores[np.asarray(order, np.int64)] = np.arange(len(order), 0, -1)
    return scores


def whole_numbers(**settings: int) -> None:
    """Raise `BadInput` for a setting that is below 1."""
    for name, value in settings.items():
        if value < 1:
            raise BadInput(f"{name} = {value}; a whole number from 1 is expected.")
