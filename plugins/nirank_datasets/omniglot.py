"""Omniglot: handwritten characters of many alphabets, twenty drawings of each (Lake et al., Science 2015)."""

from __future__ import annotations

import io
import lzma
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np

from nirank.data import Collection
from nirank.data import images as pictures
from nirank.errors import BadInput, UnknownName
from nirank_datasets.categories import Pixels, categorised

Split = Literal["train", "dev", "test"]

_LARGEST = 1 << 24  # bytes of a drawing; they have some hundred

#: The alphabets of the small background sets that are not for training.
_DEV, _TEST = {"Early_Aramaic"}, {"Balinese", "Greek", "Latin"}


def omniglot(folder: str | Path, split: Split = "test", side: int | None = 28, rotations: bool = False) -> Collection:
    """Drawings of characters; those of the same character are relevant to one another, and none to itself.

    `folder` has the files `images_*.zip` of Omniglot's repository, or what is in them. Splits go by alphabet, so that
    no character of one is in another: Balinese, Greek and Latin are `test`, Early Aramaic is `dev`, and all others are
    `train`. The small background sets, which have Greek and Latin twice, have in these 74, 22 and 146 characters of 20
    drawings. `side` is the pixels of an image (None: 105, as they were drawn); ink is white on black. `rotations` adds
    each character turned by 90, 180 and 270 degrees as three characters more, as it is usual in training (Vinyals et
    al., NeurIPS 2016).

    Raises `BadInput` where there are no drawings, or where a file is none; `UnknownName` for another split.
    """
    if split not in get_args(Split):
        raise UnknownName("split of omniglot", split, get_args(Split))
    drawings = dict(_drawings(Path(folder), split, side))  # a set that has an alphabet again has the same drawings
    if not drawings:
        raise BadInput(f"has no drawings of the split {split}; images_*.zip or its folders are expected.", folder)
    ids = sorted(drawings)
    if len(sizes := {drawing.shape for drawing in drawings.values()}) > 1:
        raise BadInput(f"the drawings have {len(sizes)} sizes; set `side`, the size that all are scaled to.", folder)
    pixels = np.stack([drawings[name] for name in ids])
    if rotations:
        ids, pixels = _rotated(ids, pixels)
    return categorised(f"omniglot/{split}", ids, pixels, [name.rpartition("/")[0] for name in ids])


def _drawings(folder: Path, split: Split, side: int | None) -> Iterator[tuple[str, Pixels]]:
    """Alphabet, character and drawing as an id, and the pixels."""
    for place, data in _files(folder):
        name = "/".join([*place.parts[-3:-1], place.stem])
        if _split_of(place.parts[-3]) == split:
            yield name, _pixels(data, side, folder / place)


def _files(folder: Path) -> Iterator[tuple[Path, Any]]:
    """Each PNG in the folder, or in a zip file of it: where it is, and what can be opened as a file."""
    for path in sorted(folder.glob("**/*/*/*.png")):
        yield path.relative_to(folder.parent.parent), path
    for path in sorted(folder.glob("images_*.zip")):
        try:
            with zipfile.ZipFile(path) as archive:
                for info in archive.infolist():
                    place = Path(info.filename)
                    if place.suffix == ".png" and info.filename.count("/") > 2 and len(place.parts) > 2:
                        yield place, io.BytesIO(_member(archive, info, path))
        except BadInput:
            raise
        except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, OSError, EOFError, RuntimeError, ValueError) as error:
            raise BadInput(f"is not a complete zip file: {error}.", path) from error


def _member(archive: zipfile.ZipFile, info: zipfile.ZipInfo, path: Path) -> bytes:
    if info.file_size > _LARGEST:
        raise BadInput(f"{info.filename} has {info.file_size:,} bytes; a drawing has at most {_LARGEST:,}.", path)
    return archive.read(info)


def _split_of(alphabet: str) -> Split:
    return "test" if alphabet in _TEST else "dev" if alphabet in _DEV else "train"


def _pixels(data: Any, side: int | None, place: Path) -> Pixels:
    """A drawing, white on black."""
    from PIL import Image

    try:
        with Image.open(data) as image:
            drawn = image.convert("L")
    except (*pictures.FAULTS, Image.DecompressionBombError) as error:
        raise BadInput(f"cannot be read as a drawing: {error}.", place) from error
    if side is not None:
        drawn = drawn.resize((side, side), Image.Resampling.BOX)
    return 255 - np.asarray(drawn)


def _rotated(ids: list[str], pixels: Pixels) -> tuple[list[str], Pixels]:
    """The characters and, as others, the same turned by a quarter, a half and three quarters."""
    turned = [np.rot90(pixels, quarters, axes=(1, 2)) for quarters in range(4)]
    names = [[f"{90 * quarters}:{name}" if quarters else name for name in ids] for quarters in range(4)]
    return [name for some in names for name in some], np.concatenate(turned)
