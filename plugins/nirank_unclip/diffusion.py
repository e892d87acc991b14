"""Diffusion over one vector: from noise, step by step, to the vector of a picture that a text may belong to.

    x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) noise,    a_t = cos^2((t / T + s) / (1 + s) pi / 2) / cos^2(s / (1 + s) pi / 2)

The network says x_0, from x_t, t and the text (Ramesh et al. 2022, equation 2), and is trained on its squared error.
a_t is the cosine schedule of Nichol and Dhariwal, Improved Denoising Diffusion Probabilistic Models, ICML 2021, with
s = .008 and T = 1,000. Vectors have the length sqrt(dim) here, so that each number is about as large as the noise. The
steps are those of Song, Meng and Ermon, Denoising Diffusion Implicit Models, ICLR 2021, which add no noise.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.errors import BadInput

TIMES, _SHIFT = 1000, 0.008
#: How often training leaves the text out, so that one network also knows what there is without any.
_DROPPED = 0.1
#: Beyond this a number of a vector is cut off, while it is drawn.
_LARGEST = 5.0
_WAVES = 32  # of a time, for the network


@dataclass(frozen=True)
class Drawing:
    """Settings of how vectors are drawn.

    steps     from noise to the vector
    samples   how many are drawn for a text
    guidance  w of `without + w (with - without)`: 1 follows the text as it was learned, more exaggerates it
    pick      "mean" of what was drawn, or the one "nearest" to the text's own vector, where that is of the same space
    chance    the seed of the noise, together with the text
    """

    steps: int = 25
    samples: int = 2
    guidance: float = 4.0
    pick: Literal["mean", "nearest"] = "mean"
    chance: int = 0

    def __post_init__(self) -> None:
        if not 1 <= self.steps <= TIMES or self.samples < 1:
            raise BadInput(
                f"steps = {self.steps}, samples = {self.samples}: steps from 1 to {TIMES}, and 1 sample or more."
            )


class Diffusion(nn.Module):
    """The network that says a vector from a noisy one, the time and the text; and its two uses.

    A text that is left out is a vector that is learned.
    """

    def __init__(self, text: int, image: int, hidden: int, layers: int) -> None:
        super().__init__()
        self.image = image
        self.nothing = nn.Parameter(torch.zeros(text))
        self.begin = nn.Linear(image + text + 2 * _WAVES, hidden)
        self.middle = nn.ModuleList(_Layer(hidden) for _ in range(layers))
        self.end = nn.Linear(hidden, image)

    def forward(self, noisy: Tensor, times: Tensor, texts: Tensor) -> Tensor:
        """x_0 from x_t, `[n, image]`, the times, `[n]`, and the vectors of the texts, `[n, text]`."""
        scaled = texts * texts.shape[1] ** 0.5
        states = self.begin(torch.cat([noisy, scaled, _waves(times)], 1))
        for layer in self.middle:
            states = layer(states)
        return self.end(states)

    def error(self, texts: Tensor, pictures: Tensor) -> Tensor:
        """The mean squared error of x_0 at a random time, with random noise, for each pair, `[pairs]`."""
        times = torch.randint(1, TIMES + 1, (len(texts),), device=texts.device)
        kept = signal(times)[:, None]
        clear = pictures * self.image**0.5
        noisy = kept.sqrt() * clear + (1 - kept).sqrt() * torch.randn_like(clear)
        left_out = torch.rand(len(texts), 1, device=texts.device) < _DROPPED
        said = self(noisy, times, torch.where(left_out, self.nothing, texts))
        return (said - clear).square().mean(1)

    def drawn(self, texts: Tensor, names: Sequence[str], drawing: Drawing) -> Tensor:
        """Unit vectors, `[texts, samples, image]`; the noise of each follows from its text alone."""
        state = torch.cat([noise(name, drawing.samples, self.image, drawing.chance) for name in names])
        state, given = state.to(texts.device), texts.repeat_interleave(drawing.samples, 0)
        times = np.linspace(TIMES, 0, drawing.steps + 1).round().astype(int)
        for now, then in zip(times[:-1].tolist(), times[1:].tolist(), strict=True):
            said = self._guided(state, now, given, drawing.guidance).clamp(-_LARGEST, _LARGEST)
            state = _step(state, said, *(signal(torch.tensor([time], device=texts.device)) for time in (now, then)))
        return F.normalize(state, dim=-1).unflatten(0, (len(texts), drawing.samples))

    def _guided(self, state: Tensor, time: int, texts: Tensor, guidance: float) -> Tensor:
        times = torch.full((len(state),), time, device=state.device)
        said = self(state, times, texts)
        if guidance == 1:
            return said
        without = self(state, times, self.nothing.expand_as(texts))
        return without + guidance * (said - without)


def signal(times: Tensor) -> Tensor:
    """a_t, the share of the signal that is left at a time: 1 at 0, and about 0 at the last."""
    angle = (times.float() / TIMES + _SHIFT) / (1 + _SHIFT) * math.pi / 2
    first = math.cos(_SHIFT / (1 + _SHIFT) * math.pi / 2) ** 2
    return (angle.cos() ** 2 / first).clamp(1e-5, 1.0)


def noise(name: str, samples: int, size: int, chance: int) -> Tensor:
    """Standard normal numbers, `[samples, size]`, which follow from a text and a seed, whatever else is asked."""
    told = f"{chance} ".encode() + name.encode("utf-8", "surrogatepass")
    seed = int.from_bytes(hashlib.blake2b(told, digest_size=8).digest(), "little")
    return torch.from_numpy(np.random.default_rng(seed).standard_normal((samples, size), np.float32))


def _step(state: Tensor, said: Tensor, now: Tensor, then: Tensor) -> Tensor:
    """The state at an earlier time, from what is said to be behind it."""
    rest = (state - now.sqrt() * said) / (1 - now).clamp(min=1e-5).sqrt()
    return then.sqrt() * said + (1 - then).sqrt() * rest


def _waves(times: Tensor) -> Tensor:
    """Sines and cosines of times, `[n, 2 * waves]`."""
    rates = torch.exp(-math.log(10_000) * torch.arange(_WAVES, device=times.device) / _WAVES)
    angles = times.float()[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], 1)


class _Layer(nn.Module):
    """A feed-forward layer of what was normalised, added to what came in."""

    def __init__(self, size: int) -> None:
        super().__init__()
        self.norm, self.wide, self.narrow = nn.LayerNorm(size), nn.Linear(size, size), nn.Linear(size, size)

    def forward(self, states: Tensor) -> Tensor:
        return states + self.narrow(F.gelu(self.wide(self.norm(states))))
