"""Ragged lists as matrices: where each pair stands in `[lists, length]`."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from nirank.data.candidates import Candidates


class Padding:
    """The places of the pairs of `candidates` in a matrix with one row a list; `mask` is True where one stands."""

    def __init__(self, candidates: Candidates, device: torch.device) -> None:
        self.device = device
        self.shape = len(candidates), int(candidates.lengths.max(initial=0))
        within = np.arange(candidates.pairs) - np.repeat(candidates.offsets[:-1], candidates.lengths)
        self._places = torch.from_numpy(candidates.rows).to(device), torch.from_numpy(within).to(device)
        self.mask = self.matrix(np.ones(candidates.pairs, bool))

    def matrix(self, column: Tensor | NDArray[Any]) -> Tensor:
        """A column `[pairs]` (or `[pairs, ...]`) as `[lists, length]`, with its gradient; 0 in the padding."""
        flat = column if isinstance(column, Tensor) else torch.from_numpy(np.ascontiguousarray(column)).to(self.device)
        matrix = flat.new_zeros(self.shape + flat.shape[1:])
        return matrix.index_put(self._places, flat)
