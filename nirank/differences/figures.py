"""The figures of a comparison: what measures say of two runs, and the queries that moved."""

from __future__ import annotations

from dataclasses import dataclass

from nirank.differences.documents import MovedDocument
from nirank.differences.parts import Parts


@dataclass(frozen=True)
class Measure:
    """A measure of both runs: `difference` is b minus a, with its 95 % bootstrap interval and the p-value of the test.

    The test is the randomisation test of `nirank.compare`. `detectable` is the difference that a paired t-test on
    these queries would find in 80 of 100 experiments; `parts` add up to the difference, and are None of evaluations.
    """

    name: str
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    detectable: float
    queries: int
    parts: Parts | None


@dataclass(frozen=True)
class MovedQuery:
    """A query whose measure moved: its values in both runs, and the documents that moved it most."""

    query: str
    measure: str
    a: float
    b: float
    documents: tuple[MovedDocument, ...]

    @property
    def difference(self) -> float:
        """The value of b minus that of a."""
        return self.b - self.a
