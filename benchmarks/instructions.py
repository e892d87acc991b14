"""The same rankings and scores, to the bit, on processors with fewer instructions, and what doing without them costs.

    python benchmarks/instructions.py              each set of instructions that this processor has or can stand for
    python benchmarks/instructions.py --save       also write the table into benchmarks/results/
    python benchmarks/instructions.py --small      in a minute, to see that it runs

Each set has a process of its own, whose libraries are told by environment variables which instructions to leave alone,
with caches of its own. A search is timed when its compiled code is loaded, in turns with the others and in processor
time, and its documents and scores are hashed. Each process says which instructions its libraries use in the end: where
one uses what was to be hidden, or hides nothing, that is told, and the exit status is 1, as where bits differ that are
promised to be the same. Inputs are drawn by a seed, so that hashes of other machines can be held against these.
"""

from __future__ import annotations

import argparse
import os
import platform
import shlex
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from statistics import median

from instructions_inputs import DIM, QUERY_TOKENS, TOKEN_DIM, Inputs
from instructions_levels import LEVELS, SSE, VARIABLES, Processor, at_hand, hides_nothing, processors, seen
from instructions_systems import SEARCHES
from speed_table import machine, machine_kind, versions
from speed_worker import Engine, Lap, contest, working

RESULTS = Path(__file__).with_name("results")
_PACKAGES = ("nirank", "numpy", "scipy", "numba", "torch", "faiss-cpu")


@dataclass
class Measured:
    """What was found: `used` levels by processor and library, `hashes` and `laps` by search and processor."""

    used: dict[str, dict[str, int]] = field(default_factory=dict)
    hashes: dict[str, dict[str, str]] = field(default_factory=dict)
    laps: dict[str, dict[str, list[Lap]]] = field(default_factory=dict)

    def differing(self) -> list[str]:
        """The searches whose documents or scores are not the same everywhere."""
        return [name for name, found in self.hashes.items() if len(set(found.values())) > 1]

    def broken(self) -> list[str]:
        """Those of them that are promised to be the same, a sentence each."""
        return [
            f"{name} differs on {each}, which is promised not to."
            for name, found in self.hashes.items()
            for each, hashed in found.items()
            if hashed != next(iter(found.values())) and self.promised(name, each)
        ]

    def promised(self, name: str, processor: str) -> bool:
        """Whether a search is promised to find the same on a processor as with all instructions."""
        least = SEARCHES[name]
        return least is not None and min(self.used[processor].values()) >= least


def main() -> None:
    asked = _arguments()
    _same_for_all()
    with tempfile.TemporaryDirectory(prefix="nirank-instructions-") as folder:
        inputs = _inputs(asked.folder or Path(folder), asked.small)
        written = inputs.write()
        known = _processors(inputs)
        measured, faults = _measure(known, inputs, asked.rounds)
    faults += _unhidden(known, measured) + measured.broken()
    text = "\n\n".join(["# Fewer instructions", *_heading(inputs, written), *_tables(known, measured), *faults]) + "\n"
    print(text)
    if asked.save:
        (RESULTS / f"instructions-{machine_kind()}.md").write_text(text, encoding="utf-8")
    sys.exit(int(bool(faults)))


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5, help="laps of every search (default: 5)")
    parser.add_argument("--small", action="store_true", help="little of everything; figures and hashes mean nothing")
    parser.add_argument("--folder", type=Path, help="where to keep inputs, indexes and compiled code for another run")
    parser.add_argument("--save", action="store_true", help=f"also write {RESULTS.name}/instructions-MACHINE.md")
    return parser.parse_args()


def _same_for_all() -> None:
    """One thread everywhere, and nothing hidden but what is meant to be."""
    libraries = ("OMP", "OPENBLAS", "MKL", "NUMBA")
    os.environ |= {f"{library}_NUM_THREADS": "1" for library in libraries}
    for name in VARIABLES:
        os.environ.pop(name, None)


def _inputs(folder: Path, small: bool) -> Inputs:
    place = folder / ("small" if small else "inputs")
    place.mkdir(parents=True, exist_ok=True)
    return Inputs(place, 9000, 20, 60, 2) if small else Inputs(place, 20_000, 500, 500, 20)


def _processors(inputs: Inputs) -> list[Processor]:
    """The sets of instructions to be compared, the whole one first; what this processor has is asked in a process."""
    if platform.machine().lower() not in ("x86_64", "amd64"):
        return [Processor(f"{platform.machine()}, as it is", 0, {})]
    with working([_engine(inputs, Processor("at hand", 0, {}))], print) as workers:
        return processors(at_hand(workers["at hand"].call("used").values()))


def _engine(inputs: Inputs, processor: Processor) -> Engine:
    root = inputs.folder.parent
    own = root / "-".join(processor.name.split())
    caches = {"NIRANK_CACHE": f"{own}/cache", "NUMBA_CACHE_DIR": f"{own}/numba", "PYTHONPYCACHEPREFIX": f"{own}/code"}
    given = asdict(inputs) | {"folder": str(inputs.folder)}
    settings = {"inputs": given, "own": f"{own}-{inputs.texts}", "shared": str(root / f"plaid-{inputs.texts}")}
    return Engine(
        processor.name, "instructions_systems:Systems", settings=settings, environment=caches | processor.variables
    )


def _measure(known: Sequence[Processor], inputs: Inputs, rounds: int) -> tuple[Measured, list[str]]:
    """Hash and time every search on every processor, in turns; and what could not be measured."""
    measured, failed = Measured(), []
    with working([_engine(inputs, processor) for processor in known], failed.append) as workers:
        for name in SEARCHES:
            print(f"{name} ...", file=sys.stderr)
            for worker in workers.values():
                worker.call("open", name)
            measured.hashes[name] = {each: worker.call("found", name) for each, worker in workers.items()}
            measured.laps[name] = contest(workers, failed.append, rounds, "search", name)
        for name, worker in workers.items() if len(known) > 1 else ():
            measured.used[name] = worker.call("used")
    return measured, failed


def _unhidden(known: Sequence[Processor], measured: Measured) -> list[str]:
    """What was to be hidden and was used all the same, a sentence each."""
    whole, *lesser = known
    found = [fault for each in lesser for fault in seen(measured.used[each.name], each)]
    return found + [
        fault
        for each in lesser
        for fault in hides_nothing(measured.used[whole.name], measured.used[each.name], whole, each)
    ]


def _heading(inputs: Inputs, written: str) -> list[str]:
    asked = [each for each in sys.argv[1:] if not each.startswith("--folder")]  # of no matter, and nobody else's
    command = shlex.join(["python", "benchmarks/instructions.py", *asked])
    return [
        f"`{command}`, {date.today()}",
        f"{machine()}; {platform.system()}, Python {platform.python_version()}; one thread; {versions(_PACKAGES)}.",
        f"Inputs, drawn by a seed, of the hash `{written}`: {inputs.texts:,} texts and {inputs.queries} queries of "
        f"words; as many vectors of {DIM} dimensions, and weights of terms; {inputs.token_texts:,} documents of 40 to "
        f"180 tokens and {inputs.token_queries} queries of {QUERY_TOKENS}, {TOKEN_DIM} dimensions. A hash is of the "
        "documents and the float32 scores of all queries, k = 100.",
    ]


def _tables(known: Sequence[Processor], measured: Measured) -> list[str]:
    names = [processor.name for processor in known]
    used = [[name, *(LEVELS[level] for level in measured.used[name].values())] for name in measured.used]
    libraries = list(next(iter(measured.used.values()), {}))
    tables = ["Processor time, of that with all instructions, and a hash where it is another:", _table(
        ["search", "promised", "the same bits", "hash", "ms", *names[1:]],
        [_row(name, names, measured) for name in SEARCHES],
    )]  # fmt: skip
    if used:
        tables += ["What each library of a process used in the end:", _table(["processor", *libraries], used)]
    return tables


def _row(name: str, names: Sequence[str], measured: Measured) -> list[str]:
    hashes, laps = measured.hashes[name], measured.laps[name]
    times = {each: median(lap.cpu for lap in laps[each]) for each in names}
    whole, *lesser = names
    ratios = [
        f"{times[each] / times[whole]:.2f}x" + ("" if hashes[each] == hashes[whole] else f", `{hashes[each]}`")
        for each in lesser
    ]
    same = "no" if name in measured.differing() else "yes" if lesser else ""
    promised = {None: "no", SSE: "yes"}.get(SEARCHES[name], f"from {LEVELS[SEARCHES[name] or 0]} on")
    return [name, promised, same, f"`{hashes[whole]}`", f"{1e3 * times[whole]:.1f}", *ratios]


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (header, ["---"] * len(header), *rows))


if __name__ == "__main__":
    main()
