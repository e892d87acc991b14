"""How BM25 grows: a synthetic corpus of each size is indexed, and then searched in a fresh process.

Words fall off in frequency as Zipf and Mandelbrot have it, behind the stop words, lengths are log-normal, and a query
is some words of one document.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from growth_work import Figures, Work, indexed, searched
from speed_table import OURS
from speed_worker import Engine

_QUERIES = 1_000
_WORDS = 500_000
_RANKS_OF_STOP_WORDS = 30
_LENGTH, _SPREAD = 22, 0.6  # of a log-normal number of words
_QUERY_LENGTH = 6
_AT_ONCE = 65_536


def measure(folder: Path, size: int, threads: int) -> Figures:
    """Index and search one corpus."""
    write_corpus(folder, size, _QUERIES)
    settings = {"texts": str(folder), "folder": str(folder / "index"), "threads": threads}
    engine = Engine(OURS, "speed_bm25_engines:Nirank", settings=settings)
    ways = (("at_once", "all at once"), ("one_by_one", "one by one"))
    asked = {f"k={k}, {how}": (_QUERIES, method, (k, False)) for method, how in ways for k in (10, 1000)}
    return indexed(engine, "index", ["read"]) | searched(engine, asked)


def write_corpus(folder: Path, size: int, queries: int, seed: int = 0) -> None:
    """Write `documents.arrow` and `queries.jsonl`, as `speed_texts.Texts` has them, a few documents at a time."""
    from nirank.data import write_corpus as write

    random = np.random.default_rng(seed)
    asked: list[str] = []

    def batches() -> Iterator[dict[str, Any]]:
        for first in range(0, size, _AT_ONCE):
            count = min(_AT_ONCE, size - first)
            documents = _documents(random, count)
            share = queries * (first + count) // size - len(asked)
            targets = random.integers(0, count, share).tolist()
            asked.extend(" ".join(random.permutation(documents[target])[:_QUERY_LENGTH]) for target in targets)
            yield {"id": [f"d{first + row}" for row in range(count)], "text": list(map(" ".join, documents))}

    write(folder / "documents.arrow", batches(), ["text"])
    lines = [json.dumps({"id": f"q{number}", "text": text}) + "\n" for number, text in enumerate(asked)]
    (folder / "queries.jsonl").write_text("".join(lines), encoding="utf-8")


def _documents(random: np.random.Generator, count: int) -> list[list[str]]:
    lengths = np.maximum(4, random.lognormal(np.log(_LENGTH), _SPREAD, count).astype(int))
    frequency = np.cumsum(1 / (np.arange(_WORDS) + 2.7 + _RANKS_OF_STOP_WORDS))
    chosen = np.searchsorted(frequency, random.random(lengths.sum()) * frequency[-1])
    words = [f"w{number}" for number in chosen.tolist()]
    ends = np.cumsum(lengths)
    return [words[end - length : end] for end, length in zip(ends.tolist(), lengths.tolist(), strict=True)]


WORK = Work(
    "BM25",
    f"Synthetic: about {_LENGTH * math.exp(_SPREAD**2 / 2):.0f} words a document; {_QUERIES:,} queries of "
    f"{_QUERY_LENGTH}.",
    "Of n documents of one kind a query reads O(n) postings and scores at most, and fewer where terms are omitted "
    "(MaxScore); an index takes O(n) time and space, and memory for its distinct words; to open it is O(1). What is "
    "unpacked of it, 8 bytes for each posting of the terms that a process was asked for, is its own memory.",
    (10_000, 100_000, 1_000_000, 10_000_000),
    measure,
)
