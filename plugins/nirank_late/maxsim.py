"""MaxSim of given pairs, `sum_i max_j q_i . d_j` (Khattab and Zaharia, SIGIR 2020), with gradients.

On the CPU compiled loops compute it (`nirank_late.kernels`), elsewhere torch, query by query. Either way only the best
token of each document for each query token is kept: it is all that the gradient needs, and memory stays bounded.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nirank.data import Floats, Ints, TokenVectors
from nirank.errors import BadInput

#: Query tokens of pairs whose gradients are in memory at once.
_ENTRIES = 1 << 16
#: Similarities that are in memory at once where torch computes them.
_SIMILARITIES = 1 << 24
#: Pairs that are worth a thread of their own.
_SHARE = 256


def maxsim(queries: TokenVectors, documents: TokenVectors, rows: Ints, columns: Ints) -> Tensor:
    """The score of the query `rows[p]` and the document `columns[p]` for each pair, float32 `[pairs]`.

    Values are tensors on one device. Negative similarities count as they are, and a query without vectors scores 0.
    Raises `BadInput` for a document without vectors, which has no maximum.
    """
    if (documents.lengths[columns] == 0).any():
        raise BadInput("a document without a single vector has no MaxSim.")
    pairs = Meetings(queries.offsets, documents.offsets, np.asarray(rows), np.asarray(columns))
    scores: Tensor = _MaxSim.apply(queries.values.float(), documents.values.float(), pairs)
    return scores


@dataclass(frozen=True, eq=False)
class Meetings:
    """Which queries meet which documents: `rows` and `columns` `[pairs]`, and the offsets of the tokens of either."""

    asked: NDArray[np.int64]
    told: NDArray[np.int64]
    rows: Ints
    columns: Ints

    @property
    def lengths(self) -> NDArray[np.int64]:
        """How many query tokens each pair has, `[pairs]`."""
        return np.diff(self.asked)[self.rows]

    @property
    def entries(self) -> NDArray[np.int64]:
        """Where the query tokens of each pair begin among those of all, `[pairs + 1]`."""
        return np.concatenate([[0], np.cumsum(self.lengths)])

    def tokens(self, pairs: slice, where: NDArray[np.int32]) -> tuple[NDArray[np.int64], ...]:
        """Of each query token of some pairs its number, that of the document token it chose, and its pair's."""
        lengths, begin = self.lengths[pairs], np.cumsum(self.lengths[pairs]) - self.lengths[pairs]
        within = np.arange(lengths.sum()) - np.repeat(begin, lengths)
        asked = np.repeat(self.asked[self.rows[pairs]], lengths) + within
        told = np.repeat(self.told[self.columns[pairs]], lengths) + where
        return asked, told, np.repeat(np.arange(pairs.start, pairs.stop), lengths)


class _MaxSim(torch.autograd.Function):
    """The gradient goes to the best token of the document for each token of the query; of equal ones to the first."""

    @staticmethod
    def forward(ctx: Any, asked: Tensor, told: Tensor, pairs: Meetings) -> Tensor:
        wanted = any(ctx.needs_input_grad[:2])
        compute = on_cpu if asked.device.type == "cpu" else on_device
        scores, where = compute(asked.detach(), told.detach(), pairs, wanted)
        ctx.save_for_backward(asked, told)
        ctx.pairs, ctx.where = pairs, where
        return scores

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None]:
        (asked, told), pairs, (gradient,) = ctx.saved_tensors, ctx.pairs, gradients
        to_asked, to_told = torch.zeros_like(asked), torch.zeros_like(told)
        for some, entries in _blocks(pairs.entries):
            chosen = pairs.tokens(some, ctx.where[entries])
            left, right, pair = (torch.from_numpy(column).to(asked.device) for column in chosen)
            weight = gradient[pair, None]
            to_asked.index_add_(0, left, weight * told[right])
            to_told.index_add_(0, right, weight * asked[left])
        return to_asked, to_told, None


def on_cpu(asked: Tensor, told: Tensor, pairs: Meetings, places: bool = False) -> tuple[Tensor, NDArray[np.int32]]:
    """The scores `[pairs]` and, if `places` are wanted, the document token that each query token chose, `[entries]`.

    It runs in as many threads as torch may use.
    """
    entries = pairs.entries
    scores, where = np.empty(len(pairs.rows), np.float32), np.empty(entries[-1] if places else 0, np.int32)
    compare(tiled(asked.numpy(), pairs.asked), told.numpy(), pairs, scores, entries, where)
    return torch.from_numpy(scores), where


@dataclass(frozen=True, eq=False)
class Tiles:
    """Query tokens as the compiled loops read them.

    `values` float32 `[tiles, dim, 32]`, zeros behind the last token; those of query `i` are in the tiles from
    `offsets[i]` up to `offsets[i + 1]`, and it has `lengths[i]`.
    """

    values: Floats
    offsets: NDArray[np.int64]
    lengths: NDArray[np.int64]


def tiled(values: Floats, offsets: NDArray[np.int64]) -> Tiles:
    """From query tokens `[tokens, dim]`."""
    from nirank_late.kernels import QUERY_TILE

    lengths = np.diff(offsets)
    tiles = np.concatenate([[0], np.cumsum(-(-lengths // QUERY_TILE))])
    rows = np.repeat(tiles[:-1] * QUERY_TILE - offsets[:-1], lengths) + np.arange(len(values))
    spread = np.zeros((tiles[-1] * QUERY_TILE, values.shape[1]), np.float32)
    spread[rows] = values
    turned = spread.reshape(-1, QUERY_TILE, values.shape[1]).transpose(0, 2, 1)
    return Tiles(np.ascontiguousarray(turned), tiles, lengths)


def compare(
    asked: Tiles, told: Floats, pairs: Meetings, scores: Floats, entries: NDArray[np.int64], where: NDArray[np.int32]
) -> None:
    """Fill `scores` and, if it has any room, `where`, in several threads; `told` float32 `[tokens, dim]`."""
    from nirank_late import kernels

    told, rows, columns = np.ascontiguousarray(told), pairs.rows.astype(np.int64), pairs.columns.astype(np.int64)

    def share(some: slice) -> None:
        given = (told, pairs.told, rows[some], columns[some], scores[some], entries[some], where)
        kernels.maxsim(asked.values, asked.offsets, asked.lengths, *given)

    count = max(1, min(torch.get_num_threads(), len(rows) // _SHARE))
    shares = [slice(*ends) for ends in pairwise(np.linspace(0, len(rows), count + 1).astype(int).tolist())]
    if count == 1:
        share(shares[0])
        return
    with ThreadPoolExecutor(count) as pool:
        list(pool.map(share, shares))


def on_device(asked: Tensor, told: Tensor, pairs: Meetings, places: bool = False) -> tuple[Tensor, NDArray[np.int32]]:
    """The same as `on_cpu`, by torch on any device."""
    entries, where = pairs.entries, np.empty(pairs.entries[-1] if places else 0, np.int32)
    scores = asked.new_zeros(len(pairs.rows))
    for row, some in _of_each_query(pairs):
        tokens = asked[pairs.asked[row] : pairs.asked[row + 1]]
        best, chosen = _best_tokens(tokens, told, pairs, some)  # [some, query tokens] both
        scores[torch.from_numpy(some).to(scores.device)] = best.sum(1)
        if places:
            within = entries[some, None] + np.arange(len(tokens))
            where[within.ravel()] = chosen.cpu().numpy().ravel()
    return scores, where


def _best_tokens(tokens: Tensor, told: Tensor, pairs: Meetings, some: Ints) -> tuple[Tensor, Tensor]:
    """For each of some pairs of one query the greatest similarity of each query token, and which token has it."""
    lengths = np.diff(pairs.told)[pairs.columns[some]]
    begin = np.cumsum(lengths) - lengths
    within = np.arange(lengths.sum()) - np.repeat(begin, lengths)
    places = np.repeat(pairs.told[pairs.columns[some]], lengths) + within
    places, within, segments = (
        torch.from_numpy(column).to(told.device)
        for column in (places, within, np.repeat(np.arange(len(some)), lengths))
    )
    similarities = told[places] @ tokens.T  # [document tokens, query tokens]
    segments = segments[:, None].expand_as(similarities)
    best = similarities.new_full((len(some), len(tokens)), -torch.inf)
    best = best.scatter_reduce(0, segments, similarities, "amax")
    found = torch.where(similarities == best.gather(0, segments), within[:, None], len(told))
    first = found.new_full(best.shape, len(told)).scatter_reduce(0, segments, found, "amin")
    return best, first


def _of_each_query(pairs: Meetings) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """The pairs of each query, in parts of a bounded number of similarities."""
    order = np.argsort(pairs.rows, kind="stable")
    starts = np.flatnonzero(np.diff(pairs.rows[order], prepend=-1))
    for some in np.split(order, starts[1:]) if len(order) else []:
        row = int(pairs.rows[some[0]])
        sizes = np.diff(pairs.told)[pairs.columns[some]] * max(1, pairs.asked[row + 1] - pairs.asked[row])
        parts = np.flatnonzero(np.diff(np.cumsum(sizes) // _SIMILARITIES))
        for part in np.split(some, parts + 1):
            yield row, part


def _blocks(entries: NDArray[np.int64]) -> Iterator[tuple[slice, slice]]:
    """Pairs some at a time, with the slice of their query tokens."""
    cuts = np.searchsorted(entries, np.arange(0, entries[-1], _ENTRIES), "right") - 1
    for first, last in pairwise(np.unique([*cuts, len(entries) - 1]).tolist()):
        yield slice(first, last), slice(int(entries[first]), int(entries[last]))
