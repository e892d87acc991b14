"""Places where shards are open: in processes of their own, or in this one. Other places come by a hook.

A process is started by `concurrent.futures`, one for each shard, by spawning: no thread or lock of this process is
copied. It does not import the program that searches, so that a script needs no guard against being run again.
"""

from __future__ import annotations

import contextlib
import os
import pickle
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import CancelledError, Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import current_process
from multiprocessing import process as processes
from multiprocessing.context import SpawnContext, SpawnProcess
from multiprocessing.util import Finalize
from types import ModuleType
from typing import Any, Protocol

from nirank.errors import BadInput
from nirank.execution.shards import process
from nirank.execution.shards.served import OpenShard, ShardFailure, ShardOpening
from nirank.plugins.loading import active

_STARTING = threading.Lock()


class ShardGone(Exception):
    """Raised where a shard did not answer, for it is not there any more; the text says what is known of it."""


class ShardSilent(ShardGone):
    """Raised where a shard has not answered for too long; it may be there."""


class Host(Protocol):
    """One open shard, wherever it is."""

    @property
    def answers(self) -> int:
        """The number of answers that have come, so that a shard that is at the questions of others is not silent."""

    def ask(self, method: str, *given: Any) -> Any:
        """Have it answer; what is returned has `result(seconds)`, which may be a `ShardFailure`.

        It raises `ShardGone` where the shard has ended, and `ShardSilent` where nothing has come within the seconds;
        then it may be asked again.
        """

    def restart(self) -> Host:
        """A new one of the same shard, which takes its place. What runs of this one is killed: it may hang."""

    def close(self) -> None:
        """End it."""


def opened(opening: ShardOpening, on: str, threads: int) -> Host:
    """Open one shard at a place: "processes", "here", or one that a plugin knows. Raises `BadInput` for no such place.

    `threads` is how many it may use.
    """
    host: Host | None = active().hook.nirank_open_shard(opening=opening, on=on, threads=threads)
    if host is None:
        raise BadInput(
            f'on = {on!r}: nobody opens shards there. Write "processes" or "here", or switch on the plugin that does.'
        )
    return host


def opened_on_this_machine(opening: ShardOpening, on: str, threads: int) -> Host | None:
    """A shard in a process of its own, or in this one; None for any other place."""
    if on == "here":
        return Here(opening)
    return Process(opening, threads) if on == "processes" else None


class Here:
    """A shard in this process, which answers one question after the other."""

    def __init__(self, opening: ShardOpening) -> None:
        self._opening = opening
        #: The number of answers that have come.
        self.answers = 0
        self._served: OpenShard | None = None
        self._lock = threading.Lock()

    def ask(self, method: str, *given: Any) -> Any:
        """Answer now."""
        answer: Future[Any] = Future()
        try:
            with self._lock:
                if self._served is None:
                    self._served = OpenShard(self._opening)
            answer.set_result(self._served.answer(method, *given))
        except Exception as error:
            answer.set_result(ShardFailure(error))
        self.answers += 1
        return answer

    def restart(self) -> Here:
        """The same, opened anew."""
        return Here(self._opening)

    def close(self) -> None:
        """Let go of the files."""
        self._served = None


class Process:
    """A shard in a process of its own."""

    _owner: int
    _started: bool
    _pool: ProcessPoolExecutor

    def __init__(self, opening: ShardOpening, threads: int) -> None:
        if current_process().daemon:
            raise BadInput(
                "shards cannot be opened in processes here, for this is a worker of a multiprocessing Pool, which may "
                'have no processes of its own: write on = "here", or search in the program itself.'
            )
        self._opening, self._threads = opening, threads
        self._begin()

    def ask(self, method: str, *given: Any) -> Any:
        """Send the question; the process is started with the first one."""
        if self._owner != os.getpid():  # a fork has none of the threads that wait for answers
            self._begin()
        try:
            with _STARTING if not self._started else contextlib.nullcontext(), self._without_program():
                asked = self._pool.submit(process.answer, method, given)
                self._started = True
            asked.add_done_callback(self._came)
            return _Awaited(asked)
        except BrokenProcessPool as error:
            raise ShardGone(str(error)) from error
        except RuntimeError as error:  # closed meanwhile by another thread that had found it broken
            raise ShardGone(str(error)) from error

    def _begin(self) -> None:
        """Make ready to start a process of the one that runs here."""
        self._owner, self._started = os.getpid(), False
        #: The number of answers that have come.
        self.answers = 0
        made = pickle.dumps(self._opening), self._threads
        self._pool = ProcessPoolExecutor(1, _Daemons(), process.begin, made)
        # Also where this process was itself begun by multiprocessing, which at its end runs nothing else.
        self._end = Finalize(self, _shut_down, (self._pool,), exitpriority=10)

    def _came(self, asked: Future[Any]) -> None:
        self.answers += not asked.cancelled() and asked.exception() is None

    def restart(self) -> Process:
        """Another process. This one is killed: where it hangs, nothing less ends it."""
        for running in [*(self._pool._processes or {}).values()]:
            running.kill()
        self.close()
        return Process(self._opening, self._threads)

    def close(self) -> None:
        """End the process when it has answered what it was asked."""
        self._end()

    @property
    def pids(self) -> list[int]:
        """The number of the process, if it was started."""
        return [*(self._pool._processes or {})]

    @contextlib.contextmanager
    def _without_program(self) -> Iterator[None]:
        """While a process is started: it would import the program that runs here, to unpickle what is defined there."""
        if self._started:
            yield
            return
        program = sys.modules["__main__"]
        sys.modules["__main__"] = ModuleType("__main__")
        try:
            yield
        finally:
            sys.modules["__main__"] = program


class _Daemon(SpawnProcess):
    """A process that is ended, and not waited for, where the one that began it ends."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.daemon = True


class _Daemons(SpawnContext):
    """Starts such processes."""

    Process = _Daemon


def _disown() -> None:
    """In a fork, forget processes that are not its own, which it would end when it ends."""
    children = vars(processes)["_children"]  # which multiprocessing forgets in the forks that it makes itself
    children.difference_update([child for child in children if isinstance(child, _Daemon)])


os.register_at_fork(after_in_child=_disown)


def _shut_down(pool: ProcessPoolExecutor) -> None:
    pool.shutdown(wait=False, cancel_futures=True)


class _Awaited:
    """An answer to come from a process."""

    def __init__(self, future: Future[Any]) -> None:
        self._future = future

    def result(self, seconds: float) -> Any:
        """The answer. Raises `ShardGone` where the process ended before, `ShardSilent` after so many seconds."""
        try:
            return self._future.result(seconds)
        except TimeoutError:  # errors of the shard itself are answers
            raise ShardSilent(f"nothing came for {seconds:.0f} seconds") from None
        except (BrokenProcessPool, CancelledError) as error:
            raise ShardGone("its process has ended") from error
