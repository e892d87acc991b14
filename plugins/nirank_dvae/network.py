"""The two halves of a discrete autoencoder: convolutions from pictures to logits of codes, and back.

As in DALL-E's, convolutions of 1 x 1 stand where codes go in and out, so that a code is made and read by itself.
"""

from __future__ import annotations

from torch import Tensor, nn

from nirank.errors import BadInput


class _Residual(nn.Module):
    """Adds to what comes in what two convolutions make of it."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Conv2d(dim, dim, 3, padding=1), nn.Conv2d(dim, dim, 1)

    def forward(self, features: Tensor) -> Tensor:
        """`[n, dim, height, width]` to the same shape."""
        added: Tensor = self.narrow(nn.functional.gelu(self.wide(nn.functional.gelu(features))))
        return features + added


def encoder(channels: int, codes: int, dim: int, patch: int) -> nn.Sequential:
    """Pictures `[n, channels, side, side]` to logits `[n, codes, side / patch, side / patch]`.

    Raises `BadInput` for a `patch` that is no power of 2 from 2.
    """
    widths = _widths(dim, patch)
    layers: list[nn.Module] = []
    for before, after in zip([channels, *widths[:-1]], widths, strict=True):
        layers += [nn.Conv2d(before, after, 4, stride=2, padding=1), nn.GELU()]
    return nn.Sequential(*layers, _Residual(dim), nn.GELU(), nn.Conv2d(dim, codes, 1))


def decoder(channels: int, codes: int, dim: int, patch: int) -> nn.Sequential:
    """Weights of codes `[n, codes, rows, columns]` to means and log scales of pixels, `[n, 2 channels, side, side]`."""
    widths = _widths(dim, patch)[::-1]
    layers: list[nn.Module] = [nn.Conv2d(codes, dim, 1), _Residual(dim)]
    for before, after in zip(widths, [*widths[1:], widths[-1]], strict=True):
        layers += [nn.GELU(), nn.ConvTranspose2d(before, after, 4, stride=2, padding=1)]
    return nn.Sequential(*layers, nn.GELU(), nn.Conv2d(widths[-1], 2 * channels, 1))


def _widths(dim: int, patch: int) -> list[int]:
    """The widths behind each convolution of stride 2; the last is `dim`, each other half of the next."""
    if patch < 2 or patch & (patch - 1):
        raise BadInput(f"patch = {patch}: a power of 2, from 2, is expected.")
    steps = patch.bit_length() - 1
    return [max(8, dim >> (steps - step)) for step in range(1, steps)] + [dim]
