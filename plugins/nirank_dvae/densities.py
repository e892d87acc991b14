"""How probable pixels are of what a decoder made: the densities that a discrete autoencoder may be trained by.

Each says what the encoder sees of pixels from 0 to 1, how many numbers the decoder makes for each pixel and channel,
how probable pixels are of these, and which picture is meant by them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Literal, Protocol

import torch
from torch import Tensor
from torch.nn import functional as F

#: Pixels from 0 to 1 are mapped to [margin, 1 - margin], where their logit is finite.
MARGIN = 0.1
#: The least scale of the logit-Laplace density: about the step between two of 256 grey levels. Below it only rounding
#: is measured.
_LEAST_LOG_SCALE = math.log(0.035)
#: The standard deviation of the normal density, of pixels from 0 to 1.
_DEVIATION = 0.1

Name = Literal["logit_laplace", "normal"]


class Density(Protocol):
    """A density of pixels `[n, channels, height, width]`, given what a decoder made: `numbers` for each of them."""

    numbers: int

    def seen(self, pixels: Tensor) -> Tensor:
        """What the encoder sees of pixels from 0 to 1."""

    def log_density(self, pixels: Tensor, made: Tensor) -> Tensor:
        """`log p(pixels | made)` of each picture, `[n]`: summed over pixels and channels, from 0 to 1."""

    def restored(self, made: Tensor) -> Tensor:
        """The picture that is meant, pixels from 0 to 1, `[n, channels, height, width]`."""


class LogitLaplace:
    """The logit-Laplace density of Ramesh et al., ICML 2021, appendix A.3, with a scale of its own for each pixel.

    With x mapped to [.1, .9], m and b: `-|logit x - m| / b - log(2 b x (1 - x))`. `made` has first the means, then the
    logarithms of the scales. What it finds likeliest is a median.
    """

    numbers = 2

    def seen(self, pixels: Tensor) -> Tensor:
        """Pixels mapped into [.1, .9]."""
        return squeezed(pixels)

    def log_density(self, pixels: Tensor, made: Tensor) -> Tensor:
        """The sum over pixels and channels, `[n]`."""
        mean, raw = made.chunk(2, dim=1)
        log_scale = _LEAST_LOG_SCALE + F.softplus(raw - _LEAST_LOG_SCALE)
        inside = squeezed(pixels)
        away = (torch.logit(inside) - mean).abs() * (-log_scale).exp()
        return (-away - log_scale - math.log(2) - (inside * (1 - inside)).log()).flatten(1).sum(1)

    def restored(self, made: Tensor) -> Tensor:
        """The medians, mapped back."""
        mean, _ = made.chunk(2, dim=1)
        return ((mean.sigmoid() - MARGIN) / (1 - 2 * MARGIN)).clamp(0, 1)


class Normal:
    """The normal density with one standard deviation, .1, around `(made + 1) / 2`: what it finds likeliest is a mean.

    So the error is squared, and a coloured part counts as much as a plain ground, which a scale for each pixel would
    let weigh many times more.
    """

    numbers = 1

    def seen(self, pixels: Tensor) -> Tensor:
        """Pixels from -1 to 1."""
        return 2 * pixels - 1

    def log_density(self, pixels: Tensor, made: Tensor) -> Tensor:
        """The sum over pixels and channels, `[n]`."""
        away = (pixels - (made + 1) / 2) / _DEVIATION
        return (-away.square() / 2 - math.log(_DEVIATION * math.sqrt(2 * math.pi))).flatten(1).sum(1)

    def restored(self, made: Tensor) -> Tensor:
        """The means, cut off at black and white."""
        return ((made + 1) / 2).clamp(0, 1)


#: By the name that settings give them.
DENSITIES: Mapping[str, Density] = {"logit_laplace": LogitLaplace(), "normal": Normal()}


def squeezed(pixels: Tensor) -> Tensor:
    """Pixels from 0 to 1 mapped into [.1, .9]."""
    return MARGIN + (1 - 2 * MARGIN) * pixels
