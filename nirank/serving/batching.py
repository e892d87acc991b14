"""Requests that are worked on together: what comes while one is being worked on makes up the next batch.

So a request that comes alone does not wait, and batches grow with the load. A request whose client has gone, or whose
time is up, is left out when its turn comes.

The package `batched` does the like, but has each request wait for others (5 ms unless told), wakes up again and again
while nothing comes, and imports torch.
"""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from collections.abc import Callable, Hashable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

Asked = TypeVar("Asked")
Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class _Waiting(Generic[Asked, Made]):
    """A request, the key that it shares with others it can be worked on with, and the place for its answer."""

    asked: Asked
    key: Hashable
    future: asyncio.Future[Made]


class Batches(Generic[Asked, Made]):
    """Requests in a row, of which one batch at a time is worked on, in a thread.

    `work` makes one answer for each of some requests of one key; where it raises, each is asked alone, so that one
    that cannot be answered spoils no other. The queue has no bound: a limit stands before it (`nirank.serving.limits`).
    """

    def __init__(self, work: Callable[[Sequence[Asked]], Sequence[Made]], most: int, threads: Executor) -> None:
        self._work, self._most, self._threads = work, most, threads
        self._queue: deque[_Waiting[Asked, Made]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def ask(self, asked: Asked, key: Hashable) -> Made:
        """The answer, when it is there. Raises what `work` raises for it."""
        future: asyncio.Future[Made] = asyncio.get_running_loop().create_future()
        self._queue.append(_Waiting(asked, key, future))
        if self._worker is None:
            self._worker = asyncio.create_task(self._run(), context=contextvars.Context())
        return await future

    async def _run(self) -> None:
        try:
            while batch := self._next():
                await self._answer(batch)
        finally:
            self._worker = None

    def _next(self) -> list[_Waiting[Asked, Made]]:
        """The first in the row that is still waited for, and those behind it of the same key."""
        waiting = [each for each in self._queue if not each.future.done()]
        batch = [each for each in waiting if each.key == waiting[0].key][: self._most]
        taken = set(map(id, batch))
        self._queue = deque(each for each in waiting if id(each) not in taken)
        return batch

    async def _answer(self, batch: list[_Waiting[Asked, Made]]) -> None:
        try:
            made = await self._in_thread([each.asked for each in batch])
        except Exception as error:
            await self._answer_alone(batch, error)
            return
        for each, answer in zip(batch, made, strict=True):
            if not each.future.done():
                each.future.set_result(answer)

    async def _answer_alone(self, batch: list[_Waiting[Asked, Made]], error: Exception) -> None:
        if len(batch) > 1:
            for each in batch:
                await self._answer([each])
        elif not batch[0].future.done():
            batch[0].future.set_exception(error)

    async def _in_thread(self, asked: list[Asked]) -> Sequence[Made]:
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._work, asked)
