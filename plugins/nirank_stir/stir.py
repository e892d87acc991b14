"""STIR: the query's image and a document's together through a transformer, and a small head for their distance."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor, nn
from torch.nn import functional as F

import nirank
from nirank.data import Candidates, Content, Queries
from nirank.errors import BadInput
from nirank.kit.transformers import best_device
from nirank_stir.backbones import Backbone, Vision
from nirank_stir.siamese import SMALL, Siamese, contiguous, fingerprint, load

WEIGHTS = "stir.safetensors"
#: Of cosine distances, at first.
_SCALE = 10.0


class Stir(nn.Module):
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

    reads = "images"

    def __init__(
        self,
        hidden: int = 64,
        start: str | None = None,
        batch_size: int = 256,
        device: str | None = None,
        model: str | None = None,
        vision: Vision = Vision(),
    ) -> None:
        super().__init__()
        first = None if start is None or model is not None else first_of(Path(start))
        own = {} if first is None else first.vision.architecture
        self.vision = replace(vision, weights=vision.weights and model is None and first is None, **own)
        self.batch_size, self.hidden = batch_size, hidden
        self.backbone = self.vision.build(together=2)
        self.head = _head(self.backbone, hidden, vision.seed)
        self.scale = nn.Parameter(torch.tensor(_SCALE)) if self.backbone.each else None
        if first is not None:
            _take(self.backbone, first.backbone)
        if model is not None:
            load(self, Path(model))
        self.to(device or best_device()).eval()

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Minus the distance of each pair, float32 `[pairs]`."""
        if candidates.corpus is None:
            raise BadInput(
                "stir reads documents, but these candidates have no corpus. Set it: candidates.over(corpus)."
            )
        docs, places = np.unique(candidates.docs, return_inverse=True)
        wanted, read = self._look(queries.contents), self._look(candidates.corpus[docs])
        return -self.distances(wanted[torch.from_numpy(candidates.rows)], read[torch.from_numpy(places)])

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

    def _look(self, contents: Sequence[Content]) -> Tensor:
        return self.backbone.look(self.vision.read(contents, self.backbone))


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


def first_of(start: Path) -> Siamese:
    """The trained siamese encoder in a folder. Raises `BadInput` where there is another component."""
    found = nirank.load(f"trained:{start}").component.target
    if not isinstance(found, Siamese):
        raise BadInput(f"holds a {type(found).__name__}; a trained siamese encoder is expected.", start)
    return found


def _take(backbone: nn.Module, first: nn.Module) -> None:
    """Begin with the weights of a backbone for one image. What is for two images alone keeps its own."""
    own, known = backbone.state_dict(), first.state_dict()
    odd = [name for name, tensor in known.items() if name not in own or own[name].shape != tensor.shape]
    if odd:
        raise BadInput(
            f"the weights of `start` do not fit this backbone for two images: {', '.join(odd)}. Leave `start` out."
        )
    backbone.load_state_dict(own | known)


def tiny() -> Stir:
    """One block of 8 dimensions over 8 x 8 pixels, in colour, with the first weights."""
    return Stir(hidden=4, device="cpu", vision=SMALL)
