"""Grades of several annotators: how far they agree, and one grade made of many."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import median_low
from types import MappingProxyType
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Rule = Literal["median", "majority", "highest", "lowest"]
#: A disagreement by so many grades costs so much, in Cohen's weighted kappa.
Weights = Literal["any", "linear", "quadratic"]


def _most_frequent(grades: Sequence[int]) -> int:
    counts = Counter(grades)
    return min(counts, key=lambda grade: (-counts[grade], grade))


#: Make one grade of those of several annotators. In doubt it is the lower one: between the two in the middle of a
#: median, and among grades that are equally frequent.
RULES: Mapping[Rule, Callable[[Sequence[int]], int]] = MappingProxyType(
    {"median": median_low, "majority": _most_frequent, "highest": max, "lowest": min}
)


@dataclass(frozen=True)
class Agreement:
    """The agreement of two annotators on the `pairs` of query and document that both have judged.

    `same` is the share of equal grades. `kappa` is Cohen's (1960), for which all differences are alike, and `weighted`
    that of 1968 with squares of differences: 1 is full agreement, 0 that of chance. None where they say nothing: of no
    pairs, and where both gave one and the same grade only.
    """

    a: str
    b: str
    pairs: int
    same: float | None
    kappa: float | None
    weighted: float | None


def agreements(grades: Mapping[str, Mapping[tuple[str, str], int]]) -> list[Agreement]:
    """The agreement of each two annotators, of whom `grades` has the grade of each pair of query and document."""
    return [_agreement(a, b, grades) for a, b in combinations(grades, 2)]


def _agreement(a: str, b: str, grades: Mapping[str, Mapping[tuple[str, str], int]]) -> Agreement:
    common = [pair for pair in grades[a] if pair in grades[b]]
    first, second = ([grades[name][pair] for pair in common] for name in (a, b))
    same = sum(map(int.__eq__, first, second)) / len(common) if common else None
    return Agreement(a, b, len(common), same, kappa(first, second), kappa(first, second, "quadratic"))


def kappa(first: Sequence[int], second: Sequence[int], weights: Weights = "any") -> float | None:
    """Cohen's kappa of two columns of grades: 1 - what they disagree / what they would by chance.

    None where chance would not let them disagree.
    """
    _, codes = np.unique([first, second], return_inverse=True)
    values = np.unique([first, second])
    a, b = codes.reshape(2, -1)
    counts = np.zeros((len(values), len(values)))
    np.add.at(counts, (a, b), 1)
    costs = _costs(values, weights)
    expected = np.outer(counts.sum(axis=1), counts.sum(axis=0)) / max(len(first), 1)
    by_chance = float((costs * expected).sum())
    return 1 - float((costs * counts).sum()) / by_chance if by_chance else None


def _costs(values: NDArray[np.int64], weights: Weights) -> NDArray[np.float64]:
    apart = np.abs(values[:, None] - values[None, :]).astype(np.float64)
    return {"any": (apart > 0).astype(np.float64), "linear": apart, "quadratic": apart**2}[weights]
