"""One process per engine, told from outside what to do: nobody's memory, threads or imports disturb the others.

The clock runs inside the process, round the call alone. Engines take turns (A B A B), so that a machine that slows
down slows all of them.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TextIO, TypeVar

Answer = TypeVar("Answer")

#: Calls that are shorter are repeated until so many seconds have passed.
AT_LEAST = 0.2
#: An engine that needs longer for one lap runs fewer of them.
SLOW = 20.0


@dataclass(frozen=True)
class Engine:
    """Who is timed: a class (`module:Class`), its settings, the packages that it needs, and variables of its own."""

    name: str
    target: str
    needs: Sequence[str] = ()
    settings: Mapping[str, Any] = field(default_factory=dict)
    environment: Mapping[str, str] = field(default_factory=dict)

    def missing(self) -> list[str]:
        """The packages that are not installed."""
        return [package for package in self.needs if importlib.util.find_spec(package) is None]


@dataclass(frozen=True)
class Lap:
    """One measurement, in seconds: by the clock on the wall, and of processor time in all threads."""

    wall: float
    cpu: float


class EngineFailed(RuntimeError):
    """An engine raised an exception or died; the message is its own last words."""


class Worker:
    """An engine in a process of its own."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (closed by close)
        command = [sys.executable, __file__, engine.target, json.dumps(engine.settings)]
        pipe = subprocess.PIPE
        own = {**os.environ, **engine.environment}
        self._process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=self._errors, text=True, env=own)

    def call(self, method: str, *arguments: Any) -> Any:
        """Call a method of the engine and return what it returns, as JSON has it."""
        return self._ask({"do": "call", "method": method, "arguments": arguments})

    def time(self, method: str, *arguments: Any) -> Lap:
        """How long one call takes: the mean of as many as fill `AT_LEAST` seconds."""
        return Lap(**self._ask({"do": "time", "method": method, "arguments": arguments, "at_least": AT_LEAST}))

    def time_once(self, method: str, *arguments: Any) -> Lap:
        """How long a single call takes, for what can be done once only."""
        return Lap(**self._ask({"do": "time", "method": method, "arguments": arguments, "at_least": 0}))

    def peak(self) -> float:
        """The most memory that the process has held so far, in bytes."""
        return float(self._ask({"do": "peak"}))

    def own(self) -> float:
        """The memory that the process holds now and shares with no file or other process, in bytes."""
        return float(self._ask({"do": "own"}))

    def close(self) -> None:
        """End the process."""
        if self._process.stdin:
            self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        for pipe in (self._process.stdout, self._errors):
            if pipe:
                pipe.close()

    def _ask(self, request: dict[str, Any]) -> Any:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):  # it died before; the empty answer says so
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()
        line = self._process.stdout.readline()
        answer = json.loads(line) if line else {"failed": self._last_words()}
        if "failed" in answer:
            raise EngineFailed(answer["failed"])
        return answer["value"]

    def _last_words(self) -> str:
        self._errors.seek(0)
        return (self._errors.read().strip().splitlines() or ["it ended without a word"])[-1]


@contextlib.contextmanager
def working(engines: Sequence[Engine], tell: Callable[[str], None]) -> Iterator[dict[str, Worker]]:
    """A worker for each engine whose packages are installed; who is left out is told."""
    with contextlib.ExitStack() as stack:
        workers = {}
        for engine in engines:
            if missing := engine.missing():
                tell(f"{engine.name} is left out: {', '.join(missing)} is not installed.")
                continue
            workers[engine.name] = Worker(engine)
            stack.callback(workers[engine.name].close)
        yield workers


def each(workers: dict[str, Worker], tell: Callable[[str], None], ask: Callable[[Worker], Answer]) -> dict[str, Answer]:
    """Ask every worker in turn. One that fails is told, and leaves the contest."""
    answers = {}
    for name, worker in list(workers.items()):
        try:
            answers[name] = ask(worker)
        except EngineFailed as failure:
            tell(f"{name} failed and is left out: {failure}")
            del workers[name]
    return answers


def contest(
    workers: dict[str, Worker], tell: Callable[[str], None], rounds: int, method: str, *arguments: Any
) -> dict[str, list[Lap]]:
    """The laps of each engine, after a warm-up that does not count. One that fails is told, and leaves the contest."""
    warm = each(workers, tell, lambda worker: worker.time(method, *arguments))
    laps: dict[str, list[Lap]] = {name: [] for name in warm}
    due = dict(workers)
    for turn in range(rounds):
        if turn == 2:
            due = {name: worker for name, worker in due.items() if warm[name].wall < SLOW}
        for name, lap in each(due, tell, lambda worker: worker.time(method, *arguments)).items():
            laps[name].append(lap)
    return {name: found for name, found in laps.items() if found}


# In the engine's process


def serve(target: str, settings: str) -> None:
    """Answer requests, a line of JSON each, until there are no more."""
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # what engines print goes where errors go
    engine = None
    for line in sys.stdin:
        try:
            if engine is None:
                module, _, name = target.partition(":")
                engine = getattr(importlib.import_module(module), name)(**json.loads(settings))
            answer = {"value": _answer(engine, json.loads(line))}
        except Exception as error:
            answer = {"failed": f"{type(error).__name__}: {error}"}
        _write(answers, answer)


def _answer(engine: Any, request: dict[str, Any]) -> Any:
    if request["do"] == "peak":
        return peak_memory()
    if request["do"] == "own":
        return own_memory()
    method = getattr(engine, request["method"])
    if request["do"] == "call":
        return method(*request["arguments"])
    calls, wall, cpu = 0, time.perf_counter(), time.process_time()
    while not calls or time.perf_counter() - wall < request["at_least"]:
        method(*request["arguments"])
        calls += 1
    return {"wall": (time.perf_counter() - wall) / calls, "cpu": (time.process_time() - cpu) / calls}


def peak_memory() -> int:
    """The most memory that this process has held, in bytes.

    Linux counts the parent's memory at the time of the fork into `ru_maxrss`, so its own figure is read instead.
    """
    status = Path("/proc/self/status")
    if status.exists():
        line = next(line for line in status.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) * 1024
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * (1 if sys.platform == "darwin" else 1024)


def own_memory() -> int:
    """What this process has written into memory for itself alone, in bytes; pages of mapped files are not counted."""
    lines = Path("/proc/self/smaps_rollup").read_text().splitlines()
    return 1024 * sum(int(line.split()[1]) for line in lines if line.startswith("Private_Dirty"))


def _write(answers: TextIO, answer: dict[str, Any]) -> None:
    answers.write(json.dumps(answer) + "\n")
    answers.flush()


if __name__ == "__main__":
    serve(*sys.argv[1:])
