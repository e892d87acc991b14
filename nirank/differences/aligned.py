"""Two runs and judgments, row beside row over the same queries and the same ordinals."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.columns import integers_to_numpy
from nirank.data.ids import Ids
from nirank.data.types import Floats
from nirank.errors import BadInput
from nirank.evaluation.evaluating import Ties, rank
from nirank.evaluation.overlap import tied_ranks
from nirank.formats.trec import Run, rows_of


@dataclass(frozen=True, eq=False)
class Ranked:
    """A run as it is measured: documents in the order that scores and the rule for ties give.

    `run` has one row a query; its scores order it, and of a file they may stand for numbers of float64. `scores` are
    those of the run itself, and `groups` the rank of the first document with the same score, both `[pairs]`. `ties` is
    the number of documents that only the rule ordered.
    """

    run: Candidates
    scores: Floats
    groups: NDArray[np.int64]
    ties: int

    @classmethod
    def of(cls, run: Run, docs: NDArray[np.int64], query_ids: Sequence[str], ids: Ids, ties: Ties) -> Ranked:
        """From what was read, over other ordinals."""
        own = rows_of(replace(run.candidates, docs=docs), run.query_ids, query_ids)
        exact = rows_of(replace(run.in_float64().candidates, docs=docs), run.query_ids, query_ids)
        ordered, tied = rank(exact, ids, ties)
        return cls(ordered, ordered.lookup(own), tied_ranks(ordered), tied)

    def cut(self, depth: int | None) -> Ranked:
        """The first `depth` documents of each query."""
        if depth is None:
            return self
        keep = ranks(self.run) <= depth
        return Ranked(self.run.where(keep), self.scores[keep], self.groups[keep], self.ties)


@dataclass(frozen=True, eq=False)
class Aligned:
    """Two ranked runs, and judgments, perhaps none, with a row for each of `query_ids`, those judged first."""

    query_ids: list[str]
    ids: Ids
    a: Ranked
    b: Ranked
    judgments: Candidates

    @property
    def asked(self) -> NDArray[np.bool_]:
        """The queries for which either run has something."""
        return np.asarray((self.a.run.lengths > 0) | (self.b.run.lengths > 0), bool)


def align(a: Run, b: Run, judgments: Run | None, ties: Ties, depth: int | None) -> Aligned:
    """Join two runs and judgments by their ids. Raises `BadInput` where they have no query in common."""
    _refuse_others(a, b, judgments)
    sides = [*([] if judgments is None else [judgments]), a, b]
    query_ids = list(dict.fromkeys(query for side in sides for query in side.query_ids))
    ids, docs = _joined([side.ids for side in sides])
    columns = [each[side.candidates.docs] for side, each in zip(sides, docs, strict=True)]
    first, second = (
        Ranked.of(run, column, query_ids, ids, ties).cut(depth)
        for run, column in zip((a, b), columns[-2:], strict=True)
    )
    if judgments is None:
        return Aligned(query_ids, ids, first, second, Candidates.empty(len(query_ids)))
    judged = rows_of(replace(judgments.candidates, docs=columns[0]), judgments.query_ids, query_ids)
    return Aligned(query_ids, ids, first, second, judged)


def _refuse_others(a: Run, b: Run, judgments: Run | None) -> None:
    if not {*a.query_ids} & {*b.query_ids}:
        raise BadInput(
            f"the runs have no query in common: a has {_few(a)}, b has {_few(b)}. Both must name the same queries by "
            "the same ids."
        )
    if judgments is not None and not {*judgments.query_ids} & ({*a.query_ids} | {*b.query_ids}):
        raise BadInput(
            f"the judgments are of other queries: they have {_few(judgments)}, and the runs {_few(a)}. Give those of "
            "the collection that was searched."
        )


def _few(run: Run) -> str:
    return ", ".join(map(repr, run.query_ids[:3])) + (", ..." if len(run) > 3 else "")


def _joined(columns: Sequence[Ids]) -> tuple[Ids, list[NDArray[np.int64]]]:
    """The ids of all columns, each once, and for each column the ordinals of its ids among them."""
    import pyarrow as pa

    texts = pa.chunked_array([column.gather(np.arange(len(column))) for column in columns])
    codes = texts.dictionary_encode()
    each = [integers_to_numpy(chunk.indices).astype(np.int64) for chunk in codes.chunks]
    return Ids(codes.chunk(0).dictionary, unique=True), each


def ranks(run: Candidates) -> NDArray[np.int64]:
    """The place of each document in its list, from 1. `[pairs]`"""
    return np.arange(run.pairs) - np.repeat(run.offsets[:-1], run.lengths) + 1


def in_order(run: Candidates) -> Candidates:
    """The same lists, in their order, with scores that fall from rank to rank, so that nothing is tied."""
    return Candidates(run.offsets, run.docs, -ranks(run), query_ids=run.query_ids)


def reordered(run: Candidates, order: NDArray[np.int64]) -> Candidates:
    """The documents in another order, which leaves those of each query together."""
    return in_order(replace(run, docs=run.docs[order]))
