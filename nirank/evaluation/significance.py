"""Significance tests: do two systems differ by more than chance on the same queries?

Every pair of systems (or every system and a baseline) is compared on each measure by a randomisation test (Fisher;
for retrieval Smucker, Allan and Carterette, 2007) or Student's paired t-test, two-sided. The p-values of one measure
are corrected together by Holm's method (1979). Beside them stand the size of the effect and bootstrap intervals
(Efron; for retrieval Sakai, 2006), because a small p-value says nothing about how much better a system is.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.frames import Tabular
from nirank.errors import BadInput, UnknownName
from nirank.evaluation import tables
from nirank.evaluation.evaluating import Evaluation
from nirank.evaluation.joining import kind_of

if TYPE_CHECKING:
    import pyarrow as pa

Values: TypeAlias = NDArray[np.float64]
Test: TypeAlias = Literal["randomisation", "t"]

_BLOCK = 1 << 22  # numbers drawn at a time
_TOLERANCE = 1e-12  # relative; sums of the same numbers in another order are not quite equal


@dataclass(frozen=True)
class Mean:
    """A system's mean of a measure, with a 95 % bootstrap confidence interval over queries."""

    system: str
    measure: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True)
class Difference:
    """The difference of `system` from `other` on a measure.

    `difference` is the mean over queries of system minus other, `low` and `high` its 95 % bootstrap confidence
    interval. `effect` is Cohen's d of the paired differences (d_z): their mean over their standard deviation, 0
    where there is no difference at all. `p` is the p-value of the test, `corrected` the same after Holm's
    correction over all pairs compared on this measure. `wins`, `losses` and `ties` count queries.
    """

    system: str
    other: str
    measure: str
    difference: float
    low: float
    high: float
    effect: float
    p: float
    corrected: float
    wins: int
    losses: int
    ties: int

    def is_significant(self, level: float = 0.05) -> bool:
        """True where the corrected p-value is below `level`."""
        return self.corrected < level


@dataclass(frozen=True, repr=False)
class Comparison(Tabular):
    """The result of `compare`: rows to print, and the settings that they were computed with.

    `notes` are those of each evaluation (`Evaluation.notes`), by system.
    """

    means: list[Mean]
    differences: list[Difference]
    queries: int
    test: Test
    permutations: int
    resamples: int
    seed: int
    notes: dict[str, list[str]] = field(default_factory=dict)

    def __repr__(self) -> str:
        systems = ", ".join(dict.fromkeys(row.system for row in self.means))
        return f"<Comparison of {systems} on {self.queries:,} queries>"

    def __str__(self) -> str:
        return tables.comparison_text(self)

    def _repr_html_(self) -> str:
        return tables.comparison_html(self)

    def to_arrow(self, rows: Literal["differences", "means"] = "differences") -> pa.Table:
        """The rows as a table, a column for each field of `Difference`, or of `Mean`."""
        import pyarrow as pa

        if rows not in ("differences", "means"):
            raise UnknownName("rows of a comparison", rows, ["differences", "means"])
        kind, found = (Mean, self.means) if rows == "means" else (Difference, self.differences)
        return pa.table({each.name: [getattr(row, each.name) for row in found] for each in fields(kind)})

    def of(self, system: str, other: str, measure: str) -> Difference:
        """The row of two systems in this order. Raises `UnknownName` where they were not compared so."""
        rows = {f"{row.system} - {row.other} on {row.measure}": row for row in self.differences}
        name = f"{system} - {other} on {measure}"
        if name not in rows:
            raise UnknownName("comparison", name, rows)
        return rows[name]

    def to_dict(self) -> dict[str, Any]:
        """All fields as JSON can hold them, each row as a dictionary; numbers that are not finite are None."""
        return asdict(self, dict_factory=_finite)


def _finite(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: None if isinstance(value, float) and not math.isfinite(value) else value for name, value in fields}


def compare(
    evaluations: Mapping[str, Evaluation],
    baseline: str | None = None,
    measures: Sequence[str] | str | None = None,
    test: Test = "randomisation",
    permutations: int = 10_000,
    resamples: int = 10_000,
    seed: int = 0,
) -> Comparison:
    """Compare systems by name on `measures` (by default those all of them have).

    With a `baseline` every other system is compared with it, else every system with every earlier one. The
    randomisation test flips the signs of differences in `permutations` random ways, or in all ways where there are
    no more than that; the smallest p-value it can report is 1 / (permutations + 1). Confidence intervals are
    percentiles of `resamples` bootstrap means. Equal seeds give equal results.

    Raises `BadInput` for fewer than two systems, or systems evaluated on other queries than the first one;
    `UnknownName` for a baseline, test or measure that does not exist.
    """
    _refuse_others(evaluations)
    _check_numbers(permutations=permutations, resamples=resamples, seed=seed)
    names = list(evaluations)
    pairs = _pairs(names, baseline)
    measures = _measures(evaluations, [measures] if isinstance(measures, str) else measures)
    p_value = _test(test, permutations)
    _check_queries(evaluations)
    means: list[Mean] = []
    differences: list[Difference] = []
    for measure in measures:
        values = np.stack([evaluations[name].values[measure] for name in names])
        intervals = confidence_intervals(values, resamples, seed)
        means += [
            Mean(name, measure, float(row.mean()), *interval)
            for name, row, interval in zip(names, values, intervals.tolist(), strict=True)
        ]
        paired = np.stack([values[names.index(one)] - values[names.index(other)] for one, other in pairs])
        ps = np.array([p_value(row, seed) for row in paired])
        differences += _differences(measure, pairs, paired, ps, confidence_intervals(paired, resamples, seed))
    queries = len(next(iter(evaluations.values())))
    notes = {name: evaluation.notes() for name, evaluation in evaluations.items()}
    return Comparison(means, differences, queries, test, permutations, resamples, seed, notes)


def randomisation_test(differences: Values, permutations: int = 10_000, seed: int = 0) -> float:
    """The two-sided p-value of paired differences `[queries]` under random signs.

    Under the null hypothesis each difference is as likely to have the other sign. Where all 2 ** queries ways of
    setting signs are no more than `permutations`, all are counted and the p-value is exact; else that many are
    drawn, and the one observed counts as one more (Phipson and Smyth, 2010).
    """
    differences = np.asarray(differences, np.float64)
    differences = differences[differences != 0]  # whose sign changes nothing
    observed = abs(differences.sum()) * (1 - _TOLERANCE)
    if not differences.size:
        return 1.0
    if differences.size < 63 and 2**differences.size <= permutations:
        sums = _all_sums(differences)
        return float(np.mean(np.abs(sums) >= observed))
    extreme = sum(
        int(np.count_nonzero(np.abs(sums) >= observed)) for sums in _random_sums(differences, permutations, seed)
    )
    return (extreme + 1) / (permutations + 1)


def _all_sums(differences: Values) -> Values:
    """The sums under all settings of signs, `[2 ** n]`."""
    sums = np.zeros(1)
    for difference in differences:
        sums = np.concatenate([sums + difference, sums - difference])
    return sums


def _random_sums(differences: Values, permutations: int, seed: int) -> list[Values]:
    """The sums under random signs, block by block: [block, n] random bits times [n] differences."""
    random = np.random.default_rng(seed)
    size = len(differences)
    total = differences.sum()
    sums = []
    for count in _blocks(permutations, size):
        bits = np.unpackbits(random.integers(0, 256, (count, (size + 7) // 8), np.uint8), axis=1, count=size)
        sums.append(total - 2 * (bits.astype(np.float64) @ differences))
    return sums


def t_test(differences: Values) -> float:
    """The two-sided p-value of Student's t-test on paired differences `[queries]`.

    1 where all differences are zero; 0 where all are one other number, and so have no variance; 1 for one query.
    """
    from scipy.special import stdtr

    differences = np.asarray(differences, np.float64)
    size = len(differences)
    if size < 2 or not differences.any():
        return 1.0
    error = differences.std(ddof=1) / np.sqrt(size)
    if np.ptp(differences) == 0:
        return 0.0
    return float(2 * stdtr(size - 1, -abs(differences.mean() / error)))


def holm(p_values: Sequence[float] | Values) -> Values:
    """p-values corrected by Holm's step-down method, in the order given.

    The smallest of n is multiplied by n, the next by n - 1, and so on; none becomes smaller than the one before it,
    nor larger than 1.
    """
    ps = np.asarray(p_values, np.float64)
    order = np.argsort(ps, kind="stable")
    corrected = np.empty(len(ps))
    corrected[order] = np.minimum(1, np.maximum.accumulate(ps[order] * np.arange(len(ps), 0, -1)))
    return corrected


def cohens_d(differences: Values) -> float:
    """Cohen's d of paired differences (d_z): their mean over their standard deviation, with n - 1.

    0 where all are zero, or where there are fewer than two; infinite where all are one other number.
    """
    differences = np.asarray(differences, np.float64)
    if len(differences) < 2 or not differences.any():
        return 0.0
    if np.ptp(differences) == 0:
        return float(np.copysign(np.inf, differences[0]))
    return float(differences.mean() / differences.std(ddof=1))


def confidence_intervals(values: Values, resamples: int = 10_000, seed: int = 0, level: float = 0.95) -> Values:
    """Percentile bootstrap intervals of the means of `values` `[rows, queries]`: low and high, `[rows, 2]`.

    All rows are resampled with the same queries, so that systems stay paired.
    """
    _check_numbers(resamples=resamples, seed=seed)
    values = _rows_of(values, level)
    size = values.shape[1]
    random = np.random.default_rng(seed)
    means = [_resampled(random, count, values) for count in _blocks(resamples, size)]
    tail = (1 - level) / 2
    return np.quantile(np.concatenate(means, axis=1), [tail, 1 - tail], axis=1).T


def _rows_of(values: Any, level: float) -> Values:
    """Values as `[rows, queries]`; raises `BadInput` where they are no finite numbers, or the level is none."""
    if isinstance(values, Evaluation):
        raise BadInput('values are expected, such as `evaluation.values["nDCG@10"]`, not an Evaluation.')
    try:
        rows = np.atleast_2d(np.asarray(values, np.float64))
    except (TypeError, ValueError):
        raise BadInput(f"values are numbers, one a query, not {values!r:.80}.") from None
    if not rows.size or not np.isfinite(rows).all():
        raise BadInput("there are no values, or some that are not finite.")
    if not (isinstance(level, float) and 0 < level < 1):
        raise BadInput(f"level = {level!r}: a share between 0 and 1 is expected, such as 0.95.")
    return rows


def _check_numbers(**numbers: Any) -> None:
    """Raise `BadInput` for counts that are no whole numbers from 1 on; a seed may be 0, or None for any."""
    for name, value in numbers.items():
        least = 0 if name == "seed" else 1
        whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool) and value >= least
        if not whole and not (name == "seed" and value is None):
            raise BadInput(f"{name} = {value!r}: a whole number from {least} on is expected.")


def _resampled(random: np.random.Generator, count: int, values: Values) -> Values:
    """The means of `count` resamples of the queries, `[rows, count]`: how often each was drawn, times its values."""
    size = values.shape[1]
    drawn = random.integers(0, size, (count, size)) + np.arange(count)[:, None] * size
    times = np.bincount(drawn.ravel(), minlength=count * size).reshape(count, size)
    means: Values = values @ times.T.astype(np.float64) / size
    return means


def _blocks(total: int, size: int) -> list[int]:
    """`total` in parts of which each, with `size` numbers for each, takes bounded memory."""
    part = max(1, _BLOCK // max(1, size))
    return [min(part, total - start) for start in range(0, total, part)]


def _test(test: Test, permutations: int) -> Callable[[Values, int], float]:
    if test == "randomisation":
        return lambda differences, seed: randomisation_test(differences, permutations, seed)
    if test == "t":
        return lambda differences, seed: t_test(differences)
    raise UnknownName("significance test", test, ["randomisation", "t"])


def _pairs(names: list[str], baseline: str | None) -> list[tuple[str, str]]:
    if len(names) < 2:
        raise BadInput(f"a comparison needs two systems or more; there {'is 1' if names else 'are none'}.")
    if baseline is None:
        return [(one, other) for other, one in itertools.combinations(names, 2)]
    if baseline not in names:
        raise UnknownName("system", baseline, names)
    return [(name, baseline) for name in names if name != baseline]


def _measures(evaluations: Mapping[str, Evaluation], measures: Sequence[str] | None) -> list[str]:
    first, *others = evaluations.values()
    shared = [name for name in first.measures if all(name in other.values for other in others)]
    if measures is None and not shared:
        raise BadInput(f"the systems {', '.join(evaluations)} have no measure in common: evaluate them by the same.")
    for name in measures or ():
        if name not in shared:
            raise UnknownName("measure common to all systems,", name, shared)
    return shared if measures is None else list(measures)


def _refuse_others(evaluations: Any) -> None:
    """Raise `BadInput` for anything but evaluations by name."""
    if not isinstance(evaluations, Mapping):
        raise BadInput(
            f"compare takes evaluations by the names of their systems, {{name: evaluation, ...}}, "
            f"not {kind_of(evaluations)}."
        )
    for name, evaluation in evaluations.items():
        if not isinstance(evaluation, Evaluation):
            raise BadInput(
                f"{name!r} is {kind_of(evaluation)}, not an evaluation: compare what "
                "`nirank.evaluate(run, judgments, measures)` returns."
            )


def _check_queries(evaluations: Mapping[str, Evaluation]) -> None:
    first, *others = evaluations
    named = all(evaluation.query_ids is not None for evaluation in evaluations.values())
    expected = _queries(evaluations[first], named)
    for name in others:
        found = _queries(evaluations[name], named)
        if found != expected:
            odd = sorted({*found} ^ {*expected})
            differ = f"{len(odd)} of them, such as {odd[0]!r}, are only in one" if odd else "their order differs"
            raise BadInput(
                f"{first!r} was evaluated on {len(expected)} queries and {name!r} on {len(found)}; {differ}. "
                "Paired tests need the same queries: evaluate with complete=True and the same judgments."
            )


def _queries(evaluation: Evaluation, named: bool) -> list[str]:
    """The queries evaluated, by their ids or else by their rows."""
    return list(evaluation.query_ids or []) if named else list(map(str, evaluation.queries.tolist()))


def _differences(
    measure: str, pairs: list[tuple[str, str]], paired: Values, ps: Values, intervals: Values
) -> list[Difference]:
    corrected = holm(ps)
    return [
        Difference(
            system=system,
            other=other,
            measure=measure,
            difference=float(values.mean()),
            low=float(intervals[row, 0]),
            high=float(intervals[row, 1]),
            effect=cohens_d(values),
            p=float(ps[row]),
            corrected=float(corrected[row]),
            wins=int(np.count_nonzero(values > 0)),
            losses=int(np.count_nonzero(values < 0)),
            ties=int(np.count_nonzero(values == 0)),
        )
        for row, ((system, other), values) in enumerate(zip(pairs, paired, strict=True))
    ]
