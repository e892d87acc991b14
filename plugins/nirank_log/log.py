"""The observer that logs the results of experiments, and shows trainings while they run."""

from __future__ import annotations

import importlib.util
import json
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank import hookimpl
from nirank.errors import MissingDependency
from nirank.kit import digest

if TYPE_CHECKING:
    from nirank import Evaluation, Results, System
    from nirank.plugins import Component


class Log:
    """Adds one JSON line to `file` for each system of a finished experiment.

    A line has the time, the experiment, the pipeline, the measures, and a hash of the manifest (all of it but its
    date: equal hashes mean equal versions, models, data and settings). With `tensorboard`, by default where it is
    installed, the measures are also written as scalars into the folder `tensorboard` beside the file, one run of
    TensorBoard a system; and so is what a training reports, step by step, one run a component.
    """

    places = ("file",)  # settings that name what is written

    def __init__(self, file: str = "runs/log.jsonl", tensorboard: bool | None = None) -> None:
        installed = importlib.util.find_spec("tensorboard") is not None
        if tensorboard and not installed:
            raise MissingDependency(
                "observer/log has tensorboard = true, but TensorBoard is not installed. Run: pip install 'nirank[log]'"
            )
        self.file = Path(file).expanduser()
        self.tensorboard = installed if tensorboard is None else tensorboard
        self._measured: dict[str, datetime] = {}
        self._started = datetime.now(UTC)
        self._writers: dict[str, Any] = {}

    @hookimpl
    def nirank_trained(self, component: Component, step: int, values: dict[str, float]) -> None:
        """Show the values that a training reports at a step."""
        if not self.tensorboard:
            return
        if component.name not in self._writers:
            self._writers[component.name] = self._writer(f"train-{self._started:%Y%m%d-%H%M%S}", component.name)
        for name, value in values.items():
            self._writers[component.name].add_scalar(name, value, step=step)
        self._writers[component.name].flush()

    def close(self) -> None:
        """Close the files of trainings."""
        for writer in self._writers.values():
            writer.close()

    @hookimpl
    def nirank_evaluated(self, system: str, evaluation: Evaluation) -> None:  # noqa: ARG002 (the time is what counts)
        """Note the time at which the measures of a system were known."""
        self._measured[system] = datetime.now(UTC)

    def finished(self, results: Results, folder: Path | None) -> None:
        """Write down the results of an experiment."""
        append(self.file, list(self._lines(results, folder)))
        if self.tensorboard:
            for system in results.systems.values():
                self._write_scalars(results.experiment.name, system)

    def _lines(self, results: Results, folder: Path | None) -> Iterator[dict[str, Any]]:
        made = _manifest(results, folder)
        for system in results.systems.values():
            yield {
                "when": self._when(system).isoformat(timespec="seconds"),
                "experiment": results.experiment.name,
                "system": system.name,
                "pipeline": repr(system.ranking),
                "collection": results.collection.name,
                "measures": system.evaluation.mean,
                "seconds": round(system.seconds, 3),
                "seed": results.experiment.seed,
                "manifest": made,
                "folder": str(folder.resolve()) if folder else None,
            }

    def _write_scalars(self, experiment: str, system: System) -> None:
        when = self._when(system)
        writer = self._writer(f"{experiment}-{when:%Y%m%d-%H%M%S}", system.name)
        for measure, value in system.evaluation.mean.items():
            writer.add_scalar(measure, value, step=0, wall_time=when.timestamp())
        writer.close()

    def _writer(self, run: str, name: str) -> Any:
        from tensorboard.summary import Writer

        return Writer(str(self.file.parent / "tensorboard" / run / name))

    def _when(self, system: System) -> datetime:
        return self._measured[system.name]


def append(path: Path, rows: list[dict[str, Any]]) -> None:
    """Add rows to a file of JSON lines, all or none, also where several processes do so at once.

    A line that another program left without an end is ended first.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows).encode()
    with FileLock(f"{path}.lock"), path.open("a+b") as file:
        size = file.seek(0, os.SEEK_END)
        try:
            file.write((b"" if _ends_a_line(path, size) else b"\n") + text)
            file.flush()
            os.fsync(file.fileno())
        except OSError:
            file.truncate(size)
            raise


def _ends_a_line(path: Path, size: int) -> bool:
    with path.open("rb") as file:
        file.seek(max(size - 1, 0))
        return file.read(1) in (b"", b"\n")


def _manifest(results: Results, folder: Path | None) -> str:
    """A hash of the manifest without its date."""
    made = json.loads((folder / "manifest.json").read_text(encoding="utf-8")) if folder else results.manifest()
    return digest({key: value for key, value in made.items() if key != "when"})


def tiny() -> Log:
    """One that writes nowhere unless an experiment finishes."""
    return Log(os.devnull, tensorboard=False)
