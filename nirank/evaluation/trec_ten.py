"""The measures of trec_eval's version 10 that version 9, which pytrec_eval holds, lacks or computes in another way.

`rbp`, `rbp_resid` and `unj_5` are new. `iprec_at_recall` and `11pt_avg` look from the relevant document on that a level
of recall asks for: the number of relevant documents times the level, rounded to the nearest; version 9 adds 0.9 and
cuts off. All other measures are the same in both versions.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import numpy as np

from nirank.evaluation.graded import rank_biased_precision, rbp_residual, unjudged_rate
from nirank.evaluation.measures import Grades, Values

_PERSISTENCE = 0.9
_UNJUDGED = (5, 10, 20)
_LEVELS = tuple(tenth / 10 for tenth in range(11))

Native = Callable[[Grades], Values]


def new_measures(name: str) -> dict[str, Native] | None:
    """The function of a measure that is new, by its name; None for any other name."""
    if name == "rbp":
        return {name: lambda judged: rank_biased_precision(judged, None, _PERSISTENCE)}
    if name == "rbp_resid":
        return {name: lambda judged: rbp_residual(judged, _PERSISTENCE)}
    found = re.fullmatch(r"unj(?:[._]([1-9]\d*(?:,[1-9]\d*)*))?", name)
    if not found:
        return None
    cutoffs = map(int, found[1].split(",")) if found[1] else _UNJUDGED
    return {f"unj_{cutoff}": _unjudged_at(cutoff) for cutoff in cutoffs}


def changed_measure(name: str, level: int = 1) -> Native | None:
    """A function for a measure that is computed in another way than before; None for any other name."""
    if name == "11pt_avg":
        return lambda judged: np.mean([interpolated_precision(judged, recall, level) for recall in _LEVELS], axis=0)
    found = re.fullmatch(r"iprec_at_recall_(\d+\.\d+)", name)
    if not found:
        return None
    recall = float(found[1])
    return lambda judged: interpolated_precision(judged, recall, level)


def interpolated_precision(judged: Grades, recall: float, level: int = 1) -> Values:
    """The highest precision from the relevant document on that this level of recall asks for, `[queries]`.

    0 where fewer relevant documents were found.
    """
    hits = np.flatnonzero(judged.grades >= level)
    rows = judged.rows[hits]
    found = np.arange(len(hits)) - np.searchsorted(rows, rows) + 1  # relevant documents up to here, of the query
    asked = np.floor(judged.relevant(level) * recall + 0.5)
    enough = found >= asked[rows]
    values = np.zeros(len(judged))
    np.maximum.at(values, rows[enough], (found / judged.ranks[hits])[enough])
    return values


def _unjudged_at(cutoff: int) -> Native:
    return lambda judged: unjudged_rate(judged, cutoff)
