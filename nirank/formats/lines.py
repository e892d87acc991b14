"""The lines of runs and judgments as columns, and whether a query lists a document twice."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from typing import TypeAlias, cast

import numpy as np
from numpy.typing import NDArray

from nirank.data.columns import integers_to_numpy
from nirank.data.offsets import offsets_of
from nirank.data.string_prints import ODD, ShortPrints, not_alone
from nirank.formats.slices import Names

Integers: TypeAlias = NDArray[np.integer]

_LINES_OF_PART = 1 << 10  # lines whose keys are sorted while the nearest cache holds them
_PARTS_OF_BLOCK = 1 << 6
_ODD = np.uint32(ODD >> 32 | 1)


@dataclass(frozen=True)
class Lines:
    """The lines of a file as columns, in the order of the file.

    Lines of a query that follow one another are a stretch: `queries` and `lengths`, `[stretches]`, are the ordinal of
    its query in `query_ids`, which are in order of first appearance, and the number of its lines. `documents` are ids;
    `values` are scores or grades, float32 `[lines]`, and `exact` the same as float64. `subtopics` are there for
    judgments of subtopics. `prints` are the `short_prints` of the documents, where they were made to look for
    repetitions.
    """

    query_ids: list[str]
    queries: Integers
    lengths: NDArray[np.int64]
    documents: Names
    values: NDArray[np.float32]
    tag: str
    exact: NDArray[np.float64]
    subtopics: Names | None = None
    prints: ShortPrints | None = None

    @property
    def grouped(self) -> bool:
        """True where all lines of a query stand together."""
        return len(self.queries) == len(self.query_ids)

    @property
    def rows(self) -> Integers:
        """The ordinal of the query of each line, `[lines]`."""
        return np.repeat(self.queries, self.lengths)

    @cached_property
    def offsets(self) -> NDArray[np.int64]:
        """The line with which each stretch begins, and the number of all lines, `[stretches + 1]`."""
        return offsets_of(self.lengths)

    def keys(self, first: int, last: int) -> ShortPrints:
        """The keys of queries and documents in the lines of the stretches from `first` up to `last`."""
        spread = keys_of(self.queries[first:last], np.uint32(0))
        here = slice(self.offsets[first], self.offsets[last])
        return np.repeat(spread, self.lengths[first:last]) + cast("ShortPrints", self.prints)[here]

    def blocks(self) -> Iterator[list[int]]:
        """The stretches in blocks, which caches hold: the first and last of each, and between them those that part it.

        No query is in two parts, so that where its lines do not stand together there is one block of one part.
        """
        if not self.grouped:
            yield [0, len(self.queries)]
            return
        starts = np.searchsorted(self.offsets, np.arange(0, self.offsets[-1], _LINES_OF_PART)).tolist()
        cuts = sorted({*starts, len(self.queries)})  # np.unique would import numpy.ma
        for start in range(0, len(cuts) - 1, _PARTS_OF_BLOCK):
            yield cuts[start : start + _PARTS_OF_BLOCK + 1]


def keys_of(queries: Integers, prints: ShortPrints | np.uint32) -> ShortPrints:
    """A number for each pair of a query, by its ordinal, and a document, by its print."""
    return prints + queries.astype(np.uint32) * _ODD


def stretches(rows: Integers, lengths: NDArray[np.int64] | None = None) -> tuple[Integers, NDArray[np.int64]]:
    """The ordinals of queries, each once where it followed itself, and the sums of their `lengths`, by default ones."""
    firsts = np.flatnonzero(np.diff(rows, prepend=-1))
    if lengths is None:
        return rows[firsts], np.diff(firsts, append=len(rows))
    return rows[firsts], np.add.reduceat(lengths, firsts)


def repeats(lines: Lines) -> bool:
    """True where a query, or one of its subtopics, lists a document twice."""
    if lines.subtopics is None:
        return any(_block_repeats(lines, block) for block in lines.blocks())
    subtopics, codes = lines.subtopics.encoded()
    lists = lines.rows.astype(np.int64) * len(subtopics) + codes
    suspects = not_alone(keys_of(lists, cast("ShortPrints", lines.prints)))
    return _are_repeated(lines, suspects, lists[suspects])


def _block_repeats(lines: Lines, block: list[int]) -> bool:
    """True where a query in a block lists a document twice; keys are sorted part by part, and names seldom compared."""
    keys = lines.keys(block[0], block[-1])
    for start, end in pairwise((lines.offsets[block] - lines.offsets[block[0]]).tolist()):
        keys[start:end].sort()
    if not np.any(keys[1:] == keys[:-1]):
        return False
    suspects = lines.offsets[block[0]] + not_alone(lines.keys(block[0], block[-1]))
    return _are_repeated(lines, suspects, lines.queries[np.searchsorted(lines.offsets, suspects, side="right") - 1])


def _are_repeated(lines: Lines, suspects: NDArray[np.int64], lists: Integers) -> bool:
    """True where two of the suspected lines are of one list and one document."""
    names = lines.documents.take(suspects).dictionary_encode()
    pairs = np.sort(lists.astype(np.int64) << 32 | integers_to_numpy(names.indices))
    return bool(np.any(pairs[1:] == pairs[:-1]))
