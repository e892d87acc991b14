"""Contents of two kinds through two towers: texts through one, images through the other, in their order."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from nirank.data import Content, images
from nirank.errors import BadInput
from nirank.kit.transformers import passes

#: From the token numbers of some texts to their features, `[texts, dim]`.
Pass = Callable[[Sequence[list[int]]], Tensor]
#: From texts, or from images, to their features, `[contents, dim]`.
Tower = Callable[[Any], Tensor]


def through(contents: Sequence[Content], text: Tower, image: Tower, dim: int, device: torch.device | str) -> Tensor:
    """A vector of each content, float32 `[contents, dim]`. Raises `BadInput` for what is neither text nor image."""
    seen = [images.is_image(content) for content in contents]
    for content, pictured in zip(contents, seen, strict=True):
        if not pictured and not isinstance(content, str):
            raise BadInput(
                f"a content is of the type {type(content).__name__}; a text or an image (a pathlib.Path, bytes or a "
                "PIL image) is expected."
            )
    places, found = [], [torch.empty(0, dim, device=device)]
    for tower, wanted in ((text, False), (image, True)):
        here = [place for place, pictured in enumerate(seen) if pictured == wanted]
        if here:
            places += here
            found.append(tower([contents[place] for place in here]))
    order = torch.tensor(places, dtype=torch.int64, device=device).argsort()
    return torch.cat(found)[order]


def by_length(tokens: Sequence[list[int]], size: int, run: Pass) -> Tensor:
    """Features of texts, `[texts, dim]`, in their order: `run` takes those of similar length, `size` at a time."""
    parts = passes(np.array([len(each) for each in tokens]), size)
    found = torch.cat([run([tokens[place] for place in part]) for part in parts])
    return found[torch.from_numpy(np.concatenate(parts).argsort()).to(found.device)]
