"""The `nirank_plugin.py` beside an experiment."""

from __future__ import annotations

import filecmp
from pathlib import Path

from nirank.experiments.experiment import Experiment
from nirank.experiments.write import MANIFEST
from nirank.plugins import trust
from nirank.plugins.loading import active, load_file


def load_beside(experiment: Experiment) -> None:
    """Load the plugin beside an experiment, unless a copy of it is loaded already."""
    beside = experiment.plugin_file
    loaded = [Path(plugin.name) for plugin in active().known if plugin.name.endswith("nirank_plugin.py")]
    if beside and not any(path.exists() and filecmp.cmp(path, beside, shallow=False) for path in loaded):
        trust.check(beside, came_with_results=(beside.parent / MANIFEST).exists())
        load_file(beside)
