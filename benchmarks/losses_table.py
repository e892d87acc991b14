"""The grid as tables of Markdown, as figures in JSON, and as a heat map."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from losses_cells import Outcome
from quality_table import number, tabulated

from nirank.evaluation import confidence_intervals
from nirank.files import beside

#: What the first table and the heat map show.
SHOWN = "nDCG@10"
NOTHING = "-"


@dataclass(frozen=True)
class Figure:
    """A mean over test queries, or a mean difference, with its 95 % bootstrap confidence interval."""

    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Measured:
    """One column: the outcome of each line, and those of the references, from one of which differences are taken.

    `about` says what was done, `settings` what each line was trained with.
    """

    name: str
    about: str
    reference: str
    references: Mapping[str, Outcome]
    lines: Mapping[str, Outcome]
    settings: Mapping[str, str] = field(default_factory=dict)

    @property
    def outcomes(self) -> dict[str, Outcome]:
        """References, then lines."""
        return {**self.references, **self.lines}

    @cached_property
    def figures(self) -> dict[str, dict[str, Figure]]:
        """For each measure the figure of each outcome; queries are resampled for all of them together."""
        measures = self.references[self.reference].values
        return {measure: self._figures(measure, 0.0) for measure in measures}

    @cached_property
    def differences(self) -> dict[str, dict[str, Figure]]:
        """Likewise, how far each outcome is ahead of the reference."""
        values = self.references[self.reference].values
        return {measure: self._figures(measure, np.array(values[measure])) for measure in values}

    def best(self, measure: str) -> str:
        """The line with the highest mean on test."""
        return max(self.lines, key=lambda line: self.figures[measure][line].mean)

    @property
    def best_on_dev(self) -> str:
        """The line with the highest measure on dev."""
        return max(self.lines, key=lambda line: self.lines[line].dev or 0.0)

    def _figures(self, measure: str, less: Any) -> dict[str, Figure]:
        values = np.array([outcome.values[measure] for outcome in self.outcomes.values()]) - less
        rows = zip(values.mean(1).tolist(), *confidence_intervals(values).T.tolist(), strict=True)
        return {name: Figure(*row) for name, row in zip(self.outcomes, rows, strict=True)}


@dataclass(frozen=True)
class Grid:
    """All columns, and what is said above them."""

    heading: Sequence[str]
    columns: Sequence[Measured]

    @property
    def lines(self) -> list[str]:
        """The lines of all columns, in their order."""
        return list(dict.fromkeys(line for column in self.columns for line in column.lines))


def markdown(grid: Grid) -> str:
    """A table of all columns, then one of each."""
    parts = ["# Losses", *grid.heading, f"## {SHOWN}", _overview(grid)]
    for column in grid.columns:
        parts += [f"## {column.name}", column.about, _details(column), *_verdicts(column)]
    return "\n\n".join(parts) + "\n"


def save(grid: Grid, folder: Path) -> Path:
    """Write losses.md, .json and .png into a folder; the path of the first."""
    path = folder / "losses.md"
    with beside(path) as unfinished:
        unfinished.write_text(markdown(grid), encoding="utf-8")
    with beside(path.with_suffix(".json")) as unfinished:
        unfinished.write_text(json.dumps(figures(grid), indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
    with beside(path.with_suffix(".png")) as unfinished:
        _heat_map(grid, unfinished)
    return path


def figures(grid: Grid) -> dict[str, Any]:
    """All figures, as JSON holds them."""
    return {"heading": list(grid.heading), "columns": {column.name: _column(column) for column in grid.columns}}


def _column(column: Measured) -> dict[str, Any]:
    return {
        "about": column.about,
        "reference": column.reference,
        "lines": {name: _line(column, name) for name in column.outcomes},
    }


def _line(column: Measured, name: str) -> dict[str, Any]:
    outcome = column.outcomes[name]
    return {
        "test": {measure: asdict(found[name]) for measure, found in column.figures.items()},
        "ahead": {measure: asdict(found[name]) for measure, found in column.differences.items()},
        "dev": outcome.dev,
        "steps": outcome.steps,
        "seconds": round(outcome.seconds, 1),
        "settings": column.settings.get(name, ""),
    }


def _overview(grid: Grid) -> str:
    names = [*dict.fromkeys(name for column in grid.columns for name in column.references), *grid.lines]
    rows = [[name, *(_interval(column.figures[SHOWN].get(name)) for column in grid.columns)] for name in names]
    return tabulated(["loss", *(column.name for column in grid.columns)], rows)


def _details(column: Measured) -> str:
    titles = ["loss"]
    for measure in column.figures:
        titles += [_title(measure), f"against {column.reference}"]
    rows = [_detail(column, name) for name in column.outcomes]
    return tabulated([*titles, "dev", "best after steps", "seconds", "trained with"], rows)


def _detail(column: Measured, name: str) -> list[str]:
    outcome, cells = column.outcomes[name], [name]
    for measure in column.figures:
        ahead = NOTHING if name == column.reference else _interval(column.differences[measure][name], "+")
        cells += [_interval(column.figures[measure][name]), ahead]
    dev = NOTHING if outcome.dev is None else number(outcome.dev)
    steps = ", ".join(map(str, outcome.steps)) or NOTHING
    return [*cells, dev, steps, f"{outcome.seconds:.0f}", column.settings.get(name, NOTHING)]


def _verdicts(column: Measured) -> list[str]:
    """Which loss did best: as one would have chosen it on dev, and as only the test tells."""
    if not column.lines:
        return []
    told = [f"Best on dev: {column.best_on_dev}; on test {_verdict(column, column.best_on_dev)}."]
    for measure in column.figures:
        best = column.best(measure)
        told.append(f"Best {_title(measure)} on test: {best}; {_verdict(column, best)}.")
    return [*told, "What is best of so many on test is so in part by chance."]


def _verdict(column: Measured, line: str) -> str:
    against = f"against {column.reference}"
    return ", ".join(
        f"{_title(measure)} {number(found[line].mean)} ({_interval(column.differences[measure][line], '+')} {against})"
        for measure, found in column.figures.items()
    )


def _heat_map(grid: Grid, path: Path) -> None:
    from matplotlib.figure import Figure as Drawing

    values = np.array([[_mean(column, line) for column in grid.columns] for line in grid.lines])
    drawing = Drawing(figsize=(2.5 + 1.6 * len(grid.columns), 1.2 + 0.28 * len(grid.lines)), layout="constrained")
    axes = drawing.subplots()
    axes.imshow(_shades(values), aspect="auto", cmap="RdYlGn", vmin=0, vmax=1, alpha=0.6)
    axes.set_xticks(range(len(grid.columns)), [column.name for column in grid.columns])
    axes.set_yticks(range(len(grid.lines)), grid.lines)
    for (row, place), value in np.ndenumerate(values):
        axes.text(place, row, NOTHING if np.isnan(value) else number(value), ha="center", va="center")
    axes.set_title(f"{SHOWN} on test; colours by rank in a column", fontsize="medium")
    drawing.savefig(path, dpi=120, format="png", metadata={"Software": None})


def _mean(column: Measured, line: str) -> float:
    return column.figures[SHOWN][line].mean if line in column.lines else np.nan


def _shades(values: Any) -> Any:
    """The share of a column's values that are less, from 0 to 1: one that stands apart does not pale the others."""
    present = np.isfinite(values)
    less = (values[:, None, :] > values[None]).sum(1) / np.maximum(present.sum(0) - 1, 1)
    return np.where(present, less, np.nan)


def _title(measure: str) -> str:
    return {"AP": "MAP"}.get(measure, measure)


def _interval(figure: Figure | None, sign: str = "") -> str:
    if figure is None:
        return NOTHING
    return f"{number(figure.mean, sign)} [{number(figure.low, sign)}, {number(figure.high, sign)}]"
