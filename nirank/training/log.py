"""The log of a training while it runs: lines of JSON in a file, and the hook that others listen to."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from nirank.component import Component
from nirank.errors import DamagedFile
from nirank.files import beside, refuse_special
from nirank.hooks import hookimpl

LOG = "log.jsonl"


class Journal:
    """Appends what training reports to `log.jsonl` in `folder`, one JSON object a line, and keeps it in `lines`.

    A training that goes on from step n repeats what came after it, so lines of later steps are taken out first.
    """

    def __init__(self, folder: Path | None, after: int = 0) -> None:
        self.path = folder / LOG if folder else None
        self.lines: list[dict[str, Any]] = []
        if self.path:
            self.lines = [line for line in _whole_lines(self.path) if line["step"] <= after]
            _rewrite(self.path, self.lines)
        self._start = time.perf_counter() - (self.lines[-1]["seconds"] if self.lines else 0)

    @hookimpl
    def nirank_trained(self, component: Component, step: int, values: Mapping[str, float]) -> None:
        """Note it down."""
        seconds = round(time.perf_counter() - self._start, 3)
        line = {"component": component.name, "step": step, "seconds": seconds, **values}
        self.lines.append(line)
        if self.path:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(_text(line))


def _whole_lines(path: Path) -> list[dict[str, Any]]:
    """The lines of a log that is whole. Raises `DamagedFile` for one that has another line in it."""
    try:
        lines = list(_lines(path))
        if all(isinstance(line["step"], int) and isinstance(line["seconds"], (int, float)) for line in lines):
            return lines
        fault = "a step is no number"
    except (IsADirectoryError, ValueError, KeyError, TypeError, RecursionError) as error:
        fault = repr(error)
    raise DamagedFile(f"is damaged: {fault}. Remove the folder of the training, and train again.", path)


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a log; a last line that was cut off is no line."""
    if path.exists():
        refuse_special(path)
        for line in path.read_text(encoding="utf-8").splitlines(keepends=True):
            if line.endswith("\n"):
                yield json.loads(line)


def _rewrite(path: Path, lines: list[dict[str, Any]]) -> None:
    with beside(path) as unfinished:
        unfinished.write_text("".join(map(_text, lines)), encoding="utf-8")


def _text(line: Mapping[str, Any]) -> str:
    known = {name: value for name, value in line.items() if not isinstance(value, float) or math.isfinite(value)}
    return json.dumps(dict.fromkeys(line) | known, ensure_ascii=False) + "\n"  # JSON has no word for infinity
