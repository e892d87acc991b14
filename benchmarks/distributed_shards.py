"""Indexes in shards beside one index: whether results are equal to the bit, and what shards cost.

    python benchmarks/distributed_shards.py                 181,325 documents, 1,000 queries
    python benchmarks/distributed_shards.py --small         a trial, of some seconds

Times are processor time of all processes together, which other programs disturb less; memory is what processes have
of their own and their part of what they share (PSS). The documents are synthetic and seeded (`speed_texts`), and so
are vectors: of each word one, added up.
"""

from __future__ import annotations

import argparse
import copy
import functools
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import psutil
from speed_texts import DOCUMENTS, QUERIES, synthetic

import nirank
from nirank.data import ArrowCorpus, Documents, SparseVectors, TokenVectors, write_corpus
from nirank.execution.shards.hosts import Process
from nirank.execution.shards.sharded import Sharded

#: The sizes of the shards: uneven, and one is empty.
UNEVEN = (60_000, 1_000, 0, 120_325)
_DIM = 64
_DEPTHS = (10, 1000)
_EVEN = (1, 2, 4)


class Words:
    """An encoder by seeded vectors of words. Its last bits depend on how many texts it is given, as those of models."""

    def __init__(self, vectors: str) -> None:
        self.vectors, self.fingerprint = vectors, f"words {vectors}"

    def encode(self, queries: Any) -> Any:
        """The vectors of queries."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[str]) -> Any:
        """The vectors of texts."""
        parts = [[_vector(word) for word in text.split()[:20]] or [_vector("")] for text in contents]
        unlike = np.float32(1 + len(contents) * 1e-7)
        if self.vectors == "dense":
            return np.stack([np.sum(part, axis=0) for part in parts]) * unlike
        if self.vectors == "tokens":
            return TokenVectors.of([np.stack(part[:8]) * unlike for part in parts])
        weights = np.stack([np.maximum(np.sum(part, axis=0), 0) for part in parts])
        return SparseVectors.of(weights * unlike)


@functools.lru_cache(maxsize=1 << 18)
def _vector(word: str) -> np.ndarray:
    return np.random.default_rng(crc32(word.encode())).standard_normal(_DIM, np.float32)


class Work:
    """Documents and queries in a folder, written there by the first process that wants them."""

    def __init__(self, folder: Path, documents: int, queries: int) -> None:
        self.given = folder, documents, queries
        path, asked = folder / f"{documents}.arrow", folder / f"{documents}-queries.json"
        if not asked.exists():
            (ids, texts), found = synthetic(documents, queries)
            write_corpus(path, [{"id": ids, "text": texts}], ["text"])
            asked.write_text(json.dumps(found), encoding="utf-8")
        self.corpus: Any = ArrowCorpus(path)
        self.queries = nirank.Queries(*json.loads(asked.read_text(encoding="utf-8")))

    def few(self, documents: int) -> Work:
        """The same with fewer documents."""
        found = copy.copy(self)
        found.corpus = Documents(self.corpus.ids.gather(np.arange(documents)).to_pylist(), self.corpus[:documents])
        return found


def ranking(name: str, **shards: Any) -> Any:
    """One of the generators, with its encoder, in shards where these are told."""
    kinds = {"exact": "dense", "flat": "dense", "maxsim": "tokens", "impact": "sparse"}
    stage = nirank.load(name)
    generator = nirank.sharded(stage, **shards) if shards else stage
    return nirank.load(Words(kinds[name]), "words") >> generator if name in kinds else generator


def tables(folder: Path, small: bool = False) -> Iterator[str]:
    """The lines of the tables, one after the other."""
    work = Work(folder, *((2_000, 50) if small else (DOCUMENTS, QUERIES)))
    yield from _costs(work)
    yield from _by_shard(work)
    yield from _equal(work, small)


def _equal(work: Work, small: bool) -> Iterator[str]:
    yield f"\nEqual to one index, of {len(work.queries):,} queries, in shards of {UNEVEN} or in these proportions:\n"
    yield "| generator | documents | k | rankings and scores equal to the bit |\n|---|---|---|---|"
    fewer = work.few(500 if small else 20_000)
    for name in ("bm25", "ql", "tfidf", "exact", "flat", "impact", "maxsim"):
        some = work if name in ("bm25", "ql", "tfidf") else fewer
        one, shards = ranking(name), ranking(name, shards=list(UNEVEN))
        for k in _DEPTHS:
            yield f"| {name} | {len(some.corpus):,} | {k} | {_count(some, one % k, shards % k):,} |"
            _tell(name, k)
    for name in ("bm25", "ql"):
        one, shards = ranking(name), ranking(name, shards=list(UNEVEN), on="here")
        with _own_statistics(name), tempfile.TemporaryDirectory() as folder:
            shards.index(work.corpus, folder)
            yield f"| {name}, each shard with its own statistics | {len(work.corpus):,} | 10 | " + (
                f"{_count(work, one % 10, shards % 10):,} |"
            )


class _own_statistics:  # noqa: N801 (a fault that is planted)
    """Inside, shards of a lexical index are not told of each other."""

    def __init__(self, name: str) -> None:
        self.kind: Any = type(nirank.load(name).component.target).__mro__[1]

    def __enter__(self) -> None:
        self.known = {method: vars(self.kind)[method] for method in ("share", "open_whole", "numbered")}
        for method in self.known:
            setattr(self.kind, method, None)

    def __exit__(self, *_: object) -> None:
        for method, function in self.known.items():
            setattr(self.kind, method, function)


def _count(work: Work, one: Any, other: Any) -> int:
    """How many queries have the same documents and scores, to the bit."""
    left, right = (each.search(work.queries, work.corpus) for each in (one, other))
    same = [
        np.array_equal(left[row][0], right[row][0]) and left[row][1].tobytes() == right[row][1].tobytes()
        for row in range(len(left))
    ]
    return sum(same)


def _costs(work: Work) -> Iterator[str]:
    yield "\nWhat shards cost, beside one index: processor time of a batch of all queries, and memory.\n"
    yield "| generator | shards | queries a second of processor time | ratio | memory (PSS), MB | ratio |"
    yield "|---|---|---|---|---|---|"
    for name in ("bm25", "ql"):
        first: tuple[float, float] | None = None
        for shards in (None, 2, list(UNEVEN)):
            speed, memory = _in_a_process(_measured, name, shards, work.given)
            first = first or (speed, memory)
            told = "one index" if shards is None else f"{shards}"
            ratios = speed / first[0], memory / first[1]
            yield f"| {name} | {told} | {speed:,.0f} | {ratios[0]:.2f} | {memory:,.0f} | {ratios[1]:.2f} |"
            _tell(name, told)


def _measured(name: str, shards: Any, given: Any) -> tuple[float, float]:
    """Queries a second of processor time, and memory in MB, of all processes."""
    work = Work(*given)
    searched = ranking(name, **({} if shards is None else {"shards": shards})) % 100
    searched.search(work.queries, work.corpus)
    searched.search(work.queries, work.corpus)
    pids = _processes(searched)
    laps = []
    for _ in range(3):
        before = _processor_time(pids)
        searched.search(work.queries, work.corpus)
        laps.append(_processor_time(pids) - before)
    return len(work.queries) / statistics.median(laps), sum(map(_memory, pids)) / 1e6


def _by_shard(work: Work) -> Iterator[str]:
    yield "\nOne query after the other, k = 10: processor time of a query in all processes, and what a shard adds.\n"
    yield "| generator | shards | microseconds | more for each shard |\n|---|---|---|---|"
    for name in ("bm25",):
        alone = _in_a_process(_single, name, None, work.given)
        yield f"| {name} | one index | {alone:,.0f} | |"
        for shards in _EVEN:
            spent = _in_a_process(_single, name, shards, work.given)
            yield f"| {name} | {shards} | {spent:,.0f} | {(spent - alone) / shards:,.0f} |"
            _tell(name, shards)


def _single(name: str, shards: Any, given: Any) -> float:
    """Microseconds of processor time that a query takes, alone."""
    work = Work(*given)
    searched = ranking(name, **({} if shards is None else {"shards": shards})) % 10
    searched.search(work.queries, work.corpus)
    some = [work.queries.take([row]) for row in range(min(300, len(work.queries)))]
    for query in some[:50]:
        searched.search(query, work.corpus)
    pids = _processes(searched)
    before = _processor_time(pids)
    for query in some:
        searched.search(query, work.corpus)
    return 1e6 * (_processor_time(pids) - before) / len(some)


def _in_a_process(function: Callable[..., Any], *given: Any) -> Any:
    """What a function returns in a process of its own, so that none has the memory of others."""
    from concurrent.futures import ProcessPoolExecutor
    from multiprocessing import get_context

    with ProcessPoolExecutor(1, get_context("spawn")) as pool:
        return pool.submit(function, *given).result()


def _processes(searched: Any) -> list[int]:
    """The processes of the shards, and before them the one that searches."""
    targets = [component.target for component in searched.components()]
    hosts = [host for target in targets if isinstance(target, Sharded) for host in target.group.hosts.values()]
    return [os.getpid(), *(pid for host in hosts if isinstance(host, Process) for pid in host.pids)]


def _processor_time(pids: Sequence[int]) -> float:
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(each.user + each.system for each in times)


def _memory(pid: int) -> int:
    """The PSS of a process, without the documents that the first one has in memory."""
    return int(psutil.Process(pid).memory_full_info().pss)


def _tell(*what: object) -> None:
    print(time.strftime("%H:%M:%S"), *what, file=sys.stderr, flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--small", action="store_true", help="a trial with few documents")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="nirank-shards-") as folder:
        os.environ["NIRANK_CACHE"] = str(Path(folder) / "cache")
        for table in tables(Path(folder), asked.small):
            print(table, flush=True)


if __name__ == "__main__":
    main()
