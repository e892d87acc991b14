"""Contents of two kinds, each through a function of its own: texts through one, images through the other."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from nirank.data import images
from nirank.data.types import Content
from nirank.errors import BadInput

#: From texts, or from images, to a row for each, `[contents, ...]`.
Tower = Callable[[Any], Tensor]


def of_both(contents: Sequence[Content], texts: Tower, pictures: Tower, empty: Tensor) -> Tensor:
    """A row for each content, in their order; `empty` has no rows, and the device of the result.

    Raises `BadInput` for what is neither text nor image.
    """
    seen = [images.is_image(content) for content in contents]
    for content, pictured in zip(contents, seen, strict=True):
        if not pictured and not isinstance(content, str):
            raise BadInput(
                f"a content is of the type {type(content).__name__}; a text or an image (a pathlib.Path, bytes or a "
                "PIL image) is expected."
            )
    places: list[int] = []
    found = [empty]
    for tower, wanted in ((texts, False), (pictures, True)):
        here = [place for place, pictured in enumerate(seen) if pictured == wanted]
        if here:
            places += here
            found.append(tower([contents[place] for place in here]).to(empty.device))
    order = torch.tensor(places, dtype=torch.int64, device=empty.device).argsort()
    return torch.cat(found)[order]
