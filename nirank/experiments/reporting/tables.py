"""Tables of a report, each as cells to show and as CSV and LaTeX to copy."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from nirank.experiments import summary

#: Characters that LaTeX reads as something else.
_LATEX = {
    **{ord(sign): f"\\{sign}" for sign in "&%$#_{}"},
    ord("\\"): r"\textbackslash{}",
    ord("~"): r"\textasciitilde{}",
    ord("^"): r"\textasciicircum{}",
    ord("<"): r"\textless{}",
    ord(">"): r"\textgreater{}",
    ord("|"): r"\textbar{}",
}


@dataclass(frozen=True)
class Table:
    """A table: names of columns, rows of cells, and how many columns, the last ones, are of numbers.

    `strong` are places (row, column) of cells that stand out. `whole` is False for one that is only to be copied.
    """

    title: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: int
    strong: frozenset[tuple[int, int]] = frozenset()
    note: str = ""
    whole: bool = True

    @property
    def first_number(self) -> int:
        """The first column of numbers."""
        return len(self.header) - self.numbers

    @property
    def csv(self) -> str:
        """The table as CSV, with a line of names."""
        file = io.StringIO()
        csv.writer(file, lineterminator="\n").writerows([self.header, *self.rows])
        return file.getvalue()

    @property
    def latex(self) -> str:
        """The table as LaTeX, for the package booktabs."""
        lines = [self._line(row, number) for number, row in enumerate(self.rows)]
        columns = "l" * self.first_number + "r" * self.numbers
        head = " & ".join(map(_as_latex, self.header))
        return "\n".join(
            [f"\\begin{{tabular}}{{{columns}}}", "\\toprule", f"{head} \\\\", "\\midrule", *lines]
            + ["\\bottomrule", "\\end{tabular}", ""]
        )

    def _line(self, row: Sequence[str], number: int) -> str:
        cells = [
            f"\\textbf{{{_as_latex(cell)}}}" if (number, place) in self.strong else _as_latex(cell)
            for place, cell in enumerate(row)
        ]
        return f"{' & '.join(cells)} \\\\"


def _as_latex(text: str) -> str:
    return text.translate(_LATEX)


def tables(results: Any) -> Iterator[Table]:
    """All tables of a report."""
    yield systems(results)
    if results.comparison:
        yield means(results.comparison)
        yield differences(results.comparison)
    if any(system.latency for system in results.systems.values()):
        yield latency(results)
    yield per_query(results)


def systems(results: Any) -> Table:
    """A row a system: its pipeline, its measures with marks of significance, its seconds for all queries."""
    measured = results.measured
    rows, strong = [], set()
    for number, (name, system) in enumerate(results.systems.items()):
        cells = [summary.marked(results, name, measure) for measure in measured]
        rows.append([name, repr(system.ranking), *cells, f"{system.seconds:.2f}"])
        highest = [system.evaluation[measure] == summary.best(results, measure) for measure in measured]
        strong |= {(number, place) for place, high in enumerate(highest, 2) if high}
    header = ["system", "pipeline", *measured, "seconds"]
    return Table("Systems", header, rows, len(measured) + 1, frozenset(strong), "The best of each measure is bold.")


def means(comparison: Any) -> Table:
    """A row a system: its mean on each measure, with the interval."""
    cells: dict[str, dict[str, str]] = {}
    for row in comparison.means:
        cells.setdefault(row.system, {})[row.measure] = f"{row.mean:.4f} [{row.low:.4f}, {row.high:.4f}]"
    measures = list(dict.fromkeys(row.measure for row in comparison.means))
    rows = [[system, *(each[measure] for measure in measures)] for system, each in cells.items()]
    note = f"Bootstrap over {comparison.queries:,} queries, {comparison.resamples:,} resamples."
    return Table("Means with 95 % intervals", ["system", *measures], rows, len(measures), note=note)


def differences(comparison: Any) -> Table:
    """A row for each pair of systems and measure."""
    header = ["measure", "system", "against", "difference", "from", "to", "effect d", "p", "p (Holm)"]
    rows = [
        [
            *(row.measure, row.system, row.other, f"{row.difference:+.4f}", f"{row.low:+.4f}", f"{row.high:+.4f}"),
            *(f"{row.effect:.2f}", f"{row.p:.4f}", f"{row.corrected:.4f}"),
            *(str(row.wins), str(row.losses), str(row.ties)),
        ]
        for row in comparison.differences
    ]
    strong = frozenset((number, 8) for number, row in enumerate(comparison.differences) if row.is_significant())
    note = f"Paired {comparison.test} test, two-sided; bold p-values are below 0.05 after Holm's correction."
    return Table("Differences", [*header, "better", "worse", "same"], rows, 9, strong, note)


def latency(results: Any) -> Table:
    """Milliseconds that one query takes, stage by stage."""
    rows = [
        [name, stage, *(f"{times[quantile]:.2f}" for quantile in ("p50", "p95", "p99"))]
        for name, system in results.systems.items()
        for stage, times in system.latency.items()
    ]
    asked = f"The first {results.experiment.evaluate.latency:,} queries, asked one at a time, in milliseconds."
    return Table("Latency", ["system", "stage", "p50", "p95", "p99"], rows, 3, note=asked)


def per_query(results: Any) -> Table:
    """The values of each query, a column for each system and measure; only to be copied."""
    evaluations = {name: system.evaluation for name, system in results.systems.items()}
    columns = {
        f"{name} {measure}": evaluation.values[measure].tolist()
        for measure in results.measured
        for name, evaluation in evaluations.items()
    }
    ids = results.collection.queries.ids
    evaluated = next(iter(evaluations.values())).queries.tolist()
    rows = [
        [ids[query], *(f"{value:.4f}" for value in values)]
        for query, *values in zip(evaluated, *columns.values(), strict=True)
    ]
    return Table("Values of each query", ["query", *columns], rows, len(columns), whole=False)
