"""Drawing: codes one after the other, each drawn by its probability, which guidance sharpens towards the text."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from nirank.errors import BadInput
from nirank_dalle.transformer import Transformer


@dataclass(frozen=True)
class Drawing:
    """How codes are drawn.

    guidance      w in `log p(code) + w (log p(code | text) - log p(code))`: 1 is the model as it is (Ho and Salimans,
                  Classifier-Free Diffusion Guidance, 2022)
    most          how many of the most probable codes one is drawn from
    """

    guidance: float = 2.0
    most: int = 64

    def __post_init__(self) -> None:
        if not math.isfinite(self.guidance) or self.most < 1:
            raise BadInput(
                f"guidance = {self.guidance}, most = {self.most}: a finite number and a number from 1 are expected."
            )


def drawn(model: Transformer, texts: Sequence[str], count: int, seed: int, how: Drawing) -> Tensor:
    """Codes of `count` pictures of each text, int64 `[texts, count, positions]`.

    Chance follows from the text and `seed` alone. Raises `BadInput` for a `count` below 1.
    """
    if count < 1:
        raise BadInput(f"count = {count}: a number from 1 is expected.")
    device = next(model.parameters()).device
    if not texts:
        return torch.zeros(0, count, model.positions, dtype=torch.int64, device=device)
    chance = torch.stack([_noise(text, count, seed, model) for text in texts]).flatten(0, 1).to(device)
    every = torch.arange(len(texts), device=device).repeat_interleave(count)
    told, untold = model.read(texts).take(every), model.read([""]).take(torch.zeros_like(every))
    codes = torch.zeros(len(every), 0, dtype=torch.int64, device=device)
    for position in range(model.positions):
        with_text, told = model.next(told, codes)
        without, untold = model.next(untold, codes)
        logits = _guided(with_text, without, how)
        codes = torch.cat([codes, (logits + chance[:, position]).argmax(1, keepdim=True)], 1)
    return codes.unflatten(0, (len(texts), count))


def _guided(told: Tensor, untold: Tensor, how: Drawing) -> Tensor:
    """Logits with guidance; minus infinity for all but the most probable."""
    told, untold = told.log_softmax(-1), untold.log_softmax(-1)
    logits = untold + how.guidance * (told - untold)
    if how.most >= logits.shape[1]:
        return logits
    least = logits.topk(how.most).values[:, -1:]
    return logits.masked_fill(logits < least, -torch.inf)


def _noise(text: str, count: int, seed: int, model: Transformer) -> Tensor:
    """Gumbel noise for the pictures of a text, `[count, positions, kinds]`: the largest sum with it is a draw."""
    hashed = hashlib.blake2b(f"{seed}:{text}".encode("utf-8", "surrogatepass"), digest_size=7).digest()
    chance = torch.Generator().manual_seed(int.from_bytes(hashed, "big"))
    even = torch.rand(count, model.positions, model.kinds, generator=chance)
    return -(-even.clamp(min=torch.finfo(even.dtype).tiny).log()).log()
