"""Tables of an experiment, for a terminal."""

from __future__ import annotations

import dataclasses
from collections.abc import Collection, Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.table import Table
from rich.text import Text

from nirank.training.fused import FittedFusion

if TYPE_CHECKING:
    from nirank.evaluation.evaluating import Evaluation
    from nirank.evaluation.significance import Comparison
    from nirank.experiments.results import FoldRow, Results
    from nirank.experiments.tuned import Tuned
    from nirank.plugins.inventory import SettingRow
    from nirank.training.assignment import Fitted

#: Control characters with their pictures; those from 128 to 159, and the delete, have one in common.
_PICTURES = {code: 0x2400 + code for code in range(32) if chr(code) not in "\n\t"} | dict.fromkeys(
    range(127, 160), 9249
)

#: Marks of a difference from the baseline, by the largest corrected p-value they stand for.
MARKS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


def shown(text: str, style: str = "") -> Text:
    """A text for the terminal: control characters, which could write elsewhere on it, are shown and not obeyed."""
    return Text(harmless(text), style=style)


def harmless(text: str) -> str:
    """A text with its control characters, but for line feeds and tabs, as the pictures that Unicode has of them."""
    return text.translate(_PICTURES)


def systems_table(results: Results) -> Table:
    """One row a system: its expression, its measures with marks of significance, its time for all queries."""
    names = results.measured  # the evaluation's own names: trec_eval's "official" stands for many
    table = Table(title=shown(repr(results.collection).strip("<>")), title_justify="left", title_style="bold")
    table.add_column("system", style="bold")
    table.add_column("pipeline", overflow="fold")
    for name in [*names, "seconds"]:
        table.add_column(name, justify="right")
    best = {name: max(system.evaluation[name] for system in results.systems.values()) for name in names}
    for system in results.systems.values():
        cells = [_cell(results, system.name, measure, best[measure]) for measure in names]
        table.add_row(shown(system.name), shown(repr(system.ranking)), *cells, f"{system.seconds:.2f}")
    return table


def notes(results: Results) -> list[str]:
    """Notes to read with the table: the baseline, the test, and the notes of each evaluation."""
    lines = []
    if results.comparison:
        marks = ", ".join(f"{mark} p < {bound}" for bound, mark in reversed(MARKS))
        lines.append(f"Against {results.baseline}: {marks} (paired {results.comparison.test} test, Holm-corrected).")
    lines += [_fold_line(row) for row in results.folds]
    for row in results.over_seeds():
        interval = f"{row.low:.4f} .. {row.high:.4f}"
        lines.append(
            f"{row.system}: {row.measure} {row.mean:.4f} over {len(row.values)} seeds, 95 % t-interval {interval}."
        )
    return lines + [f"{name}: {' '.join(system.evaluation.notes())}" for name, system in results.systems.items()]


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


def _fold_line(row: FoldRow) -> str:
    chosen = ", ".join(f"{name} = {value!r}" for name, value in row.settings.items())
    counts = f"{row.test:,} queries measured, {row.dev:,} to choose by, {row.train:,} to learn from"
    return f"Fold {row.fold}: {counts}" + (f"; {chosen}." if chosen else ".")


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


def trec_lines(evaluation: Evaluation, queries: bool = False) -> Iterator[str]:
    """Measures as trec_eval prints them: measure, query (or "all") and value, separated by tabs."""
    if queries:
        names = evaluation.query_ids or evaluation.queries.tolist()
        for place, name in enumerate(names):
            yield from (f"{measure:<22}\t{name}\t{values[place]:.4f}" for measure, values in evaluation.values.items())
    yield from (f"{measure:<22}\tall\t{value:.4f}" for measure, value in evaluation.mean.items())


def rows_table(rows: Sequence[Any], title: str = "") -> Table:
    """Any rows of one dataclass, a column a field: numbers with four digits behind the point, to the right."""
    table = Table(title=shown(title), title_justify="left", title_style="bold")
    for number, field in enumerate(dataclasses.fields(rows[0]) if rows else ()):
        table.add_column(shown(field.name), justify="left" if number == 0 else "right", overflow="fold")
    for row in rows:
        values = dataclasses.astuple(row)
        table.add_row(*(shown(f"{value:.4f}" if isinstance(value, float) else str(value)) for value in values))
    return table


def _cell(results: Results, system: str, measure: str, best: float) -> Text:
    value = results.systems[system].evaluation[measure]
    return shown(f"{value:.4f}{_mark(results, system, measure):<3}", style="bold green" if value == best else "")


def _mark(results: Results, system: str, measure: str) -> str:
    if results.comparison is None or system == results.baseline:
        return ""
    p = results.comparison.of(system, results.baseline, measure).corrected
    return next((mark for bound, mark in MARKS if p < bound), "")


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


def comparison_table(comparison: Comparison) -> Table:
    """One row for each pair of systems and measure: difference, interval, effect size, p-values."""
    title = f"Paired {comparison.test} test over {comparison.queries:,} queries"
    table = Table("measure", title=title, title_justify="left")
    for name in ("system", "against"):
        table.add_column(name, overflow="fold")
    for name in ("difference", "95% interval", "effect d", "p", "p (Holm)", "win/loss/tie"):
        table.add_column(name)
    for row in comparison.differences:
        interval = f"{row.low:+.4f} .. {row.high:+.4f}"
        numbers = (f"{row.difference:+.4f}", interval, f"{row.effect:.2f}", f"{row.p:.4f}", f"{row.corrected:.4f}")
        table.add_row(row.measure, shown(row.system), shown(row.other), *numbers, f"{row.wins}/{row.losses}/{row.ties}")
    return table


def text_table(title: str, columns: Sequence[str], rows: Sequence[Sequence[str]], right: Collection[str]) -> Table:
    """A table of plain text; `right` are the columns that are set to the right."""
    table = Table(title=shown(title), title_justify="left")
    for name in columns:
        table.add_column(shown(name), justify="right" if name in right else "left", overflow="fold")
    for row in rows:
        table.add_row(*map(shown, row))
    return table


def means_table(comparison: Comparison) -> Table:
    """The mean of each system on each measure, with its interval."""
    table = Table("measure", title="Means", title_justify="left")
    table.add_column("system", overflow="fold")
    for name in ("mean", "95% interval"):
        table.add_column(name)
    for row in comparison.means:
        table.add_row(row.measure, shown(row.system), f"{row.mean:.4f}", f"{row.low:.4f} .. {row.high:.4f}")
    return table
