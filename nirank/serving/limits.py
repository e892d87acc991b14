"""Bounds of what a server takes on: how many requests at a time, for how long, and only while somebody waits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import HTTPException

#: Seconds after which a client that was refused may try again.
RETRY_AFTER = 1


class Limits:
    """How many requests may be worked on or wait, and the seconds that each may take.

    One more is refused at once (503, with `Retry-After`), and one that takes too long is given up (504).
    """

    def __init__(self, waiting: int, deadline: float) -> None:
        self.waiting, self.deadline = waiting, deadline
        #: How many requests are inside now, and how many were refused so far.
        self.inside, self.refused = 0, 0
        #: True when the server is about to end: what is inside is finished, and nothing new begun.
        self.closing = False

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """A place for one request. Raises `HTTPException` where there is none, or when its time is up."""
        if self.closing:
            raise self._refusal("the server is ending. Ask again: another one may have taken its place.")
        if self.inside >= self.waiting:
            raise self._refusal(f"{self.inside} searches are waiting, and the server takes no more. Ask again later.")
        self.inside += 1
        try:
            async with asyncio.timeout(self.deadline):
                yield
        except TimeoutError:
            detail = f"the search took longer than {self.deadline:g} seconds, and was given up. Ask for less."
            raise HTTPException(504, detail) from None
        finally:
            self.inside -= 1

    def _refusal(self, detail: str) -> HTTPException:
        self.refused += 1
        return HTTPException(503, detail, {"Retry-After": str(RETRY_AFTER)})
