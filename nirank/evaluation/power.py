"""Power: the least difference that a paired test would probably find.

A difference that is not significant may be too small for so few queries. The minimum detectable effect says how large
the difference of two means would have to be, for differences between queries that scatter as these do, so that
Student's paired t-test finds it in 80 of 100 such experiments. Sakai, Statistical Significance, Power, and Sample
Sizes, SIGIR 2016, computes the number of queries by the same power function, of the noncentral t distribution.
"""

from __future__ import annotations

import numpy as np

from nirank.errors import BadInput
from nirank.evaluation.measures import Values

LEVEL, POWER = 0.05, 0.8


def detectable_difference(differences: Values, power: float = POWER, level: float = LEVEL) -> float:
    """The least difference of means that a two-sided paired t-test at `level` would find with probability `power`.

    `differences` `[queries]` say how much queries scatter: their standard deviation counts, and not their mean.
    Infinite for fewer than two queries, 0 where all differences are the same number. Raises `BadInput` for a share
    outside of 0 to 1.
    """
    if not (0 < level < 1 and 0 < power < 1):
        raise BadInput(f"power = {power!r} and level = {level!r} must be shares between 0 and 1.")
    differences = np.asarray(differences, np.float64)
    size = len(differences)
    if size < 2:
        return float("inf")
    return _noncentrality(size - 1, power, level) * float(differences.std(ddof=1)) / float(np.sqrt(size))


def _noncentrality(freedom: int, power: float, level: float) -> float:
    """The noncentrality with which |t| is above its critical value with probability `power`."""
    from scipy.optimize import brentq
    from scipy.special import nctdtr, stdtrit

    critical = float(stdtrit(freedom, 1 - level / 2))

    def lacking(shift: float) -> float:
        below, far = nctdtr(freedom, shift, critical), nctdtr(freedom, shift, -critical)
        return float(1 - below + np.nan_to_num(far) - power)  # far is NaN where it is next to nothing

    return float(brentq(lacking, 0.0, 2 * critical + 10, xtol=1e-10)) if power > level else 0.0
