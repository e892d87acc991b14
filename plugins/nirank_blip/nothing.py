"""BLIP from nothing: a small network, with word pieces learned from the collection that it trains on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Literal

import torch
from torch import nn

from nirank.errors import BadInput, UnknownName
from nirank.kit.transformers import quiet
from nirank.kit.vision import EfficientNet, Pixels
from nirank_blip.network import Network, head
from nirank_blip.pictures import Pictures

LITE0 = "efficientnet_lite0"


@dataclass(frozen=True)
class Shape:
    """The shape of a network from nothing.

    `image` is a `vit` of `image_layers` of `image_width` over patches of `patch` pixels, or `efficientnet_lite0`, whose
    last maps are the tokens and which reads the file `image_weights`; images have `side` pixels. Texts are read, and
    written, by `layers` of `width` with `heads`; the `vocabulary` has at most so many word pieces, of words that occur
    `least` times, and a text has `longest` tokens. Vectors have `dim` dimensions.

    Raises `BadInput` for numbers that make no sense.
    """

    image: Literal["vit", "efficientnet_lite0"] = "vit"
    side: int = 32
    patch: int = 8
    image_width: int = 96
    image_layers: int = 3
    image_weights: str | None = None
    width: int = 96
    layers: int = 2
    heads: int = 4
    dim: int = 64
    vocabulary: int = 4000
    least: int = 2
    longest: int = 16

    def __post_init__(self) -> None:
        for field in fields(self):
            value, least = getattr(self, field.name), 4 if field.name == "longest" else 1
            if field.name in ("image", "image_weights"):
                continue
            if not isinstance(value, int) or isinstance(value, bool) or value < least:
                raise BadInput(f"config: {field.name} = {value!r}; a whole number from {least} is expected.")
        if self.image not in ("vit", LITE0):
            raise BadInput(f"config: image = {self.image!r}; vit or {LITE0} is expected.")
        if self.width % self.heads or self.image_width % self.heads or self.side % self.patch:
            raise BadInput(
                f"config: width = {self.width}, image_width = {self.image_width}, heads = {self.heads}, side = "
                f"{self.side}, patch = {self.patch}: heads have to divide both widths, and patch the side."
            )

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Shape:
        """The shape from a table. Raises `UnknownName` for a name that is none of its own."""
        known = [field.name for field in fields(cls)]
        for name in given:
            if name not in known:
                raise UnknownName("entry of config, the shape of the network,", name, known)
        return cls(**given)


def built(shape: Shape, tokenizer: Any, seed: int, silent: bool = False) -> Network:
    """A network of this shape with first weights from `seed`; its head is `silent` at first or not."""
    from transformers import BlipTextConfig, BlipTextLMHeadModel, BlipTextModel

    with torch.random.fork_rng(devices=[]), quiet():
        torch.manual_seed(seed)
        pictures = _pictures(shape)
        words = len(tokenizer)
        config = BlipTextConfig(
            vocab_size=words + 2,  # [DEC] and [ENC]
            hidden_size=shape.width,
            encoder_hidden_size=pictures.width,
            intermediate_size=4 * shape.width,
            num_hidden_layers=shape.layers,
            num_attention_heads=shape.heads,
            max_position_embeddings=shape.longest + 1,
            bos_token_id=words,
            sep_token_id=tokenizer.sep_token_id,
            eos_token_id=tokenizer.sep_token_id,
            pad_token_id=tokenizer.pad_token_id,
            initializer_range=_spread(shape.width),
        )
        encoder = BlipTextModel(config, add_pooling_layer=False)
        decoder = BlipTextLMHeadModel(config)
        share(encoder, decoder)
        parts = nn.Linear(shape.width, shape.dim), nn.Linear(pictures.width, shape.dim), head(shape.width, silent)
        return Network(pictures, tokenizer, shape.longest, encoder, decoder).give(*parts)


def _spread(width: int) -> float:
    """The standard deviation of first weights: BERT's .02 is for 768 numbers, and leaves little of few."""
    return max(0.02, 0.6 * width**-0.5)


def share(encoder: Any, decoder: Any) -> None:
    """Let reader and writer have all weights in common but those of self-attention, as the paper has it."""
    decoder.bert.embeddings = encoder.embeddings
    decoder.cls.predictions.decoder.weight = encoder.embeddings.word_embeddings.weight
    for own, other in zip(encoder.encoder.layer, decoder.bert.encoder.layer, strict=True):
        other.crossattention, other.intermediate, other.output = own.crossattention, own.intermediate, own.output


def _pictures(shape: Shape) -> Pictures:
    size = shape.side, shape.side
    if shape.image == LITE0:
        network = EfficientNet()
        if shape.image_weights is not None:
            network.load(Path(shape.image_weights).expanduser())
        pixels = Pixels(size, mean=(EfficientNet.MEAN,) * 3, std=(EfficientNet.STD,) * 3)
        return Pictures(network, pixels, EfficientNet.dim, "mean")
    from transformers import BlipVisionConfig, BlipVisionModel

    config = BlipVisionConfig(
        hidden_size=shape.image_width,
        intermediate_size=4 * shape.image_width,
        num_hidden_layers=shape.image_layers,
        num_attention_heads=shape.heads,
        image_size=shape.side,
        patch_size=shape.patch,
        initializer_range=_spread(shape.image_width),
    )
    return Pictures(BlipVisionModel(config), Pixels(size), shape.image_width, "first")
