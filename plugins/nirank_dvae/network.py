"""The two halves of a discrete autoencoder: from pictures to logits of codes, and back.

As in DALL-E's, a code is made and read position by position, by a convolution of 1 x 1: here a linear map, for codes
are the last axis, where a softmax is fast.
"""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn
from torch.nn import functional as F

from nirank.errors import BadInput


class Encoder(nn.Module):
    """Pictures `[n, channels, side, side]` to logits of codes, `[n, positions, codes]`, position by position in rows.

    Where features are `normed`, those of each position have mean 0 and deviation 1 before codes are made of them.
    Raises `BadInput` for a `patch` that is no power of 2 from 2.
    """

    def __init__(self, channels: int, codes: int, dim: int, patch: int, normed: bool = False) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for before, after in pairwise([channels, *_widths(dim, patch)]):
            layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.GELU()]
        self.features = nn.Sequential(*layers, _Residual(dim), nn.GELU())
        self.norm = nn.LayerNorm(dim) if normed else nn.Identity()
        self.codes = nn.Linear(dim, codes)

    def forward(self, pictures: Tensor) -> Tensor:
        """The logits."""
        made: Tensor = self.codes(self.norm(self.features(pictures).flatten(2).transpose(1, 2)))
        return made


class Decoder(nn.Module):
    """Weights of codes, `[n, positions, codes]`, to the parameters of a density of pixels, `[n, made, side, side]`.

    There are `rows` times as many positions, and `made` numbers a pixel; the last doubling is one of pixels out of
    channels (Shi et al., CVPR 2016). Raises as the encoder does.
    """

    def __init__(self, made: int, codes: int, dim: int, patch: int, rows: int) -> None:
        super().__init__()
        self.rows, self.codes = rows, nn.Linear(codes, dim)
        widths = _widths(dim, patch)[::-1]
        layers: list[nn.Module] = [_Residual(dim), nn.GELU()]
        for before, after in pairwise(widths):
            layers += [nn.ConvTranspose2d(before, after, 4, stride=2, padding=1), nn.GELU()]
        self.pixels = nn.Sequential(*layers, nn.Conv2d(widths[-1], 4 * made, 3, padding=1), nn.PixelShuffle(2))

    def forward(self, weights: Tensor) -> Tensor:
        """The parameters."""
        made: Tensor = self.pixels(self.codes(weights).transpose(1, 2).unflatten(2, (self.rows, -1)))
        return made


class _Residual(nn.Module):
    """Adds to what comes in what two convolutions make of it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(dim, dim, 3, padding=1), nn.Conv2d(dim, dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        """`[n, dim, height, width]` to the same shape."""
        added: Tensor = self.narrow(F.gelu(self.wide(F.gelu(features))))
        return features + added


def _widths(dim: int, patch: int) -> list[int]:
    """The widths behind each convolution of stride 2; the last is `dim`, each other half of the next."""
    if patch < 2 or patch & (patch - 1):
        raise BadInput(f"patch = {patch}: a power of 2, from 2, is expected.")
    steps = patch.bit_length() - 1
    return [max(8, dim >> (steps - step)) for step in range(1, steps + 1)]
