"""Questions that shards were asked, and how long each may be silent: a shard that hangs is told from one that works."""

from __future__ import annotations

import logging
import math
import time
from typing import Any

from nirank.execution.shards.hosts import Host, ShardGone, ShardSilent

log = logging.getLogger("nirank")

#: Seconds after which a silence without a limit is told.
_TOLD = 60.0


class Question:
    """A question that a shard was asked: where it is open, and the answer to come; none where it is gone already."""

    def __init__(self, name: str, host: Host, method: str, given: Any) -> None:
        self._name, self.host, self.method = name, host, method
        self._since, self._answers = time.monotonic(), host.answers
        try:
            self._asked = host.ask(method, *given)
        except ShardGone:
            self._asked = None

    def answer(self, limit: float | None) -> Any:
        """The answer. Raises `ShardGone` where the shard has ended, `ShardSilent` after `limit` seconds of silence.

        A shard answers one question after the other: while answers to others come it is not silent.
        """
        if self._asked is None:
            raise ShardGone("it was gone before it was asked")
        while True:
            left = math.inf if limit is None else max(0.0, self._since + limit - time.monotonic())
            try:
                return self._asked.result(min(left, _TOLD))
            except ShardSilent:
                if self._has_answered_others():
                    continue
                if left <= _TOLD:
                    raise ShardSilent(f"did not answer within {limit:g} seconds") from None
            log.warning("%s has not answered for %.0f seconds.", self._name, time.monotonic() - self._since)

    def _has_answered_others(self) -> bool:
        before, self._answers = self._answers, self.host.answers
        if before != self._answers:
            self._since = time.monotonic()
        return before != self._answers
