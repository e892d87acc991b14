"""Tables of measures: as Markdown to be read, as JSON to be computed with."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import takewhile
from pathlib import Path
from typing import Any

from nirank.files import beside


@dataclass(frozen=True)
class Figure:
    """A mean with what is known of its certainty.

    `spread` is the standard deviation over trainings, `low` and `high` a 95 % confidence interval over queries, `p` the
    significance of a difference.
    """

    mean: float
    spread: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None

    def __str__(self) -> str:
        told = number(self.mean)
        if self.spread is not None:
            told += f" ± {number(self.spread)}"
        if self.low is not None and self.high is not None:
            told += f" [{number(self.low)}, {number(self.high)}]"
        if self.p is not None:
            told += f" (p {'< .001' if self.p < 0.001 else f'= {self.p:.3f}'.replace('0.', '.')})"
        return told


Cell = Figure | float | str | None


@dataclass(frozen=True)
class Table:
    """Rows of figures below the names of `columns`; `about` says what was done, `notes` what is to be known besides."""

    title: str
    about: str
    columns: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    notes: Sequence[str] = field(default_factory=list)


@dataclass(frozen=True)
class Measured:
    """A table with the heading of the run that it is of: command, date, machine."""

    heading: Sequence[str]
    table: Table


def markdown(work: str, measured: Sequence[Measured]) -> str:
    """All tables of a work; a heading that they share stands once, and others below the titles of their tables."""
    headings = [each.heading for each in measured]
    shared = headings[0] if headings.count(headings[0]) == len(headings) else []
    parts = [f"# Quality: {work}", *shared]
    for heading, table in ((each.heading, each.table) for each in measured):
        rows = [[_shown(cell) for cell in row] for row in table.rows]
        own = [] if shared else heading
        parts += [f"## {table.title}", *own, table.about, tabulated(table.columns, rows), *table.notes]
    return "\n\n".join(parts) + "\n"


def save(work: str, measured: Sequence[Measured], folder: Path, only: Sequence[str] = ()) -> Path:
    """Write quality_WORK.md and .json into a folder; the path of the first.

    Where `only` some parts were measured, their tables take the place of those with their titles, and the others stay.
    Where a table there has rows that were not measured now, quality_WORK-ONLY is written instead.
    """
    path = folder / f"quality_{work}.json"
    before = read(path) if only else []
    if missing := _left_out(before, measured):
        print(f"{path.name} has more rows ({', '.join(missing)}), and stays as it is.", file=sys.stderr)
        path = folder / f"quality_{work}-{'-'.join(only)}.json"
        before = read(path)
    write(path, work, merged(before, measured))
    return path.with_suffix(".md")


def merged(before: Sequence[Measured], measured: Sequence[Measured]) -> list[Measured]:
    """The tables of before, those of a title that was measured again in their places, and new ones behind them."""
    again = {each.table.title: each for each in measured}
    kept = [again.pop(each.table.title, each) for each in before]
    return [*kept, *again.values()]


def write(path: Path, work: str, measured: Sequence[Measured]) -> None:
    """Write tables as figures into a file, and as Markdown into the one beside it."""
    with beside(path.with_suffix(".md")) as unfinished:
        unfinished.write_text(markdown(work, measured), encoding="utf-8")
    figures = {"tables": [{"heading": list(each.heading), **asdict(each.table)} for each in measured]}
    with beside(path) as unfinished:
        unfinished.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def read(path: Path) -> list[Measured]:
    """The tables of a file of figures; none where it is not there. Older files have one heading for all tables."""
    if not path.exists():
        return []
    figures = json.loads(path.read_text(encoding="utf-8"))
    return [_read(figures.get("heading", []), table) for table in figures["tables"]]


def _read(shared: Sequence[str], told: Mapping[str, Any]) -> Measured:
    table = {name: value for name, value in told.items() if name != "heading"}
    rows = [[Figure(**cell) if isinstance(cell, dict) else cell for cell in row] for row in table["rows"]]
    return Measured(told.get("heading", shared), Table(**table | {"rows": rows}))


def _left_out(before: Sequence[Measured], measured: Sequence[Measured]) -> list[str]:
    """The names of rows that tables had before, and those of their titles have not now."""
    now = {each.table.title: {_name(row) for row in each.table.rows} for each in measured}
    names = ((each.table.title, _name(row)) for each in before for row in each.table.rows)
    return [name for title, name in names if name not in now.get(title, {name})]


def _name(row: Sequence[Cell]) -> str:
    """What a row begins with, as far as it is in words: a system, and a collection where there are several."""
    words = takewhile(lambda cell: isinstance(cell, str) and any(map(str.isalpha, cell)), row[1:])
    return " | ".join([str(row[0]), *map(str, words)])


def tabulated(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (titles, ["---"] * len(titles), *rows))


def number(value: float, sign: str = "") -> str:
    """Four digits behind the point, and none before it where that is 0."""
    return f"{value:{sign}.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{sign}.4f}"


def _shown(cell: Cell) -> str:
    return "" if cell is None else number(cell) if isinstance(cell, float) else str(cell)
