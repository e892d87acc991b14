"""What was measured on one kind of machine, kept as one table whose rows have dates, and as figures beside it."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from speed_table import COLUMNS, Report, Row, machine_kind

from nirank.files import beside

_DATE = re.compile(r"\d{4}-\d\d-\d\d$")


@dataclass(frozen=True)
class Measured:
    """What one command measured at once: some rows, how that was, and what is to be said of them.

    `works` are the names that `speed.py` knows them by. The heading begins with the command and its date.
    """

    works: Sequence[str]
    heading: Sequence[str]
    report: Report

    @property
    def date(self) -> str:
        """The day of the measurement; empty where the heading does not tell."""
        told = _DATE.search(self.heading[0])
        return told[0] if told else ""

    def without(self, newer: Report) -> Measured:
        """The same without the works that were measured again, and without the notes that were made again."""
        again = {row.work for row in newer.rows}
        rows = [row for row in self.report.rows if row.work not in again]
        return Measured(
            self.works, self.heading, Report(rows, [note for note in self.report.notes if note not in newer.notes])
        )


def path_of(folder: Path, threads: int) -> Path:
    """Where the table of this kind of machine is, with so many threads."""
    several = [f"{threads}-threads"] if threads > 1 else []
    return folder / f"{'-'.join([machine_kind(), *several])}.md"


def read(path: Path) -> list[Measured]:
    """Read what was measured so far from the figures beside a table; nothing where there are none."""
    figures = path.with_suffix(".json")
    if not figures.exists():
        return []
    told = json.loads(figures.read_text(encoding="utf-8"))["measured"]
    return [
        Measured(each["works"], each["heading"], Report([Row(**row) for row in each["rows"]], each["notes"]))
        for each in told
    ]


def add(newer: Measured, path: Path) -> None:
    """Write the table again, with what is newer in the place of what was measured before."""
    older = [each.without(newer.report) for each in read(path)]
    write([*(each for each in older if each.report.rows), newer], path)


def write(measured: Sequence[Measured], path: Path) -> None:
    """Write a table as Markdown, and its figures as JSON."""
    rows = [(*cells, each.date) for each in measured for cells in each.report.lines()]
    lines = ["| " + " | ".join(cells) + " |" for cells in ((*COLUMNS, "date"), ["---"] * (len(COLUMNS) + 1), *rows)]
    told = [_told(each) for each in measured]
    _write(path, "\n\n".join(["# Speed", "\n".join(lines), *told]) + "\n")
    figures = [
        {
            "works": list(each.works),
            "heading": list(each.heading),
            "rows": [asdict(row) for row in each.report.rows],
            "notes": each.report.notes,
        }
        for each in measured
    ]
    _write(path.with_suffix(".json"), json.dumps({"measured": figures}, indent=1, ensure_ascii=False) + "\n")


def _told(measured: Measured) -> str:
    """How some rows were measured, and what is to be said of them, below the table."""
    missed = [f"Missed: {line}" for line in measured.report.missed()]
    name = ", ".join(measured.works) or "Several works"
    return "\n\n".join([f"## {name}, {measured.date}", *measured.heading, *measured.report.notes, *missed])


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with beside(path) as unfinished:
        unfinished.write_text(text, encoding="utf-8")
