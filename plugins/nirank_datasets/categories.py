"""Collections of images in categories: every image is a document and a query.

Relevant to it are the others of its category. The query itself is in the corpus, under its own id, and not among its
judgments: `nirank.others(ranking)` leaves it out of what is found.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, overload

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data import Candidates, Collection, Content, Documents, Queries, offsets_of
from nirank.errors import BadInput

#: Brightness, `[images, height, width]`: 0 is black.
Pixels = NDArray[np.uint8]


class Pictures(Sequence[Content]):
    """Grey images, uint8 `[images, height, width]`, each of which becomes one of Pillow's when it is read."""

    def __init__(self, pixels: Pixels) -> None:
        self.pixels = pixels

    def __len__(self) -> int:
        return len(self.pixels)

    @overload
    def __getitem__(self, which: int) -> Content: ...
    @overload
    def __getitem__(self, which: slice) -> Sequence[Content]: ...
    def __getitem__(self, which: Any) -> Any:
        """One image, or a slice of them."""
        from PIL import Image

        return Pictures(self.pixels[which]) if isinstance(which, slice) else Image.fromarray(self.pixels[which])


def categorised(name: str, ids: Sequence[str], pixels: Pixels, categories: ArrayLike) -> Collection:
    """The collection of images with the category of each. Raises `BadInput` where there is no image."""
    return _asked_by_all(name, ids, pixels, same_category(categories))


def each_itself(name: str, ids: Sequence[str], pixels: Pixels) -> Collection:
    """The collection in which each image is relevant to itself, to learn from images alone. Raises alike."""
    return _asked_by_all(name, ids, pixels, themselves(len(pixels)))


def themselves(images: int) -> Candidates:
    """For each image itself, with the label 1."""
    return Candidates(np.arange(images + 1), np.arange(images), np.ones(images, np.float32))


def _asked_by_all(name: str, ids: Sequence[str], pixels: Pixels, judged: Candidates) -> Collection:
    if not len(pixels):
        raise BadInput("there are no images; at least one is expected.", name)
    contents = Pictures(pixels)
    corpus = Documents(list(ids), contents)
    return Collection(name, corpus, Queries(list(ids), contents), judged.over(corpus))


def same_category(categories: ArrayLike) -> Candidates:
    """For each image all others of its category, by rising ordinal, with the label 1."""
    _, category, counts = np.unique(np.asarray(categories), return_inverse=True, return_counts=True)
    members = np.argsort(category, kind="stable")  # category by category
    place = np.empty_like(members)
    place[members] = np.arange(len(members))
    lengths = counts[category] - 1
    offsets = offsets_of(lengths)
    within = np.arange(offsets[-1]) - np.repeat(offsets[:-1], lengths)
    at = np.repeat((np.cumsum(counts) - counts)[category], lengths) + within
    at += at >= np.repeat(place, lengths)  # the image itself is left out
    return Candidates(offsets, members[at], np.ones(len(at), np.float32))


def tiny() -> Collection:
    """Two categories of three images, 4 x 4 pixels."""
    pixels = np.zeros((6, 4, 4), np.uint8)
    for number in range(3):
        pixels[number, number], pixels[3 + number, :, number] = 255, 255
    return categorised("bars", [f"bar{number}" for number in range(6)], pixels, [0, 0, 0, 1, 1, 1])
