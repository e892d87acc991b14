"""A memory for what a model that stays as it is makes of contents."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from nirank.data.types import Content


class Memory:
    """Features of contents by something that does not change, so that they are computed once; at most `limit` bytes.

    Where there is no room, what came first is forgotten. A picture in a file is known by its path, size and time of
    change, a text by itself; other images are not kept.
    """

    def __init__(self, limit: int = 1 << 29) -> None:
        self.limit = limit
        self._kept: dict[Any, Tensor] = {}

    def get(self, tower: Callable[[Sequence[Content]], Tensor], contents: Sequence[Content]) -> Tensor:
        """The features of contents, without gradients."""
        keys = [_key(content) for content in contents]
        new = {key: content for key, content in zip(keys, contents, strict=True) if key not in self._kept}
        found = {}
        if new:
            # not in inference mode, whose tensors no later training could use
            with torch.inference_mode(False), torch.no_grad():
                found = dict(zip(new, tower(list(new.values())).clone(), strict=True))
        features = torch.stack([found[key] if key in found else self._kept[key] for key in keys])
        self._keep({key: value for key, value in found.items() if not isinstance(key, _Unknown)})
        return features

    def _keep(self, found: dict[Any, Tensor]) -> None:
        if not found:
            return
        room = self.limit // next(iter(found.values())).nbytes  # all are of one size
        found = dict(list(found.items())[:room])
        for oldest in list(islice(self._kept, max(0, len(self._kept) + len(found) - room))):
            del self._kept[oldest]
        self._kept.update(found)


class _Unknown:
    """The key of a content that has none: equal to nothing but itself."""


def _key(content: Content) -> Any:
    if isinstance(content, str):
        return content
    if not isinstance(content, Path) or not content.exists():
        return _Unknown()
    state = content.stat()
    return content, state.st_size, state.st_mtime_ns
