"""The compiled part of batch search: for each query, add up its postings and keep the best.

The scores of all documents lie in one array that every query uses again. It is filled a range of documents at a time,
small enough to stay in the processor's cache. The bits of a score, read as an integer, are its rank; maxima of ranks
over groups of documents tell where the best can be, so that most documents are looked at once, many in one instruction.

Importing this module imports numba. Functions are compiled when first used, and kept on disk for later processes.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, NamedTuple, TypeAlias, TypeVar, cast

import numpy as np
from numba import njit
from numpy.typing import NDArray

Function = TypeVar("Function", bound=Callable[..., Any])
Column: TypeAlias = NDArray[Any]

_GROUPS = 16  # documents of one group lie this far apart, so that many maxima are taken side by side
#: How many documents share a maximum.
GROUP_SIZE = 32
#: Arrays of scores are a multiple of this long.
TILE = _GROUPS * GROUP_SIZE
_RANGE = 256 * TILE
#: The search for a threshold counts in so many bins, and two beside them.
BINS = 1024
_NO_RANK = np.int32(-(2**31))


def _compiled(function: Function) -> Function:
    try:
        compiled = njit(cache=True, nogil=True, error_model="numpy")(function)
    except RuntimeError:  # no folder that can be written: every process compiles anew
        compiled = njit(nogil=True, error_model="numpy")(function)
    return cast("Function", compiled)


class Searched(NamedTuple):
    """The index: `impacts` beside the `docs` of all postings; `prior` per document, empty where there is none."""

    starts: Column
    docs: Column
    impacts: Column
    prior: Column


class Asked(NamedTuple):
    """The columns of `nirank_lexical.queries.QueryTerms`."""

    offsets: Column
    terms: Column
    weights: Column
    tokens: Column


class Workspace(NamedTuple):
    """Memory that every query uses again. `scores` (float32) and `ranks` (int32) are the same piece of it."""

    scores: Column
    ranks: Column
    maxima: Column  # of ranks, per group
    upcoming: Column  # the next posting of each term
    counters: Column
    candidate_ranks: Column
    candidate_docs: Column


@_compiled
def search(searched: Searched, asked: Asked, k: int, workspace: Workspace, best: Column, found: Column) -> None:
    """Fill row q of `best` with the keys of the k best documents of query q, in no order, and `found` with how many.

    A key is uint64: the rank, so that better is less, over the document.
    """
    floor = _NO_RANK if len(searched.prior) else np.int32(0)
    for query in range(len(asked.offsets) - 1):
        _score(searched, asked, query, workspace)
        bound = _bound(workspace.maxima, floor, k, workspace.counters)
        candidates = _gather(bound, workspace)
        found[query] = _keep(candidates, k, workspace, best[query])


@_compiled
def _score(searched: Searched, asked: Asked, query: int, workspace: Workspace) -> None:
    starts, docs = searched.starts, searched.docs
    scores, ranks, upcoming = workspace.scores, workspace.ranks, workspace.upcoming
    first, last = asked.offsets[query], asked.offsets[query + 1]
    for slot in range(first, last):
        upcoming[slot - first] = starts[asked.terms[slot]]
    for low in range(0, len(scores), _RANGE):
        high = min(low + _RANGE, len(scores))
        scores[low:high] = 0
        for slot in range(first, last):
            begin, end = upcoming[slot - first], starts[asked.terms[slot] + 1]
            if high < len(scores):
                end = _first_at_least(docs, begin, end, high)
            _add(docs, searched.impacts, begin, end, asked.weights[slot], scores)
            upcoming[slot - first] = end
        if len(searched.prior):
            _add_prior(searched.prior[low:high], asked.tokens[query], scores[low:high], ranks[low:high])
        _take_maxima(ranks[low:high], workspace.maxima[low // GROUP_SIZE : high // GROUP_SIZE])


@_compiled
def _add(docs: Column, impacts: Column, begin: int, end: int, weight: float, scores: Column) -> None:
    for place in range(begin, end):
        scores[np.uint32(docs[place])] += weight * impacts[place]


@_compiled
def _first_at_least(docs: Column, begin: int, end: int, document: int) -> int:
    while begin < end:
        middle = (begin + end) >> 1
        if docs[middle] < document:
            begin = middle + 1
        else:
            end = middle
    return begin


@_compiled
def _add_prior(prior: Column, tokens: float, scores: Column, ranks: Column) -> None:
    for document in range(len(ranks)):
        if document < len(prior) and scores[document] > 0:
            scores[document] += tokens * prior[document]
            bits = ranks[document]
            ranks[document] = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
        else:
            ranks[document] = _NO_RANK


@_compiled
def _take_maxima(ranks: Column, maxima: Column) -> None:
    for tile in range(len(ranks) // TILE):
        for lane in range(_GROUPS):
            best = _NO_RANK
            for row in range(GROUP_SIZE):
                best = max(best, ranks[tile * TILE + row * _GROUPS + lane])
            maxima[tile * _GROUPS + lane] = best


@_compiled
def _bound(maxima: Column, floor: Any, k: int, counters: Column) -> Any:
    """A rank that k documents reach, if so many are found: about the k-th of the maxima."""
    most = np.int32(2**31 - 1)
    above, low, high = 0, most, floor
    for rank in maxima:
        above += rank > floor
        low = min(low, rank if rank > floor else most)
        high = max(high, rank)
    return _kth_largest(maxima, len(maxima), k, low, high, 1, counters) if above > k else floor + np.int32(1)


@_compiled
def _kth_largest(values: Column, length: int, k: int, low: Any, high: Any, rounds: int, counters: Column) -> Any:
    """The k-th largest of the first `length` values, all at most `high`, of which k reach `low`.

    Each round counts them in `BINS` bins and goes on in the one that holds the k-th; short of the four rounds that
    32 bits can take, what comes back is the lower end of that bin.
    """
    low, high = np.int64(low), np.int64(high)
    for _ in range(rounds):
        shift = np.int64(0)
        while (high - low) >> shift >= BINS:
            shift += 1
        counters[:] = 0
        for place in range(length):  # the first and the last counter take what lies outside
            counters[((min(max(np.int64(values[place]), low - 1), high + 1) - low) >> shift) + 1] += 1
        place = (high - low) >> shift
        while counters[place + 1] < k:
            k -= counters[place + 1]
            place -= 1
        low, high = low + (place << shift), low + ((place + 1) << shift) - 1
        if shift == 0:
            break
    return np.int32(low)


@_compiled
def _gather(bound: Any, workspace: Workspace) -> int:
    """Collect the documents that reach the bound, and say how many there are."""
    ranks, candidate_ranks, candidate_docs = workspace.ranks, workspace.candidate_ranks, workspace.candidate_docs
    candidates = 0
    for group in range(len(workspace.maxima)):
        if workspace.maxima[group] >= bound:
            first = group // _GROUPS * TILE + group % _GROUPS
            for document in range(first, first + TILE, _GROUPS):
                candidate_ranks[candidates] = ranks[document]
                candidate_docs[candidates] = document
                candidates += ranks[document] >= bound
    return candidates


@_compiled
def _keep(candidates: int, k: int, workspace: Workspace, best: Column) -> int:
    """Write the keys of the k best candidates; of those that share the last rank, the first documents."""
    ranks, docs = workspace.candidate_ranks, workspace.candidate_docs
    last_rank, last_doc = np.int64(_NO_RANK), np.int64(2**31 - 1)
    if candidates > k:
        last_rank, last_doc = _last_of_the_best(candidates, k, workspace)
    kept = 0
    for place in range(candidates):
        if ranks[place] > last_rank or (ranks[place] == last_rank and docs[place] <= last_doc):
            best[kept] = np.uint64(np.int64(2**31 - 1) - ranks[place]) << np.uint64(32) | np.uint64(docs[place])
            kept += 1
    return kept


@_compiled
def _last_of_the_best(candidates: int, k: int, workspace: Workspace) -> tuple[Any, Any]:
    ranks = workspace.candidate_ranks
    low, high = ranks[:candidates].min(), ranks[:candidates].max()
    rank = _kth_largest(ranks, candidates, k, low, high, 4, workspace.counters)
    better = 0
    for place in range(candidates):
        better += ranks[place] > rank
    return rank, _last_tied(candidates, k - better, rank, ranks, workspace.candidate_docs)


@_compiled
def _last_tied(candidates: int, wanted: int, rank: Any, ranks: Column, docs: Column) -> Any:
    """The document that so many of the given rank reach, found by bisection."""
    low, high = np.int32(0), docs[:candidates].max()
    while low < high:
        middle = (low + high) >> 1
        reached = 0
        for place in range(candidates):
            reached += (ranks[place] == rank) & (docs[place] <= middle)
        if reached < wanted:
            low = middle + 1
        else:
            high = middle
    return low
