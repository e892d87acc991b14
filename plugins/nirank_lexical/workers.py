"""Processes that read documents for an index: each takes some, and gives back the segment that they make.

They are started as programs of their own, so that a script that builds an index needs no guard against being imported
by them, and no thread or lock of this process is copied. They read and write nothing but their pipes, and end when
these do: also when this process is killed.
"""

from __future__ import annotations

import os
import pickle
import subprocess
import sys
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from queue import SimpleQueue
from typing import Any, BinaryIO, cast

import numpy as np
from numpy.typing import NDArray

from nirank.kit.text import Analyzer
from nirank_lexical.segments import Read, SegmentReader, Texts

#: Characters that a process reads at a time: a second of work, and segments that are not too many.
CHARACTERS = 1 << 23

#: What a process gives back, and the terms that it has not met before, in the order of its numbers.
_Answer = tuple[Read, list[str]]


class Workers:
    """Some processes; `terms` numbers all terms that came up so far, as one process would have."""

    def __init__(self, analyzer: Analyzer, count: int) -> None:
        self.terms: dict[str, int] = {}
        self._settings, self._count = analyzer.settings, count

    def segments(self, documents: Iterator[Texts], characters: int) -> Iterator[Read]:
        """Segments of all documents, of about `characters` characters each. What a process raises is raised here."""
        with ExitStack() as stack:
            workers = [stack.enter_context(_Worker(self._settings)) for _ in range(self._count)]
            pool = stack.enter_context(ThreadPoolExecutor(self._count))
            free: SimpleQueue[_Worker] = SimpleQueue()
            for worker in workers:
                free.put(worker)

            def read(texts: list[Texts]) -> tuple[_Worker, _Answer]:
                worker = free.get()
                try:
                    return worker, worker.ask(texts)
                finally:
                    free.put(worker)

            waiting: deque[Future[tuple[_Worker, _Answer]]] = deque()
            for texts in shares(documents, characters):
                waiting.append(pool.submit(read, texts))
                if len(waiting) > self._count:  # no more than that is in memory
                    yield self._numbered(*waiting.popleft().result())
            while waiting:
                yield self._numbered(*waiting.popleft().result())

    def _numbered(self, worker: _Worker, answer: _Answer) -> Read:
        (segment, lengths), new = answer
        numbers = [self.terms.setdefault(term, len(self.terms)) for term in new]
        worker.numbers = np.concatenate([worker.numbers, np.array(numbers, np.int64)])
        return segment.renumbered(worker.numbers), lengths


def shares(documents: Iterator[Texts], characters: int) -> Iterator[list[Texts]]:
    """Lists of documents of `characters` characters, or a little more."""
    share: list[Texts] = []
    size = 0
    for texts, first in documents:
        share.append((texts, first))
        size += sum(map(len, texts))
        if size >= characters:
            yield share
            share, size = [], 0
    if share:
        yield share


class _Worker:
    """One process; `numbers` are those that its terms have here."""

    def __init__(self, settings: dict[str, object]) -> None:
        self.numbers: NDArray[np.int64] = np.empty(0, np.int64)
        program = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; serve()"
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-c", program], stdin=pipe, stdout=pipe)  # noqa: S603 (our own)
        self._send(settings)

    def __enter__(self) -> _Worker:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.communicate()

    def ask(self, texts: list[Texts]) -> _Answer:
        """Have documents made into a segment. Raises what it raises, and `ChildProcessError` where it ends."""
        try:
            self._send(texts)
            answer = pickle.load(cast("BinaryIO", self._process.stdout))  # noqa: S301 (our own)
        except (EOFError, BrokenPipeError, pickle.UnpicklingError) as error:
            ended = f"A process that read documents for an index ended early, with the code {self._process.wait()}"
            raise ChildProcessError(f"{ended}; -9 may mean that there was not enough memory.") from error
        if isinstance(answer, Exception):
            raise answer
        found: _Answer = answer
        return found

    def _send(self, what: Any) -> None:
        pipe = cast("BinaryIO", self._process.stdin)
        pickle.dump(what, pipe, pickle.HIGHEST_PROTOCOL)
        pipe.flush()


def serve() -> None:
    """Serve in a process of its own: documents come from one pipe, segments go to the other."""
    requests, answers = sys.stdin.buffer, os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # whatever prints does not print into the answers
    reader = SegmentReader(Analyzer(**pickle.load(requests)))  # noqa: S301 (our own)
    while True:
        try:
            texts = pickle.load(requests)  # noqa: S301 (our own)
        except EOFError:
            return
        try:
            pickle.dump(_answer(reader, texts), answers, pickle.HIGHEST_PROTOCOL)
            answers.flush()
        except BrokenPipeError:
            return


def _answer(reader: SegmentReader, texts: list[Texts]) -> _Answer | Exception:
    known = len(reader.terms)
    try:
        for some, first in texts:
            reader.add(some, first)
        return reader.taken(), list(reader.terms)[known:]
    except Exception as error:
        return error
