"""A row of a table: one system, what it came to with each seed, and the figures that this makes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from losses_cells import Outcome
from quality_table import Figure

from nirank.evaluation import confidence_intervals
from nirank.evaluation.significance import randomisation_test


@dataclass(frozen=True, eq=False)
class Row:
    """What a system came to, with each seed.

    `made` tells how, for readers. Where outcomes hold the values of several systems, the names of this one's measures
    begin with `prefix` there.
    """

    name: str
    outcomes: Sequence[Outcome]
    made: str = ""
    prefix: str = ""

    def values(self, measure: str) -> np.ndarray:
        """The measure of each test query, the mean over seeds, `[queries]`."""
        return np.mean([each.values[self.prefix + measure] for each in self.outcomes], axis=0)

    def figure(self, measure: str, baseline: Row | None = None) -> Figure:
        """The mean over queries and seeds; the interval is over queries, the spread over seeds.

        With a baseline also the significance of the difference from it, by a randomisation test.
        """
        values, means = self.values(measure), [each.mean(self.prefix + measure) for each in self.outcomes]
        low, high = confidence_intervals(values)[0].tolist()
        spread = float(np.std(means, ddof=1)) if len(means) > 1 else None
        p = randomisation_test(values - baseline.values(measure)) if baseline else None
        return Figure(float(values.mean()), spread, low, high, p)

    def gain(self, other: Row, measure: str) -> Figure:
        """How much more than another system it has in the mean, over the same queries; significance as in `figure`."""
        more = self.values(measure) - other.values(measure)
        low, high = confidence_intervals(more)[0].tolist()
        return Figure(float(more.mean()), None, low, high, randomisation_test(more))

    @property
    def dev(self) -> float | None:
        """The measure on dev, the mean over seeds, where it was measured."""
        found = [each.dev for each in self.outcomes if each.dev is not None]
        return float(np.mean(found)) if found else None

    @property
    def seconds(self) -> str:
        """How long one seed took, in the mean."""
        return f"{np.mean([each.seconds for each in self.outcomes]):.0f}"
