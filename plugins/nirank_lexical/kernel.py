"""The compiled part of batch search: for each query, add up its postings and keep the best.

Documents are taken a range at a time, small enough to stay in the processor's cache, in one array of scores that every
range and every query uses again. The bits of a score, read as an integer, are its rank; maxima of ranks over groups of
documents tell where the best can be, so that most documents are looked at once, many in one instruction. What must be
reached to be among the best of the ranges so far is the bound for the next.

All of it is one module, but for the layout of the frame and of memory (`nirank_lexical.frame`) and for what unpacks
and weighs postings (`nirank_lexical.unpacking`), and is reached by `run` alone: its machine code is kept on disk, and
loaded without numba (`nirank.kit.Native`). Importing this module imports numba.

Instructions: those of the processor at hand, none in particular. A score is added up in one order, and no product is
fused with a sum, so that its bits are the same with any.
"""

from __future__ import annotations

from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.kit import column_at, inner
from nirank_lexical import frame as f
from nirank_lexical.frame import BINS as _BINS
from nirank_lexical.frame import FEW as _FEW
from nirank_lexical.frame import GROUP_SIZE as _GROUP_SIZE
from nirank_lexical.frame import GROUPS as _GROUPS
from nirank_lexical.frame import TILE as _TILE
from nirank_lexical.unpacking import Factors, Packed, Weighed, unpack, weigh

Column: TypeAlias = NDArray[Any]

_SHORTEST = 256 * _TILE  # ranges are longer where k is large, so that few documents come only to go
_RANGE_PER_K = 256
_FOLD = 8  # maxima are folded while they are more than this many times k
_BLOCK = 256  # maxima that are compared at once
# The next three are set by measurement, on copies of one real corpus in which 60 % of the postings were kept: with them
# one query took, in microseconds, against adding up all postings,
#
#     documents     181,000     725,000    2,900,000    10,000,000
#     k = 10        42 -> 29   137 -> 92   610 -> 381   2155 -> 1140
#     k = 100       71 -> 55  188 -> 146   676 -> 531   2134 -> 1542
#     k = 1000     115 -> 98  327 -> 241   990 -> 689   2375 -> 1544
#
# while shares of .5 and more took up to seven times as long as that.
_SPARSE = 10  # times as many documents as postings: to look at all documents costs more than at all postings again
_SHARE = 0.3  # of the bound may come from omitted terms
_FEW_WANTED = 100  # from a larger k on no term is omitted
_FEW_TERMS = 64  # nor of a query of more
_ROUNDING = 1e-4  # relative error of a sum of float32; it is much less
_NO_RANK = np.int32(-(2**31))
_NOTHING = np.uint64(2**64 - 1)  # behind every key, and the key of no document


class Searched(NamedTuple):
    """The index: `impacts` beside the `docs` of all postings, and the `most` of each term.

    `prior` is per document, empty where there is none; `allowed` says which documents may be found, and is empty where
    all may.
    """

    documents: int
    starts: Column
    docs: Column
    impacts: Column
    most: Column
    prior: Column
    allowed: Column


class Asked(NamedTuple):
    """The columns of `nirank.kit.text.queries.QueryTerms`."""

    offsets: Column
    terms: Column
    weights: Column
    tokens: Column


class _Query(NamedTuple):
    terms: Column
    weights: Column
    tokens: float


class Workspace(NamedTuple):
    """Memory that every query uses again. Scores (float32) and ranks (int32) are the same piece of it."""

    scores: Column  # 0 between ranges
    ranks: Column
    maxima: Column  # of ranks, per group
    folded: Column  # maxima of these
    counters: Column
    candidate_scores: Column
    candidate_ranks: Column
    candidate_docs: Column


class Terms(NamedTuple):
    """Facts of the terms of one query, in their order: memory that queries use again."""

    begins: Column  # its postings of the range at hand, or an earlier one
    ends: Column
    bounds: Column  # the most that it can add
    by_bound: Column  # the terms by rising bound
    places: Column  # the place of each there


_column = column_at()


def run(frame: Any) -> None:
    """Do what the frame says (`nirank_lexical.frame`)."""
    if frame[f.WORK] >= f.UNPACK:
        _prepare(frame)
        return
    work, k, (best, found) = frame[f.WORK], frame[f.K], _keys(frame)
    if work == f.ONE:
        _ask_one(frame)
    if work != f.READ:
        _search(_searched(frame), _asked(frame), k, _workspace(frame), _terms(frame), best, found)
    if work == f.ONE:
        frame[f.FOUND] = found[0]
        if k <= _FEW:
            _sort_few(best, found[0])
    if work == f.READ or (work == f.ONE and k <= _FEW):
        _read_keys(best, found, _at(frame, f.FOUND_DOCS, np.int32), _at(frame, f.FOUND_SCORES, np.int32))


@inner
def _at(frame: Any, place: int, dtype: Any) -> Column:
    return _column(frame[place], frame[place + 1], dtype)


@inner
def _keys(frame: Any) -> tuple[Column, Column]:
    return _at(frame, f.BEST, np.uint64), _at(frame, f.LENGTHS, np.int64)


@inner
def _searched(frame: Any) -> Any:
    starts, docs = _at(frame, f.STARTS, np.int64), _at(frame, f.DOCS, np.int32)
    impacts, most = _at(frame, f.IMPACTS, np.float32), _at(frame, f.MOST, np.float32)
    prior, allowed = _at(frame, f.PRIOR, np.float32), _at(frame, f.ALLOWED, np.bool_)
    return Searched(frame[f.DOCUMENTS], starts, docs, impacts, most, prior, allowed)


@inner
def _prepare(frame: Any) -> None:
    """Unpack the postings of some terms, or weigh those that were unpacked."""
    terms, docs = _at(frame, f.TERMS, np.int64), _at(frame, f.UNPACKED_DOCS, np.int32)
    counts = _at(frame, f.UNPACKED_COUNTS, np.int32)
    if frame[f.WORK] == f.UNPACK:
        frame[f.FOUND] = unpack(_packed(frame), terms, docs, counts)
    else:
        weigh(_weighed(frame), _factors(frame), terms, docs, counts)


@inner
def _weighed(frame: Any) -> Any:
    starts, docs = _at(frame, f.STARTS, np.int64), _at(frame, f.DOCS, np.int32)
    return Weighed(starts, docs, _at(frame, f.IMPACTS, np.float32), _at(frame, f.MOST, np.float32))


@inner
def _factors(frame: Any) -> Any:
    terms, table = _at(frame, f.TERM_FACTORS, np.float64), _at(frame, f.FACTORS, np.float64)
    return Factors(terms, table, frame[f.LENGTHS_KNOWN], _at(frame, f.LENGTH_OF, np.uint16))


@inner
def _packed(frame: Any) -> Any:
    starts, widths = _at(frame, f.STARTS, np.int64), _at(frame, f.WIDTHS, np.int64)
    high, low, counts = _at(frame, f.HIGH, np.int64), _at(frame, f.LOW, np.int64), _at(frame, f.COUNTS, np.int64)
    high_bits, low_bits = _at(frame, f.HIGH_BITS, np.uint64), _at(frame, f.LOW_BITS, np.uint64)
    count_bits, (documents, fields) = _at(frame, f.COUNT_BITS, np.uint64), (frame[f.DOCUMENTS], frame[f.FIELDS])
    return Packed(documents, fields, starts, widths, high, low, counts, high_bits, low_bits, count_bits)


@inner
def _asked(frame: Any) -> Any:
    offsets, terms = _at(frame, f.OFFSETS, np.int64), _at(frame, f.TERMS, np.int64)
    return Asked(offsets, terms, _at(frame, f.WEIGHTS, np.float32), _at(frame, f.TOKENS, np.float32))


@inner
def _workspace(frame: Any) -> Any:
    scores, ranks = _at(frame, f.SCORES, np.float32), _at(frame, f.SCORES, np.int32)
    maxima, folded = _at(frame, f.MAXIMA, np.int32), _at(frame, f.FOLDED, np.int32)
    kept_scores, kept_ranks = _at(frame, f.KEPT_SCORES, np.float32), _at(frame, f.KEPT_SCORES, np.int32)
    counters, docs = _at(frame, f.COUNTERS, np.int64), _at(frame, f.KEPT_DOCS, np.int32)
    return Workspace(scores, ranks, maxima, folded, counters, kept_scores, kept_ranks, docs)


@inner
def _terms(frame: Any) -> Any:
    begins, ends = _at(frame, f.BEGINS, np.int64), _at(frame, f.ENDS, np.int64)
    by_bound, places = _at(frame, f.BY_BOUND, np.int64), _at(frame, f.PLACES, np.int64)
    return Terms(begins, ends, _at(frame, f.BOUNDS, np.float64), by_bound, places)


@inner
def _ask_one(frame: Any) -> None:
    """Ask one query, that of some words, in the columns of a batch."""
    offsets, tokens = _at(frame, f.OFFSETS, np.int64), _at(frame, f.TOKENS, np.float32)
    terms, weights = _at(frame, f.TERMS, np.int64), _at(frame, f.WEIGHTS, np.float32)
    offsets[0] = 0
    offsets[1], tokens[0] = _count(_at(frame, f.NUMBERS, np.int64), terms, weights)


@inner
def _count(numbers: Column, terms: Column, weights: Column) -> tuple[int, Any]:
    """The distinct numbers from 0 on, rising, and how often each comes: how many, and the sum of their counts."""
    count, tokens = 0, np.float32(0)
    for number in numbers:
        if number < 0:
            continue
        tokens += np.float32(1)
        place = count
        while place and terms[place - 1] > number:
            place -= 1
        if place and terms[place - 1] == number:
            weights[place - 1] += np.float32(1)
            continue
        for later in range(count, place, -1):
            terms[later], weights[later] = terms[later - 1], weights[later - 1]
        terms[place], weights[place] = number, np.float32(1)
        count += 1
    return count, tokens


@inner
def _sort_few(keys: Column, count: int) -> None:
    for last in range(1, count):
        key, place = keys[last], last
        while place and keys[place - 1] > key:
            keys[place] = keys[place - 1]
            place -= 1
        keys[place] = key


@inner
def _search(
    searched: Searched,
    queries: Asked,
    k: int,
    workspace: Workspace,
    terms: Terms,
    best: Column,
    found: Column,
) -> None:
    """Fill `best` with the keys of the k best documents of each query, in no order, and `found` with how many.

    A key is uint64: the rank, so that better is less, over the document. Behind those of documents comes `_NOTHING`.
    """
    for query in range(len(queries.offsets) - 1):
        candidates = _candidates(searched, _query(queries, query), k, workspace, terms)
        found[query] = candidates
        for place in range(candidates):
            best[query * k + place] = _key(workspace.candidate_ranks[place], workspace.candidate_docs[place])
        best[query * k + candidates : (query + 1) * k] = _NOTHING


@inner
def _query(queries: Asked, query: int) -> Any:
    first, last = queries.offsets[query], queries.offsets[query + 1]
    return _Query(queries.terms[first:last], queries.weights[first:last], queries.tokens[query])


@inner
def _read_keys(best: Column, found: Column, docs: Column, scores: Column) -> None:
    """Fill `docs` and `scores` (seen as int32) with the first `found` of each row of sorted keys."""
    pair, k = 0, len(best) // max(1, len(found))
    for query in range(len(found)):
        for key in best[query * k : query * k + found[query]]:
            rank = np.int32(np.int64(2**31 - 1) - np.int64(key >> np.uint64(32)))
            docs[pair] = np.int32(key & np.uint64(2**32 - 1))
            scores[pair] = rank ^ ((rank >> 31) & np.int32(0x7FFFFFFF))
            pair += 1


@inner
def _candidates(searched: Searched, query: _Query, k: int, workspace: Workspace, terms: Terms) -> int:
    """Collect the `k` best documents of a query, range by range, and say how many there are."""
    prior = len(searched.prior) > 0
    _begin(searched, query, terms)
    size = min(max(_SHORTEST, (_RANGE_PER_K * k + _TILE - 1) // _TILE * _TILE), len(workspace.scores))
    floor = _NO_RANK if prior else np.int32(0)
    bound, candidates, omitted = np.int32(floor + 1), 0, 0
    for low in range(0, searched.documents, size):
        high, before = min(low + size, searched.documents), candidates
        if candidates >= k and k <= _FEW_WANTED and len(query.terms) <= _FEW_TERMS and not prior:
            omitted = _omitted(bound, omitted, query, workspace, terms)
        postings = _add_range(searched, query, low, high, omitted, workspace.scores, terms)
        if len(searched.allowed):
            _clear_others(searched.allowed[low:high], workspace.scores)
        reachable = _reachable(bound, omitted, workspace, terms)
        if candidates >= k and postings * _SPARSE < high - low and not prior:
            candidates = _gather_touched(searched, len(query.terms), low, omitted, reachable, workspace, terms, before)
        else:
            maxima = _ranked(searched, query, low, high, workspace)
            if candidates < k:
                reachable = bound = _bound(maxima, floor, k, workspace)
            candidates = _gather(maxima, reachable, low, workspace, before)
            workspace.scores[:size] = 0
        if omitted and candidates > before:
            _find_omitted(searched, query, low, high, omitted, terms)
            candidates = _complete(searched, query, bound, omitted, before, candidates, workspace, terms)
        if candidates > k and (candidates > 2 * k or k <= _FEW or high == searched.documents):
            bound = np.int32(_cut(candidates, k, workspace) + 1)  # equal ones come too late
            candidates = k
    return candidates


@inner
def _add_range(
    searched: Searched, query: _Query, low: int, high: int, omitted: int, scores: Column, terms: Terms
) -> int:
    """Add up the postings of a range, but for those of the omitted terms; how many there are."""
    docs, impacts, postings = searched.docs, searched.impacts, 0
    for slot in range(len(query.terms)):
        if terms.places[slot] >= omitted:
            begin, end = terms.ends[slot], searched.starts[query.terms[slot] + 1]
            if high < searched.documents:
                end = _first_at_least(docs, begin, end, high)
            _add(docs[begin:end], impacts[begin:end], low, query.weights[slot], scores)
            terms.begins[slot], terms.ends[slot] = begin, end
            postings += end - begin
    return postings


@inner
def _ranked(searched: Searched, query: _Query, low: int, high: int, workspace: Workspace) -> Column:
    """The maxima of the groups of a range, its priors added."""
    length = (high - low + _TILE - 1) // _TILE * _TILE
    ranks, maxima = workspace.ranks[:length], workspace.maxima[: length // _GROUP_SIZE]
    if len(searched.prior):
        _add_prior(searched.prior[low:high], query.tokens, workspace.scores[:length], ranks)
    _take_maxima(ranks, maxima)
    return maxima


@inner
def _gather_touched(
    searched: Searched,
    slots: int,
    low: int,
    omitted: int,
    bound: Any,
    workspace: Workspace,
    terms: Terms,
    candidates: int,
) -> int:
    """Do as `_gather` for a range of few postings: look only at documents that have one, and set scores to 0."""
    ranks, candidate_ranks, candidate_docs = workspace.ranks, workspace.candidate_ranks, workspace.candidate_docs
    for slot in range(slots):
        if terms.places[slot] >= omitted:
            for document in searched.docs[terms.begins[slot] : terms.ends[slot]]:
                rank = ranks[np.uint32(document - low)]
                ranks[np.uint32(document - low)] = 0
                if rank >= bound:
                    candidate_ranks[candidates], candidate_docs[candidates] = rank, document
                    candidates += 1
    return candidates


@inner
def _add(docs: Column, impacts: Column, low: int, weight: float, scores: Column) -> None:
    for place in range(len(docs)):
        scores[np.uint32(docs[place] - low)] += weight * impacts[place]


@inner
def _clear_others(allowed: Column, scores: Column) -> None:
    """Set the scores of documents that may not be found to 0, which is below every bound."""
    for document in range(len(allowed)):
        scores[np.uint32(document)] *= np.float32(allowed[document])


@inner
def _first_at_least(docs: Column, begin: int, end: int, document: int) -> int:
    """Bisection without a branch that could be guessed wrong."""
    length = end - begin
    while length > 1:
        half = length >> 1
        begin += half * (docs[begin + half - 1] < document)
        length -= half
    return begin + length * (docs[begin] < document) if length else begin


@inner
def _add_prior(prior: Column, tokens: float, scores: Column, ranks: Column) -> None:
    for document in range(len(ranks)):
        if document < len(prior) and scores[document] > 0:
            scores[document] += tokens * prior[document]
            bits = ranks[document]
            ranks[document] = bits ^ ((bits >> 31) & np.int32(0x7FFFFFFF))
        else:
            ranks[document] = _NO_RANK


@inner
def _take_maxima(ranks: Column, maxima: Column) -> None:
    for tile in range(len(ranks) // _TILE):
        for lane in range(_GROUPS):
            best = _NO_RANK
            for row in range(_GROUP_SIZE):
                best = max(best, ranks[tile * _TILE + row * _GROUPS + lane])
            maxima[tile * _GROUPS + lane] = best


@inner
def _bound(maxima: Column, floor: Any, k: int, workspace: Workspace) -> Any:
    """A rank that k documents reach, where k are found: about the k-th of the maxima."""
    most = np.int32(2**31 - 1)
    maxima = _fold(maxima, workspace.folded, _FOLD * k)
    above, low, high = 0, most, floor
    for rank in maxima:
        above += rank > floor
        low = min(low, rank if rank > floor else most)
        high = max(high, rank)
    return _kth_largest(maxima, len(maxima), k, low, high, 1, workspace.counters) if above > k else np.int32(floor + 1)


@inner
def _fold(maxima: Column, folded: Column, enough: int) -> Column:
    """Maxima of pairs of maxima, until they are few enough to count; hardly any of the best are lost."""
    while len(maxima) > enough:
        half = (len(maxima) + 1) >> 1
        left, right = maxima[:half], maxima[half:]
        for place in range(len(right)):
            folded[place] = max(left[place], right[place])
        if len(right) < half:
            folded[half - 1] = left[half - 1]
        maxima = folded[:half]
    return maxima


@inner
def _kth_largest(values: Column, length: int, k: int, low: Any, high: Any, rounds: int, counters: Column) -> Any:
    """The k-th largest of the first `length` values, all at most `high`, of which k reach `low`.

    Each round counts them in `_BINS` bins and goes on in the one that holds the k-th; short of the four rounds that
    32 bits can take, what comes back is the lower end of that bin.
    """
    low, high = np.int64(low), np.int64(high)
    for _ in range(rounds):
        shift = np.int64(0)
        while (high - low) >> shift >= _BINS:
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


@inner
def _gather(maxima: Column, bound: Any, low: int, workspace: Workspace, candidates: int) -> int:
    """Add the documents that reach the bound to the candidates, and say how many there are then."""
    for start in range(0, len(maxima), _BLOCK):
        block = maxima[start : start + _BLOCK]
        reached = 0
        for place in range(len(block)):
            reached += block[place] >= bound
        if reached:
            candidates = _gather_block(start, block, bound, low, workspace, candidates)
    return candidates


@inner
def _gather_block(start: int, block: Column, bound: Any, low: int, workspace: Workspace, candidates: int) -> int:
    ranks, candidate_ranks, candidate_docs = workspace.ranks, workspace.candidate_ranks, workspace.candidate_docs
    for place in range(len(block)):
        if block[place] >= bound:
            first = (start + place) // _GROUPS * _TILE + (start + place) % _GROUPS
            for row in range(_GROUP_SIZE):
                document = np.uint32(first + row * _GROUPS)
                candidate_ranks[candidates] = ranks[document]
                candidate_docs[candidates] = low + document
                candidates += ranks[document] >= bound
    return candidates


@inner
def _cut(candidates: int, k: int, workspace: Workspace) -> Any:
    """Leave the k best of more candidates; the last rank. Of those that share it the first documents stay."""
    ranks, docs = workspace.candidate_ranks, workspace.candidate_docs
    if k <= _FEW:
        return _cut_few(candidates, k, ranks, docs)
    last_rank, last_doc = _last_of_the_best(candidates, k, workspace)
    kept = 0
    for place in range(candidates):
        rank, document = ranks[place], docs[place]
        ranks[kept], docs[kept] = rank, document
        kept += rank > last_rank or (rank == last_rank and document <= last_doc)
    return last_rank


@inner
def _cut_few(candidates: int, k: int, ranks: Column, docs: Column) -> Any:
    """The same by insertion: the first k stay sorted, and the others displace them."""
    for candidate in range(1, candidates):
        rank, document = ranks[candidate], docs[candidate]
        place = min(candidate, k)
        while place and (ranks[place - 1] < rank or (ranks[place - 1] == rank and docs[place - 1] > document)):
            ranks[place], docs[place] = ranks[place - 1], docs[place - 1]
            place -= 1
        ranks[place], docs[place] = rank, document
    return ranks[k - 1]


@inner
def _key(rank: Any, document: Any) -> Any:
    return np.uint64(np.int64(2**31 - 1) - rank) << np.uint64(32) | np.uint64(document)


@inner
def _last_of_the_best(candidates: int, k: int, workspace: Workspace) -> tuple[Any, Any]:
    ranks = workspace.candidate_ranks
    low, high = _extremes(ranks[:candidates])
    rank = _kth_largest(ranks, candidates, k, low, high, 4, workspace.counters)
    better = 0
    for place in range(candidates):
        better += ranks[place] > rank
    return rank, _last_tied(candidates, k - better, rank, ranks, workspace.candidate_docs)


@inner
def _extremes(values: Column) -> tuple[Any, Any]:
    """The least and the largest of some int32: `min` of numba calls what is in its own library."""
    low, high = values[0], values[0]
    for value in values:
        low, high = min(low, value), max(high, value)
    return low, high


@inner
def _last_tied(candidates: int, wanted: int, rank: Any, ranks: Column, docs: Column) -> Any:
    """The document up to which `wanted` documents have this rank, found by bisection."""
    low, high = np.int32(0), _extremes(docs[:candidates])[1]
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


# Omitting terms. Once k documents are known, the terms that can add least, most often those with most postings, are not
# added up for all documents but looked up for the few that they could still lift among the best: MaxScore (Turtle and
# Flood, IPM 31(6), 1995), a term at a time. Looking a document up costs as much as adding dozens of postings, so only
# terms are omitted that can lift few; where many documents are wanted there are always many.


@inner
def _begin(searched: Searched, query: _Query, terms: Terms) -> None:
    for slot in range(len(query.terms)):
        terms.ends[slot] = searched.starts[query.terms[slot]]
        terms.places[slot] = slot
    if len(query.terms) <= _FEW_TERMS:
        _sort_by_bound(searched, query, terms)


@inner
def _sort_by_bound(searched: Searched, query: _Query, terms: Terms) -> None:
    bounds, by_bound = terms.bounds, terms.by_bound
    for slot in range(len(query.terms)):
        bounds[slot] = np.float64(query.weights[slot]) * searched.most[query.terms[slot]]
        place = slot
        while place and bounds[by_bound[place - 1]] > bounds[slot]:
            by_bound[place] = by_bound[place - 1]
            place -= 1
        by_bound[place] = slot
    for place in range(len(query.terms)):
        terms.places[by_bound[place]] = place


@inner
def _omitted(bound: Any, omitted: int, query: _Query, workspace: Workspace, terms: Terms) -> int:
    """The number of terms, by rising bound, to omit: together they add too little to lift many documents."""
    wanted, rest = _SHARE * _score_of(bound, workspace), 0.0
    for place in range(len(query.terms)):
        rest += terms.bounds[terms.by_bound[place]]
        if rest > wanted:
            return max(omitted, place)
    return len(query.terms)


@inner
def _score_of(rank: Any, workspace: Workspace) -> float:
    """The score of a rank above 0."""
    workspace.candidate_ranks[-1] = rank
    return np.float64(workspace.candidate_scores[-1])


@inner
def _reachable(bound: Any, omitted: int, workspace: Workspace, terms: Terms) -> Any:
    """The least rank without the omitted terms from which a document can reach the bound with them."""
    if not omitted:
        return bound
    rest = _rest(omitted, terms)
    workspace.candidate_scores[-1] = _score_of(bound, workspace) * (1 - _ROUNDING) - rest
    return max(np.int32(1), workspace.candidate_ranks[-1])


@inner
def _rest(omitted: int, terms: Terms) -> float:
    rest = 0.0
    for place in range(omitted):
        rest += terms.bounds[terms.by_bound[place]]
    return rest * (1 + _ROUNDING)


@inner
def _find_omitted(searched: Searched, query: _Query, low: int, high: int, omitted: int, terms: Terms) -> None:
    """Find the postings of the omitted terms in a range."""
    for place in range(omitted):
        slot = terms.by_bound[place]
        end = searched.starts[query.terms[slot] + 1]
        terms.begins[slot] = _first_at_least(searched.docs, terms.ends[slot], end, low)
        terms.ends[slot] = _first_at_least(searched.docs, terms.begins[slot], end, high)


@inner
def _complete(
    searched: Searched,
    query: _Query,
    bound: Any,
    omitted: int,
    first: int,
    last: int,
    workspace: Workspace,
    terms: Terms,
) -> int:
    """Give the candidates from `first` to `last` their whole scores; those that reach the bound stay: the new last."""
    wanted, rest = _score_of(bound, workspace) * (1 - _ROUNDING), _rest(omitted, terms)
    kept = first
    for place in range(first, last):
        document = workspace.candidate_docs[place]
        score = np.float64(workspace.candidate_scores[place])
        if _may_reach(wanted, score, rest, document, searched, query, omitted, terms):
            workspace.candidate_docs[kept] = document
            workspace.candidate_scores[kept] = _whole_score(document, searched, query, terms)
            kept += workspace.candidate_ranks[kept] >= bound
    return kept


@inner
def _may_reach(
    wanted: float,
    score: float,
    rest: float,
    document: int,
    searched: Searched,
    query: _Query,
    omitted: int,
    terms: Terms,
) -> bool:
    """Look the document up in the omitted terms, from the one that can add most, until it falls behind."""
    for place in range(omitted - 1, -1, -1):
        slot = terms.by_bound[place]
        rest -= terms.bounds[slot]
        score += query.weights[slot] * _impact(document, slot, searched, terms)
        if score + rest < wanted:
            return False
    return True


@inner
def _whole_score(document: int, searched: Searched, query: _Query, terms: Terms) -> Any:
    """Added up in the order of the terms, as for all documents."""
    score = np.float32(0)
    for slot in range(len(query.terms)):
        score += query.weights[slot] * _impact(document, slot, searched, terms)
    return score


@inner
def _impact(document: int, slot: int, searched: Searched, terms: Terms) -> Any:
    begin, end = terms.begins[slot], terms.ends[slot]
    place = _first_at_least(searched.docs, begin, end, document)
    return searched.impacts[place] if place < end and searched.docs[place] == document else np.float32(0)
