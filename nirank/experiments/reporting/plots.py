"""Plots of a report, drawn by matplotlib as SVG that stands in the page.

Matplotlib was chosen by size: a plot is some kilobytes of SVG that needs no script, while the scripts of Vega or Plotly
take 0.8 to 4.5 MB in each page, and a page with scripts could not forbid all others. Text stays text. What is black is
written as `currentColor`, so that a plot can be read on light and on dark ground.
"""

from __future__ import annotations

import importlib.util
import io
import itertools
import re
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.evaluation.evaluating import evaluate

#: Colours of systems, told apart by those who are colour-blind, on light and on dark ground.
COLOURS = ("#3b82c4", "#e0783a", "#2a9d6f", "#b06ac4", "#c9a227", "#d1495b", "#5b7f95", "#8c6d46")
_INK = "#010203"  # replaced by currentColor; what is black would be left out by matplotlib
_STYLE = {
    "svg.fonttype": "none",
    "svg.hashsalt": "nirank",
    "font.size": 9,
    "text.parse_math": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 9,
    "axes.titlelocation": "left",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _INK),
    "axes.grid": True,
    "grid.color": "#8888884d",
    "grid.linewidth": 0.6,
    "axes.axisbelow": True,
    "legend.frameon": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "axes.linewidth": 0.6,
}
_PANEL = 3.1  # inches
_COLUMNS = 3
#: Ranks at which curves are measured.
_RANKS = (1, 2, 3, 5, 10, 20, 50, 100, 200, 500, 1000)
#: So many points are drawn one by one, and so many steps of a curve.
_POINTS, _STEPS = 1500, 400
#: Digits behind the second one, of coordinates in points.
_DIGITS = re.compile(r"(\d\.\d\d)\d+")
#: What trec_eval interpolates precision at.
_RECALL = tuple(f"iprec_at_recall_{tenth / 10:.2f}" for tenth in range(11))


@dataclass(frozen=True)
class Plot:
    """A plot, with a title and a sentence on how to read it."""

    title: str
    about: str
    svg: str
    narrow: bool = False


def missing() -> str | None:
    """The line that says what to install; None where plots can be drawn."""
    if importlib.util.find_spec("matplotlib"):
        return None
    return "There are no plots: matplotlib is not installed. Run: pip install 'nirank[report]'"


def plots(results: Any) -> list[Plot]:
    """All plots of a report."""
    measure = results.measured[0]
    drawn = [curves(results)]
    if results.baseline in results.systems and len(results.systems) > 1:
        drawn = [scatters(results, measure), steps(results, measure), *drawn]
    if all("total" in system.latency for system in results.systems.values()):
        drawn.append(waiting(results))
    return drawn


def scatters(results: Any, measure: str) -> Plot:
    """For each system, a point a query: its value over that of the baseline."""
    base = results.systems[results.baseline].evaluation.values[measure]
    others = [name for name in results.systems if name != results.baseline]

    def panel(axis: Any, place: int) -> None:
        name = others[place]
        _scatter(axis, base, results.systems[name].evaluation.values[measure], _colour(results, name))
        axis.set(xlabel=results.baseline, ylabel=name)

    about = f"{measure} of each query. Above the line a system is better than {results.baseline}; larger dots are more "
    return Plot("Query by query", f"{about}queries.", _panels(len(others), panel, height=_PANEL))


def _scatter(axis: Any, base: NDArray[Any], values: NDArray[Any], colour: str) -> None:
    points, counts = np.unique(np.stack([base, values], 1).round(3), axis=0, return_counts=True)
    low, high = min(0.0, float(points.min())), max(1.0, float(points.max()))
    axis.plot([low, high], [low, high], color=_INK, linewidth=0.8, alpha=0.6)
    for count in np.unique(counts):  # one shape for all points of a size, which is why there is no scatter here
        size = 3.2 * count**0.25
        some, flat = points[counts == count].T, len(points) > _POINTS
        axis.plot(*some, "o", color=colour, alpha=0.6, markersize=size, markeredgewidth=0, rasterized=flat)
    margin = 0.03 * (high - low)
    axis.set(xlim=(low - margin, high + margin), ylim=(low - margin, high + margin), aspect="equal")


def steps(results: Any, measure: str) -> Plot:
    """For each system the differences from the baseline of all queries, from the largest to the least."""
    base = results.systems[results.baseline].evaluation.values[measure]
    others = [name for name in results.systems if name != results.baseline]
    apart = [np.sort(results.systems[name].evaluation.values[measure] - base)[::-1] for name in others]
    most = max(float(np.abs(each).max(initial=0)) for each in apart) or 1.0

    def panel(axis: Any, place: int) -> None:
        _steps(axis, apart[place], _colour(results, others[place]))
        better, worse = int((apart[place] > 0).sum()), int((apart[place] < 0).sum())
        axis.set_title(f"{others[place]}: {better} better, {worse} worse")
        axis.set(xlabel="queries, in order", ylim=(-1.05 * most, 1.05 * most))
        axis.set_ylabel(f"difference in {measure}" if place % _COLUMNS == 0 else "")

    about = f"Difference in {measure} from {results.baseline}, query by query, the largest gain first."
    return Plot("Gains and losses", about, _panels(len(others), panel, height=2.4))


def _steps(axis: Any, falling: NDArray[Any], colour: str) -> None:
    places = np.unique(np.linspace(0, len(falling) - 1, min(len(falling), _STEPS)).round().astype(int))
    axis.fill_between(places + 0.5, falling[places], step="mid", color=colour, alpha=0.75, linewidth=0)
    axis.axhline(0, color=_INK, linewidth=0.8)
    axis.set_xlim(0, len(falling))


def curves(results: Any) -> Plot:
    """Precision over recall, and gain and recall over ranks."""
    deepest = max(system.run.longest for system in results.systems.values())
    ranks = [rank for rank in _RANKS if rank <= max(deepest, 1)]
    names = [[*_RECALL], [f"nDCG@{rank}" for rank in ranks], [f"R@{rank}" for rank in ranks]]
    found = {name: _means(results, system, [*itertools.chain(*names)]) for name, system in results.systems.items()}
    axes = [
        (np.linspace(0, 1, 11), "recall", "interpolated precision"),
        (ranks, "rank", "nDCG"),
        (ranks, "rank", "recall"),
    ]

    def panel(axis: Any, place: int) -> None:
        across, below, beside = axes[place]
        for name, means in found.items():
            values = [means[measure] for measure in names[place]]
            axis.plot(across, values, color=_colour(results, name), linewidth=1.4, marker=".", markersize=4, label=name)
        axis.set(xlabel=below, ylabel=beside, xscale="log" if place else "linear")
        axis.set_ylim(bottom=0)
        if place:
            axis.set_xticks(_ticks(ranks), list(map(str, _ticks(ranks))))
            axis.minorticks_off()

    about = "Means over queries: precision at eleven levels of recall, and what the first ranks hold."
    return Plot("Precision, recall and rank", about, _panels(3, panel, height=2.8, legend=True))


def _ticks(ranks: Sequence[int]) -> list[int]:
    """The powers of ten among ranks, or all where there are few."""
    tens = [rank for rank in ranks if str(rank).strip("0") == "1"]
    return tens if len(tens) > 1 else list(ranks)


def _means(results: Any, system: Any, measures: Sequence[str]) -> dict[str, float]:
    ties = results.experiment.evaluate.ties
    return evaluate(system.run, results.collection.judgments, measures, ties=ties).mean


def waiting(results: Any) -> Plot:
    """The milliseconds that half of the queries take, and 95 of 100."""
    names = list(results.systems)
    times = [results.systems[name].latency["total"] for name in names]

    def panel(axis: Any, place: int) -> None:
        del place
        for row, (name, each) in enumerate(zip(names, times, strict=True)):
            axis.plot([each["p50"], each["p95"]], [row, row], color=_colour(results, name), linewidth=2.2, alpha=0.6)
            axis.plot([each["p50"]], [row], "o", color=_colour(results, name), markersize=6)
        longest, shortest = max(each["p95"] for each in times), max(min(each["p50"] for each in times), 1e-3)
        axis.set_yticks(range(len(names)), names)
        axis.set(
            xlabel="milliseconds", ylim=(len(names) - 0.5, -0.5), xscale="log" if longest > 20 * shortest else "linear"
        )
        axis.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        if longest <= 20 * shortest:
            axis.set_xlim(left=0)

    about = "One query at a time: the dot is the median, the line goes to the 95th percentile."
    return Plot("Latency", about, _panels(1, panel, height=0.7 + 0.28 * len(names), width=2 * _PANEL), narrow=True)


def _colour(results: Any, name: str) -> str:
    return COLOURS[list(results.systems).index(name) % len(COLOURS)]


def _panels(
    count: int, draw: Callable[[Any, int], None], height: float, width: float = _PANEL, legend: bool = False
) -> str:
    """Panels beside one another, in rows, as SVG; `draw` is called with each and its number."""
    import matplotlib
    from matplotlib.figure import Figure

    across, down = min(count, _COLUMNS), -(-count // _COLUMNS)
    size = (width * across, height * down + 0.35 * legend)
    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of letters that its font lacks: the page has others
        figure = Figure(figsize=size, layout="constrained")
        axes = figure.subplots(down, across, squeeze=False).ravel()
        for place, axis in enumerate(axes):
            axis.set_visible(place < count)
            if place < count:
                draw(axis, place)
        if legend:
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper left", ncols=min(len(labels), 6))
        return _svg(figure)


def _svg(figure: Any) -> str:
    """A figure as an element of HTML: without its prolog, and with the colours of the page."""
    file = io.StringIO()
    figure.savefig(
        file, format="svg", dpi=150, transparent=True, metadata=dict.fromkeys(("Date", "Creator", "Format", "Type"))
    )
    text = file.getvalue()
    text = _DIGITS.sub(r"\1", text[text.index("<svg") :]).replace(_INK, "currentColor")
    return re.sub(r'^<svg[^>]*?(viewBox="[^"]*")[^>]*>', r'<svg \1 role="img">', text, count=1)
