"""MaxSim of pairs, `sum_i max_j q_i . d_j` (Khattab and Zaharia, SIGIR 2020), with gradients.

On the CPU compiled loops compute it (`nirank_late.kernels`), elsewhere torch, query by query. Either way only the best
token of each document for each query token is kept: it is all that the gradient needs, and memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nirank.data import Floats, Ints, TokenVectors, offsets_of
from nirank.errors import BadInput

if TYPE_CHECKING:
    from nirank_late.kernels import QueryTiles

#: Query tokens of pairs whose gradients are in memory at once.
_ENTRIES = 1 << 16
#: Similarities that are in memory at once where torch computes them.
_SIMILARITIES = 1 << 24
#: Pairs that are worth a thread of their own.
_PAIRS_PER_THREAD = 256


def maxsim(queries: TokenVectors, documents: TokenVectors, rows: Ints, columns: Ints) -> Tensor:
    """The score of the query `rows[p]` and the document `columns[p]` for each pair, float32 `[pairs]`.

    Values are tensors on one device. Negative similarities count as they are, and a query without vectors scores 0.
    Raises `BadInput` for a document without vectors, which has no maximum.
    """
    if (documents.lengths[columns] == 0).any():
        raise BadInput(
            "a document has no token vectors, so its MaxSim is undefined: the encoder left nothing of its text. Remove "
            "the document, or give it another text."
        )
    pairs = Meetings(queries.offsets, documents.offsets, np.asarray(rows), np.asarray(columns))
    scores: Tensor = _MaxSim.apply(queries.values.float(), documents.values.float(), pairs)  # type: ignore[no-untyped-call]
    return scores


@dataclass(frozen=True, eq=False)
class Meetings:
    """Pairs of queries and documents: `rows` and `columns` `[pairs]`, and the offsets of the tokens of either."""

    queries: NDArray[np.int64]
    documents: NDArray[np.int64]
    rows: Ints
    columns: Ints

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of query tokens of each pair, `[pairs]`."""
        return np.diff(self.queries)[self.rows]

    @property
    def entries(self) -> NDArray[np.int64]:
        """The places where the query tokens of each pair begin among those of all, `[pairs + 1]`."""
        return offsets_of(self.lengths)

    def tokens(self, pairs: slice, chosen: NDArray[np.int32]) -> tuple[NDArray[np.int64], ...]:
        """Numbers of each query token of some pairs, of the document token it chose, and of its pair."""
        lengths, begin = self.lengths[pairs], np.cumsum(self.lengths[pairs]) - self.lengths[pairs]
        within = np.arange(lengths.sum()) - np.repeat(begin, lengths)
        left = np.repeat(self.queries[self.rows[pairs]], lengths) + within
        right = np.repeat(self.documents[self.columns[pairs]], lengths) + chosen
        return left, right, np.repeat(np.arange(pairs.start, pairs.stop), lengths)


class _MaxSim(torch.autograd.Function):
    """The gradient goes to the best token of the document for each token of the query; of equal ones to the first."""

    @staticmethod
    def forward(ctx: Any, queries: Tensor, documents: Tensor, pairs: Meetings) -> Tensor:
        wanted = any(ctx.needs_input_grad[:2])
        compute = on_cpu if queries.device.type == "cpu" else on_device
        scores, chosen = compute(queries.detach(), documents.detach(), pairs, wanted)
        ctx.save_for_backward(queries, documents)
        ctx.pairs, ctx.chosen = pairs, chosen
        return scores

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (queries, documents), pairs, (gradient,) = ctx.saved_tensors, ctx.pairs, gradients
        to_queries, to_documents = torch.zeros_like(queries), torch.zeros_like(documents)
        for some, entries in _blocks(pairs.entries):
            columns = pairs.tokens(some, ctx.chosen[entries])
            left, right, pair = (torch.from_numpy(column).to(queries.device) for column in columns)
            weight = gradient[pair, None]
            to_queries.index_add_(0, left, weight * documents[right])
            to_documents.index_add_(0, right, weight * queries[left])
        return to_queries, to_documents, None


def on_cpu(
    queries: Tensor, documents: Tensor, pairs: Meetings, places: bool = False
) -> tuple[Tensor, NDArray[np.int32]]:
    """The scores `[pairs]` and, if `places` are wanted, the document token that each query token chose, `[entries]`.

    It runs in as many threads as torch may use.
    """
    chosen = np.empty(pairs.entries[-1] if places else 0, np.int32)
    scores = compare(tiled(queries.numpy(), pairs.queries), documents.numpy(), pairs, chosen)
    return torch.from_numpy(scores), chosen


def tiled(values: Floats, offsets: NDArray[np.int64]) -> QueryTiles:
    """Query tokens, float32 `[tokens, dim]`, in tiles."""
    from nirank_late.kernels import QUERY_TILE, QueryTiles

    lengths = np.diff(offsets)
    tiles = offsets_of(-(-lengths // QUERY_TILE))
    rows = np.repeat(tiles[:-1] * QUERY_TILE - offsets[:-1], lengths) + np.arange(len(values))
    spread = np.zeros((tiles[-1] * QUERY_TILE, values.shape[1]), np.float32)
    spread[rows] = values
    turned = spread.reshape(-1, QUERY_TILE, values.shape[1]).transpose(0, 2, 1)
    return QueryTiles(np.ascontiguousarray(turned), tiles, lengths)


def compare(queries: QueryTiles, documents: Floats, pairs: Meetings, chosen: NDArray[np.int32]) -> Floats:
    """MaxSim of each pair, `[pairs]`, in several threads; `documents` float32 `[tokens, dim]`.

    If it has any room, `chosen` is filled with the document token that each query token chose.
    """
    from nirank_late import kernels

    tokens = kernels.DocumentTokens(np.ascontiguousarray(documents), pairs.documents)
    rows, columns = pairs.rows.astype(np.int64), pairs.columns.astype(np.int64)
    entries = pairs.entries if len(chosen) else np.zeros(len(rows), np.int64)
    scores = np.empty(len(rows), np.float32)

    def share(some: slice) -> None:
        part = kernels.Compared(rows[some], columns[some], scores[some], entries[some], chosen)
        kernels.maxsim(queries, tokens, part)

    count = max(1, min(torch.get_num_threads(), len(rows) // _PAIRS_PER_THREAD))
    shares = [slice(*ends) for ends in pairwise(np.linspace(0, len(rows), count + 1).astype(int).tolist())]
    if count == 1:
        share(shares[0])
        return scores
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(share, shares))
    return scores


def on_device(
    queries: Tensor, documents: Tensor, pairs: Meetings, places: bool = False
) -> tuple[Tensor, NDArray[np.int32]]:
    """The same as `on_cpu`, by torch on any device."""
    entries, chosen = pairs.entries, np.empty(pairs.entries[-1] if places else 0, np.int32)
    scores = queries.new_zeros(len(pairs.rows))
    for row, some in _of_each_query(pairs):
        tokens = queries[pairs.queries[row] : pairs.queries[row + 1]]
        best, places_of_best = _best_tokens(tokens, documents, pairs, some)  # [some, query tokens] both
        scores[torch.from_numpy(some).to(scores.device)] = best.sum(1)
        if places:
            within = entries[some, None] + np.arange(len(tokens))
            chosen[within.ravel()] = places_of_best.cpu().numpy().ravel()
    return scores, chosen


def _best_tokens(tokens: Tensor, documents: Tensor, pairs: Meetings, some: Ints) -> tuple[Tensor, Tensor]:
    """The greatest similarity of each query token in some pairs of one query, and which document token has it."""
    lengths = np.diff(pairs.documents)[pairs.columns[some]]
    begin = np.cumsum(lengths) - lengths
    within = np.arange(lengths.sum()) - np.repeat(begin, lengths)
    places = np.repeat(pairs.documents[pairs.columns[some]], lengths) + within
    places, within, segments = (
        torch.from_numpy(column).to(documents.device)
        for column in (places, within, np.repeat(np.arange(len(some)), lengths))
    )
    similarities = documents[places] @ tokens.T  # [document tokens, query tokens]
    segments = segments[:, None].expand_as(similarities)
    best = similarities.new_full((len(some), len(tokens)), -torch.inf)
    best = best.scatter_reduce(0, segments, similarities, "amax")
    found = torch.where(similarities == best.gather(0, segments), within[:, None], len(documents))
    first = found.new_full(best.shape, len(documents)).scatter_reduce(0, segments, found, "amin")
    return best, first


def _of_each_query(pairs: Meetings) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The pairs of each query, in parts of a bounded number of similarities."""
    order = np.argsort(pairs.rows, kind="stable")
    starts = np.flatnonzero(np.diff(pairs.rows[order], prepend=-1))
    for some in np.split(order, starts[1:]) if len(order) else []:
        row = int(pairs.rows[some[0]])
        sizes = np.diff(pairs.documents)[pairs.columns[some]] * max(1, pairs.queries[row + 1] - pairs.queries[row])
        parts = np.flatnonzero(np.diff(np.cumsum(sizes) // _SIMILARITIES))
        for part in np.split(some, parts + 1):
            yield row, part


def _blocks(entries: NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Pairs some at a time, with the slice of their query tokens."""
    cuts = np.searchsorted(entries, np.arange(0, entries[-1], _ENTRIES), "right") - 1
    for first, last in pairwise(np.unique([*cuts, len(entries) - 1]).tolist()):
        yield slice(first, last), slice(int(entries[first]), int(entries[last]))
