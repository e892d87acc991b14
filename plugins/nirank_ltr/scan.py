"""The compiled scan of documents for the terms of queries: how often each occurs, and how near to one another.

A document's terms are read once, in order. Each is looked up in a small table of the query's terms, and most are not
there; what was found, with its places, is all that the counts of phrases, windows and distances need.

Importing this module imports numba. Functions are compiled when first used, and kept on disk for later processes.
Columns that belong together are named tuples, which compiled functions take.

Instructions: those of the processor at hand, none in particular; all is whole numbers.
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.kit import compiled, inner

Column = NDArray[Any]

#: The columns of `FoundColumns.near`.
PHRASE, ORDERED, UNORDERED, DISTANCE, COVER = range(5)
_NEAR_COLUMNS = 5
_SMALLEST_TABLE = 64  # places


class TextColumns(NamedTuple):
    """Documents: the terms of document `d` are `terms[offsets[d]:offsets[d + 1]]`, in its order."""

    offsets: Column
    terms: Column


class Query(NamedTuple):
    """One query, with a table of its terms in which a term is found by its number.

    `keys` and `slots` are the table, -1 where it is empty; `counts` says how often each slot has been met.
    """

    keys: Column
    slots: Column
    counts: Column
    tokens: Column
    codes: Column
    times: Column


class FoundColumns(NamedTuple):
    """The matches found: those of pair `i` are from `ends[i]` up to `ends[i + 1]`, by rising slot.

    `terms` are places in the column of all queries' distinct terms, `counts` how often each occurs in the document.
    `near` are, for each pair, the five columns named at the head of this module.
    """

    ends: Column
    terms: Column
    counts: Column
    near: Column


def room(pairs: int, matches: int) -> FoundColumns:
    """Room for the matches of `pairs`, of which there are at most `matches`."""
    return FoundColumns(
        np.zeros(pairs + 1, np.int64),
        np.empty(matches, np.int64),
        np.empty(matches, np.float64),
        np.zeros((pairs, _NEAR_COLUMNS), np.int64),
    )


def read_only(column: Column) -> Column:
    """Mapped columns may be read-only, and code is compiled for one type: so let all be."""
    view = np.ascontiguousarray(column).view()
    view.flags.writeable = False
    return view


@compiled
def scan(
    texts: TextColumns, query_terms: Any, rows: Column, docs: Column, window: int, proximity: bool, found: FoundColumns
) -> None:
    """Look for the terms of the query `rows[i]` in the document `docs[i]`, for all pairs; fill `found`.

    `query_terms` are the columns of `nirank_ltr.query_terms.QueryColumns`. A document beyond the last one is empty. An
    unordered window has `window` terms; without `proximity` nothing is written into `found.near`.
    """
    places, slots = np.empty(_SMALLEST_TABLE, np.int64), np.empty(_SMALLEST_TABLE, np.int64)
    row, end = -1, 0
    query = _query(query_terms, 0)
    for pair in range(len(rows)):
        if rows[pair] != row:
            row = rows[pair]
            query = _query(query_terms, row)
        if docs[pair] < len(texts.offsets) - 1:
            text = texts.terms[texts.offsets[docs[pair]] : texts.offsets[docs[pair] + 1]]
            if len(text) > len(places):
                places, slots = np.empty(2 * len(text), np.int64), np.empty(2 * len(text), np.int64)
            met = _look(text, query, places, slots)
            if proximity:
                _measure(text, query, places[:met], slots[:met], window, found.near[pair])
            end = _list(query.counts, query_terms.offsets[row], found, end)
        found.ends[pair + 1] = end


@compiled
def add_up(values: Column, weights: Column, ends: Column, sums: Column) -> None:
    """Fill `sums` with those of the values of each pair times their weights, in float32 and in their order."""
    for pair in range(len(sums)):
        total = np.float32(0)
        for place in range(ends[pair], ends[pair + 1]):
            total += weights[place] * values[place]
        sums[pair] = total


@compiled
def summarise(values: Column, ends: Column, found: Column) -> None:
    """Fill `found` `[pairs, 3]` with the sum, the least and the largest of the values of each pair; 0 for none."""
    for pair in range(len(found)):
        total, least, largest = 0.0, np.inf, 0.0
        for place in range(ends[pair], ends[pair + 1]):
            total += values[place]
            least = min(least, values[place])
            largest = max(largest, values[place])
        found[pair] = total, least if ends[pair] < ends[pair + 1] else 0.0, largest


@inner
def _query(query_terms: Any, row: int) -> Query:
    terms = query_terms.terms[query_terms.offsets[row] : query_terms.offsets[row + 1]]
    size = _SMALLEST_TABLE
    while size < 4 * len(terms):
        size *= 2
    keys, slots = np.full(size, -1, np.int64), np.full(size, -1, np.int64)
    for slot in range(len(terms)):
        at = terms[slot] & (size - 1)
        while keys[at] >= 0:
            at = (at + 1) & (size - 1)
        keys[at], slots[at] = terms[slot], slot
    here, joints = (
        slice(query_terms.starts[row], query_terms.starts[row + 1]),
        slice(query_terms.joints[row], query_terms.joints[row + 1]),
    )
    counts = np.zeros(len(terms), np.int64)
    return Query(keys, slots, counts, query_terms.tokens[here], query_terms.codes[joints], query_terms.times[joints])


@inner
def _look(text: Column, query: Query, places: Column, slots: Column) -> int:
    """Write down where terms of the query stand, and count them; returns how many there were."""
    mask, met = len(query.keys) - 1, 0
    for place in range(len(text)):
        at = text[place] & mask
        while query.keys[at] >= 0:
            if query.keys[at] == text[place]:
                places[met], slots[met] = place, query.slots[at]
                query.counts[query.slots[at]] += 1
                met += 1
                break
            at = (at + 1) & mask
    return met


@inner
def _list(counts: Column, first: int, found: FoundColumns, end: int) -> int:
    """Write down the slots that were met, and forget them; returns the new end."""
    for slot in range(len(counts)):
        if counts[slot]:
            found.terms[end], found.counts[end] = first + slot, counts[slot]
            counts[slot] = 0
            end += 1
    return end


@inner
def _measure(text: Column, query: Query, places: Column, slots: Column, window: int, near: Column) -> None:
    near[PHRASE] = _phrases(text, query.tokens, places)
    near[ORDERED], near[UNORDERED] = _windows(query, places, slots, window)
    near[DISTANCE] = _distance(places, slots, len(text))
    near[COVER] = _cover(query.counts, places, slots)


@inner
def _phrases(text: Column, tokens: Column, places: Column) -> int:
    """The number of places where the whole query stands."""
    count = 0
    for place in places:
        if place + len(tokens) <= len(text):
            same = 0
            while same < len(tokens) and text[place + same] == tokens[same]:
                same += 1
            count += same == len(tokens)
    return count


@inner
def _windows(query: Query, places: Column, slots: Column, window: int) -> tuple[int, int]:
    """Pairs of places where neighbours of the query stand: side by side in its order, and within a window in any."""
    ordered, unordered, terms = 0, 0, len(query.counts)
    for later in range(len(places)):
        before = later - 1
        while before >= 0 and places[later] - places[before] < window:
            one, other = slots[before], slots[later]
            times = _times(query, one * terms + other)
            if places[later] - places[before] == 1:
                ordered += times
            unordered += times + (_times(query, other * terms + one) if one != other else 0)
            before -= 1
    return ordered, unordered


@inner
def _times(query: Query, code: int) -> int:
    """The number of times that the query has these neighbours."""
    low, high = 0, len(query.codes)
    while low < high:
        middle = (low + high) >> 1
        if query.codes[middle] < code:
            low = middle + 1
        else:
            high = middle
    return query.times[low] if low < len(query.codes) and query.codes[low] == code else 0


@inner
def _distance(places: Column, slots: Column, length: int) -> int:
    """The distance of the two nearest places of different terms; the length of the text where there are none."""
    least = length
    for place in range(1, len(places)):
        if slots[place] != slots[place - 1]:
            least = min(least, places[place] - places[place - 1])
    return least


@inner
def _cover(counts: Column, places: Column, slots: Column) -> int:
    """The length of the shortest piece that has every term that was met; 0 where none was."""
    missing, first, least = 0, 0, 0
    for slot in range(len(counts)):
        missing += counts[slot] > 0
    inside = np.zeros(len(counts), np.int64)
    for last in range(len(places)):
        missing -= inside[slots[last]] == 0
        inside[slots[last]] += 1
        while inside[slots[first]] > 1:
            inside[slots[first]] -= 1
            first += 1
        length = places[last] - places[first] + 1
        if missing == 0 and (least == 0 or length < least):
            least = length
    return least
