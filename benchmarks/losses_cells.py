"""What was measured in one cell of the grid, kept in a file so that an interrupted run goes on where it was."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import losses_code

from nirank.files import beside
from nirank.kit import digest


@dataclass(frozen=True)
class Outcome:
    """What came of training with one loss.

    `values` are those of each test query, by measure. `dev` is the mean measure on dev of the weights that were kept,
    `steps` when that was in each training (both empty for what is not trained here), `seconds` the time of all.
    """

    values: dict[str, list[float]]
    dev: float | None
    steps: list[int]
    seconds: float

    def mean(self, measure: str) -> float:
        """The mean over test queries."""
        values = self.values[measure]
        return sum(values) / len(values)


@dataclass(frozen=True)
class Cells:
    """Outcomes in a folder, by column, line and all settings that they depend on, each with the code that it is of."""

    folder: Path

    def get(self, column: str, line: str, told: Mapping[str, Any], make: Callable[[], Outcome]) -> Outcome:
        """The outcome that is kept for these settings, or the one that `make` gives, which is kept from then on.

        One of other code is made anew, unless that is to be taken (`losses_code.OLDER`).
        """
        path = self.folder / f"{column}-{line}-{digest(told)[:12]}.json".replace(" ", "-")
        if path.exists():
            kept = json.loads(path.read_text(encoding="utf-8"))
            if losses_code.OLDER.takes(path.stem, kept.get("code")):
                return Outcome(**kept["outcome"])
        outcome = make()
        with beside(path) as unfinished:
            kept = {"settings": told, "outcome": asdict(outcome), "code": losses_code.loaded()}
            unfinished.write_text(json.dumps(kept) + "\n", encoding="utf-8")
        return outcome
