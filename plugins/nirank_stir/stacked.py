"""STIR as its paper has it: two images as one, one above the other, through one transformer, and a head."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Candidates, Queries
from nirank.errors import BadInput
from nirank.kit.vision import ViT
from nirank_stir.backbones import Backbone, Vision
from nirank_stir.pairs import WEIGHTS, PairScorer
from nirank_stir.siamese import SMALL, contiguous, fingerprint

_DROPOUT = 0.5


class StackedStir(PairScorer):
    """Scores an image for an image by one transformer over both, one above the other.

    Shabanov et al., STIR: Siamese Transformer for Image Retrieval Postprocessing, 2023, as open-metric-learning's
    ConcatSiamese has it. The head, of `hidden` units with the sigmoid between and a dropout of half of them, makes a
    logit z(q, d), large for images that are apart. It is trained with `binary_cross_entropy` on the pairs that the
    first stage confuses (the sampler `confused`), whose scores in training are -z. In search, with `symmetric`, the
    distance is the same in both orders:

        distance = (sigma(z(q, d)) + sigma(z(d, q))) / 2,   score = -distance;   else distance = sigma(z(q, d))

    `start` is the folder of a trained `siamese`: its backbone is taken, the positions of the small transformer
    stretched to twice the height (bicubic, as pretrained ViTs are). Unlike `stir` nothing of a cosine is in the score,
    and a pair costs a whole pass. `model` is a file that `save` wrote. The other settings are those of
    `backbones.Vision`. Raises `BadInput` for a `start` that is no siamese encoder or does not fit.
    """

    def __init__(
        self,
        hidden: int = 64,
        start: str | None = None,
        symmetric: bool = True,
        batch_size: int = 256,
        device: str | None = None,
        model: str | None = None,
        vision: Vision = Vision(),
    ) -> None:
        super().__init__("stacked_stir", hidden, start, batch_size, device, model, vision)
        self.symmetric = symmetric

    def layers(self) -> Backbone:
        """The backbone for two images as one; the head is made."""
        backbone = self.vision.build(together=2, stacked=True)
        self.head = _head(backbone.width, self.hidden, self.vision.seed)
        return backbone

    def take(self, first: Backbone) -> None:
        """Begin with the weights of a backbone for one image, its positions stretched to two of them."""
        known = first.state_dict()
        if isinstance(self.backbone.model, ViT):
            known["model.positions"] = stretched(known["model.positions"], self.backbone.model.tall)
        try:
            self.backbone.load_state_dict(known)
        except RuntimeError as error:
            raise BadInput(
                f"the weights of `start` do not fit this backbone for two images: {error}. Leave `start` out."
            ) from error

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Minus the distance of each pair, float32 `[pairs]`; in training minus its logit."""
        left, right = self.seen(queries, candidates)
        return -self.logits(left, right) if self.training else -self.distances(left, right)

    def distances(self, left: Tensor, right: Tensor) -> Tensor:
        """The distances of two images each, from 0 to 1, `[pairs]`, from what the backbone's `look` made of them."""
        distances = torch.sigmoid(self.logits(left, right))
        return (distances + torch.sigmoid(self.logits(right, left))) / 2 if self.symmetric else distances

    def logits(self, left: Tensor, right: Tensor) -> Tensor:
        """The logits of two images each, the left one above, `[pairs]`."""
        return self.head(self.backbone(left, right)[:, 0])[:, 0]

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights into `folder`. Returns the table of a stage that builds this scorer again."""
        save_file(contiguous(self.state_dict()), folder / WEIGHTS)
        own = {**self.vision.save(self.backbone, folder), "jitter": self.vision.jitter}
        return {
            "use": "scorer/stacked_stir",
            **own,
            "hidden": self.hidden,
            "symmetric": self.symmetric,
            "model": Path(WEIGHTS),
        }

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights, of how images are read, and of whether both orders count."""
        return f"{fingerprint(self, self.vision)}-{'symmetric' if self.symmetric else 'one-way'}"


def _head(width: int, hidden: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return nn.Sequential(
            nn.Linear(width, hidden), nn.Sigmoid(), nn.Dropout(_DROPOUT), nn.Linear(hidden, 1, bias=False)
        )


def stretched(positions: Tensor, tall: int) -> Tensor:
    """The vectors of a square of positions, `[side^2, dim]`, for one that is `tall` times as high, bicubic."""
    side = round(len(positions) ** 0.5)
    square = positions.T.reshape(1, -1, side, side)
    return F.interpolate(square, (tall * side, side), mode="bicubic", align_corners=False).flatten(2)[0].T


def tiny() -> StackedStir:
    """One block of 8 dimensions over 8 x 8 pixels, in colour, with the first weights."""
    return StackedStir(hidden=4, device="cpu", vision=SMALL)
