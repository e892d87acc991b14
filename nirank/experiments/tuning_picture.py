"""A picture of a tuning: the measure over each setting, a point a trial; over two, of a grid, as a map."""

from __future__ import annotations

import importlib.util
import io
import logging
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from nirank.experiments.trials import Trial
    from nirank.experiments.tuned import Tuned

log = logging.getLogger("nirank")

_PANEL = (4.0, 3.4)  # inches


def draw(tuned: Tuned) -> str | None:
    """The picture as SVG; None, which is told, where matplotlib is not installed."""
    if importlib.util.find_spec("matplotlib") is None:
        log.warning("matplotlib is not installed, and no picture is drawn. Run: pip install 'nirank[tune]'")
        return None
    import matplotlib
    from matplotlib.figure import Figure

    trials = [trial for trial in tuned.trials if len(trial) == len(tuned.query_ids)]
    names = list(tuned.tuning.space)
    mapped = tuned.tuning.method == "grid" and len(names) == 2 and len(trials) == len(tuned.trials)
    panels = 1 if mapped else len(names)
    figure = Figure(figsize=(_PANEL[0] * panels, _PANEL[1]), layout="constrained")
    with matplotlib.rc_context({"svg.hashsalt": "nirank", "svg.fonttype": "none"}):
        axes = figure.subplots(1, panels, sharey=not mapped, squeeze=False)[0]
        if mapped:
            _map(figure, axes[0], tuned, trials)
        else:
            for name, axis in zip(names, axes, strict=True):
                _points(axis, tuned, trials, name)
        file = io.StringIO()
        figure.savefig(file, format="svg", metadata={"Date": None})
    return file.getvalue()


def _points(axis: Any, tuned: Tuned, trials: list[Trial], name: str) -> None:
    """A point a trial, and the best of each value as a line where values are few."""
    measure, log_scale = tuned.tuning.measure, getattr(tuned.tuning.space[name], "log", False)
    places = _places([trial.settings[name] for trial in trials])
    axis.scatter(places, [trial.mean(measure) for trial in trials], s=14, alpha=0.6)
    axis.scatter([places[trials.index(tuned.best)]], [tuned.best.mean(measure)], s=60, marker="*", color="tab:red")
    axis.set(xlabel=name, ylabel=measure, xscale="log" if log_scale else "linear")


def _map(figure: Any, axis: Any, tuned: Tuned, trials: list[Trial]) -> None:
    """The measure as a colour, a cell a combination; a star on the best."""
    across, down = (list(dict.fromkeys(trial.settings[name] for trial in trials)) for name in tuned.tuning.space)
    means = [trial.mean(tuned.tuning.measure) for trial in trials]
    cells = [means[start : start + len(down)] for start in range(0, len(means), len(down))]
    shown = axis.imshow(list(zip(*cells, strict=True)), aspect="auto", origin="lower")
    figure.colorbar(shown, label=tuned.tuning.measure)
    first, second = tuned.tuning.space
    best = tuned.best.settings
    axis.scatter([across.index(best[first])], [down.index(best[second])], marker="*", s=80, color="tab:red")
    axis.set_xticks(range(len(across)), map(str, across), rotation=90)
    axis.set_yticks(range(len(down)), map(str, down))
    axis.set(xlabel=first, ylabel=second)


def _places(values: list[Any]) -> list[Any]:
    """Numbers as they are, anything else as text."""
    numeric = all(isinstance(value, (int, float)) and not isinstance(value, bool) for value in values)
    return values if numeric else list(map(str, values))
