"""How nirank's BM25 grows with the corpus: queries a second, memory, index time and index size.

    python benchmarks/growth.py                            100 thousand, a million and 10 million documents
    python benchmarks/growth.py 10000 100000 --save        other sizes; also write table and picture to results/

The corpora are synthetic and seeded: words fall off in frequency as Zipf and Mandelbrot have it, behind the stop words,
lengths are log-normal, and a query is some words of one document. Each size is indexed, and then searched, in a fresh
process. `grows as` is the exponent between a size and the one before it: n^1 is proportional.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
from speed_table import OURS, machine, machine_kind
from speed_worker import Engine, Worker

SIZES = (100_000, 1_000_000, 10_000_000)
QUERIES = 1_000
RESULTS = Path(__file__).with_name("results")

_WORDS = 500_000
_RANKS_OF_STOP_WORDS = 30
_LENGTH, _SPREAD = 22, 0.6  # of a log-normal number of words
_QUERY_LENGTH = 6
_AT_ONCE = 65_536
_LAPS = 3


@dataclass(frozen=True)
class Figure:
    """One figure for each size, and what is plotted of it."""

    name: str
    unit: str
    values: list[float]

    def exponent(self, sizes: list[int], place: int) -> float:
        """How it grew since the size before, as a power of the size."""
        grown = self.values[place] / self.values[place - 1]
        return math.log(grown) / math.log(sizes[place] / sizes[place - 1])


def main() -> None:
    asked = _arguments()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-asked.threads :])
    measured = []
    for size in asked.sizes:
        with tempfile.TemporaryDirectory(prefix="nirank-growth-", dir=asked.folder) as folder:
            os.environ["NIRANK_CACHE"] = f"{folder}/cache"
            measured.append(_measure(Path(folder), size, asked.queries, asked.threads))
    figures = [Figure(name, unit, [row[name, unit] for row in measured]) for name, unit in measured[0]]
    text = "\n\n".join(["# Growth of BM25", *_heading(asked), _table(asked.sizes, figures)])
    print(text)
    if asked.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"growth-{machine_kind()}.md"
        _plot(asked.sizes, figures, path.with_suffix(".svg"))
        path.write_text(f"{text}\n\n![The same, plotted]({path.stem}.svg)\n", encoding="utf-8")


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("sizes", nargs="*", type=int, metavar="DOCUMENTS", help="sizes of corpora, rising")
    parser.add_argument("--queries", type=int, default=QUERIES, help=f"how many are asked (default: {QUERIES})")
    parser.add_argument("--threads", type=int, default=1, help="threads, and cores (default: 1)")
    parser.add_argument("--folder", type=Path, help="where corpora and indexes are written for the time being")
    parser.add_argument("--save", action="store_true", help=f"also write {RESULTS.name}/growth-MACHINE.md and .svg")
    asked = parser.parse_args()
    asked.sizes = asked.sizes or list(SIZES)
    if asked.sizes != sorted(set(asked.sizes)) or asked.sizes[0] < 1:
        parser.error("sizes must be positive and rise.")
    return asked


def _measure(folder: Path, size: int, queries: int, threads: int) -> dict[tuple[str, str], float]:
    """Index and search one corpus; the figures by name and unit."""
    print(f"{size:,} documents ...", file=sys.stderr)
    write_corpus(folder, size, queries)
    settings = {"texts": str(folder), "folder": str(folder / "index"), "threads": threads}
    engine = Engine(OURS, "speed_bm25_engines:Nirank", settings=settings)
    found: dict[tuple[str, str], float] = {}
    worker = Worker(engine)
    worker.call("read")
    found["index", "s"] = worker.time_once("index").wall
    found["index, peak memory", "MB"] = worker.peak() / 1e6
    found["index, on disk", "MB"] = worker.call("size") / 1e6
    worker.close()
    worker = Worker(engine)
    found["open", "s"] = worker.time_once("open").wall
    _search(worker, queries, found)
    found["search, peak memory", "MB"] = worker.peak() / 1e6
    worker.close()
    return found


def _search(worker: Worker, queries: int, found: dict[tuple[str, str], float]) -> None:
    for method, how in (("at_once", "all at once"), ("one_by_one", "one by one")):
        for k in (10, 1000):
            worker.call(method, k, False)
            least = min(worker.time(method, k, False).wall for _ in range(_LAPS))
            found[f"k={k}, {how}", "queries/s"] = queries / least


def write_corpus(folder: Path, size: int, queries: int, seed: int = 0) -> None:
    """Write `documents.arrow` and `queries.jsonl`, as `speed_texts.Texts` has them, a few documents at a time."""
    from nirank.corpus import write_corpus as write

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


def _heading(asked: argparse.Namespace) -> list[str]:
    command = shlex.join(["python", "benchmarks/growth.py", *sys.argv[1:]])
    corpus = f"about {_LENGTH * math.exp(_SPREAD**2 / 2):.0f} words a document, queries of {_QUERY_LENGTH}"
    return [
        f"`{command}`, {date.today()}",
        f"{machine()}, {asked.threads} of {os.cpu_count()} cores; {asked.queries:,} queries, best of {_LAPS} laps.",
        f"Synthetic corpora: {corpus}. `^` is the exponent since the size before: 1 is proportional to the documents.",
    ]


def _table(sizes: list[int], figures: list[Figure]) -> str:
    header = ["figure", "unit", *(f"{size:,}" for size in sizes)]
    rows = [header, ["---"] * len(header)]
    for figure in figures:
        grown = ["", *(f" (^{figure.exponent(sizes, place):+.2f})" for place in range(1, len(sizes)))]
        rows.append([figure.name, figure.unit, *(f"{v:,.4g}{e}" for v, e in zip(figure.values, grown, strict=True))])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _plot(sizes: list[int], figures: list[Figure], path: Path) -> None:
    """Both axes logarithmic; a dotted line is what is proportional to the documents, or inversely so."""
    import matplotlib

    matplotlib.use("svg")
    import matplotlib.pyplot as plt

    units = list(dict.fromkeys(figure.unit for figure in figures))
    drawing, panels = plt.subplots(1, len(units), figsize=(5 * len(units), 4), layout="constrained")
    for panel, unit in zip(panels, units, strict=True):
        for figure in [figure for figure in figures if figure.unit == unit]:
            panel.loglog(sizes, figure.values, "o-", label=figure.name)
            power = -1 if unit.endswith("/s") else 1
            panel.loglog(sizes, [figure.values[0] * (size / sizes[0]) ** power for size in sizes], ":", color="gray")
        panel.set(xlabel="documents", ylabel=unit)
        panel.legend()
    drawing.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
