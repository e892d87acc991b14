"""Bounds of what a server takes on: how many requests at a time, for how long, and only while somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import HTTPException, Request

#: Seconds after which a client that was refused may try again.
RETRY_AFTER = 1
#: The status of a request whose client went away; nobody reads it but logs and metrics.
GONE = 499


class Limits:
    """Bounds of how many requests may be worked on or wait, and of the seconds that each may take.

    One more is refused at once (503, with `Retry-After`); one that takes too long is given up (504), as is one whose
    client has gone away.
    """

    def __init__(self, waiting: int, deadline: float) -> None:
        self.waiting, self.deadline = waiting, deadline
        #: How many requests are inside now; and of all so far, how many were refused, late, and left by their clients.
        self.inside, self.refused, self.late, self.left = 0, 0, 0, 0
        #: True when the server is about to end: what is inside is finished, and nothing new begun.
        self.closing = False

    @asynccontextmanager
    async def place(self, request: Request | None = None) -> AsyncIterator[None]:
        """A place for one request, whose body has been read. Raises `HTTPException` where it is refused or given up."""
        self._refuse()
        self.inside += 1
        watch: asyncio.Task[bool] | None = None
        try:
            async with asyncio.timeout(self.deadline) as time:
                watch = None if request is None else asyncio.create_task(_give_up_when_gone(request, time))
                yield
        except TimeoutError:
            raise self._given_up(watch) from None
        finally:
            self.inside -= 1
            if watch is not None:
                watch.cancel()

    def _refuse(self) -> None:
        if self.closing:
            said = "the server is ending. Ask again: another one may have taken its place."
        elif self.inside >= self.waiting:
            said = f"{self.inside} searches are waiting, and the server takes no more. Ask again later."
        else:
            return
        self.refused += 1
        raise HTTPException(503, said, {"Retry-After": str(RETRY_AFTER)})

    def _given_up(self, watch: asyncio.Task[bool] | None) -> HTTPException:
        if watch is not None and watch.done() and not watch.cancelled():
            self.left += 1
            return HTTPException(GONE, "the client has gone away.")
        self.late += 1
        return HTTPException(504, f"this took longer than {self.deadline:g} seconds, and was given up. Ask for less.")


async def _give_up_when_gone(request: Request, time: asyncio.Timeout) -> bool:
    """Have the time be up when the client goes away."""
    while (await request.receive())["type"] != "http.disconnect":
        pass
    time.reschedule(asyncio.get_running_loop().time())
    return True
