"""Token vectors of documents on disk, as float16, mapped when they are opened."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Content, Corpus, Floats, Ints, TokenVectors, Vectors, offsets_of, to_numpy
from nirank.errors import BadInput
from nirank.kit import Former, ragged_files

_TOKENS = "tokens"
_KINDS = {_TOKENS: np.float16}


@dataclass(frozen=True, eq=False)
class TokenStore:
    """The vectors of document `i` are `tokens[offsets[i]:offsets[i + 1]]`, float16 `[tokens, dim]`."""

    offsets: NDArray[np.int64]
    tokens: NDArray[np.float16]

    @staticmethod
    def write(
        corpus: Corpus,
        folder: Path,
        encode: Callable[[Sequence[Content]], Vectors] | None,
        chunk: int,
        name: str,
        known: ragged_files.Known | None = None,
    ) -> None:
        """Encode what is not `known` into `folder`, going on where an interrupted build of the same index stopped.

        Raises `BadInput` without an encoder (`name` is that of the index), and for vectors that are no finite numbers.
        """
        if encode is None:
            raise BadInput(f"an index of token vectors is built with an encoder: write `encoder >> {name}`.")
        ragged_files.write(corpus, folder, encode, _split, chunk, known)

    @classmethod
    def open(cls, corpus: Corpus, folder: Path) -> TokenStore:
        """Map what `write` wrote. Raises `StaleIndex` where it is incomplete, `BadInput` for another corpus."""
        offsets, columns = ragged_files.read(folder, _KINDS)
        if len(offsets) - 1 != len(corpus):
            raise BadInput(
                f"has vectors of {len(offsets) - 1} documents, but the corpus has {len(corpus)}: build it again.",
                folder,
            )
        return cls(offsets, columns[_TOKENS])

    @classmethod
    def known(cls, former: Former) -> ragged_files.Known:
        """The vectors of an index of an earlier state of the corpus."""
        offsets, columns = ragged_files.read(former.folder, _KINDS)
        return ragged_files.Known(TokenVectors(offsets, columns[_TOKENS]), former.ordinals)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def dim(self) -> int:
        """The dimension of the vectors."""
        return int(self.tokens.shape[1])

    def blocks(self, size: int) -> Iterator[slice]:
        """Documents one after the other, about `size` tokens at a time, and one document at least."""
        cuts = np.searchsorted(self.offsets, np.arange(0, self.offsets[-1], size), "right") - 1
        for first, last in pairwise(np.unique([*cuts, len(self)]).tolist()):
            yield slice(first, last)

    def of(self, documents: slice) -> tuple[NDArray[np.int64], Floats]:
        """The offsets and vectors of some documents, float32."""
        offsets = self.offsets[documents.start : documents.stop + 1]
        return offsets - offsets[0], widened(self.tokens[offsets[0] : offsets[-1]])


def picked(offsets: NDArray[np.int64], docs: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The offsets of some documents' tokens put together, `[docs + 1]`, and the places where these lie."""
    lengths = np.diff(offsets)[docs]
    own = offsets_of(lengths)
    return own, np.repeat(offsets[docs] - own[:-1], lengths) + np.arange(own[-1])


def widened(values: NDArray[np.float16]) -> Floats:
    """float16 as float32; torch does it many times as fast as numpy."""
    import torch

    return np.asarray(torch.from_numpy(np.array(values)).float().numpy())


def _split(vectors: TokenVectors) -> tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]:
    values = to_numpy(vectors.values)
    if not np.isfinite(values).all():
        raise BadInput("some document vectors contain NaN or infinity: check the model that made them.")
    return vectors.lengths, {_TOKENS: values.astype(np.float16)}
