"""The systems of an experiment side by side: their measures with marks, as text, as HTML and as columns of Arrow."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from nirank.showing import html, terminal
from nirank.showing.terminal import shown

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table
    from rich.text import Text

#: Marks of a difference from the baseline, by the largest corrected p-value they stand for.
MARKS = ((0.001, "***"), (0.01, "**"), (0.05, "*"))


def text(results: Any) -> str:
    """The table of the systems and the notes to it, for a terminal."""
    return terminal.printed(systems_table(results), *map(shown, notes(results)))


def as_html(results: Any) -> str:
    """The table of the systems and the notes to it, for a notebook."""
    rows = [_html_row(results, system) for system in results.systems.values()]
    header = ("system", "pipeline", *results.measured, "seconds")
    title = repr(results.collection).strip("<>")
    return html.page(html.table(header, rows, title, numbers=len(header) - 2), *html.notes(notes(results)))


def as_arrow(results: Any) -> pa.Table:
    """A row a system: its name, its pipeline, the mean of each measure, and its seconds."""
    import pyarrow as pa

    systems = list(results.systems.values())
    return pa.table(
        {
            "system": [system.name for system in systems],
            "pipeline": [repr(system.ranking) for system in systems],
            **{name: [system.evaluation[name] for system in systems] for name in results.measured},
            "seconds": [system.seconds for system in systems],
        }
    )


def systems_table(results: Any) -> Table:
    """One row a system: its expression, its measures with marks of significance, its time for all queries."""
    from rich.table import Table

    names = results.measured  # the evaluation's own names: trec_eval's "official" stands for many
    table = Table(title=shown(repr(results.collection).strip("<>")), title_justify="left", title_style="bold")
    table.add_column("system", style="bold")
    table.add_column("pipeline", overflow="fold")
    for name in [*names, "seconds"]:
        table.add_column(name, justify="right")
    for system in results.systems.values():
        cells = [_cell(results, system.name, measure, best(results, measure)) for measure in names]
        table.add_row(shown(system.name), shown(repr(system.ranking)), *cells, f"{system.seconds:.2f}")
    return table


def notes(results: Any) -> list[str]:
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


def _fold_line(row: Any) -> str:
    chosen = ", ".join(f"{name} = {value!r}" for name, value in row.settings.items())
    counts = f"{row.test:,} queries measured, {row.dev:,} to choose by, {row.train:,} to learn from"
    return f"Fold {row.fold}: {counts}" + (f"; {chosen}." if chosen else ".")


def _html_row(results: Any, system: Any) -> list[html.Part]:
    values = [_html_value(results, system, measure) for measure in results.measured]
    return [
        html.element("b", system.name),
        html.element("code", repr(system.ranking)),
        *values,
        f"{system.seconds:.2f}",
    ]


def _html_value(results: Any, system: Any, measure: str) -> html.Part:
    """A mean with its mark, in bold where it is the best."""
    text = marked(results, system.name, measure)
    return html.element("b", text) if system.evaluation[measure] == best(results, measure) else text


def best(results: Any, measure: str) -> float:
    """The highest mean of a measure."""
    return max(float(system.evaluation[measure]) for system in results.systems.values())


def marked(results: Any, system: str, measure: str) -> str:
    """The mean of a system with its mark of significance."""
    return f"{results.systems[system].evaluation[measure]:.4f}{_mark(results, system, measure)}"


def _cell(results: Any, system: str, measure: str, highest: float) -> Text:
    value, mark = results.systems[system].evaluation[measure], _mark(results, system, measure)
    return shown(f"{value:.4f}{mark:<3}", style="bold green" if value == highest else "")


def _mark(results: Any, system: str, measure: str) -> str:
    if results.comparison is None or system == results.baseline:
        return ""
    p = results.comparison.of(system, results.baseline, measure).corrected
    return next((mark for bound, mark in MARKS if p < bound), "")
