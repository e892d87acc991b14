"""The observer that logs experiments and trainings to MLflow (https://mlflow.org); mlflow-skinny is enough."""

from __future__ import annotations

import importlib.util
import os
import re
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nirank.errors import MissingDependency
from nirank_adapters.observed import Observed

_LONGEST = 6000  # letters of a parameter that every store keeps


class Logger(Observed):
    """A run of MLflow for each system and each training: settings as parameters, measures as metrics, the manifest.

    Where to is MLFLOW_TRACKING_URI where that is set, or else a store in `folder`, a database that `mlflow ui` shows:
    an experiment file can so name no server. MLflow's names may not hold `@` and brackets: `nDCG@10` is logged as
    `nDCG_at_10`, `AP(rel=2)` as `AP-rel-2`.
    """

    places = ("folder",)

    def __init__(self, folder: str = "runs/mlflow") -> None:
        if importlib.util.find_spec("mlflow") is None:
            raise MissingDependency(
                "observer/mlflow needs the package 'mlflow', which is not installed. Run: pip install 'nirank[mlflow]'"
            )
        super().__init__()
        self.folder = Path(folder).expanduser()
        self._known: Any = None

    @property
    def _client(self) -> Any:
        if self._known is None:
            from mlflow import MlflowClient

            self._known = MlflowClient(os.environ.get("MLFLOW_TRACKING_URI") or self._store())
        return self._known

    def _store(self) -> str:
        self.folder.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{(self.folder / 'mlflow.db').resolve()}"

    def _experiment(self, name: str) -> str:
        found = self._client.get_experiment_by_name(name)
        if found is not None:
            return str(found.experiment_id)
        own = None if os.environ.get("MLFLOW_TRACKING_URI") else (self.folder / "artifacts").resolve().as_uri()
        return str(self._client.create_experiment(name, artifact_location=own))

    def _begin(self, experiment: str, name: str, settings: Mapping[str, Any]) -> str:
        from mlflow.entities import Param

        run = str(self._client.create_run(self._experiment(experiment), run_name=name).info.run_id)
        parameters = [Param(plain(key), str(value)[:_LONGEST]) for key, value in settings.items()]
        self._client.log_batch(run, params=parameters, synchronous=True)
        return run

    def _log(self, run: str, values: Mapping[str, float], step: int | None = None) -> None:
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        metrics = [Metric(plain(name), float(value), now, step or 0) for name, value in values.items()]
        self._client.log_batch(run, metrics=metrics, synchronous=True)

    def _attach(self, run: str, manifest: Mapping[str, Any], folder: Path | None) -> None:
        """The manifest, and the run of the system where results are written."""
        self._client.log_dict(run, dict(manifest), "manifest.json")
        if folder is not None:
            self._client.set_tag(run, "nirank.folder", str(folder.resolve()))

    def _end(self, run: str) -> None:
        self._client.set_terminated(run)


def plain(name: str) -> str:
    """A name as MLflow allows it: letters, digits, and some signs."""
    return re.sub(r"[^\w./ -]+", "-", name.replace("@", "_at_")).strip("-").replace("-_at_", "_at_")


def tiny() -> Logger:
    """One that writes into a folder that is not kept, if an experiment finishes."""
    return Logger(tempfile.gettempdir())
