"""Clients that hold every answer of a server against what the pipelines find without one."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Event
from urllib.parse import urlencode

from nirank.data import Queries
from nirank.serving.state import State

#: Documents of an answer; and how many more are looked at for those whose score is the same but for rounding.
K, _MORE = 10, 10
#: The share of a score by which it may depend on the batch: rounding of float32.
_ROUNDING = 1e-5
#: Seconds that a client waits who was refused, or whose connection broke.
_PAUSE = 0.05

#: Ids and scores of the best documents.
Best = list[tuple[str, float]]
#: The right answers by query, pipeline after pipeline.
Truth = Mapping[str, Mapping[str, Best]]


def truth(state: State, queries: Sequence[str]) -> Truth:
    """What the pipelines of a state find, all queries at a time, and without a server."""
    found = {}
    for name, ranking in state.pipelines.items():
        lists = (ranking % (K + _MORE)).search(Queries.of(list(queries)), state.corpus)
        best = [list(zip(state.corpus.ids.take(docs), scores.tolist(), strict=True)) for docs, scores in lists]
        found[name] = dict(zip(queries, best, strict=True))
    return found


def path(query: str, pipelines: Sequence[str]) -> str:
    """The address of a search."""
    return "/search?" + urlencode({"q": query, "k": K, "pipeline": list(pipelines)}, doseq=True)


@dataclass
class Tally:
    """What became of the requests of some clients; milliseconds are of answers."""

    right: int = 0
    #: Of these, answers whose scores are those without a server to the bit.
    equal: int = 0
    refused: int = 0
    broken: int = 0
    wrong: list[str] = field(default_factory=list)
    milliseconds: list[float] = field(default_factory=list)
    #: Answers by the version of what was searched.
    versions: dict[str, int] = field(default_factory=dict)

    def quantile(self, share: float) -> float:
        """The milliseconds that this share of the answers took at most."""
        ordered = sorted(self.milliseconds)
        return ordered[min(len(ordered) - 1, int(share * len(ordered)))] if ordered else float("nan")


@dataclass(frozen=True)
class Clients:
    """Clients of a server: each asks one query after another, chosen at random, on a connection that it keeps.

    `truths` are the right answers by the version of what is searched.
    """

    port: int
    truths: Mapping[str, Truth]

    def ask(self, count: int, seconds: float, pipelines: Sequence[str], stop: Event | None = None) -> Tally:
        """Ask with so many clients for so long, or until it is time to stop."""
        tally, end = Tally(), time.monotonic() + seconds

        def going() -> bool:
            return time.monotonic() < end and not (stop and stop.is_set())

        async def asking() -> None:
            await asyncio.gather(*(self._one(self._queries(seed), going, pipelines, tally) for seed in range(count)))

        asyncio.run(asking())
        return tally

    def _queries(self, seed: int) -> Iterator[str]:
        """Queries without end, chosen at random."""
        chosen, right = random.Random(seed), next(iter(self.truths.values()))
        queries = sorted(next(iter(right.values())))
        while True:
            yield chosen.choice(queries)

    async def _one(
        self, queries: Iterator[str], going: Callable[[], bool], pipelines: Sequence[str], tally: Tally
    ) -> None:
        while going():
            try:
                await self._connected(queries, going, pipelines, tally)
            except (OSError, asyncio.IncompleteReadError):
                tally.broken += 1
                await asyncio.sleep(_PAUSE)

    async def _connected(
        self, queries: Iterator[str], going: Callable[[], bool], pipelines: Sequence[str], tally: Tally
    ) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            while going():
                query = next(queries)
                start = time.perf_counter()
                writer.write(f"GET {path(query, pipelines)} HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n".encode())
                status, body = await _answer(reader)
                if status == 200:
                    tally.milliseconds.append(1000 * (time.perf_counter() - start))
                    self._judge(query, json.loads(body), tally)
                else:
                    tally.refused += status == 503
                    tally.wrong += [f"{query!r}: {status} {body[:200]!r}"] * (status != 503)
                    await asyncio.sleep(_PAUSE)
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    def _judge(self, query: str, answer: dict, tally: Tally) -> None:
        version = answer["version"]
        tally.versions[version] = tally.versions.get(version, 0) + 1
        if version in self.truths and is_right(answer, self.truths[version], query):
            tally.right += 1
            tally.equal += is_equal(answer, self.truths[version], query)
        else:
            tally.wrong.append(f"{query!r}: {answer}, and not {self.truths.get(version)}"[:2000])


def is_right(answer: dict, right: Truth, query: str) -> bool:
    """True where each pipeline of an answer has the scores that are right, and documents that have them."""
    return bool(answer["results"]) and all(
        _fits(_hits(one), right[one["pipeline"]][query]) for one in answer["results"]
    )


def is_equal(answer: dict, right: Truth, query: str) -> bool:
    """True where documents and scores are those that are right, to the bit."""
    return all(_hits(one) == right[one["pipeline"]][query][:K] for one in answer["results"])


def _hits(result: dict) -> Best:
    return [(hit["id"], hit["score"]) for hit in result["hits"]]


def _fits(found: Best, best: Best) -> bool:
    known = dict(best)
    same = [known.get(name, math.inf) for name, _ in found], [score for _, score in best[:K]]
    scores = [score for _, score in found]
    return all(len(each) == len(scores) and _close(each, scores) for each in same)


def _close(left: Sequence[float], right: Sequence[float]) -> bool:
    return all(math.isclose(one, other, rel_tol=_ROUNDING) for one, other in zip(left, right, strict=True))


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = await reader.readuntil(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    return int(lines[0].split()[1]), await reader.readexactly(int(headers["content-length"]))
