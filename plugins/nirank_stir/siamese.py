"""ViT-Triplet: one network for queries and documents, which puts images of one category near each other."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Content, Queries
from nirank.errors import BadInput
from nirank.kit import weights_digest
from nirank.kit.transformers import best_device
from nirank_stir.backbones import Vision

WEIGHTS = "siamese.safetensors"
#: One block of 8 dimensions over 8 x 8 pixels, in colour, for checks.
SMALL = Vision(side=8, channels=3, config={"dim": 8, "depth": 1, "heads": 2, "patch": 4})


class Siamese(nn.Module):
    """Encodes an image into a unit vector; queries and documents alike, so that the dot product is their cosine.

    With a transformer as `backbone`, the loss `triplet` and the sampler `categories` it is the first stage of Shabanov
    et al., STIR: Siamese Transformer for Image Retrieval Postprocessing, 2023.

    `dim` is that of a linear map behind the backbone; without it the vectors are the backbone's. `model` is a file that
    `save` wrote. The other settings are those of `backbones.Vision`.

    Raises `BadInput` for a file that holds something else, for a `dim` below 1, and as `Vision` does.
    """

    vectors = "dense"
    reads = "images"

    def __init__(
        self,
        dim: int | None = None,
        batch_size: int = 256,
        device: str | None = None,
        model: str | None = None,
        vision: Vision = Vision(),
    ) -> None:
        super().__init__()
        if dim is not None and dim < 1:
            raise BadInput(f"dim = {dim}; a number from 1 is expected, or None for the dimensions of the backbone.")
        self.batch_size, self.dim = batch_size, dim
        self.vision = vision if model is None else replace(vision, weights=False)
        self.backbone = self.vision.build(together=1)
        self.map = nn.Identity() if dim is None else _linear(self.backbone.width, dim, vision.seed)
        if model is not None:
            load(self, Path(model))
        self.to(device or best_device()).eval()

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dim]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of images, float32 `[images, dim]`."""
        images = self.vision.read(contents, self.backbone)
        return F.normalize(self.map(self.backbone(self.backbone.look(images))[:, 0]), dim=1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights into `folder`. Returns the table of a stage that builds this encoder again."""
        save_file(contiguous(self.state_dict()), folder / WEIGHTS)
        own = {**self.vision.save(self.backbone, folder), "dim": self.dim, "jitter": self.vision.jitter}
        return {"use": "encoder/siamese", **own, "model": Path(WEIGHTS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and of how images are read."""
        return fingerprint(self, self.vision)


def fingerprint(module: nn.Module, vision: Vision) -> str:
    """A hash of the weights of a module and of the images that it reads."""
    known = f"{weights_digest(module.state_dict())}{vision.architecture}"
    return hashlib.blake2b(known.encode(), digest_size=16).hexdigest()


def load(module: nn.Module, path: Path) -> None:
    """Give a module the weights in a file. Raises `BadInput` where they are another's."""
    try:
        module.load_state_dict(load_file(path))
    except (SafetensorError, OSError, RuntimeError) as error:
        raise BadInput(f"does not hold the weights of this {type(module).__name__}: {error}", path) from error


def contiguous(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Named tensors as safetensors takes them."""
    return {name: tensor.contiguous() for name, tensor in state.items()}


def _linear(width: int, dim: int, seed: int) -> nn.Linear:
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)
        return nn.Linear(width, dim, bias=False)


def tiny() -> Siamese:
    """One block of 8 dimensions over 8 x 8 pixels, in colour, with the first weights."""
    return Siamese(dim=6, device="cpu", vision=SMALL)
