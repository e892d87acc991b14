"""Models that make vectors of pixels: the core's small transformer, any of timm, any image model of transformers.

A backbone reads images of one size, `[n, channels, side, side]` with values from 0 to 1. Several that are read
together see each other: the small transformer returns a vector for each of them, models from elsewhere see them as one
image, one above the other, and return one vector.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nirank.data import Content
from nirank.errors import BadInput, UnknownName
from nirank.kit import transformers as pretrained
from nirank.kit.vision import Pixels, ViT, imported, jittered

#: Where the configuration of a model of transformers is saved.
_FOLDER = "backbone"
_TIMM = "timm:"


class Backbone(nn.Module):
    """A model with the normalisation of pixels that it was made for; `width` is the length of its vectors."""

    model: Any  # with `tokens` and `vectors` where it reads each image by itself
    mean: Tensor
    std: Tensor

    def __init__(self, model: nn.Module, width: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model, self.width = model, width
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])  # saved with the weights
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def look(self, images: Tensor) -> Tensor:
        """The part that depends on an image alone, one entry each: computed once for all that it is seen with."""
        normal = (images - self.mean) / self.std
        return self.model.tokens(normal) if self.each else normal

    def forward(self, *looked: Tensor) -> Tensor:
        """Vectors `[n, images, width]`, or `[n, 1, width]` of all images together, from what `look` made of them."""
        vectors: Tensor = self.model.vectors(*looked) if self.each else self.model(torch.cat(looked, 2))[:, None]
        return vectors

    @property
    def each(self) -> bool:
        """True where images that are seen together have a vector each."""
        return isinstance(self.model, ViT) and self.model.tall == 1


class Hub(nn.Module):
    """An image model of transformers: the vector of its first token or, where it has a map, the mean of that."""

    def __init__(self, model: Any) -> None:
        super().__init__()
        self.model = model
        accepted = inspect.signature(model.forward).parameters
        self.settings = {"interpolate_pos_encoding": True} if "interpolate_pos_encoding" in accepted else {}

    def forward(self, pixels: Tensor) -> Tensor:
        """Vectors `[n, width]`."""
        hidden: Tensor = self.model(pixel_values=pixels, **self.settings).last_hidden_state
        return hidden[:, 0] if hidden.ndim == 3 else hidden.mean((2, 3))


@dataclass(frozen=True)
class Vision:
    """Settings of a backbone, and of the images that it reads.

    `backbone` is "vit" (`nirank.kit.vision.ViT`, whose settings `config` are), `timm:NAME` (`config` goes to
    `timm.create_model`) or else a folder or a name on the hub, for transformers. With `weights` it begins with those
    that were trained elsewhere, without them with first ones from `seed`. Images are read as `side` x `side` pixels of
    1 (grey) or 3 `channels`; in training they are moved at random by up to `jitter` of their size.

    Raises `BadInput` for numbers that make no sense.
    """

    backbone: str = "vit"
    side: int = 28
    channels: int = 1
    config: Mapping[str, Any] | None = None
    weights: bool = False
    jitter: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        if self.channels not in (1, 3) or self.side < 1 or self.jitter < 0:
            raise BadInput(
                f"side = {self.side}, channels = {self.channels}, jitter = {self.jitter}: a side of 1 pixel or more, 1 "
                "or 3 channels, and a jitter of 0 or more are expected."
            )

    @property
    def architecture(self) -> dict[str, Any]:
        """The settings that say which weights there are: those that a checkpoint keeps, and a fingerprint holds."""
        return {
            "backbone": self.backbone,
            "side": self.side,
            "channels": self.channels,
            "config": dict(self.config or {}),
        }

    def build(self, together: int, stacked: bool = False) -> Backbone:
        """A backbone for `together` images at once, which are one image if `stacked`, as they are for others anyway.

        Raises `BadInput` or `UnknownName` for one that does not exist.
        """
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            if self.backbone == "vit":
                model = self._vit(tall=together) if stacked else self._vit(together=together)
                return Backbone(model, model.dim, *_normalisation({}, self.channels))
            return self._timm(together) if self.backbone.startswith(_TIMM) else self._hub()

    def read(self, contents: Sequence[Content], backbone: Backbone) -> Tensor:
        """Images as the backbone takes them: `pixels`, moved where it is trained."""
        images = pixels(contents, self.side, self.channels, backbone.mean.device)
        return jittered(images, self.jitter) if backbone.training and self.jitter else images

    def save(self, backbone: Backbone, folder: Path) -> dict[str, Any]:
        """Write what the backbone needs besides weights into `folder`; returns its settings, with the place of that."""
        if not isinstance(backbone.model, Hub):
            return self.architecture
        backbone.model.model.config.save_pretrained(folder / _FOLDER)
        return {**self.architecture, "backbone": Path(_FOLDER), "config": {}}

    def _vit(self, **how: int) -> ViT:
        config = self.config or {}
        known = list(inspect.signature(ViT).parameters)
        for name in config:
            if name not in known or name in ("side", "channels", "together", "tall"):
                raise UnknownName("setting of vit", name, known)
        return ViT(self.side, self.channels, **how, **config)

    def _timm(self, together: int) -> Backbone:
        timm, name = imported("timm", "backbones of timm"), self.backbone.removeprefix(_TIMM)
        if not timm.is_model(name):
            raise UnknownName("model of timm", name, timm.list_models())
        options = {"pretrained": self.weights, "num_classes": 0, "in_chans": self.channels, **(self.config or {})}
        try:  # transformers have to know the size, convolutions take any
            model = timm.create_model(name, img_size=(self.side * together, self.side), **options)
        except TypeError:
            model = timm.create_model(name, **options)
        return Backbone(model, model.num_features, *_normalisation(model.pretrained_cfg, self.channels))

    def _hub(self) -> Backbone:
        name, config = self.backbone, self.config or {}
        if self.weights:
            model = pretrained.load("AutoModel", name, **config)
        else:
            import transformers

            model = transformers.AutoModel.from_config(pretrained.load("AutoConfig", name, **config))
        hidden = getattr(model.config, "hidden_size", None) or model.config.hidden_sizes[-1]
        processor = _processor(name)
        stated = {"mean": processor.image_mean, "std": processor.image_std} if processor else {}
        return Backbone(Hub(model), hidden, *_normalisation(stated, self.channels))


def pixels(contents: Sequence[Content], side: int, channels: int, device: torch.device) -> Tensor:
    """Images from 0 to 1, float32 `[n, channels, side, side]`: grey for 1 channel, RGB for 3; squeezed to a square."""
    plain = Pixels((side, side), mean=(0.0,) * channels, std=(1.0,) * channels)
    return plain.normalised(plain.bytes(contents).to(device))


def _processor(name: str) -> Any:
    """The image processor of a model of transformers; None for a model without one."""
    try:
        return pretrained.load("AutoImageProcessor", name)
    except BadInput:
        return None


def _normalisation(stated: Mapping[str, Any], channels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of each channel, as they are stated, or where nothing fits so that pixels go from -1 to 1."""
    mean, std = stated.get("mean", ()), stated.get("std", ())
    return (mean, std) if len(mean) == len(std) == channels else ([0.5] * channels, [0.5] * channels)
