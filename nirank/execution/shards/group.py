"""All shards of an index: asked at once, begun again where one has gone, and named where one does not come back."""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from nirank.errors import ComponentError
from nirank.execution.shards.hosts import Host, ShardGone, ShardSilent, opened
from nirank.execution.shards.served import ShardFailure, ShardOpening
from nirank.execution.shards.waiting import Question
from nirank.threads import processors

log = logging.getLogger("nirank")

#: The least that a shard may take until it is open, in seconds, and the multiple of `timeout`: its files are checked.
_LEAST_TO_OPEN, _TIMES_TO_OPEN = 120.0, 10.0


class LostShard(ComponentError):
    """A shard that has gone, and did not come back: which one, and where it lies."""


@dataclass(frozen=True)
class Recovery:
    """Says what becomes of a shard that does not answer.

    `restarts` is how often it is begun again for one question. With `partial` the answers of the others count where it
    is lost. `timeout`, in seconds, is how long an open shard may be silent; without it one that hangs is waited for.
    """

    restarts: int = 1
    partial: bool = False
    timeout: float | None = None

    def limit(self, opening: bool) -> float | None:
        """The seconds that a shard may be silent, open or while it is opened."""
        if self.timeout is None or not opening:
            return self.timeout
        return max(_LEAST_TO_OPEN, _TIMES_TO_OPEN * self.timeout)


class Group:
    """The shards of an index by their numbers, each open at some place."""

    def __init__(self, openings: Mapping[int, ShardOpening], on: str, recovery: Recovery) -> None:
        threads = max(1, processors() // max(1, len(openings)))
        self._openings, self._recovery = openings, recovery
        self.hosts: dict[int, Host] = {}
        self._lock, self._begun = threading.Lock(), dict.fromkeys(openings, time.monotonic())
        weakref.finalize(self, _close, self.hosts)
        for number, opening in openings.items():
            self.hosts[number] = opened(opening, on, threads)

    def ask(self, method: str, given: Mapping[int, Sequence[Any]], partial: bool | None = None) -> dict[int, Any]:
        """The answers of some shards, by their numbers; all work at once.

        Raises `LostShard` for one that has gone, or hangs, unless that is allowed: then it is not among the answers.
        Errors of a shard are raised as they are, with a note of which it was.
        """
        allowed = self._recovery.partial if partial is None else partial
        hurried = allowed and method != "ready"
        asked = {number: self._first(number, method, values, hurried) for number, values in given.items()}
        answers: dict[int, Any] = {}
        try:
            for number, question in asked.items():
                with _letting_go(allowed):
                    answers[number] = self._answer(number, question, method, given[number], hurried)
        except KeyboardInterrupt:
            # what hangs would keep the program from ending, and what works would do so for nobody
            for number in asked.keys() - answers.keys():
                self._restart(number, asked[number].host)
            raise
        if given and not answers:
            raise LostShard("No shard of the index answered, so nothing can be found, not even in part.")
        return answers

    def _asked(self, number: int, method: str, given: Sequence[Any]) -> Question:
        return Question(self._name(number), self.hosts[number], method, given)

    def _first(self, number: int, method: str, given: Sequence[Any], hurried: bool) -> Question:
        """The question, or one whether the shard is open: where it is not waited for, nothing is left for it to do."""
        if hurried and not self.hosts[number].answers:
            return self._asked(number, "ready", ())
        return self._asked(number, method, given)

    def _answer(self, number: int, question: Question, method: str, given: Sequence[Any], hurried: bool) -> Any:
        """The answer of a shard; `hurried`, it is not waited for while it is opened."""
        gone = ShardGone()
        for attempt in range(self._recovery.restarts + 1):
            try:
                if attempt:
                    log.warning("%s %s; it is begun again, and asked once more.", self._name(number), _did(gone))
                    self._restart(number, question.host)
                    question = self._asked(number, "ready", ())
                if question.method != method:
                    self._sound(number, self._waited(number, question, hurried))
                    question = self._asked(number, method, given)
                return self._sound(number, self._waited(number, question, hurried))
            except ShardGone as error:
                gone = error
        self._restart(number, question.host)  # for the next question
        lost = LostShard(self._told(number, gone))
        lost.add_note(str(gone))
        raise lost from gone

    def _waited(self, number: int, question: Question, hurried: bool) -> Any:
        """The answer, when it comes. Raises `ShardGone`; `LostShard` where the shard is opened, and not waited for."""
        opening = not question.host.answers
        try:
            return question.answer(self._recovery.limit(opening and not hurried))
        except ShardSilent:
            if opening and hurried and not self._overdue(number):
                raise LostShard(f"{self._name(number)} is still being opened.") from None
            raise

    def _overdue(self, number: int) -> bool:
        """True for a shard that has taken too long to open."""
        limit = self._recovery.limit(opening=True)
        return limit is not None and time.monotonic() - self._begun[number] > limit

    def _restart(self, number: int, seen: Host) -> None:
        """Begin a shard again, unless another thread has done so since it was seen."""
        with self._lock:
            if self.hosts[number] is seen:
                self.hosts[number], self._begun[number] = seen.restart(), time.monotonic()

    def _sound(self, number: int, answer: Any) -> Any:
        if isinstance(answer, ShardFailure):
            answer.error.add_note(f"in {self._name(number)}")
            raise answer.error
        return answer

    def _told(self, number: int, gone: ShardGone) -> str:
        """Say of a shard that it is lost, and what can be done."""
        times = self._recovery.restarts
        silent = isinstance(gone, ShardSilent)
        did = str(gone) if silent else "ended before it had answered"
        again = f" (begun again {times} times, and {'silent' if silent else 'gone'} each time)" if times else ""
        instead = (
            "set timeout higher, look for what holds it (a disk?)" if silent else "look for what ends it (memory?)"
        )
        return (
            f"{self._name(number)} {did}{again}. Its documents would be missing from every list: ask again, {instead}, "
            "or allow that with partial = True."
        )

    def _name(self, number: int) -> str:
        return f"Shard {number + 1} ({self._openings[number].folder})"


@contextmanager
def _letting_go(allowed: bool) -> Iterator[None]:
    """Let a shard be lost in the block, with a warning, where that is allowed."""
    try:
        yield
    except LostShard as lost:
        if not allowed:
            raise
        log.warning("%s What is found is without its documents, and marked as such.", lost)


def _did(gone: ShardGone) -> str:
    return str(gone) if isinstance(gone, ShardSilent) else "has ended"


def _close(hosts: dict[int, Host]) -> None:
    for host in hosts.values():
        host.close()
