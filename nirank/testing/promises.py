"""Promises, kept or not: what a check raises, and how it compares."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike


class Broken(AssertionError):
    """A promise that is not kept: what was given, and what came back."""


class Inapplicable(Exception):
    """A promise that this component does not make; the message says why."""


def expect(kept: bool | np.bool_, fault: str) -> None:
    """Raise `Broken` with the fault unless the promise is kept."""
    if not kept:
        raise Broken(fault)


def expect_same(found: ArrayLike, expected: ArrayLike, what: str) -> None:
    """Raise `Broken` unless two arrays agree as float32 results do that were added up in another order.

    Allowed is 1e-4 of each value, and 1e-5 of the largest where values cancel to nearly nothing.
    """
    found, expected = np.asarray(found, np.float64), np.asarray(expected, np.float64)
    expect(found.shape == expected.shape, f"{what}: the shape is {found.shape}, expected is {expected.shape}.")
    scale = max(1.0, float(np.abs(expected).max(initial=0)))
    wrong = ~np.isclose(found, expected, rtol=1e-4, atol=1e-5 * scale, equal_nan=True)
    if wrong.any():
        first = np.unravel_index(int(np.flatnonzero(wrong)[0]), wrong.shape)
        largest = np.abs(found - expected)[wrong].max()
        raise Broken(
            f"{what}: {found[first]:.6g}, expected is {expected[first]:.6g} (largest difference {largest:.3g})."
        )
