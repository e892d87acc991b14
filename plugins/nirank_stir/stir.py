"""STIR: the query's image and a document's together through a transformer, and a small head for their distance."""

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
from nirank_stir.backbones import Backbone, Vision
from nirank_stir.pairs import WEIGHTS, PairScorer
from nirank_stir.siamese import SMALL, contiguous, fingerprint

#: Of cosine distances, at first.
_SCALE = 10.0


class Stir(PairScorer):
    """Scores an image for an image, both seen at once: the score is the distance of the pair with its sign turned.

    Shabanov et al., STIR: Siamese Transformer for Image Retrieval Postprocessing, 2023. It reranks the best of a first
    stage, `others(siamese >> exact) >> top(10, stir)`, and is trained on the pairs that this one confuses: with the
    sampler `confused` over `others(siamese >> exact)`. What is right but far away, as `mined` has it too, would teach
    that what is near is wrong where many documents are right.

    `start` is the folder of a trained `siamese`: its backbone is taken, with its settings and its weights. The head has
    `hidden` units. `model` is a file that `save` wrote. The other settings are those of `backbones.Vision`.

    With the small transformer an image has two unit vectors, u alone and v when it has seen the other one, and with a
    head of two layers

        distance = scale (1 - u_q . u_d) + head(|v_q - v_d|, v_q * v_d)

    which is the same where query and document change places. The head begins at 0, so the first ranking is that of the
    cosines of `start`'s backbone. Backbones from elsewhere see one image above the other, as in the paper, and the head
    makes the distance of their one vector.

    Raises `BadInput` for a `start` that is no siamese encoder, and as `siamese` does.
    """

    def __init__(
        self,
        hidden: int = 64,
        start: str | None = None,
        batch_size: int = 256,
        device: str | None = None,
        model: str | None = None,
        vision: Vision = Vision(),
    ) -> None:
        super().__init__("stir", hidden, start, batch_size, device, model, vision)

    def layers(self) -> Backbone:
        """The backbone for two images; the head and the scale are made."""
        backbone = self.vision.build(together=2)
        self.head = _head(backbone, self.hidden, self.vision.seed)
        self.scale = nn.Parameter(torch.tensor(_SCALE)) if backbone.each else None
        return backbone

    def take(self, first: Backbone) -> None:
        """Begin with the weights of a backbone for one image. What is for two images alone keeps its own."""
        own, known = self.backbone.state_dict(), first.state_dict()
        odd = [name for name, tensor in known.items() if name not in own or own[name].shape != tensor.shape]
        if odd:
            raise BadInput(
                f"the weights of `start` do not fit this backbone for two images: {', '.join(odd)}. Leave `start` out."
            )
        self.backbone.load_state_dict(own | known)

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Minus the distance of each pair, float32 `[pairs]`."""
        return -self.distances(*self.seen(queries, candidates))

    def distances(self, left: Tensor, right: Tensor) -> Tensor:
        """The distances of two images each, `[pairs]`, from what the backbone's `look` made of them."""
        vectors = self.backbone(left, right)  # [pairs, 2, dim], or [pairs, 1, dim]
        if self.scale is None:
            return self.head(vectors[:, 0])[:, 0]
        apart = 1 - F.cosine_similarity(self.backbone(left)[:, 0], self.backbone(right)[:, 0])
        return self.scale * apart + self.head(_compared(vectors))[:, 0]

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights into `folder`. Returns the table of a stage that builds this scorer again."""
        save_file(contiguous(self.state_dict()), folder / WEIGHTS)
        own = {**self.vision.save(self.backbone, folder), "hidden": self.hidden, "jitter": self.vision.jitter}
        return {"use": "scorer/stir", **own, "model": Path(WEIGHTS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and of how images are read."""
        return fingerprint(self, self.vision)


def _compared(vectors: Tensor) -> Tensor:
    """In what two vectors differ and agree, `[pairs, 2 dim]` from `[pairs, 2, dim]`: numbers around 1, as is good."""
    dim = vectors.shape[2]
    one, two = (F.normalize(vectors, dim=2) * dim**0.5).unbind(1)
    return torch.cat([(one - two).abs(), one * two], 1)


def _head(backbone: Backbone, hidden: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        first, last = nn.Linear(backbone.width * (2 if backbone.each else 1), hidden), nn.Linear(hidden, 1)
    if backbone.each:
        nn.init.zeros_(last.weight)
        nn.init.zeros_(last.bias)
    return nn.Sequential(first, nn.GELU(), last)


def tiny() -> Stir:
    """One block of 8 dimensions over 8 x 8 pixels, in colour, with the first weights."""
    return Stir(hidden=4, device="cpu", vision=SMALL)
