"""What makes vectors of pixels: the small transformer of the core, any of timm, any image model of transformers.

A backbone is given images of one size, `[n, channels, side, side]` with values from 0 to 1. Several that are given
together see each other: the small transformer returns a vector for each of them, models from elsewhere see them as one
image, one above the other, and return one vector.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from nirank.data import Content
from nirank.errors import BadInput, UnknownName
from nirank.kit import transformers as pretrained
from nirank.kit.vision import Pixels, ViT, imported

#: Where the configuration of a model of transformers is saved.
_FOLDER = "backbone"


class Backbone(nn.Module):
    """A model with the normalisation of pixels that it was made for; `width` is the length of its vectors."""

    def __init__(self, model: nn.Module, width: int, mean: Sequence[float], std: Sequence[float]) -> None:
        super().__init__()
        self.model, self.width = model, width
        self.register_buffer("mean", torch.tensor(mean)[:, None, None])  # saved with the weights
        self.register_buffer("std", torch.tensor(std)[:, None, None])

    def look(self, images: Tensor) -> Tensor:
        """What can be known of images alone, one entry each: it is computed once for all that they are seen with."""
        normal = (images - self.mean) / self.std
        return self.model.tokens(normal) if self.each else normal

    def forward(self, *looked: Tensor) -> Tensor:
        """Vectors `[n, images, width]`, or `[n, 1, width]` of all images together, from what `look` made of them."""
        vectors: Tensor = self.model.vectors(*looked) if self.each else self.model(torch.cat(looked, 2))[:, None]
        return vectors

    @property
    def each(self) -> bool:
        """Whether images that are given together have a vector each."""
        return isinstance(self.model, ViT)


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


def build(
    backbone: str, side: int, channels: int, config: Mapping[str, Any], weights: bool, seed: int, together: int
) -> Backbone:
    """A backbone for `together` images at once.

    `backbone` is "vit" (`nirank.kit.vision.vit.ViT`, whose settings `config` are), `timm:NAME` (`config` goes to
    `timm.create_model`) or else a folder or a name on the hub, for transformers. `weights` asks for those that were
    trained elsewhere; without them the first ones come from `seed`. Raises `BadInput` for what there is not.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        if backbone == "vit":
            model = _small(side, channels, config, together)
            return Backbone(model, model.dim, *_normalisation({}, channels))
        if backbone.startswith("timm:"):
            return _timm(backbone.removeprefix("timm:"), side, channels, config, weights, together)
        return _hub(backbone, channels, config, weights)


def pixels(contents: Sequence[Content], side: int, channels: int, device: torch.device) -> Tensor:
    """Images from 0 to 1, float32 `[n, channels, side, side]`: grey for 1 channel, RGB for 3; squeezed to a square."""
    plain = Pixels((side, side), mean=(0.0,) * channels, std=(1.0,) * channels)
    return plain.normalised(plain.bytes(contents).to(device))


def saved(backbone: Backbone, settings: Mapping[str, Any], folder: Path) -> dict[str, Any]:
    """The settings of a backbone that is saved in `folder`, which needs nothing from elsewhere but weights."""
    if not isinstance(backbone.model, Hub):
        return dict(settings)
    backbone.model.model.config.save_pretrained(folder / _FOLDER)
    return {**settings, "backbone": Path(_FOLDER), "config": {}}


def _small(side: int, channels: int, config: Mapping[str, Any], together: int) -> ViT:
    known = list(inspect.signature(ViT).parameters)
    for name in config:
        if name not in known or name in ("side", "channels", "together"):
            raise UnknownName("setting of vit", name, known)
    return ViT(side, channels, together=together, **config)


def _timm(name: str, side: int, channels: int, config: Mapping[str, Any], weights: bool, together: int) -> Backbone:
    timm = imported("timm", "backbones of timm")
    if not timm.is_model(name):
        raise UnknownName("model of timm", name, timm.list_models())
    given = {"pretrained": weights, "num_classes": 0, "in_chans": channels, **config}
    try:  # transformers have to know the size, convolutions take any
        model = timm.create_model(name, img_size=(side * together, side), **given)
    except TypeError:
        model = timm.create_model(name, **given)
    return Backbone(model, model.num_features, *_normalisation(model.pretrained_cfg, channels))


def _hub(name: str, channels: int, config: Mapping[str, Any], weights: bool) -> Backbone:
    if weights:
        model = pretrained.load("AutoModel", name, **config)
    else:
        import transformers

        model = transformers.AutoModel.from_config(pretrained.load("AutoConfig", name, **config))
    hidden = getattr(model.config, "hidden_size", None) or model.config.hidden_sizes[-1]
    told = {"mean": processor.image_mean, "std": processor.image_std} if (processor := _processor(name)) else {}
    return Backbone(Hub(model), hidden, *_normalisation(told, channels))


def _processor(name: str) -> Any:
    """How a model of transformers wants its images; None where it does not say."""
    try:
        return pretrained.load("AutoImageProcessor", name)
    except BadInput:
        return None


def _normalisation(told: Mapping[str, Any], channels: int) -> tuple[Sequence[float], Sequence[float]]:
    """Mean and deviation of each channel, as they are told, or where nothing fits so that pixels go from -1 to 1."""
    mean, std = told.get("mean", ()), told.get("std", ())
    return (mean, std) if len(mean) == len(std) == channels else ([0.5] * channels, [0.5] * channels)
