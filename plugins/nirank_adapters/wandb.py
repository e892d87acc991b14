"""The observer that logs experiments and trainings to Weights & Biases (https://wandb.ai)."""

from __future__ import annotations

import importlib.util
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

from nirank.errors import MissingDependency
from nirank_adapters.observed import Observed


class Logger(Observed):
    """A run of W&B for each system and each training: settings as its config, measures, and the manifest.

    Runs are written into `folder`, offline: `wandb sync FOLDER` uploads one. They go to the server at once where the
    environment says so, WANDB_MODE=online; an experiment file cannot. The results of an experiment are in the summary
    of its runs, the reports of a training in their history.
    """

    places = ("folder",)

    def __init__(self, folder: str = "runs", project: str = "nirank") -> None:
        if importlib.util.find_spec("wandb") is None:
            raise MissingDependency(
                "observer/wandb needs the package 'wandb', which is not installed. Run: pip install 'nirank[wandb]'"
            )
        super().__init__()
        self.folder, self.project = Path(folder).expanduser(), project

    def _begin(self, experiment: str, name: str, settings: Mapping[str, Any]) -> Any:
        import wandb

        self.folder.mkdir(parents=True, exist_ok=True)
        return wandb.init(
            project=self.project,
            group=experiment,
            name=name,
            config={key: str(value) if isinstance(value, Path) else value for key, value in settings.items()},
            dir=str(self.folder),
            mode=cast("Any", os.environ.get("WANDB_MODE", "offline")),
            reinit="create_new",
            settings=wandb.Settings(silent=True, console="off", save_code=False, disable_git=True),
        )

    def _log(self, run: Any, values: Mapping[str, float], step: int | None = None) -> None:
        if step is None:
            run.summary.update({name: float(value) for name, value in values.items()})
        else:
            run.log({name: float(value) for name, value in values.items()}, step=step)

    def _attach(self, run: Any, manifest: Mapping[str, Any], folder: Path | None) -> None:
        run.config.update({"manifest": dict(manifest), "folder": str(folder.resolve()) if folder else None})

    def _end(self, run: Any) -> None:
        run.finish()


def tiny() -> Logger:
    """One that writes into a folder that is not kept, if an experiment finishes."""
    return Logger(tempfile.gettempdir())
