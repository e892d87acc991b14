"""Long documents as passages: which tokens each has, and the score of a document from theirs.

Dai and Callan, Deeper Text Understanding for IR with Contextual Neural Language Modeling, SIGIR 2019: FirstP is the
score of the first passage, MaxP the best of all. MeanP is their mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from nirank.data import Windows

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


def best(scores: Tensor, passages: Windows) -> Tensor:
    """The place of the best passage of each pair, `[pairs]`, from scores `[passages]`; of equal ones the first."""
    found = scores.detach().float().cpu().numpy()
    order = np.lexsort((-found, passages.owners))
    heads = np.flatnonzero(np.diff(passages.owners, prepend=-1))
    return torch.from_numpy(order[heads]).to(scores.device)


def mean(values: Tensor, passages: Windows) -> Tensor:
    """The mean over the passages of each pair, `[pairs, ...]`, of `values` `[passages, ...]`."""
    pairs = torch.from_numpy(passages.owners).to(values.device)
    counts = torch.bincount(pairs).to(values.dtype)
    sums = values.new_zeros((len(counts), *values.shape[1:])).index_add(0, pairs, values)
    return sums / counts.view(-1, *[1] * (values.ndim - 1))
