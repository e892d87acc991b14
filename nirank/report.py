"""Tables of an experiment, for a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from nirank.results import Results

#: Marks of a difference from the baseline, by the largest corrected p-value they stand for.
MARKS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


def systems_table(results: Results) -> Table:
    """One row a system: its expression, its measures with marks of significance, its time for all queries."""
    names = results.experiment.evaluate.measures
    table = Table(title=repr(results.collection).strip("<>"), title_justify="left", title_style="bold")
    table.add_column("system", style="bold")
    table.add_column("pipeline", overflow="fold")
    for name in [*names, "seconds"]:
        table.add_column(name, justify="right")
    best = {name: max(system.evaluation[name] for system in results.systems.values()) for name in names}
    for system in results.systems.values():
        cells = [_cell(results, system.name, measure, best[measure]) for measure in names]
        table.add_row(system.name, Text(repr(system.ranking)), *cells, f"{system.seconds:.2f}")
    return table


def notes(results: Results) -> list[str]:
    """What must be known to read the table: the baseline, the test, ties, queries left out or without results."""
    lines = []
    if results.comparison:
        marks = ", ".join(f"{mark} p < {bound}" for bound, mark in reversed(MARKS))
        lines.append(f"Against {results.comparison.baseline}: {marks} ({results.comparison.method}, Holm-corrected).")
    for system in results.systems.values():
        found = system.evaluation
        counts = {"ties broken by document id": found.ties, "queries without results (count as 0)": found.empty}
        told = "; ".join(f"{count:,} {what}" for what, count in counts.items() if count)
        lines += [f"{system.name}: {told}."] if told else []
    unjudged = next(iter(results.systems.values())).evaluation.unjudged
    return lines + ([f"{unjudged:,} queries without judgments are left out."] if unjudged else [])


def examples_table(results: Results, queries: Sequence[int], k: int = 8) -> Table:
    """For some queries the ids of the best `k` documents of each system; relevant ones are underlined."""
    table = Table(title="What each system found first (relevant ones underlined)", title_justify="left")
    table.add_column("query", style="bold")
    for name in results.systems:
        table.add_column(name)
    for query in queries:
        cells = [_found(results, name, query, k) for name in results.systems]
        table.add_row(str(results.collection.queries.contents[query]), *cells)
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


def _cell(results: Results, system: str, measure: str, best: float) -> Text:
    value = results.systems[system].evaluation[measure]
    mark = results.comparison.mark(system, measure, MARKS) if results.comparison else ""
    return Text(f"{value:.4f}{mark:<3}", style="bold green" if value == best else "")


def _found(results: Results, system: str, query: int, k: int) -> Text:
    docs, _ = results.systems[system].run[query]
    relevant, grades = results.collection.judgments[query]
    good = set(relevant[grades > 0].tolist())
    line = Text()
    ids = results.collection.corpus.ids.take(docs[:k])
    for doc, name in zip(docs[:k].tolist(), ids, strict=True):
        line.append(name, style="bold green underline" if doc in good else "")
        line.append(" ")
    return line if len(docs) else Text("nothing", style="dim")
