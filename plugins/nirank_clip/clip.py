"""CLIP and SigLIP: images and texts as vectors of one space, from any such checkpoint of transformers.

Radford et al., Learning Transferable Visual Models From Natural Language Supervision, ICML 2021; Zhai et al., Sigmoid
Loss for Language Image Pre-Training, ICCV 2023.
"""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Content, Queries
from nirank.errors import BadInput
from nirank.pretrained import Precision, best_device, load, passes, quiet, tokenizer_text
from nirank.vision.pixels import Pixels
from nirank.weights import digest
from nirank_clip import templates as prompts
from nirank_clip.contents import through

Side = Literal["text", "image"]

#: What belongs to each tower of the models of transformers.
_PARTS: dict[str, tuple[str, ...]] = {
    "text": ("text_model", "text_projection"),
    "image": ("vision_model", "visual_projection"),
}


class CLIP(nn.Module):
    """Encodes texts and images, as queries and as documents, into unit vectors whose dot product is the model's cosine.

    `model` is a checkpoint of CLIP or SigLIP on the model hub, or a folder that holds model, tokenizer and image
    processor. An image is a `pathlib.Path`, the bytes of a file, or one of PIL; it is resized, cut and normalised as
    the checkpoint says.

    `templates` are sentences with a place, `{}`, for a text, or the name of a set of them (`nirank_clip.templates`): a
    text is then the mean of what it is in each. So classes are found for images, as documents. `freeze` names towers
    ("text", "image") that training leaves as they are. `passed` images, or texts, go through the model together.

    Raises `BadInput` for a model without the two towers, for a template without a place, and for a damaged image.
    """

    vectors = "dense"
    reads = "either"

    def __init__(
        self,
        model: str,
        device: str | None = None,
        precision: Precision = "float32",
        batch_size: int = 512,
        passed: int = 32,
        templates: str | Sequence[str] = (),
        freeze: Sequence[str] = (),
    ) -> None:
        super().__init__()
        self.batch_size, self.passed, self.precision = batch_size, passed, precision
        self.templates, self.freeze = prompts.chosen(templates), tuple(freeze)
        self.model = load("AutoModel", model, dtype=getattr(torch, precision)).to(device or best_device())
        if not (hasattr(self.model, "get_text_features") and hasattr(self.model, "get_image_features")):
            raise BadInput(f"{model} is a {self.model.config.model_type}: a model of texts and images is expected.")
        self.tokenizer = load("AutoTokenizer", model)
        self.processor = load("AutoImageProcessor", model, backend="pil")
        self.pixels = Pixels.of(self.processor)
        self._freeze()
        self.eval()

    def __repr__(self) -> str:
        return f"CLIP({self.model.config.model_type}, {self.dim} dimensions, {len(self.templates)} templates)"

    @property
    def device(self) -> torch.device:
        """Where the weights are."""
        return next(self.model.parameters()).device

    @property
    def dim(self) -> int:
        """The length of the vectors."""
        config = self.model.config
        return int(getattr(config, "projection_dim", None) or config.vision_config.hidden_size)

    def encode(self, queries: Queries) -> Tensor:
        """Unit vectors of queries, float32 `[queries, dim]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Tensor:
        """Unit vectors of documents, float32 `[documents, dim]`."""
        return through(contents, self._texts, self._images, self.dim, self.device)

    def probabilities(self, cosines: Tensor) -> Tensor:
        """What the model itself makes of the cosines of images with classes, `[images, classes]`.

        CLIP: softmax over classes of the scaled cosines. SigLIP: for each class on its own, the sigmoid of the scaled
        and shifted one.
        """
        scaled = cosines * self.model.logit_scale.exp().float()
        if (bias := getattr(self.model, "logit_bias", None)) is not None:
            return torch.sigmoid(scaled + bias.float())
        return scaled.softmax(dim=-1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write model, tokenizer and image processor into `folder / "model"`, as transformers does.

        Returns the table of a stage that builds this encoder again; its path is relative to `folder`.
        """
        with quiet():
            for part in (self.model, self.tokenizer, self.processor):
                part.save_pretrained(folder / "model")
        given = {"precision": self.precision, "templates": list(self.templates), "freeze": list(self.freeze)}
        return {"use": "encoder/clip", "model": Path("model"), **given}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of the weights, the tokenizer, and of how texts and images are prepared."""
        told = [digest(self.state_dict()), tokenizer_text(self.tokenizer), self.pixels, self.templates, self.precision]
        return hashlib.blake2b("\n".join(map(str, told)).encode(), digest_size=16).hexdigest()

    def _texts(self, texts: Sequence[str]) -> Tensor:
        if not self.templates:
            return self._sentences(texts)
        return prompts.averaged(self._sentences(prompts.filled(texts, self.templates)), len(self.templates))

    def _sentences(self, texts: Sequence[str]) -> Tensor:
        tokens = self.tokenizer(list(texts), truncation=True, max_length=self._longest)["input_ids"]
        lengths = torch.tensor([len(each) for each in tokens])
        parts = passes(lengths.numpy(), self.passed)
        found = [self._pass([tokens[place] for place in part]) for part in parts]
        order = torch.cat([torch.from_numpy(part) for part in parts]).argsort()
        return F.normalize(torch.cat(found)[order.to(self.device)], dim=-1)

    def _pass(self, tokens: Sequence[list[int]]) -> Tensor:
        """Features of texts, float32 `[texts, dim]`. SigLIP was trained on texts padded to one length, without mask."""
        whole = {"padding": "max_length", "max_length": self._longest} if self._siglip else {"padding": True}
        padded = self.tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt", **whole)
        given = {"input_ids": padded["input_ids"].to(self.device)}
        if not self._siglip:
            given["attention_mask"] = padded["attention_mask"].to(self.device)
        return _features(self.model.get_text_features(**given))

    def _images(self, contents: Sequence[Content]) -> Tensor:
        batches = self.pixels.batches(contents, self.passed, self.device)
        found = [_features(self.model.get_image_features(pixel_values=one.to(self.model.dtype))) for one in batches]
        return F.normalize(torch.cat(found), dim=-1)

    @property
    def _siglip(self) -> bool:
        return str(self.model.config.model_type).startswith("siglip")

    @property
    def _longest(self) -> int:
        return int(self.model.config.text_config.max_position_embeddings)

    def _freeze(self) -> None:
        """What is to stay as it is, and the scale of the model's own loss, which vectors do not depend on."""
        for name in self.freeze:
            if name not in _PARTS:
                raise BadInput(f"freeze = {list(self.freeze)}: the towers are {' and '.join(_PARTS)}.")
            for part in _PARTS[name]:
                getattr(self.model, part, nn.Module()).requires_grad_(False)
        for name in ("logit_scale", "logit_bias"):
            if isinstance(parameter := getattr(self.model, name, None), nn.Parameter):
                parameter.requires_grad_(False)


def _features(output: Any) -> Tensor:
    """What a tower returns: a tensor, or in later versions of transformers an output that holds it."""
    features: Tensor = getattr(output, "pooler_output", output)
    return features.float()
