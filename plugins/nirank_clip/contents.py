"""Contents of two kinds through two towers: texts through one, images through the other, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from nirank import images
from nirank.data import Content
from nirank.errors import BadInput

Tower = Callable[[Sequence[Content]], Tensor]


def through(contents: Sequence[Content], text: Tower, image: Tower, dim: int, device: torch.device | str) -> Tensor:
    """A vector of each content, float32 `[contents, dim]`. Raises `BadInput` for what is neither text nor image."""
    seen = [images.is_image(content) for content in contents]
    for content, pictured in zip(contents, seen, strict=True):
        if not pictured and not isinstance(content, str):
            raise BadInput(f"a content is a text, or an image as a pathlib.Path; this is a {type(content).__name__}.")
    places, found = [], [torch.empty(0, dim, device=device)]
    for tower, wanted in ((text, False), (image, True)):
        here = [place for place, pictured in enumerate(seen) if pictured == wanted]
        if here:
            places += here
            found.append(tower([contents[place] for place in here]))
    order = torch.tensor(places, dtype=torch.int64, device=device).argsort()
    return torch.cat(found)[order]
