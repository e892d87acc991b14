"""Pixels for an image model: images resized, cut to the middle, normalised, and in training moved a little."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from nirank.data import images
from nirank.data.types import Content
from nirank.errors import BadInput

#: An image longer than so many times its width is cut to that before it is resized: the middle is all that is kept.
_LONGEST = 32
#: The widths and heights of pictures with which a processor is compared.
_TRIED = ((30, 20), (20, 45))
#: What pixels may be apart from those of a processor, on average, of their deviation.
_ROUNDING = 0.01


@dataclass(frozen=True)
class Pixels:
    """The steps from images to pixels: `resize`, then `crop` (height, width) of the middle, None for all.

    `resize` is one number for the shorter edge, or (height, width), or None for images as they are. Values are
    multiplied by `scale`, then `mean` is taken off and they are divided by `std`, for each channel: one mean asks for
    images in grey, three for RGB.
    """

    resize: int | tuple[int, int] | None
    crop: tuple[int, int] | None = None
    mean: tuple[float, ...] = (0.5, 0.5, 0.5)
    std: tuple[float, ...] = (0.5, 0.5, 0.5)
    scale: float = 1 / 255
    resample: int = Image.Resampling.BICUBIC

    @classmethod
    def of(cls, processor: Any) -> Pixels:
        """As an image processor of transformers is set.

        Raises `BadInput` for sizes that are not understood here, and for a processor that does more with an image.
        """
        try:
            found = cls._set(processor)
            same = all(found._makes_the_same(processor, images.drawn(1, *size)) for size in _TRIED)
        except (TypeError, AttributeError, KeyError, RuntimeError, ValueError) as error:
            raise BadInput(f"a {type(processor).__name__} is not understood: {error}") from error
        if not same:
            raise BadInput(
                f"a {type(processor).__name__} does more with an image than to resize, crop and normalise it, which is "
                "what is done here: the model would see other pixels than those that it was trained with."
            )
        return found

    @classmethod
    def _set(cls, processor: Any) -> Pixels:
        crop = _edges(processor.crop_size) if processor.do_center_crop else None
        resize = _resize(dict(processor.size)) if processor.do_resize else None
        if isinstance(resize, int) and (share := getattr(processor, "crop_pct", None)):  # ConvNeXt
            resize, crop = (int(resize / share), crop or (resize, resize)) if resize < 384 else ((resize, resize), crop)
        return cls(
            resize=resize,
            crop=crop,
            mean=tuple(processor.image_mean) if processor.do_normalize else (0.0, 0.0, 0.0),
            std=tuple(processor.image_std) if processor.do_normalize else (1.0, 1.0, 1.0),
            scale=processor.rescale_factor if processor.do_rescale else 1.0,
            resample=int(processor.resample),
        )

    def _makes_the_same(self, processor: Any, image: Image.Image) -> bool:
        """True where an image is the same pixels as a processor makes of it, but for rounding."""
        expected = torch.tensor(np.array(processor(images=image)["pixel_values"][0]))
        found = self.normalised(torch.tensor(self.cut(image)[None]))[0]
        if expected.shape != found.shape:
            return False
        return bool((expected - found).abs().mean() <= _ROUNDING * max(1.0, float(expected.std())))

    def batches(self, contents: Sequence[Content], size: int, device: torch.device | str = "cpu") -> Iterator[Tensor]:
        """The pixels of all images in order, `size` at a time: float32 `[images, channels, height, width]`.

        Threads decode and resize the next ones while a batch is computed with.
        """
        for some in images.batches(contents, self.cut, size):
            yield self.normalised(torch.from_numpy(np.stack(some)).to(device))

    def bytes(self, contents: Sequence[Content]) -> Tensor:
        """Images resized and cut, uint8 `[images, height, width, channels]`. Without images one size has to be set."""
        if not len(contents):
            return torch.zeros(0, *self._size, len(self.mean), dtype=torch.uint8)
        return torch.from_numpy(np.stack(list(images.each(contents, self.cut))))

    def cut(self, image: Image.Image) -> NDArray[np.uint8]:
        """An RGB image resized and cut, uint8 `[height, width, channels]`."""
        if isinstance(self.resize, int):
            image = _narrowed(image)
            image = image.resize(_shorter_edge(image.size, self.resize), self.resample)
        elif self.resize:
            image = image.resize(self.resize[::-1], self.resample)
        image = image if self.crop is None else _middle(image, *self.crop)
        values = np.asarray(image.convert("L") if len(self.mean) == 1 else image)
        return values.reshape(*values.shape[:2], -1)

    def normalised(self, values: Tensor) -> Tensor:
        """Bytes `[images, height, width, channels]` as float32 `[images, channels, height, width]`."""
        mean, std = (torch.tensor(each, device=values.device)[:, None, None] for each in (self.mean, self.std))
        return (values.permute(0, 3, 1, 2).float() * self.scale - mean) / std

    @property
    def _size(self) -> tuple[int, int]:
        """Height and width of every image; 0 where they differ."""
        return self.crop or (self.resize if isinstance(self.resize, tuple) else (0, 0))


def jittered(pixels: Tensor, amount: float) -> Tensor:
    """Each image turned, sheared, scaled and shifted at random, `[n, channels, height, width]`.

    `amount` is by how much at most: of its size, and in radians. What comes in from outside repeats the edge. Chance
    comes from torch's generator.
    """
    turn, shear, scale, across, down = ((2 * torch.rand(5, len(pixels)) - 1) * amount).unbind()
    sine, cosine, size = turn.sin(), turn.cos(), 1 + scale
    rows = [size * cosine, shear - size * sine, across, size * sine, size * cosine, down]
    grid = F.affine_grid(torch.stack(rows, 1).view(-1, 2, 3), list(pixels.shape), align_corners=False)
    return F.grid_sample(pixels, grid.to(pixels.device), padding_mode="border", align_corners=False)


def _shorter_edge(size: tuple[int, int], edge: int) -> tuple[int, int]:
    width, height = size
    return (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)


def _narrowed(image: Image.Image) -> Image.Image:
    width, height = image.size
    longest = _LONGEST * min(width, height)
    return image if max(width, height) <= longest else _middle(image, min(height, longest), min(width, longest))


def _middle(image: Image.Image, height: int, width: int) -> Image.Image:
    """The middle of an image, with black around one that is smaller."""
    left, top = (image.width - width) // 2, (image.height - height) // 2
    return image.crop((left, top, left + width, top + height))


def _edges(size: Mapping[str, Any]) -> tuple[int, int]:
    found = {name: value for name, value in dict(size).items() if value is not None}
    if found.keys() != {"height", "width"}:
        raise BadInput(f"an image processor with the crop {found} is not understood: height and width are expected.")
    return found["height"], found["width"]


def _resize(size: Mapping[str, Any]) -> int | tuple[int, int]:
    found = {name: value for name, value in size.items() if value is not None}
    if found.keys() == {"shortest_edge"}:
        return int(found["shortest_edge"])
    return _edges(found)
