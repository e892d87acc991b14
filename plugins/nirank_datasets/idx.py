"""Images and their classes in IDX files, as MNIST and Fashion-MNIST come."""

from __future__ import annotations

import math
import struct
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from nirank.data import Collection
from nirank.errors import BadInput, UnknownName
from nirank.formats import opened
from nirank_datasets.categories import categorised, each_itself

Split = Literal["train", "test"]
Ask = Literal["images", "self"]

_PREFIX = {"train": "train", "test": "t10k"}
_LARGEST_BYTES = 1 << 34  # a header that says more is damaged
_UNSIGNED_BYTE = 8  # the code of the type of the numbers


def idx(
    folder: str | Path,
    split: Split = "test",
    limit: int | None = None,
    classes: Sequence[int] | None = None,
    skip: int = 0,
    ask: Ask = "images",
) -> Collection:
    """Images of a class are relevant to one another, and none to itself; with `ask = "self"` each to itself alone.

    `folder` has `train-images-idx3-ubyte`, `train-labels-idx1-ubyte` and the same of `t10k`, gzipped or not. `classes`
    are those that are taken (by default all), and of these images the first `limit` behind the first `skip`, so that
    parts of a split need not overlap. The format is that of Yann LeCun's MNIST pages: a magic number, the size of each
    dimension, bytes.

    Raises `BadInput`, with the file, for one that is missing, cut short or of another kind, and for a number below 0;
    `UnknownName` for another split or another way to ask.
    """
    for name, value in (("limit", limit), ("skip", skip)):
        if value is not None and value < 0:
            raise BadInput(f"{name} = {value}: a number from 0 is expected.")
    if split not in get_args(Split):
        raise UnknownName("split of idx", split, get_args(Split))
    if ask not in get_args(Ask):
        raise UnknownName("way to ask", ask, get_args(Ask))
    folder = Path(folder)
    pixels = read_idx(_present(folder, f"{_PREFIX[split]}-images-idx3-ubyte"), 3)
    labels = read_idx(_present(folder, f"{_PREFIX[split]}-labels-idx1-ubyte"), 1)
    if len(pixels) != len(labels):
        raise BadInput(f"{len(pixels)} images and {len(labels)} labels: a label for each image is expected.", folder)
    chosen = np.flatnonzero(np.isin(labels, classes) if classes is not None else labels >= 0)[skip:][:limit]
    ids = [f"{split}-{number}" for number in chosen.tolist()]
    name = f"{folder.resolve().name}/{split}"
    if ask == "self":
        return each_itself(f"{name}/self", ids, pixels[chosen])
    return categorised(name, ids, pixels[chosen], labels[chosen])


def read_idx(path: Path, dimensions: int) -> NDArray[np.uint8]:
    """The bytes of an IDX file with a number of dimensions. Raises `BadInput` for a file that is none."""
    header = struct.calcsize(f">4B{dimensions}I")
    with opened(path) as stream:
        data = stream.read(header)
        if len(data) < header or tuple(data[:4]) != (0, 0, _UNSIGNED_BYTE, dimensions):
            begins = data[:4].hex(" ")
            raise BadInput(f"is not an IDX file of bytes in {dimensions} dimensions: it begins with {begins}.", path)
        shape: tuple[Any, ...] = struct.unpack(f">{dimensions}I", data[4:header])
        size = math.prod(shape)
        if size > _LARGEST_BYTES:
            raise BadInput(f"announces {size:,} bytes (shape {shape}); the limit is {_LARGEST_BYTES:,}.", path)
        pixels = stream.read(size + 1)
    if len(pixels) != size:
        more = f"more than {size:,} bytes" if len(pixels) > size else f"{len(pixels):,} bytes"
        raise BadInput(f"has {more} after its header; {size:,} bytes are expected, of the shape {shape}.", path)
    return np.frombuffer(pixels, np.uint8).reshape(shape)


def _present(folder: Path, name: str) -> Path:
    for path in (folder / name, folder / f"{name}.gz"):
        if path.is_file():
            return path
    raise BadInput(f"{name} or {name}.gz is expected here.", folder)
