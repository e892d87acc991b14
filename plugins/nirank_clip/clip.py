"""CLIP and SigLIP: images and texts as vectors of one space, from any such checkpoint of transformers or open_clip.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021; Zhai et al., Sigmoid
Loss for Language Image Pre-Training, ICCV 2023.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Content, Queries, images
from nirank.errors import BadInput
from nirank.kit import Runtime, choose_runtime, tried, weights_digest
from nirank.kit.transformers import Computing, Precision, best_device
from nirank.kit.vision import of_both
from nirank_clip.checkpoints import opened
from nirank_clip.settings import Encoding


class CLIP(nn.Module):
    """Encodes texts and images, as queries and as documents, into unit vectors whose dot product is the model's cosine.

    `model` is a checkpoint of CLIP or SigLIP on the model hub, or a folder that holds model, tokenizer and image
    processor; `open_clip:NAME/WEIGHTS`, such as `open_clip:ViT-B-32/laion2b_s34b_b79k`, is one of open_clip, where that
    is installed (`open_clip:hf-hub:NAME` on the hub). An image is a `pathlib.Path`, the bytes of a file, or one of PIL;
    it is resized, cut and normalised as the checkpoint says.

    `runtime` is what computes without gradients: "torch", or in float32 on the CPU "openvino", which is faster and has
    the same vectors to about 1e-6; by default it is OpenVINO where that is installed, for many images, or texts of many
    tokens, at once. Models of open_clip are left to torch. The other settings are those of `Encoding`.

    Raises `BadInput` for a model without the two towers, for a template without a place, for a damaged image, and for
    OpenVINO where it is not used; `MissingDependency` where that is not installed.
    """

    vectors = "dense"
    reads = "either"

    def __init__(
        self,
        model: str,
        precision: Precision = "float32",
        runtime: Runtime | None = None,
        encoding: Encoding = Encoding(),
    ) -> None:
        super().__init__()
        self.batch_size, self.passed, self.precision = encoding.batch_size, encoding.passed, precision
        self.prompts, self.freeze = encoding.prompts, tuple(encoding.freeze)
        device = encoding.device or best_device()
        self.checkpoint = opened(model, choose_runtime(runtime, device, precision))
        self.model = self.checkpoint.model.to(device, Computing(device, precision).dtype)
        self._freeze()
        self.eval()
        tried(model, lambda texts: self.checkpoint.texts(texts, self.passed), precision)
        pictures = [images.drawn(number) for number in range(2)]
        tried(model, lambda texts: self.checkpoint.images(pictures[: len(texts)], self.passed), precision)

    def __repr__(self) -> str:
        kind = type(self.model).__name__
        return f"CLIP({kind}, {self.dim} dimensions, {len(self.templates)} templates)"

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.model.parameters()).device

    @property
    def templates(self) -> tuple[str, ...]:
        """The sentences that texts are put into."""
        return self.prompts.templates

    @property
    def dim(self) -> int:
        """The length of the vectors."""
        return self.checkpoint.dim

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dim]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of documents, float32 `[documents, dim]`."""
        return of_both(contents, self._texts, self._images, torch.empty(0, self.dim, device=self.device))

    def probabilities(self, cosines: Tensor) -> Tensor:
        """The model's own probabilities of classes from the cosines of images with them, `[images, classes]`.

        CLIP: softmax over classes of the scaled cosines. SigLIP: for each class on its own, the sigmoid of the scaled
        and shifted one.
        """
        model: Any = self.model
        scaled = cosines * model.logit_scale.exp().float()
        if (bias := getattr(model, "logit_bias", None)) is not None:
            return torch.sigmoid(scaled + bias.float())
        return scaled.softmax(dim=-1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write the checkpoint into `folder / "model"`, as the library does that it came from.

        Returns the table of a stage that builds this encoder again; its path is relative to `folder`.
        """
        self.checkpoint.save(folder / "model")
        settings = {"precision": self.precision, **self.prompts.saved(), "freeze": list(self.freeze)}
        return {"use": "encoder/clip", "model": Path("model"), **settings}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights, the tokenizer, and of how texts and images are prepared."""
        known = [weights_digest(self.state_dict()), self.checkpoint.preparation, self.prompts.known, self.precision]
        return hashlib.blake2b("\n".join(map(str, known)).encode(), digest_size=16).hexdigest()

    def _texts(self, texts: Sequence[str]) -> Tensor:
        return self.prompts.vectors(texts, self._sentences)

    def _sentences(self, texts: Sequence[str]) -> Tensor:
        return F.normalize(self.checkpoint.texts(texts, self.passed), dim=-1)

    def _images(self, contents: Sequence[Content]) -> Tensor:
        return F.normalize(self.checkpoint.images(contents, self.passed), dim=-1)

    def _freeze(self) -> None:
        """Freeze the towers in `freeze`, and the scale of the model's own loss, which no vector depends on."""
        towers = self.checkpoint.towers
        for side in self.freeze:
            if side not in towers:
                raise BadInput(
                    f"freeze = {list(self.freeze)}: {side!r} is not a tower; the towers are {' and '.join(towers)}."
                )
            for part in towers[side]:
                part.requires_grad_(False)
        for name in ("logit_scale", "logit_bias"):
            if isinstance(parameter := getattr(self.model, name, None), nn.Parameter):
                parameter.requires_grad_(False)
