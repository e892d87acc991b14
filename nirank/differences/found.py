"""The differences of two runs: what `nirank.why_different` returns."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from typing import Any

from nirank.differences.agreement import Agreement
from nirank.differences.changed import ABOUT, Change, Changes
from nirank.differences.figures import Measure, MovedQuery
from nirank.differences.page import page
from nirank.differences.rows import Shown, tables
from nirank.differences.stages import Stages

_ROUNDING = 1e-4  # a difference of scores, over the scores, that another order of adding may make
_LISTED = 3  # changes of one kind that are told in a sentence
_SAME = 5e-5  # two means with the same four digits
_JUDGED = {
    None: "They were measured by other judgments or ties.",
    "a": "These are the judgments that a was measured by, and not b.",
    "b": "These are the judgments that b was measured by, and not a.",
}


@dataclass(frozen=True)
class Differences:
    """Why two runs differ.

    `changes` are those of the manifests, `agreement` counts queries with the same results (None where one side is an
    evaluation), `stages` says where the pipelines diverge first. `measures` has one row each, `moved` the queries whose
    first measure moved most. `recorded` are the means that were measured when the runs were made, of a and b, and
    `judged_as` is "a" or "b" where only that one was measured by the judgments that were given.
    """

    names: tuple[str, str]
    changes: Changes
    agreement: Agreement | None
    stages: Stages
    measures: tuple[Measure, ...]
    moved: tuple[MovedQuery, ...]
    recorded: dict[str, tuple[float, float]]
    judged_as: str | None = None

    def summary(self) -> list[str]:
        """The findings in sentences: the most telling first."""
        return [
            *self._about_results(),
            *self._about_changes(),
            *self._about_records(),
            *self._about_stages(),
            *self.changes.unknown,
        ]

    def tables(self) -> list[Shown]:
        """The tables that have rows, as text: what differs, the measures, what moved them, explanations."""
        return tables(self.changes, self.measures, self.moved)

    def to_dict(self) -> dict[str, Any]:
        """All of it as JSON can hold it; numbers that are not finite are None."""
        return {"summary": self.summary(), **asdict(self, dict_factory=_plain)}

    def __str__(self) -> str:
        return "\n".join([f"a: {self.names[0]}", f"b: {self.names[1]}", *self.summary()])

    def _repr_html_(self) -> str:
        return page(self.names, self.summary(), self.tables())

    def _about_stages(self) -> list[str]:
        """The place where stages diverge; nothing of stages that were not searched, where all results are the same."""
        same = self.agreement is not None and self.agreement.same_bits == self.agreement.queries
        return [] if same and not self.stages.searched else [self.stages.note]

    def _about_results(self) -> list[str]:
        found = self.agreement
        if found is None:
            return []
        if found.same_bits == found.queries:
            return [f"The runs are the same to the bit for all {found.queries:,} queries."]
        if found.same_bits + found.same_order == found.queries:
            small = f" (by {found.gap:.1e} of a score at most)" if found.gap and found.gap < _ROUNDING else ""
            return [
                f"All {found.queries:,} queries have the same documents in the same order; only scores differ{small}."
            ]
        return [*self._about_queries(found), *self._about_rounding(found)]

    def _about_queries(self, found: Agreement) -> list[str]:
        alone = [f"{count:,} are only in {name}" for name, count in (("a", found.only_a), ("b", found.only_b)) if count]
        return [
            f"Of {found.queries:,} queries {found.same_bits:,} have the same results to the bit, {found.same_order:,} "
            f"the same order, {found.same_set:,} the same documents, and {found.other:,} others"
            f"{': ' + ', '.join(alone) if alone else ''}. Mean overlap (RBO, p={found.p:g}): {found.overlap:.4f}."
        ]

    def _about_rounding(self, found: Agreement) -> list[str]:
        if not found.gap or found.gap >= _ROUNDING:
            return []
        return [
            f"No score differs by more than {found.gap:.1e} of itself: that is rounding, as another library of linear "
            "algebra, number of threads or instruction set brings about."
        ]

    def _about_changes(self) -> list[str]:
        grouped = [(about, self.changes.about(about)) for about in ABOUT]
        return [f"Different {about}: {_listed(rows)}." for about, rows in grouped if rows]

    def _about_records(self) -> list[str]:
        """The means that were measured when the runs were made, where these judgments say something else."""
        sentences = []
        for row in self.measures:
            then = self.recorded.get(row.name)
            if then and max(abs(then[0] - row.a), abs(then[1] - row.b)) > _SAME:
                sentences.append(
                    f"{row.name} was measured as {then[0]:.4f} for a and {then[1]:.4f} for b when they were made; by "
                    f"these judgments it is {row.a:.4f} and {row.b:.4f}. {_JUDGED[self.judged_as]}"
                )
        return sentences[:1]


def _listed(rows: list[Change]) -> str:
    """The first changes, and how many more there are."""
    more = [f"and {len(rows) - _LISTED} more"] if len(rows) > _LISTED else []
    return "; ".join([*map(str, rows[:_LISTED]), *more])


def _plain(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields}
