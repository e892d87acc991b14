"""Tables of measures: as Markdown to be read, as JSON to be computed with."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path

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


def markdown(work: str, heading: Sequence[str], tables: Sequence[Table]) -> str:
    """All tables of a work."""
    parts = [f"# Quality: {work}", *heading]
    for table in tables:
        rows = [[_shown(cell) for cell in row] for row in table.rows]
        parts += [f"## {table.title}", table.about, tabulated(table.columns, rows), *table.notes]
    return "\n\n".join(parts) + "\n"


def save(work: str, heading: Sequence[str], tables: Sequence[Table], folder: Path) -> Path:
    """Write quality_WORK.md and .json into a folder; the path of the first."""
    path = folder / f"quality_{work}.md"
    with beside(path) as unfinished:
        unfinished.write_text(markdown(work, heading, tables), encoding="utf-8")
    figures = {"heading": list(heading), "tables": [asdict(table) for table in tables]}
    with beside(path.with_suffix(".json")) as unfinished:
        unfinished.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    return path


def tabulated(titles: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table of Markdown."""
    return "\n".join("| " + " | ".join(cells) + " |" for cells in (titles, ["---"] * len(titles), *rows))


def number(value: float, sign: str = "") -> str:
    """Four digits behind the point, and none before it where that is 0."""
    return f"{value:{sign}.4f}".replace("0.", ".", 1) if abs(value) < 1 else f"{value:{sign}.4f}"


def _shown(cell: Cell) -> str:
    return "" if cell is None else number(cell) if isinstance(cell, float) else str(cell)
