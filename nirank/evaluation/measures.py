"""Measures of effectiveness, computed on columns.

All look only at the documents that were both retrieved and judged, each with its rank and grade, and at how many
documents were retrieved and judged: what is unjudged counts as not relevant. `Grades` holds these columns.
Values agree with trec_eval's; names are those of ir_measures.

Papers on image retrieval have names of their own: `CMC@k` is 1 where something relevant stands in the first k ranks
(Success@k), and `mAP@R` cuts average precision off at the number R of relevant documents (Musgrave et al. 2020). What
they call R@1 or Recall@1 is `CMC@1`; here `R@1` is recall, the part of what is relevant that stands first.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.offsets import offsets_of
from nirank.errors import BadInput

Values: TypeAlias = NDArray[np.float64]

#: The cutoff that is the number of documents relevant to the query.
RELEVANT = "R"
#: Marks by which pairs are passed over that nobody judged, and a factor that spreads queries over these.
_MARKS, _ODD = 1 << 20, 0x9E3779B1
_RANX = re.compile(r"^rbp\.(\d+)$", re.IGNORECASE)
_HYPHEN = re.compile(r"^([^\W\d]+)-(?=[^\W\d])")


@dataclass(frozen=True, eq=False)
class Grades:
    """A ranking with the grades of its documents: the input of every measure.

    `rows`, `ranks` (from 1) and `grades`, all `[hits]`, are of the retrieved documents that are judged, by rising
    row and rank; `retrieved` `[queries]` counts all retrieved documents; `judgments` has a row for each query.
    """

    rows: NDArray[np.int64]
    ranks: NDArray[np.int64]
    grades: NDArray[np.float32]
    retrieved: NDArray[np.int64]
    judgments: Candidates

    @classmethod
    def of(cls, ranked: Candidates, judgments: Candidates) -> Grades:
        """From documents in the order of their ranks. Raises `BadInput` where a query has a judged one twice."""
        rows, at = _maybe_judged(ranked, judgments)
        lengths = np.bincount(rows, minlength=len(ranked))
        hits = Candidates(offsets_of(lengths), ranked.docs[at], ranked.scores[at])
        grades = hits.lookup(judgments)
        hit = ~np.isnan(grades)
        rows, at = rows[hit], at[hit]
        refuse_repeated(rows, ranked.docs[at])
        return cls(rows, at - ranked.offsets[rows] + 1, grades[hit], ranked.lengths, judgments)

    def __len__(self) -> int:
        return len(self.retrieved)

    def sums(self, weights: NDArray[Any], chosen: NDArray[np.bool_] | None = None) -> Values:
        """The sum of `weights` `[hits]` over each query, `[queries]`, of those hits that are `chosen`."""
        rows = self.rows
        if chosen is not None:
            rows, weights = rows[chosen], weights[chosen]
        return np.bincount(rows, weights, len(self)).astype(np.float64)

    def relevant(self, level: int) -> Values:
        """The number of documents judged relevant to each query, retrieved or not, `[queries]`."""
        return np.bincount(self.judgments.rows, self.judgments.scores >= level, len(self)).astype(np.float64)

    @cached_property
    def ideal(self) -> tuple[NDArray[np.int64], NDArray[np.int64], Values]:
        """The rows, ranks and gains of a ranking of all that is judged, by falling grade."""
        best = self.judgments.ranked()
        ranks = np.arange(best.pairs) - np.repeat(best.offsets[:-1], best.lengths) + 1
        return best.rows, ranks, np.maximum(best.scores, 0).astype(np.float64)


def _maybe_judged(ranked: Candidates, judgments: Candidates) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The rows and places of pairs that may be judged: few, so that only these need be looked up."""
    known = np.zeros(2 + judgments.docs.max(initial=-1), bool)
    known[judgments.docs] = True
    at = np.flatnonzero(known.take(ranked.docs, mode="clip"))  # judged for some query; beyond them the last is False
    rows = np.searchsorted(ranked.offsets, at, side="right") - 1
    marked = np.zeros(_MARKS, bool)
    marked[_mark(judgments.rows, judgments.docs)] = True
    maybe = marked[_mark(rows, ranked.docs[at])]
    return rows[maybe], at[maybe]


def _mark(rows: NDArray[np.int64], docs: NDArray[Any]) -> NDArray[np.int64]:
    """A number below `_MARKS` for each pair, the same for the same pair and seldom for others."""
    return (rows * _ODD + docs) % _MARKS


def refuse_repeated(rows: NDArray[np.int64], docs: NDArray[Any]) -> None:
    """Raise `BadInput` where a query has a document twice; both are `[pairs]`."""
    order = np.lexsort((docs, rows))
    repeated = (rows[order][1:] == rows[order][:-1]) & (docs[order][1:] == docs[order][:-1])
    if repeated.any():
        row, doc = rows[order][1:][repeated][0], docs[order][1:][repeated][0]
        raise BadInput(f"the document with ordinal {doc} is twice among the candidates of query {row} (from 0).")


@dataclass(frozen=True)
class Measure:
    """The parts of a name such as `AP(rel=2)@100`; `cutoff` is None where there is none."""

    name: str
    settings: dict[str, Any]
    cutoff: Any = None

    @classmethod
    def parse(cls, text: str) -> Measure | None:
        """Read ir_measures' notation `Name(setting=value, ...)@cutoff`; None where the text is something else.

        A hyphen in a name, as ndeval writes `alpha-nDCG@20`, stands for `_`; ranx's `rbp.95` is
        `RBP(p=0.95, rel=1)`.
        """
        text = _RANX.sub(r"RBP(p=0.\1, rel=1)", _HYPHEN.sub(r"\1_", text.strip()))
        try:
            node: ast.expr = ast.parse(text, mode="eval").body
            cutoff = None
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.MatMult):
                cutoff = _cutoff(node.right)
                node = node.left
            settings: dict[str, Any] = {}
            if isinstance(node, ast.Call) and not node.args:
                settings = {str(keyword.arg): ast.literal_eval(keyword.value) for keyword in node.keywords}
                node = node.func
        except (SyntaxError, ValueError):
            return None
        return cls(node.id, settings, cutoff) if isinstance(node, ast.Name) else None

    def native(self, level: int = 1) -> Callable[[Grades], Values] | None:
        """A function that computes this measure, or None where this module does not.

        `level` is the least grade that counts as relevant, for measures without a `rel` of their own.
        """
        compute = _NATIVE.get(self.name)
        level = self.settings.get("rel", level)
        plain = set(self.settings) <= ({"rel"} if self.name in _BINARY else set())
        valid = isinstance(level, int) and level >= 0 and self._is_cut()
        if compute is None or not plain or not valid:
            return None
        return lambda judged: compute(judged, self.cutoff, level)

    def _is_cut(self) -> bool:
        """True for a cutoff that this measure can have."""
        if self.cutoff == RELEVANT:
            return self.name in _AVERAGED
        return is_rank(self.cutoff) or (self.cutoff is None and self.name not in _CUT)


def _cutoff(node: ast.expr) -> Any:
    return RELEVANT if isinstance(node, ast.Name) and node.id == RELEVANT else ast.literal_eval(node)


def is_rank(cutoff: Any) -> bool:
    """True for a possible cutoff: a whole number from 1 on."""
    return isinstance(cutoff, int) and not isinstance(cutoff, bool) and cutoff > 0


def ndcg(judged: Grades, cutoff: int | None) -> Values:
    """Normalised discounted cumulative gain, with the grade as gain and log2(rank + 1) as discount.

    Järvelin and Kekäläinen (2002), in the form trec_eval computes; negative grades gain nothing, and the ideal
    ranking takes in judged documents that were not retrieved. `[queries]`
    """
    gains = np.maximum(judged.grades, 0) / np.log2(judged.ranks + 1.0)
    rows, ranks, best = judged.ideal
    within = within_cutoff(ranks, cutoff)
    ideal = np.bincount(rows[within], best[within] / np.log2(ranks[within] + 1.0), len(judged))
    return ratio(judged.sums(gains, within_cutoff(judged.ranks, cutoff)), ideal)


def average_precision(judged: Grades, cutoff: int | str | None, level: int = 1) -> Values:
    """The precision at the rank of each relevant document, 0 for those not retrieved, averaged. `[queries]`

    The cutoff "R" is the number of documents that are relevant to the query: mAP@R (Musgrave, Belongie and Lim, A
    Metric Learning Reality Check, ECCV 2020).
    """
    relevant = judged.grades >= level
    last = judged.relevant(level)[judged.rows] if isinstance(cutoff, str) else cutoff
    total = np.cumsum(relevant)
    before = np.concatenate([[0], total])[np.searchsorted(judged.rows, judged.rows)]
    precisions = (total - before) / judged.ranks
    return ratio(judged.sums(precisions, relevant & within_cutoff(judged.ranks, last)), judged.relevant(level))


def reciprocal_rank(judged: Grades, cutoff: int | None, level: int = 1) -> Values:
    """One over the rank of the first relevant document, 0 where there is none. `[queries]`"""
    relevant = np.flatnonzero((judged.grades >= level) & within_cutoff(judged.ranks, cutoff))
    rows, first = np.unique(judged.rows[relevant], return_index=True)
    values = np.zeros(len(judged))
    values[rows] = 1 / judged.ranks[relevant[first]]
    return values


def precision(judged: Grades, cutoff: int, level: int = 1) -> Values:
    """The part of the first `cutoff` ranks, filled or not, that holds relevant documents. `[queries]`"""
    return _found(judged, cutoff, level) / cutoff


def recall(judged: Grades, cutoff: int, level: int = 1) -> Values:
    """The part of the relevant documents that stands in the first `cutoff` ranks. `[queries]`"""
    return ratio(_found(judged, cutoff, level), judged.relevant(level))


def success(judged: Grades, cutoff: int, level: int = 1) -> Values:
    """1 where a relevant document stands in the first `cutoff` ranks, else 0. `[queries]`"""
    return (_found(judged, cutoff, level) > 0).astype(np.float64)


def judged_rate(judged: Grades, cutoff: int | None) -> Values:
    """The part of what was retrieved, up to `cutoff`, that is judged, with whatever grade. `[queries]`"""
    depth = judged.retrieved if cutoff is None else np.minimum(judged.retrieved, cutoff)
    return ratio(judged.sums(within_cutoff(judged.ranks, cutoff)), depth)


def _found(judged: Grades, cutoff: int, level: int) -> Values:
    return judged.sums((judged.grades >= level) & within_cutoff(judged.ranks, cutoff))


def within_cutoff(ranks: NDArray[np.int64], cutoff: Any) -> NDArray[np.bool_]:
    """Which `ranks` a measure looks at: those up to `cutoff`, all where it is None."""
    return np.ones(len(ranks), bool) if cutoff is None else ranks <= cutoff


def ratio(numerator: Values, denominator: NDArray[Any]) -> Values:
    """Their quotient, and 0 where there is nothing to divide by, as trec_eval has it."""
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator != 0)


_NATIVE: dict[str, Callable[[Grades, Any, int], Values]] = {
    **dict.fromkeys(["nDCG", "NDCG"], lambda judged, cutoff, _: ndcg(judged, cutoff)),
    **dict.fromkeys(["AP", "MAP", "mAP"], average_precision),
    **dict.fromkeys(["RR", "MRR"], reciprocal_rank),
    **dict.fromkeys(["P", "Precision"], precision),
    **dict.fromkeys(["R", "Recall"], recall),
    **dict.fromkeys(["Success", "CMC"], success),
    "Judged": lambda judged, cutoff, _: judged_rate(judged, cutoff),
}
_CUT = {"P", "Precision", "R", "Recall", "Success", "CMC"}  # without a cutoff these are no measures
_AVERAGED = {"AP", "MAP", "mAP"}  # may be cut off at the number of relevant documents
_BINARY = set(_NATIVE) - {"nDCG", "NDCG", "Judged"}
