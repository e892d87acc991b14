"""The things that the parts of a server share: the state that is served, options, limits, threads that search."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request

from nirank.data.types import Content
from nirank.experiments.latency import Stopwatch
from nirank.serving import searching
from nirank.serving.batching import Batches
from nirank.serving.limits import Limits
from nirank.serving.opening import Source
from nirank.serving.options import Options
from nirank.serving.pictures import Thumbnails
from nirank.serving.searching import Found, Wish
from nirank.serving.state import Holder, State
from nirank.threads import processors

Made = TypeVar("Made")
#: Threads for what may take seconds, so that searches do not wait for it.
_SLOW = 4


@dataclass(frozen=True, eq=False)
class _Search:
    """One search of one pipeline."""

    state: State
    pipeline: str
    query: Content
    wish: Wish

    @property
    def key(self) -> tuple[Any, ...]:
        """A key that searches have in common which can be made together."""
        return self.state, self.wish.where, self.wish.depth


@dataclass(eq=False)
class Served:
    """The things that the parts of a server share.

    `source` can open another state; None where there is none. `running` are context managers that a part wants open
    while the server runs, such as work in the background.
    """

    holder: Holder
    options: Options
    source: Source | None = None
    running: list[Callable[[], AbstractAsyncContextManager[Any]]] = field(default_factory=list)
    #: Functions that are told the name of a pipeline, and what it found for each query, after each search.
    observers: list[Callable[[str, Sequence[Found]], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.limits = Limits(self.options.waiting, self.options.deadline)
        self.watch = Stopwatch(keep=False, apart=True)
        self.thumbnails = Thumbnails()
        self._threads = ThreadPoolExecutor(max(2, processors()), thread_name_prefix="search")
        self._slow = ThreadPoolExecutor(_SLOW, thread_name_prefix="explain")
        self._batches: dict[str, Batches[_Search, Found]] = {}

    @property
    def state(self) -> State:
        """The state that is served now: take it once for a request."""
        return self.holder.state

    async def search(
        self, query: Content, pipelines: Sequence[str] = (), wish: Wish | None = None, state: State | None = None
    ) -> dict[str, Any]:
        """The answer of `/search`: as `searching.search`, together with what others ask meanwhile."""
        wish, state = wish or Wish(), state or self.state
        names = list(dict.fromkeys(pipelines)) or list(state.pipelines)
        found = await self.find(state, query, names, wish)
        return await _done_by(self._threads, searching.answer, state, query, found, wish)

    async def find(self, state: State, query: Content, pipelines: Sequence[str], wish: Wish) -> dict[str, Found]:
        """Search these pipelines, all at a time. Raises `UnknownName` for one that there is not."""
        for name in pipelines:
            state.ranking(name)
        searches = [_Search(state, name, query, wish) for name in pipelines]
        found = await asyncio.gather(*(self._batch(each.pipeline).ask(each, each.key) for each in searches))
        return dict(zip(pipelines, found, strict=True))

    async def in_thread(self, work: Callable[..., Made], *given: Any) -> Made:
        """Do what may take seconds in a thread: searches do not wait for it."""
        return await _done_by(self._slow, work, *given)

    def close(self) -> None:
        """End the threads, when what they do is done."""
        for threads in (self._threads, self._slow):
            threads.shutdown(cancel_futures=True)

    def _batch(self, pipeline: str) -> Batches[_Search, Found]:
        if pipeline not in self._batches:
            self._batches[pipeline] = Batches(self._find_together, self.options.together, self._threads)
        return self._batches[pipeline]

    def _find_together(self, searches: Sequence[_Search]) -> list[Found]:
        first = searches[0]
        found = searching.find(first.state, first.pipeline, [each.query for each in searches], first.wish, self.watch)
        for observer in self.observers:
            observer(first.pipeline, found)
        return found


async def _done_by(threads: Executor, work: Callable[..., Made], *given: Any) -> Made:
    return await asyncio.get_running_loop().run_in_executor(threads, functools.partial(work, *given))


async def served_of(request: Request) -> Served:
    """Get what the application of a request shares."""
    served: Served = request.app.state.served
    return served


#: The parameter of a path that wants it.
Here = Annotated[Served, Depends(served_of)]
