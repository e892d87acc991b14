"""The parts of the evidence lower bound of a discrete autoencoder, each summed over one picture.

Ramesh et al., Zero-Shot Text-to-Image Generation, ICML 2021, appendix A. The bound of one picture is

    log p(x | z) - beta sum over positions i of KL(q(z_i | x), uniform),   z_i ~ q(z_i | x)

Both terms are sums over the same picture, so that beta = 1 is the bound itself, whatever the size of a batch. Public
code that divides one of them by the batch and not the other has a KL that grows with the batch.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

#: Pixels from 0 to 1 are mapped to [margin, 1 - margin], where their logit is finite.
MARGIN = 0.1
#: The least scale of the density: about the step between two of 256 grey levels. Below it only rounding is measured.
_LEAST_LOG_SCALE = math.log(0.035)


def relaxed(logits: Tensor, tau: float) -> Tensor:
    """One code a position drawn from `softmax(logits)` over the last axis, relaxed: near one-hot at a small `tau`.

    Jang et al., Categorical Reparameterization with Gumbel-Softmax, ICLR 2017. Chance comes from torch's generator.
    """
    even = torch.rand_like(logits).clamp_(min=torch.finfo(logits.dtype).tiny)
    return ((logits - (-even.log()).log()) / tau).softmax(-1)


def hard(logits: Tensor) -> Tensor:
    """The most probable code of each position over the last axis, one-hot."""
    return torch.zeros_like(logits).scatter_(-1, logits.argmax(-1, keepdim=True), 1)


def kl_to_uniform(logits: Tensor) -> Tensor:
    """`sum over positions of KL(softmax(logits), uniform)` of each picture, `[n]`, from `[n, positions, codes]`.

    The logits are those without noise and temperature.
    """
    logs = logits.log_softmax(-1)
    return (logs.exp() * (logs + math.log(logits.shape[-1]))).sum((1, 2))


def log_density(pixels: Tensor, made: Tensor) -> Tensor:
    """`log p(pixels | made)` of each picture, `[n]`: the logit-Laplace density, summed over pixels and channels.

    `pixels` `[n, channels, height, width]` are from 0 to 1; `made` has twice the channels, first the means, then the
    logarithms of the scales. With x mapped to [.1, .9], m and b: `-|logit x - m| / b - log(2 b x (1 - x))`.
    """
    mean, raw = made.chunk(2, dim=1)
    log_scale = _LEAST_LOG_SCALE + F.softplus(raw - _LEAST_LOG_SCALE)
    inside = squeezed(pixels)
    away = (torch.logit(inside) - mean).abs() * (-log_scale).exp()
    return (-away - log_scale - math.log(2) - (inside * (1 - inside)).log()).flatten(1).sum(1)


def squeezed(pixels: Tensor) -> Tensor:
    """Pixels from 0 to 1 mapped into [.1, .9]."""
    return MARGIN + (1 - 2 * MARGIN) * pixels


def restored(made: Tensor) -> Tensor:
    """The pictures that a decoder means, pixels from 0 to 1, `[n, channels, height, width]`."""
    mean, _ = made.chunk(2, dim=1)
    return ((mean.sigmoid() - MARGIN) / (1 - 2 * MARGIN)).clamp(0, 1)
