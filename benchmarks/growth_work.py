"""A stage whose growth is measured, and what all measurements of it share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from speed_worker import Engine, Worker

#: The figures of one size, by name and unit.
Figures: TypeAlias = dict[tuple[str, str], float]
#: Laps of which the least counts.
LAPS = 3


@dataclass(frozen=True)
class Work:
    """One stage: how a line of results is measured, and what is told of it.

    `measure` takes a folder, a number of `things` (documents, vectors, lines) and a number of threads; `grows` says
    what grows with them, and how.
    """

    title: str
    described: str
    grows: str
    sizes: Sequence[int]
    measure: Callable[[Path, int, int], Figures]
    things: str = "documents"


def indexed(engine: Engine, index: str, before: Sequence[str] = ()) -> Figures:
    """What it takes to make an index by the method `index` of an engine, in a process of its own."""
    worker = Worker(engine)
    for method in before:
        worker.call(method)
    found: Figures = {
        ("index, processor time", "s"): worker.time_once(index).cpu,
        ("index, peak memory", "MB"): worker.peak() / 1e6,
        ("index, on disk", "MB"): worker.call("size") / 1e6,
    }
    worker.close()
    return found


def searched(
    engine: Engine, asked: Mapping[str, tuple[int, str, Sequence[Any]]], before: Sequence[str] = ()
) -> Figures:
    """What it takes to open and to search an index, in a process of its own.

    `asked` has for each name how many queries are asked by a method and its arguments.
    """
    worker = Worker(engine)
    for method in before:
        worker.call(method)
    found: Figures = {("open, processor time", "s"): worker.time_once("open").cpu}
    for name, (queries, method, arguments) in asked.items():
        found[name, "queries/s"] = queries / least(worker, method, *arguments)
    found["search, peak memory", "MB"] = worker.peak() / 1e6
    found["search, memory of its own", "MB"] = worker.own() / 1e6
    worker.close()
    return found


def least(worker: Worker, method: str, *arguments: Any) -> float:
    """The least processor time of some laps, after one call that does not count."""
    worker.call(method, *arguments)
    return min(worker.time(method, *arguments).cpu for _ in range(LAPS))
