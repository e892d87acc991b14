"""The parts of the evidence lower bound of a discrete autoencoder, each summed over one picture.

Ramesh et al., Zero-Shot Text-to-Image Generation, ICML 2021, appendix A. The bound of one picture is

    log p(x | z) - beta sum over positions i of KL(q(z_i | x), uniform),   z_i ~ q(z_i | x)

Both terms are sums over the same picture, so that beta = 1 is the bound itself, whatever the size of a batch. Public
code that divides one of them by the batch and not the other has a KL that grows with the batch. The first term is of
`nirank_dvae.densities`.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor


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
