"""Tables of an experiment, for a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from nirank.evaluation.tables import comparison_table as comparison_table
from nirank.evaluation.tables import means_table as means_table
from nirank.evaluation.tables import trec_lines as trec_lines
from nirank.experiments.summary import notes as notes
from nirank.experiments.summary import systems_table as systems_table
from nirank.showing.terminal import harmless as harmless
from nirank.showing.terminal import shown as shown
from nirank.training.fused import FittedFusion

if TYPE_CHECKING:
    from nirank.experiments.results import Results
    from nirank.experiments.tuned import Tuned
    from nirank.plugins.inventory import SettingRow
    from nirank.training.assignment import Fitted


def training_line(fitted: Fitted | FittedFusion) -> str:
    """The outcome of a training, in a sentence."""
    if isinstance(fitted, FittedFusion):
        return str(fitted)
    name, steps = fitted.stage.component.name, f"{fitted.steps:,} steps"
    if fitted.best is None:
        return f"{name}: trained for {steps}."
    return f"{name}: trained for {steps}; best on dev after {fitted.best_step:,} steps: {fitted.best:.4f}."


def examples_table(results: Results, queries: Sequence[int], k: int = 8) -> Table:
    """For some queries the ids of the best `k` documents of each system; relevant ones are underlined."""
    table = Table(title="What each system found first (relevant ones underlined)", title_justify="left")
    table.add_column("query", style="bold")
    for name in results.systems:
        table.add_column(shown(name))
    for query in queries:
        cells = [_found(results, name, query, k) for name in results.systems]
        table.add_row(shown(str(results.collection.queries.contents[query])), *cells)
    return table


def telling_queries(results: Results, measure: str, count: int = 6) -> list[int]:
    """Queries on which the systems differ most, with at most two whose best system is the same."""
    values = np.stack([system.evaluation.values[measure] for system in results.systems.values()])
    rows = next(iter(results.systems.values())).evaluation.queries
    chosen: list[int] = []
    wins: dict[int, int] = {}
    for place in np.argsort(-np.ptp(values, axis=0), kind="stable").tolist():
        winner = int(values[:, place].argmax())
        if wins.get(winner, 0) < max(2, count // 2):
            wins[winner] = wins.get(winner, 0) + 1
            chosen.append(int(rows[place]))
        if len(chosen) == count:
            break
    return chosen


def tuning_table(tuned: Tuned, rows: int = 10) -> Table:
    """The best trials, a row each: their settings and the means of their measures."""
    whole = [trial for trial in tuned.trials if len(trial) == len(tuned.query_ids)]
    best = sorted(whole, key=lambda trial: -trial.mean(tuned.tuning.measure))[:rows]
    table = Table(title=shown(f"The best of {len(tuned.trials):,} trials"), title_justify="left", title_style="bold")
    table.add_column("trial", justify="right")
    for name in (*tuned.tuning.space, *tuned.best.values):
        table.add_column(shown(name), justify="right", overflow="fold")
    for trial in best:
        cells = [*map(str, trial.settings.values()), *(f"{trial.mean(name):.4f}" for name in tuned.best.values)]
        style = "bold green" if trial is tuned.best else ""
        table.add_row(str(trial.number), *(shown(cell, style=style) for cell in cells))
    return table


def rows_table(rows: Sequence[Any], title: str = "") -> Table:
    """Any rows of one dataclass, a column a field: numbers with four digits behind the point, to the right."""
    table = Table(title=shown(title), title_justify="left", title_style="bold")
    for number, field in enumerate(dataclasses.fields(rows[0]) if rows else ()):
        table.add_column(shown(field.name), justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        values = dataclasses.astuple(row)
        table.add_row(*(shown(f"{value:.4f}" if isinstance(value, float) else str(value)) for value in values))
    return table


def _found(results: Results, system: str, query: int, k: int) -> Text:
    docs, _ = results.systems[system].run[query]
    relevant, grades = results.collection.judgments[query]
    good = set(relevant[grades > 0].tolist())
    line = Text()
    ids = results.collection.corpus.ids.take(docs[:k])
    for doc, name in zip(docs[:k].tolist(), ids, strict=True):
        line.append(harmless(name), style="bold green underline" if doc in good else "")
        line.append(" ")
    return line if len(docs) else shown("nothing", style="dim")


def settings_table(settings: Sequence[SettingRow]) -> Table:
    """The settings of a component: name, type, default, and what is said of each."""
    table = Table("setting", "type", "default", "what it is")
    for column in table.columns[:3]:
        column.overflow = "fold"
    for row in settings:
        table.add_row(shown(row.name, style="bold"), shown(row.type), shown(row.default), shown(row.about))
    return table


def text_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> Table:
    """A table of plain text; `right` are the columns that are set to the right."""
    table = Table(title=shown(title), title_justify="left")
    for name in columns:
        table.add_column(shown(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row))
    return table
