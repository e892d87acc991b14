"""The codes of pictures, and pictures of codes."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from nirank.data import Codes, Content, as_codes, content_bytes, images
from nirank.errors import BadInput
from nirank.kit import encode_documents
from nirank.pipeline import Stage, load


class Pictures:
    """Makes codes of pictures, and remembers in training what they were.

    `grid` are rows and columns of positions, `kinds` how many codes there are. A class below this one has `_encoded`
    and `decode`.
    """

    def __init__(self, grid: tuple[int, int], kinds: int) -> None:
        self.grid, self.kinds = grid, kinds
        self._known: dict[bytes, Codes] = {}

    @property
    def positions(self) -> int:
        """The number of codes of a picture."""
        return math.prod(self.grid)

    def codes(self, contents: Sequence[Content]) -> Codes:
        """The codes of pictures, `[pictures, positions]`. Raises `BadInput` for a text."""
        for content in contents:
            if not images.is_image(content):
                raise BadInput(f"{content!r:.60} is a text, and a picture is expected.")
        if not len(contents):
            return np.zeros((0, self.positions), np.uint8)
        return self._encoded(contents)

    def remembered(self, contents: Sequence[Content]) -> Codes:
        """The same; pictures that were asked for before are not encoded again."""
        keys = [hashlib.blake2b(content_bytes(content), digest_size=16).digest() for content in contents]
        missing = {key: content for key, content in zip(keys, contents, strict=True) if key not in self._known}
        self._known |= dict(zip(missing, self.codes(list(missing.values())), strict=True))
        return np.stack([self._known[key] for key in keys]) if keys else self.codes(contents)

    def decode(self, codes: Any) -> list[Any]:
        """The pictures of codes `[n, positions]`."""
        raise NotImplementedError

    def _encoded(self, contents: Sequence[Content]) -> Codes:
        """The codes of some pictures, at least one."""
        raise NotImplementedError


class StagePictures(Pictures):
    """Codes by an encoder that has been trained already and does not learn any more, the stage `vae`.

    Besides `encode_documents` it has `grid`, rows and columns of positions, `codes`, how many there are, and to draw
    pictures `decode`. Raises `BadInput` for a stage that is no such encoder.
    """

    def __init__(self, vae: Any) -> None:
        self.stage = vae if isinstance(vae, Stage) else load(vae)
        target: Any = self.stage.component.target
        if self.stage.component.traits.vectors != "codes" or not hasattr(target, "grid"):
            raise BadInput(
                f"vae = {self.stage!r} makes no codes of pictures: name an encoder such as dvae, trained before: "
                '"@dvae" in an experiment, "trained:FOLDER", or a stage.'
            )
        super().__init__(target.grid, target.codes)

    def decode(self, codes: Any) -> list[Any]:
        """The pictures of codes `[n, positions]`. Raises `BadInput` where the encoder cannot go back."""
        decode = self.stage.component.method("decode")
        if decode is None:
            raise BadInput(f"{self.stage!r} has no decoder, so nothing can be drawn with its codes.")
        drawn: list[Any] = decode(codes)
        return drawn

    def _encoded(self, contents: Sequence[Content]) -> Codes:
        return as_codes(encode_documents(self.stage.component, contents))
