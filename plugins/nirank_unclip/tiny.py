"""A prior over stand-ins for encoders, for checks without a model."""

from __future__ import annotations

import zlib
from collections.abc import Sequence

import numpy as np

from nirank.data import Content, Floats, Queries, images
from nirank.pipeline import Stage, load
from nirank_unclip.diffusion import Drawing
from nirank_unclip.prior import DiffusionPrior, Network
from nirank_unclip.spaces import Spaces


class Letters:
    """Encodes texts by their letters, and pictures by their brightness in four by four squares; both 16 numbers."""

    vectors = "dense"
    fingerprint = "letters and squares"

    def encode(self, queries: Queries) -> Floats:
        """Vectors of queries, `[queries, 16]`."""
        return self.encode_documents(queries.contents)

    def encode_documents(self, contents: Sequence[Content]) -> Floats:
        """Vectors of documents, `[documents, 16]`."""
        rows = [_letters(content) if isinstance(content, str) else _squares(content) for content in contents]
        return np.array(rows, np.float32).reshape(-1, 16)


def prior() -> DiffusionPrior:
    """Diffusion in three steps, two samples, with guidance."""
    drawing = Drawing(steps=3, samples=2, guidance=2.0)
    return DiffusionPrior(Spaces(stand_in(), None), Network(hidden=8, layers=1), drawing, None)


def stand_in() -> Stage:
    """The encoder by letters and squares."""
    return load(Letters())


def _letters(text: str) -> Floats:
    places = [
        zlib.crc32(text[start : start + 2].encode("utf-8", "replace")) % 16 for start in range(min(len(text), 99))
    ]
    return np.bincount(np.asarray([*places, 0], np.int64), minlength=16).astype(np.float32)


def _squares(picture: Content) -> Floats:
    small = images.read(picture).convert("L").resize((4, 4))
    return np.asarray(small, np.float32).ravel() + 1
