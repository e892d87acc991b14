"""The process of one shard: how it begins, and how it answers. Nothing heavy is imported before threads are bounded."""

from __future__ import annotations

import os
import pickle
import signal
import threading
from collections.abc import Iterable
from multiprocessing import connection, parent_process
from typing import TYPE_CHECKING, Any

from nirank.threads import bound_threads

if TYPE_CHECKING:
    from nirank.execution.shards.served import OpenShard

_opening: Any = None
_served: OpenShard | None = None


def begin(opening: bytes, threads: int) -> None:
    """Bound the threads of this process, and have it end with the one that started it."""
    global _opening
    _opening = opening
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the program that searches, which ends this one
    bound_threads(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def answer(method: str, given: Iterable[Any]) -> Any:
    """Answer for the shard; what goes wrong is returned as a `ShardFailure`, for not every error can be sent."""
    from nirank.execution.shards.served import OpenShard, ShardFailure

    global _served
    try:
        if _served is None:
            _served = OpenShard(pickle.loads(_opening))  # noqa: S301 (of the process that started this one)
        return _served.answer(method, *given)
    except Exception as error:
        return ShardFailure.of(error)


def _end_with_parent() -> None:
    parent = parent_process()
    if parent is not None:
        connection.wait([parent.sentinel])
        os._exit(1)
