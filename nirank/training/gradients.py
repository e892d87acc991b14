"""The gradient of one batch, all at once or chunk by chunk."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nirank.component import Component
from nirank.training.batch import Forward, Piece, run

#: From the outputs of the pieces to what is made small.
Cost = Callable[[Sequence[Tensor]], Tensor]


class Pass:
    """One forward and backward pass of a component, whose randomness (dropout) comes from `seed` alone.

    `accelerator` is accelerate's: it knows the precision, and scales what fp16 would lose.
    """

    def __init__(self, component: Component, forward: Forward, accelerator: Any, seed: Sequence[int]) -> None:
        self.component, self.forward, self.accelerator, self.seed = component, forward, accelerator, seed

    def whole(self, cost: Cost) -> None:
        """Add the gradient of `cost` to the weights; all activations are in memory at once."""
        self._back(cost([self._run(number) for number in range(len(self.forward.pieces))]))

    def chunked(self, cost: Cost) -> None:
        """The same gradient with the activations of one piece in memory at a time.

        The outputs are computed twice: first alone, for the gradient of the cost with respect to them, then piece
        by piece with that gradient on the way back (Gao et al. 2021, section 3). Both times with the same dropout.
        """
        with torch.no_grad():
            outputs = [self._run(number) for number in range(len(self.forward.pieces))]
        outputs = [output.requires_grad_() for output in outputs]
        self._back(cost(outputs))
        for number, output in enumerate(outputs):
            if output.grad is not None:
                again = self._run(number)
                if again.requires_grad:  # a tower may be frozen
                    again.backward(output.grad)

    def _back(self, cost: Tensor) -> None:
        if cost.requires_grad:  # lists without a single pair have nothing to learn from
            self.accelerator.backward(cost)

    def _run(self, number: int) -> Tensor:
        piece: Piece = self.forward.pieces[number]
        _seed(int(np.random.SeedSequence([*self.seed, number]).generate_state(1, np.uint64)[0] >> 1))
        with self.accelerator.autocast():
            return run(self.component, piece)


def _seed(seed: int) -> None:
    """Seed the devices in use; torch.manual_seed looks for others too, and takes 200 times as long."""
    torch.default_generator.manual_seed(seed)
    if torch.cuda.is_initialized():
        torch.cuda.manual_seed_all(seed)
    if torch.backends.mps.is_available():
        torch.mps.manual_seed(seed)
