"""ViT-Triplet: one network for queries and documents, which puts images of one category near each other."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Mapping, Sequence
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
from nirank.kit.vision import jittered
from nirank_stir import backbones

WEIGHTS = "siamese.safetensors"


class Siamese(nn.Module):
    """Encodes an image into a unit vector; queries and documents alike, so that the dot product is their cosine.

    With a transformer as `backbone`, the loss `triplet` and the sampler `categories` it is the first stage of Shabanov
    et al., STIR: Siamese Transformer for Image Retrieval Postprocessing, 2023.

    `backbone` is "vit", a small transformer from scratch (`nirank.kit.vision.vit.ViT`), `timm:NAME`, or a folder or name on
    the hub of a model of transformers; `config` are its settings. `weights` takes those that it was trained with
    elsewhere, without them the first ones come from `seed`. Images are read as `side` x `side` pixels of 1 (grey) or 3
    `channels`. `dim` is that of a linear map behind the backbone; without it the vectors are the backbone's. In
    training images are moved at random by up to `jitter` of their size. `model` is a file that `save` wrote.

    Raises `BadInput` for a file that holds something else, and as `nirank_stir.backbones.build` does.
    """

    vectors = "dense"
    reads = "images"

    def __init__(
        self,
        backbone: str = "vit",
        side: int = 28,
        channels: int = 1,
        config: Mapping[str, Any] | None = None,
        dim: int | None = None,
        weights: bool = False,
        jitter: float = 0.0,
        seed: int = 0,
        batch_size: int = 256,
        device: str | None = None,
        model: str | None = None,
    ) -> None:
        super().__init__()
        if channels not in (1, 3) or side < 1 or jitter < 0 or (dim is not None and dim < 1):
            raise BadInput(
                f"side = {side}, channels = {channels}, dim = {dim}, jitter = {jitter}: pixels, 1 or 3, dimensions and "
                "a share from 0 are expected."
            )
        self.batch_size, self.jitter, self.dim = batch_size, jitter, dim
        #: What the backbone is built from.
        self.eye: dict[str, Any] = {
            "backbone": backbone,
            "side": side,
            "channels": channels,
            "config": dict(config or {}),
        }
        self.backbone = backbones.build(**self.eye, weights=weights and model is None, seed=seed, together=1)
        self.map = nn.Identity() if dim is None else _linear(self.backbone.width, dim, seed)
        if model is not None:
            load(self, Path(model))
        self.to(device or best_device()).eval()

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dim]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of images, float32 `[images, dim]`."""
        images = backbones.pixels(contents, self.eye["side"], self.eye["channels"], self.backbone.mean.device)
        if self.training and self.jitter:
            images = jittered(images, self.jitter)
        return F.normalize(self.map(self.backbone(self.backbone.look(images))[:, 0]), dim=1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the weights into `folder`. Returns the table of a stage that builds this encoder again."""
        save_file(contiguous(self.state_dict()), folder / WEIGHTS)
        eye = backbones.saved(self.backbone, self.eye, folder)
        return {"use": "encoder/siamese", **eye, "dim": self.dim, "jitter": self.jitter, "model": Path(WEIGHTS)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights and of how images are read."""
        return hashlib.blake2b(f"{weights_digest(self.state_dict())}{self.eye}".encode(), digest_size=16).hexdigest()


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
    return Siamese(side=8, channels=3, config={"dim": 8, "depth": 1, "heads": 2, "patch": 4}, dim=6, device="cpu")
