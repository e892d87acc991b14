"""All shards of an index: asked at once, begun again where one has gone, and named where one does not come back."""

from __future__ import annotations

import logging
import threading
import weakref
from collections.abc import Mapping, Sequence
from typing import Any

from nirank.errors import ComponentError
from nirank.execution.shards.hosts import Host, ShardGone, opened
from nirank.execution.shards.served import ShardFailure, ShardOpening
from nirank.threads import processors

log = logging.getLogger("nirank")


class LostShard(ComponentError):
    """A shard that has gone, and did not come back: which one, and where it lies."""


class Group:
    """The shards of an index by their numbers, each open at some place.

    `restarts` is how often one that has gone is begun again for one question. With `partial` the answers of the others
    count where one is lost.
    """

    def __init__(self, openings: Mapping[int, ShardOpening], on: str, restarts: int, partial: bool) -> None:
        threads = max(1, processors() // max(1, len(openings)))
        self._openings, self._restarts, self._partial = openings, restarts, partial
        self.hosts: dict[int, Host] = {}
        self._lock, self._shards = threading.Lock(), 1 + max(openings, default=0)
        weakref.finalize(self, _close, self.hosts)
        for number, opening in openings.items():
            self.hosts[number] = opened(opening, on, threads)

    def ask(self, method: str, given: Mapping[int, Sequence[Any]], partial: bool | None = None) -> dict[int, Any]:
        """The answers of some shards, by their numbers; all work at once.

        Raises `LostShard` for one that has gone, unless that is allowed: then it is not among the answers. Errors of
        a shard are raised as they are, with a note of which it was.
        """
        allowed = self._partial if partial is None else partial
        waiting = {number: self._begun(number, method, values) for number, values in given.items()}
        answers: dict[int, Any] = {}
        for number, (host, asked) in waiting.items():
            try:
                answers[number] = self._answer(number, host, asked, method, given[number])
            except LostShard as lost:
                if not allowed:
                    raise
                log.warning("%s What is found is without its documents, and marked as such.", lost)
        if given and not answers:
            raise LostShard("No shard of the index answered, so nothing can be found, not even in part.")
        return answers

    def _begun(self, number: int, method: str, given: Sequence[Any]) -> tuple[Host, Any]:
        """The place that was asked, and the answer to come; None where it is gone already."""
        host = self.hosts[number]
        try:
            return host, host.ask(method, *given)
        except ShardGone:
            return host, None

    def _answer(self, number: int, host: Host, asked: Any, method: str, given: Sequence[Any]) -> Any:
        for attempt in range(self._restarts + 1):
            if attempt:
                log.warning("%s has ended; it is begun again, and asked once more.", self._name(number))
                self._restart(number, host)
                host, asked = self._begun(number, method, given)
            try:
                if asked is not None:
                    return self._sound(number, asked.result())
            except ShardGone:
                continue
        self._restart(number, host)  # for the next question
        again = f"begun again {self._restarts} times, " if self._restarts else ""
        raise LostShard(
            f"{self._name(number)} ended before it had answered ({again}and gone each time). Its documents would be "
            "missing from every list: ask again, look for what ends it (memory?), or allow that with partial = True."
        )

    def _restart(self, number: int, seen: Host) -> None:
        """Begin a shard again, unless another thread has done so since it was seen."""
        with self._lock:
            if self.hosts[number] is seen:
                self.hosts[number] = seen.restart()

    def _sound(self, number: int, answer: Any) -> Any:
        if isinstance(answer, ShardFailure):
            answer.error.add_note(f"in {self._name(number)}")
            raise answer.error
        return answer

    def _name(self, number: int) -> str:
        return f"Shard {number + 1} ({self._openings[number].folder})"


def _close(hosts: dict[int, Host]) -> None:
    for host in hosts.values():
        host.close()
