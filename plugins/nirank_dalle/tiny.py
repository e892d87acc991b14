"""Small instances for checks, without a trained encoder of pictures."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Content, Queries, images
from nirank.pipeline import load
from nirank_dalle.dalle import DALLE, Shape
from nirank_dalle.marginals import Marginals


class Patches:
    """Codes by hand: how bright each quarter of a picture is, in eight steps."""

    vectors = "codes"
    reads = "images"
    grid = (2, 2)
    codes = 8

    def encode(self, queries: Queries) -> NDArray[np.float32]:
        """How far each step is from those of a picture, float32 `[queries, 4, 8]`."""
        steps = self.encode_documents(queries.contents).astype(np.float32)
        return -np.abs(steps[..., None] - np.arange(8, dtype=np.float32))

    def encode_documents(self, contents: Sequence[Content]) -> NDArray[np.uint8]:
        """Codes of pictures, uint8 `[pictures, 4]`."""
        small = [np.asarray(images.read(each).convert("L").resize((2, 2)), np.uint8) for each in contents]
        return np.array(small, np.uint8).reshape(-1, 4) // 32

    def decode(self, codes: Any) -> list[Any]:
        """Pictures of four grey squares."""
        from PIL import Image

        grey = (np.asarray(codes).reshape(-1, 2, 2) * 32 + 16).astype(np.uint8)
        return [Image.fromarray(each).resize((8, 8), Image.Resampling.NEAREST) for each in grey]


def dalle(seed: int = 0) -> DALLE:
    """Two layers over the codes of quarters."""
    shape = Shape(dim=16, depth=2, heads=2, longest=24, seed=seed)
    return DALLE(load(Patches()), batch_size=7, device="cpu", shape=shape)


def marginals() -> Marginals:
    """Words in few places."""
    return Marginals(load(Patches()), dim=6, buckets=64, batch_size=5, device="cpu")
