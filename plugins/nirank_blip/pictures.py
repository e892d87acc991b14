"""Images as tokens: of a vision transformer, or the last maps of EfficientNet-lite0; each image is encoded once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Content
from nirank.kit import Memory
from nirank.kit.vision import EfficientNet, Pixels

#: The one vector of an image: that of its first token, or the mean of all.
Pool = Literal["first", "mean"]


class Pictures(nn.Module):
    """Images as tokens, `[images, tokens, width]`, `passed` at a time.

    What a picture in a file is made into is remembered, as long as the weights stay the same and take no gradient.
    """

    network: Any

    def __init__(self, network: nn.Module, pixels: Pixels, width: int, pool: Pool, passed: int = 32) -> None:
        super().__init__()
        self.network, self.pixels, self.width, self.pool, self.passed = network, pixels, width, pool, passed
        self._memory, self._stamp = Memory(), ()

    def forward(self, contents: Sequence[Content]) -> Tensor:
        """The tokens of images, float32 `[images, tokens, width]`."""
        if self.learns:
            return self._tokens(contents)
        stamp = tuple(parameter._version for parameter in self.network.parameters())
        if stamp != self._stamp:
            self._memory, self._stamp = Memory(), stamp
        return self._memory.get(self._tokens, contents)

    @property
    def learns(self) -> bool:
        """True in training, for a network that is not frozen."""
        return self.training and torch.is_grad_enabled() and any(p.requires_grad for p in self.network.parameters())

    def vectors(self, tokens: Tensor) -> Tensor:
        """One vector of each image, `[images, width]`."""
        return tokens[:, 0] if self.pool == "first" else tokens.mean(1)

    @property
    def described(self) -> dict[str, Any]:
        """What its tokens depend on beside the weights, as plain values."""
        return {**asdict(self.pixels), "pool": self.pool, "width": self.width}

    def _tokens(self, contents: Sequence[Content]) -> Tensor:
        device = next(self.network.parameters()).device
        return torch.cat([self._of(pixels) for pixels in self.pixels.batches(contents, self.passed, device)])

    def _of(self, pixels: Tensor) -> Tensor:
        if isinstance(self.network, EfficientNet):
            return self.network.maps(pixels).flatten(2).transpose(1, 2)
        return self.network(pixel_values=pixels).last_hidden_state.float()


def unit(vectors: Tensor) -> Tensor:
    """Vectors of length 1."""
    return F.normalize(vectors.float(), dim=-1)
