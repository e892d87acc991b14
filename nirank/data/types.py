"""The types of the data: contents, vectors, numbers, and the protocol of a corpus."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from pathlib import Path

    from PIL.Image import Image

    from nirank.data.ids import Ids

#: What is searched and searched with: a text, or an image: its path, the bytes of its file, or one of PIL.
Content: TypeAlias = "str | Path | bytes | Image"
Ints: TypeAlias = NDArray[np.integer[Any]]
Floats: TypeAlias = NDArray[np.float32]


@runtime_checkable
class Corpus(Protocol):
    """The documents that are searched: `nirank.data.corpus` holds the ones that come with nirank."""

    @property
    def ids(self) -> Ids:
        """The string id of each ordinal."""

    @property
    def fingerprint(self) -> str:
        """A hash of all ids and contents; equal corpora have equal fingerprints on every machine."""

    def __len__(self) -> int: ...

    def __getitem__(self, ordinals: Any) -> Sequence[Content]:
        """The contents at `ordinals` (an array of integers, or a slice)."""
