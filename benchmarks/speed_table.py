"""What was measured, as one table: medians, spread, processor time, and ratios to nirank."""

from __future__ import annotations

import json
import platform
import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from statistics import median

from speed_worker import Lap

from nirank.files import beside

OURS = "nirank"


@dataclass(frozen=True)
class Row:
    """One engine at one work.

    `values` are seconds or, where `unit` says so, megabytes: less is better. `cpu` are seconds of processor time beside
    them. `amount` of `rate` (such as "queries") are done in one of these times. `wanted` is how many times the value of
    this engine must at least be nirank's.
    """

    work: str
    engine: str
    values: list[float]
    cpu: list[float] = field(default_factory=list)
    unit: str = "s"
    amount: float = 0
    rate: str = ""
    wanted: float | None = None

    @property
    def median(self) -> float:
        """The median of the values."""
        return median(self.values)


@dataclass
class Report:
    """The rows of all works, and what else is to be said of them."""

    rows: list[Row] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    #: Whether the figures mean enough to hold them against what is wanted.
    judging: bool = True

    def times(
        self,
        work: str,
        laps: Mapping[str, Sequence[Lap]],
        wanted: Mapping[str, float] | None = None,
        amounts: Mapping[str, float] | None = None,
        rate: str = "",
        per: Mapping[str, int] | None = None,
    ) -> None:
        """Take in the laps of one contest; `per` says for each engine how many things one lap did."""
        print(f"  {work}", file=sys.stderr)
        for engine, found in laps.items():
            share = (per or {}).get(engine, 1)
            wall, cpu = [lap.wall / share for lap in found], [lap.cpu / share for lap in found]
            amount = (amounts or {}).get(engine, 0)
            wants = (wanted or {}).get(engine) if self.judging else None
            self.rows.append(Row(work, engine, wall, cpu, amount=amount, rate=rate, wanted=wants))

    def sizes(self, work: str, values: Mapping[str, Sequence[float]]) -> None:
        """Take in sizes in bytes."""
        self.rows += [Row(work, engine, [size / 1e6 for size in found], unit="MB") for engine, found in values.items()]

    def note(self, text: str) -> None:
        """Take in a sentence to be printed below the table."""
        if text not in self.notes:
            self.notes.append(text)

    def ratio(self, row: Row, cpu: bool = False) -> float | None:
        """How many times nirank's value the value of this row is; None where there is nothing to compare."""
        ours = next((other for other in self.rows if other.work == row.work and other.engine == OURS), None)
        if ours is None or ours is row or (cpu and not (ours.cpu and row.cpu and median(ours.cpu))):
            return None
        return median(row.cpu) / median(ours.cpu) if cpu else row.median / ours.median

    def missed(self) -> list[str]:
        """What was wanted and not reached, a sentence each."""
        told = []
        for row in self.rows:
            ratio = self.ratio(row)
            if row.wanted is not None and ratio is not None and ratio < row.wanted:
                told.append(f"{row.work}: {ratio:.2f} times {row.engine}, wanted {row.wanted:g}.")
        return told

    def lines(self) -> Iterable[tuple[str, ...]]:
        """The cells of the table, row by row, below `COLUMNS`."""
        work = None
        for row in self.rows:
            yield (row.work if row.work != work else "", *self._cells(row))
            work = row.work

    def _cells(self, row: Row) -> tuple[str, ...]:
        ratio, by_cpu = self.ratio(row), self.ratio(row, cpu=True)
        reached = "" if ratio is None or row.wanted is None else f"{'yes' if ratio >= row.wanted else 'NO'}"
        return (
            row.engine,
            _shown(row.median, row.unit),
            f"{_shown(min(row.values), row.unit)} - {_shown(max(row.values), row.unit)}" if len(row.values) > 1 else "",
            _shown(median(row.cpu), row.unit) if row.cpu else "",
            f"{_number(row.amount / row.median)} {row.rate}/s" if row.amount else "",
            "" if ratio is None else f"{_number(ratio)}x",
            "" if by_cpu is None else f"{_number(by_cpu)}x",
            f"{row.wanted:.2g}x: {reached}" if reached else "",
        )


_GENERATION = ("cpu family", "model")  # as Linux names it
COLUMNS = ("work", "engine", "median", "least - most", "processor", "rate", "nirank is", "by processor", "wanted")


def show(report: Report, heading: Sequence[str]) -> None:
    """Print the table."""
    from rich.console import Console
    from rich.table import Table

    table = Table(*COLUMNS, box=None)
    for cells in report.lines():
        if cells[0] and table.row_count:
            table.add_section()
        table.add_row(*cells)
    console = Console(width=200)
    console.print(*heading, sep="\n")
    console.print(table)
    console.print(*report.notes, *(f"Missed: {line}" for line in report.missed()), sep="\n")


def save(report: Report, heading: Sequence[str], folder: Path, works: Sequence[str] = ()) -> Path:
    """Write the table as Markdown and its figures as JSON; the path of the first.

    The name is that of the kind of machine, with the works where not all were run. What was measured before on this
    kind of machine and has been again is taken out of the other files, so that no two of them disagree on a row.
    """
    path = folder / f"{'-'.join([machine_kind(), *works])}.md"
    _write_table(report, heading, path)
    for other in sorted(folder.glob(f"{machine_kind()}*.json")):
        if other != path.with_suffix(".json"):
            leave_to(report, path, other)
    return path


def leave_to(newer: Report, path: Path, other: Path) -> None:
    """Take out of an older file of figures, `other`, the rows of what `newer`, saved as `path`, has measured again."""
    figures = json.loads(other.read_text(encoding="utf-8"))
    again = {row.work for row in newer.rows}
    kept = [Row(**row) for row in figures["rows"] if row["work"] not in again]
    if len(kept) == len(figures["rows"]):
        return
    notes = [note for note in figures["notes"] if note not in newer.notes]
    older = Report(kept, [*notes, f"What was measured again is in {path.name}, and left out here."])
    _write_table(older, figures["heading"], other.with_suffix(".md"))


def _write_table(report: Report, heading: Sequence[str], path: Path) -> None:
    rows = ["| " + " | ".join(cells) + " |" for cells in (COLUMNS, ["---"] * len(COLUMNS), *report.lines())]
    missed = [f"Missed: {line}" for line in report.missed()]
    text = "\n\n".join(["# Speed", *heading, "\n".join(rows), *report.notes, *missed])
    _write(path, text + "\n")
    figures = {"heading": list(heading), "rows": [asdict(row) for row in report.rows], "notes": report.notes}
    _write(path.with_suffix(".json"), json.dumps(figures, indent=1, ensure_ascii=False) + "\n")


def machine() -> str:
    """The processor's name, and its generation where the system tells: one name stands for several of them."""
    told = _processor()
    generation = ", ".join(f"{kind.split()[-1]} {told[kind]}" for kind in _GENERATION if kind in told)
    return f"{_name(told)} ({generation})" if generation else _name(told)


def machine_kind() -> str:
    """The processor's name and generation, and the system, as part of a file's name."""
    told = _processor()
    words = [_name(told), *(told[kind] for kind in _GENERATION if kind in told), platform.system()]
    return re.sub(r"[^a-z0-9]+", "-", " ".join(words).lower()).strip("-")


def _name(told: Mapping[str, str]) -> str:
    return told.get("model name") or platform.processor() or platform.machine()


def _processor() -> dict[str, str]:
    """What Linux says of the first processor."""
    try:
        first = Path("/proc/cpuinfo").read_text(encoding="utf-8").partition("\n\n")[0]
    except OSError:
        return {}
    pairs = (line.partition(":") for line in first.splitlines())
    return {name.strip(): value.strip() for name, _, value in pairs}


def versions(packages: Iterable[str]) -> str:
    """The versions of packages, as far as they are installed."""
    return ", ".join(map(_version, packages))


def _version(package: str) -> str:
    try:
        return f"{package} {version(package)}"
    except PackageNotFoundError:
        return f"no {package}"


def _write(path: Path, text: str) -> None:
    with beside(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")


def _shown(value: float, unit: str) -> str:
    if unit != "s":
        return f"{_number(value)} {unit}"
    factor, name = next(((f, n) for f, n in ((1, "s"), (1e3, "ms")) if value * f >= 1), (1e6, "µs"))
    return f"{_number(value * factor)} {name}"


def _number(value: float) -> str:
    """Three digits that matter."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def agreement(values: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """The greatest difference from nirank's figures, for each engine."""
    ours = values.get(OURS)
    if ours is None:
        return {}
    return {
        name: max(abs(own - other) for own, other in zip(ours, found, strict=True))
        for name, found in values.items()
        if name != OURS
    }
