"""How fast nirank is, beside its peers, in one run on this machine.

    python benchmarks/speed.py                 all of it, in about a quarter of an hour
    python benchmarks/speed.py bm25 dense      some of it
    python benchmarks/speed.py --save          also write each work, when it is done, into the table of this machine
    python benchmarks/speed.py --save --resume the same, but for what was written today

The peers come with `pip install -e '.[bench]'`, and allRank with `pip install --no-deps allRank`; one that is not
installed is left out and told. Every engine runs in a process of its own, on the same cores and with as many threads,
after a warm-up and in turns with the others. Medians are of `--rounds` laps (fewer of those that take long); "least -
most" is their spread, "processor" the median of the processor time, which other programs on the machine disturb less.
Where a work fails the others are measured, shown and saved all the same, and the exit status is 1. Rows of one kind of
machine are one table in benchmarks/results/, each with its date; what is measured again takes the place of what was.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
import traceback
from collections.abc import Callable
from datetime import date
from pathlib import Path

import speed_bm25
import speed_dense
import speed_encode
import speed_evaluation
import speed_features
import speed_images
import speed_interaction
import speed_losses
import speed_maxsim
import speed_pipeline
import speed_plaid
import speed_rerank
import speed_saved
import speed_seq2seq
import speed_sparse
import speed_start
import speed_training
import speed_update
from speed_run import Run
from speed_table import Report, machine, show, versions

WORKS: dict[str, Callable[[Run, Report], None]] = {
    "bm25": speed_bm25.compare,
    "pipeline": speed_pipeline.compare,
    "rerank": speed_rerank.compare,
    "dense": speed_dense.compare,
    "encode": speed_encode.compare,
    "features": speed_features.compare,
    "images": speed_images.compare,
    "interaction": speed_interaction.compare,
    "evaluation": speed_evaluation.compare,
    "losses": speed_losses.compare,
    "maxsim": speed_maxsim.compare,
    "plaid": speed_plaid.compare,
    "seq2seq": speed_seq2seq.compare,
    "sparse": speed_sparse.compare,
    "start": speed_start.compare,
    "training": speed_training.compare,
    "update": speed_update.compare,
}
RESULTS = Path(__file__).with_name("results")
_QUIET = 0.5  # so much load beside the threads of the work before is none to speak of
_PACKAGES = (
    *("nirank", "numpy", "torch", "numba", "bm25s", "tantivy", "pyserini", "rank-bm25", "faiss-cpu", "pandas"),
    *("python-terrier", "pytrec-eval-terrier", "ir-measures", "ranx", "sentence-transformers", "allRank"),
    *("lightgbm", "transformers", "fast-plaid"),
)


def main() -> None:
    asked = _arguments()
    _same_for_all(asked.threads)
    table, total, failed = speed_saved.path_of(RESULTS, asked.threads), Report(judging=not asked.small), False
    with tempfile.TemporaryDirectory(prefix="nirank-speed-") as folder:
        os.environ["NIRANK_CACHE"] = f"{folder}/cache"
        run = Run(Path(folder), asked.threads, asked.rounds, asked.small)
        works = [work for work in asked.works if not (asked.resume and _is_done(work, table))]
        for work in works:
            report = Report(judging=not asked.small)
            failed |= not _measure(work, run, report)
            if asked.save and report.rows:
                speed_saved.add(speed_saved.Measured([work], _heading(run, [work]), report), table)
            total.take(report)
        show(total, _heading(run, works))
    if asked.save:
        print(f"Written to {table}")
    sys.exit(int(failed))


def _is_done(work: str, table: Path) -> bool:
    """True for a work that was written today."""
    today = str(date.today())
    return any(work in each.works and each.date == today for each in speed_saved.read(table))


def _measure(work: str, run: Run, report: Report) -> bool:
    """Whether a work could be measured to its end; where not, that is told, and what it had measured is kept."""
    print(f"{work} ...", file=sys.stderr)
    if (load := _load()) > run.threads + _QUIET:
        report.note(f"{work}: the machine was busy, with a load of {load:.1f} when it began: times are too long.")
    try:
        WORKS[work](run, report)
    except Exception as error:  # a quarter of an hour of others' figures is not lost with it
        traceback.print_exc()
        report.note(f"{work} failed, and lacks the rows that were to come: {type(error).__name__}: {error}")
        return False
    return True


def _load() -> float:
    """How many programs wanted to run in the last minute, as far as the system tells."""
    return os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("works", nargs="*", metavar="WORK", help=f"some of: {', '.join(WORKS)} (default: all)")
    parser.add_argument("--threads", type=int, default=1, help="threads, and cores, of every engine (default: 1)")
    parser.add_argument("--rounds", type=int, default=5, help="laps of every engine (default: 5)")
    parser.add_argument("--small", action="store_true", help="a few seconds to see that it runs; figures mean nothing")
    parser.add_argument("--save", action="store_true", help=f"also write {RESULTS.name}/MACHINE.md and .json")
    parser.add_argument("--resume", action="store_true", help="leave out works that were written today")
    asked = parser.parse_args()
    for work in asked.works:
        if work not in WORKS:
            parser.error(f"there is no work {work!r}; there are {', '.join(WORKS)}.")
    asked.works = asked.works or list(WORKS)
    return asked


def _same_for_all(threads: int) -> None:
    """Cores and threads that every engine inherits, before anything is started or imported."""
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-threads:])
    libraries = ("OMP", "OPENBLAS", "MKL", "NUMBA", "RAYON", "NUMEXPR")
    os.environ.update({f"{library}_NUM_THREADS": str(threads) for library in libraries})
    os.environ.pop("OPENBLAS_CORETYPE", None)  # it would hold numpy's products below what the machine can do
    os.environ["HF_HUB_OFFLINE"] = "1"


def _heading(run: Run, works: list[str]) -> list[str]:
    command = shlex.join(["python", "benchmarks/speed.py", *sys.argv[1:]])
    cores = f"{os.cpu_count()} cores, {run.threads} of them used with {run.threads} threads"
    lines = [
        f"`{command}`, {date.today()}",
        f"{machine()}, {cores}; {platform.system()}, Python {platform.python_version()}; {versions(_PACKAGES)}.",
        "Less is better; `nirank is` says how many times faster, or smaller, than the engine of the row nirank is.",
    ]
    if {"bm25", "start"} & set(works):
        lines.insert(2, f"BM25: {run.described_texts()}; k1 = 1.2, b = 0.75; times of searching are for one query.")
    return lines


if __name__ == "__main__":
    main()
