"""Long documents as passages: which tokens each has, and the score of a document from theirs.

Dai and Callan, Deeper Text Understanding for IR with Contextual Neural Language Modeling, SIGIR 2019: FirstP is the
score of the first passage, MaxP the best of all. MeanP is their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

Aggregation = Literal["first", "max", "mean"]


@dataclass(frozen=True)
class Cutting:
    """Settings by which a long document is cut into passages.

    passages   "first" reads its beginning alone, "max" and "mean" all passages: which score is the document's
    passage    the most tokens of a passage: unless given as many as there is room for
    stride     one begins every `stride` tokens, or every half of a passage unless given
    """

    passages: Aggregation = "first"
    passage: int | None = None
    stride: int | None = None


@dataclass(frozen=True, eq=False)
class Passages:
    """Passages: of each the pair that it belongs to, and its start and stop among the document's tokens.

    Passages stand in the order of pairs, and every pair has one at least, all columns `[passages]`.
    """

    pairs: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def cut(lengths: NDArray[np.int64], sizes: NDArray[np.int64], stride: int | None, first_only: bool) -> Passages:
    """Documents of `lengths` tokens as passages of at most `sizes` tokens, both `[pairs]`.

    One begins every `stride` tokens, or every half of a passage unless given, and never later than the one before
    ends, until one reaches the end of the document.
    """
    steps = np.maximum(1, np.minimum(sizes, stride or sizes // 2))
    beyond = np.zeros_like(lengths) if first_only else np.maximum(0, lengths - sizes)
    counts = 1 + -(-beyond // steps)
    pairs = np.repeat(np.arange(len(lengths)), counts)
    within = np.arange(len(pairs)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = within * steps[pairs]
    return Passages(pairs, starts, np.minimum(starts + sizes[pairs], lengths[pairs]))


def best(scores: Tensor, passages: Passages) -> Tensor:
    """The place of the best passage of each pair, `[pairs]`, from scores `[passages]`; of equal ones the first."""
    found = scores.detach().float().cpu().numpy()
    order = np.lexsort((-found, passages.pairs))
    heads = np.flatnonzero(np.diff(passages.pairs, prepend=-1))
    return torch.from_numpy(order[heads]).to(scores.device)


def mean(values: Tensor, passages: Passages) -> Tensor:
    """The mean over the passages of each pair, `[pairs, ...]`, of `values` `[passages, ...]`."""
    pairs = torch.from_numpy(passages.pairs).to(values.device)
    counts = torch.bincount(pairs).to(values.dtype)
    sums = values.new_zeros((len(counts), *values.shape[1:])).index_add(0, pairs, values)
    return sums / counts.view(-1, *[1] * (values.ndim - 1))
