"""How nirank grows with the corpus: queries a second, memory, index time and index size.

    python benchmarks/growth.py bm25                          10 thousand to 10 million documents
    python benchmarks/growth.py dense                         10 thousand to a million vectors
    python benchmarks/growth.py corpus                        other stages: corpus, lists, impact, maxsim, plaid
    python benchmarks/growth.py bm25 10000 100000 --save      other sizes; also write table and picture to results/

The corpora are synthetic and seeded. Each size is indexed, and then searched, in a fresh process; times are processor
time, which other programs disturb less. `^` is the exponent between a size and the one before it: n^1 is proportional.
"""

from __future__ import annotations

import argparse
import math
import os
import shlex
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from pathlib import Path

import growth_bm25
import growth_corpus
import growth_lists
import growth_vectors
from growth_work import Figures, Work
from speed_table import machine, machine_kind

WORKS: dict[str, Work] = {
    "bm25": growth_bm25.WORK,
    "corpus": growth_corpus.WORK,
    "dense": growth_vectors.EXACT,
    "impact": growth_vectors.IMPACT,
    "lists": growth_lists.WORK,
    "maxsim": growth_vectors.MAXSIM,
    "plaid": growth_vectors.PLAID,
}
RESULTS = Path(__file__).with_name("results")


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
    work = WORKS[asked.work]
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-asked.threads :])
    libraries = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    os.environ.update({f"{library}_NUM_THREADS": str(asked.threads) for library in libraries})
    measured = []
    for size in asked.sizes:
        print(f"{size:,} {work.things} ...", file=sys.stderr)
        with tempfile.TemporaryDirectory(prefix="nirank-growth-", dir=asked.folder) as folder:
            os.environ["NIRANK_CACHE"] = f"{folder}/cache"
            measured.append(work.measure(Path(folder), size, asked.threads))
        text = _report(asked, work, measured)  # the next size takes ten times as long, and may not come to an end
    print(text)


def _report(asked: argparse.Namespace, work: Work, measured: list[Figures]) -> str:
    """The table of the sizes so far, saved if that was asked for."""
    sizes = asked.sizes[: len(measured)]
    figures = [Figure(name, unit, [row[name, unit] for row in measured]) for name, unit in measured[0]]
    text = "\n\n".join([f"# Growth of {work.title}", *_heading(asked, work), _table(sizes, figures)])
    if asked.save:
        RESULTS.mkdir(exist_ok=True)
        path = RESULTS / f"growth-{asked.work}-{machine_kind()}.md"
        _plot(sizes, figures, work.things, path.with_suffix(".svg"))
        path.write_text(f"{text}\n\n![The same, plotted]({path.stem}.svg)\n", encoding="utf-8")
    return text


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("work", choices=list(WORKS), help="what is measured")
    parser.add_argument("sizes", nargs="*", type=int, metavar="SIZE", help="numbers of documents, or of lines, rising")
    parser.add_argument("--threads", type=int, default=1, help="threads, and cores (default: 1)")
    parser.add_argument("--folder", type=Path, help="where corpora and indexes are written for the time being")
    parser.add_argument(
        "--save", action="store_true", help=f"also write {RESULTS.name}/growth-WORK-MACHINE.md and .svg"
    )
    asked = parser.parse_args()
    asked.sizes = asked.sizes or list(WORKS[asked.work].sizes)
    if asked.sizes != sorted(set(asked.sizes)) or asked.sizes[0] < 1:
        parser.error("sizes must be positive and rise.")
    return asked


def _heading(asked: argparse.Namespace, work: Work) -> list[str]:
    command = shlex.join(["python", "benchmarks/growth.py", *sys.argv[1:]])
    return [
        f"`{command}`, {date.today()}",
        f"{machine()}, {asked.threads} of {os.cpu_count()} cores. {work.described}",
        work.grows,
        "Times and rates are of processor time. `^` is the exponent since the size before: 1 is proportional to the "
        f"{work.things}.",
    ]


def _table(sizes: list[int], figures: list[Figure]) -> str:
    header = ["figure", "unit", *(f"{size:,}" for size in sizes)]
    rows = [header, ["---"] * len(header)]
    for figure in figures:
        grown = ["", *(f" (^{figure.exponent(sizes, place):+.2f})" for place in range(1, len(sizes)))]
        rows.append([figure.name, figure.unit, *(f"{v:,.4g}{e}" for v, e in zip(figure.values, grown, strict=True))])
    return "\n".join("| " + " | ".join(row) + " |" for row in rows)


def _plot(sizes: list[int], figures: list[Figure], things: str, path: Path) -> None:
    """Both axes logarithmic; a dotted line is what is proportional to the size, or inversely so."""
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
        panel.set(xlabel=things, ylabel=unit)
        panel.legend()
    drawing.savefig(path, metadata={"Date": None})


if __name__ == "__main__":
    main()
