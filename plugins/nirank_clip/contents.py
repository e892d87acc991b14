"""Texts through a tower, those of similar length together, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from nirank.kit.transformers import passes

#: From the token numbers of some texts to their features, `[texts, dim]`.
Pass = Callable[[Sequence[list[int]]], Tensor]


def by_length(tokens: Sequence[list[int]], size: int, run: Pass) -> Tensor:
    """Features of texts, `[texts, dim]`, in their order: `run` takes those of similar length, `size` at a time."""
    parts = passes(np.array([len(each) for each in tokens]), size)
    found = torch.cat([run([tokens[place] for place in part]) for part in parts])
    return found[torch.from_numpy(np.concatenate(parts).argsort()).to(found.device)]
