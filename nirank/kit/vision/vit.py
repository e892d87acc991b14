"""A small vision transformer, to be trained from nothing: for images alone, or for several that see each other."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.errors import BadInput


class ViT(nn.Module):
    """Images to vectors: patches become tokens, which attend to one another; the vector is the mean of the tokens.

    Dosovitskiy et al., An Image is Worth 16x16 Words, ICLR 2021, with pre-norm blocks; patches are embedded by
    convolutions of stride 2 instead of one of stride `patch`, which trains better on little data (Xiao et al., Early
    Convolutions Help Transformers See Better, NeurIPS 2021).

    For images that are to be seen `together`, `joint` blocks come after the `depth` blocks for each image alone: in
    these the tokens of all attend to one another. They begin by changing nothing, so that weights learned with one
    image give each of several the same vector as alone. What says which image a token is of begins at 0. An image is
    `tall` squares of `side` high.

    `side` and `patch` are pixels, `patch` a power of 2 that divides `side`. Chance comes from torch's generator.
    Raises `BadInput` for sizes that do not divide.
    """

    def __init__(
        self,
        side: int,
        channels: int,
        dim: int = 96,
        depth: int = 3,
        heads: int = 4,
        patch: int = 4,
        joint: int = 2,
        dropout: float = 0.0,
        together: int = 1,
        tall: int = 1,
    ) -> None:
        if patch < 2 or patch & (patch - 1) or side % patch or dim % heads:
            raise BadInput(
                f"side = {side}, patch = {patch}, dim = {dim}, heads = {heads}: a patch that is a power of 2 "
                "and divides side, and heads that divide dim, are expected."
            )
        super().__init__()
        self.dim, self.tall = dim, tall
        self.stem = _stem(channels, dim, patch)
        self.positions = nn.Parameter(torch.randn(tall * (side // patch) ** 2, dim) * 0.02)
        self.blocks = nn.ModuleList(_Block(dim, heads, dropout) for _ in range(depth))
        self.norm = nn.LayerNorm(dim)
        if together > 1:
            self.which = nn.Parameter(torch.zeros(together, 1, dim))
            self.joint = nn.ModuleList(_Block(dim, heads, dropout, silent=True) for _ in range(joint))

    def forward(self, images: Tensor) -> Tensor:
        """Images alone: vectors `[n, dim]` from `[n, channels, tall * side, side]`."""
        return self.vectors(self.tokens(images))[:, 0]

    def tokens(self, images: Tensor) -> Tensor:
        """Images alone: `[n, tokens, dim]` from `[n, channels, tall * side, side]`."""
        tokens = self.stem(images).flatten(2).transpose(1, 2) + self.positions
        for block in self.blocks:
            tokens = block(tokens)
        return tokens

    def vectors(self, *images: Tensor) -> Tensor:
        """A vector for each image, `[n, images, dim]`, from the tokens of each, `[n, tokens, dim]`."""
        tokens = torch.stack(images, 1)  # [n, images, tokens, dim]
        if len(images) > 1:
            joined = (tokens + self.which).flatten(1, 2)
            for block in self.joint:
                joined = block(joined)
            tokens = joined.unflatten(1, tokens.shape[1:3])
        return self.norm(tokens).mean(2)


class _Block(nn.Module):
    """Attention and a feed-forward layer, each of what was normalised, each added to what came in.

    A `silent` one adds nothing at first.
    """

    def __init__(self, dim: int, heads: int, dropout: float, silent: bool = False) -> None:
        super().__init__()
        self.heads, self.dropout = heads, dropout
        self.before, self.between = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.asks, self.answers = nn.Linear(dim, 3 * dim), nn.Linear(dim, dim)
        self.wide, self.narrow = nn.Linear(dim, 4 * dim), nn.Linear(4 * dim, dim)
        for layer in (self.answers, self.narrow) if silent else ():
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)

    def forward(self, tokens: Tensor) -> Tensor:
        """`[n, tokens, dim]` to the same shape."""
        tokens = tokens + self._dropped(self.answers(self._attention(self.before(tokens))))
        return tokens + self._dropped(self.narrow(F.gelu(self.wide(self.between(tokens)))))

    def _attention(self, tokens: Tensor) -> Tensor:
        parts = self.asks(tokens).unflatten(-1, (3, self.heads, -1))  # [n, tokens, 3, heads, dim / heads]
        queries, keys, values = parts.permute(2, 0, 3, 1, 4)
        return F.scaled_dot_product_attention(queries, keys, values).transpose(1, 2).flatten(2)

    def _dropped(self, values: Tensor) -> Tensor:
        return F.dropout(values, self.dropout, self.training)


def _stem(channels: int, dim: int, patch: int) -> nn.Sequential:
    """Convolutions of stride 2, each with twice the width of the one before, and a linear map: one token a patch."""
    layers: list[nn.Module] = []
    steps = patch.bit_length() - 1
    widths = [channels, *(max(8, dim >> (steps - step)) for step in range(1, steps + 1))]
    for before, after in pairwise(widths):
        layers += [nn.Conv2d(before, after, 3, stride=2, padding=1), nn.GroupNorm(1, after), nn.GELU()]
    return nn.Sequential(*layers, nn.Conv2d(widths[-1], dim, 1))
