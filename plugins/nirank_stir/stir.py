"""STIR: the query's image and a document's together through a transformer, and a small head tells how far apart."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
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
from nirank.kit import weights_digest
from nirank.kit.transformers import best_device
from nirank.kit.vision import jittered
from nirank_stir import backbones
from nirank_stir.siamese import Siamese, contiguous, load

WEIGHTS = "stir.safetensors"
#: Of cosine distances, at first.
_SCALE = 10.0


class Stir(nn.Module):
    """Scores an image for an image, both seen at once: the score is the distance of the pair with its sign turned.

    Shabanov et al., STIR: Siamese Transformer for Image Retrieval Postprocessing, 2023. It reranks the best of a first
    stage, `others(siamese >> exact) >> top(10, stir)`, and is trained on the pairs that this one confuses: with the
    sampler `confused`, given `others(siamese >> exact)`. What is right but far away, as `mined` has it too, would teach
    that what is near is wrong where many documents are right.

    `backbone`, `side`, `channels`, `config`, `weights`, `jitter`, `seed` and `model` are as in `siamese`. `start` is
    the folder of a trained `siamese`: its backbone is taken, with its settings and its weights.

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
        backbone: str = "vit",
        side: int = 28,
        channels: int = 1,
        config: Mapping[str, Any] | None = None,
        hidden: int = 64,
        start: str | None = None,
        weights: bool = False,
        jitter: float = 0.0,
        seed: int = 0,
        batch_size: int = 256,
        device: str | None = None,
        model: str | None = None,
    ) -> None:
        super().__init__()
        first = None if start is None or model is not None else _first(Path(start))
        #: What the backbone is built from.
        self.eye: dict[str, Any] = {
            "backbone": backbone,
            "side": side,
            "channels": channels,
            "config": dict(config or {}),
        }
        if first is not None:
            self.eye = first.eye
        self.batch_size, self.jitter, self.hidden = batch_size, jitter, hidden
        given = weights and model is None and first is None
        self.backbone = backbones.build(**self.eye, weights=given, seed=seed, together=2)
        self.head = _head(self.backbone, hidden, seed)
        self.scale = nn.Parameter(torch.tensor(_SCALE)) if self.backbone.each else None
        if first is not None:
            _take(self.backbone, first.backbone)
        if model is not None:
            load(self, Path(model))
        self.to(device or best_device()).eval()

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """Minus the distance of each pair, float32 `[pairs]`."""
        if candidates.corpus is None:
            raise BadInput("this scorer has to read documents, and these candidates do not know their corpus.")
        docs, places = np.unique(candidates.docs, return_inverse=True)
        asked, read = self._look(queries.contents), self._look(candidates.corpus[docs])
        return -self.distances(asked[torch.from_numpy(candidates.rows)], read[torch.from_numpy(places)])

    def distances(self, left: Tensor, right: Tensor) -> Tensor:
        """How far apart two images are, `[pairs]`, from what the backbone's `look` made of each."""
        vectors = self.backbone(left, right)  # [pairs, 2, dim], or [pairs, 1, dim]
        if self.scale is None:
            return self.head(vectors[:, 0])[:, 0]
        apart = 1 - F.cosine_similarity(self.backbone(left)[:, 0], self.backbone(right)[:, 0])
        return self.scale * apart + self.head(_compared(vectors))[:, 0]

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights into `folder`. Returns the table of a stage that builds this scorer again."""
        save_file(contiguous(self.state_dict()), folder / WEIGHTS)
        eye = backbones.saved(self.backbone, self.eye, folder)
        return {"use": "scorer/stir", **eye, "hidden": self.hidden, "jitter": self.jitter, "model": Path(WEIGHTS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and of how images are read."""
        return hashlib.blake2b(f"{weights_digest(self.state_dict())}{self.eye}".encode(), digest_size=16).hexdigest()

    def _look(self, contents: Sequence[Content]) -> Tensor:
        images = backbones.pixels(contents, self.eye["side"], self.eye["channels"], self.backbone.mean.device)
        if self.training and self.jitter:
            images = jittered(images, self.jitter)
        return self.backbone.look(images)


def _compared(vectors: Tensor) -> Tensor:
    """In what two vectors differ and agree, `[pairs, 2 dim]` from `[pairs, 2, dim]`: numbers around 1, as is good."""
    dim = vectors.shape[2]
    one, two = (F.normalize(vectors, dim=2) * dim**0.5).unbind(1)
    return torch.cat([(one - two).abs(), one * two], 1)


def _head(backbone: backbones.Backbone, hidden: int, seed: int) -> nn.Sequential:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        head = nn.Sequential(
            nn.Linear(backbone.width * (2 if backbone.each else 1), hidden), nn.GELU(), nn.Linear(hidden, 1)
        )
    if backbone.each:
        nn.init.zeros_(head[-1].weight)
        nn.init.zeros_(head[-1].bias)
    return head


def _first(start: Path) -> Siamese:
    found = nirank.load(f"trained:{start}").component.target
    if not isinstance(found, Siamese):
        raise BadInput(f"holds a {type(found).__name__}: a trained siamese encoder is expected.", start)
    return found


def _take(backbone: nn.Module, first: nn.Module) -> None:
    """Begin with the weights of a backbone for one image. What is for two images alone keeps its own."""
    own, given = backbone.state_dict(), first.state_dict()
    odd = [name for name, tensor in given.items() if name not in own or own[name].shape != tensor.shape]
    if odd:
        raise BadInput(f"the weights of this backbone for one image do not fit two: {', '.join(odd)}.")
    backbone.load_state_dict(own | given)


def tiny() -> Stir:
    """One block of 8 dimensions over 8 x 8 pixels, in colour, with the first weights."""
    return Stir(side=8, channels=3, config={"dim": 8, "depth": 1, "heads": 2, "patch": 4}, hidden=4, device="cpu")
