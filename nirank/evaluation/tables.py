"""Evaluations and comparisons as tables: of rich, of HTML, as trec_eval prints them, and as columns of Arrow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from nirank.data.columns import numbers_to_array, to_column
from nirank.showing import html, terminal
from nirank.showing.terminal import shown

if TYPE_CHECKING:
    import pyarrow as pa
    from rich.table import Table


def evaluation_html(evaluation: Any) -> str:
    """The means of an evaluation, and the notes to read with them."""
    rows = [(name, f"{value:.4f}") for name, value in evaluation.mean.items()]
    return html.page(html.table(("measure", "mean"), rows, numbers=1), *html.notes(evaluation.notes()))


def trec_lines(evaluation: Any, queries: bool = False) -> Iterator[str]:
    """Measures as trec_eval prints them: measure, query (or "all") and value, separated by tabs."""
    if queries:
        names = evaluation.query_ids or evaluation.queries.tolist()
        for place, name in enumerate(names):
            yield from (f"{measure:<22}\t{name}\t{values[place]:.4f}" for measure, values in evaluation.values.items())
    yield from (f"{measure:<22}\tall\t{value:.4f}" for measure, value in evaluation.mean.items())


def per_query(evaluation: Any) -> pa.Table:
    """The values of an evaluation: a row a query, a column a measure."""
    import pyarrow as pa

    ids = evaluation.query_ids or list(map(str, evaluation.queries.tolist()))
    values = {name: numbers_to_array(column) for name, column in evaluation.values.items()}
    return pa.table({"query_id": to_column(ids), **values})


def comparison_table(comparison: Any) -> Table:
    """One row for each pair of systems and measure: difference, interval, effect size, p-values."""
    from rich.table import Table

    table = Table("measure", title=_title(comparison), title_justify="left")
    for name in ("system", "against"):
        table.add_column(name, overflow="fold")
    for name in _NUMBERS:
        table.add_column(name)
    for row in comparison.differences:
        table.add_row(row.measure, shown(row.system), shown(row.other), *_numbers(row))
    return table


def means_table(comparison: Any) -> Table:
    """The mean of each system on each measure, with its interval."""
    from rich.table import Table

    table = Table("measure", title="Means", title_justify="left")
    table.add_column("system", overflow="fold")
    for name in ("mean", "95% interval"):
        table.add_column(name)
    for row in comparison.means:
        table.add_row(row.measure, shown(row.system), *_mean(row))
    return table


def comparison_text(comparison: Any) -> str:
    """A comparison for a terminal."""
    return terminal.printed(means_table(comparison), comparison_table(comparison))


def comparison_html(comparison: Any) -> str:
    """A comparison for a notebook."""
    means = [(row.measure, row.system, *_mean(row)) for row in comparison.means]
    differences = [(row.measure, row.system, row.other, *_numbers(row)) for row in comparison.differences]
    return html.page(
        html.table(("measure", "system", "mean", "95% interval"), means, "Means", numbers=2),
        html.table(("measure", "system", "against", *_NUMBERS), differences, _title(comparison), numbers=len(_NUMBERS)),
    )


_NUMBERS = ("difference", "95% interval", "effect d", "p", "p (Holm)", "win/loss/tie")


def _title(comparison: Any) -> str:
    return f"Paired {comparison.test} test over {comparison.queries:,} queries"


def _mean(row: Any) -> tuple[str, str]:
    return f"{row.mean:.4f}", f"{row.low:.4f} .. {row.high:.4f}"


def _numbers(row: Any) -> tuple[str, ...]:
    counts = f"{row.wins}/{row.losses}/{row.ties}"
    interval = f"{row.low:+.4f} .. {row.high:+.4f}"
    return f"{row.difference:+.4f}", interval, f"{row.effect:.2f}", f"{row.p:.4f}", f"{row.corrected:.4f}", counts
