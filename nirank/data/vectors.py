"""Ragged vectors: of each text as many vectors as it has tokens, or weights of a few terms out of very many."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data.arrays import to_numpy
from nirank.data.offsets import offsets_of
from nirank.data.types import Floats, Ints
from nirank.errors import BadInput

if TYPE_CHECKING:
    from scipy.sparse import csr_array

    from nirank.data.codes import Codes
    from nirank.data.terms import TermWeights

#: What an encoder returns: dense `[n, dim]` (also as a tensor), token vectors (ragged), weights of terms (sparse), or
#: codes of documents and tables of queries (`nirank.data.codes`).
Vectors: TypeAlias = "Floats | TokenVectors | SparseVectors | TermWeights | Codes"
#: Pairs whose dot products are computed at once.
_PAIRS = 4096


@dataclass(frozen=True, eq=False)
class TokenVectors:
    """For each text a matrix, what an encoder of the kind "tokens" makes: `values[offsets[i]:offsets[i + 1]]`.

    `offsets` int64 `[texts + 1]`; `values` `[tokens, dim]`, a numpy array, or a tensor that may carry gradients.
    """

    offsets: NDArray[np.int64]
    values: Any

    def __post_init__(self) -> None:
        _check(self.offsets, len(self.values))
        if self.values.ndim != 2:
            raise BadInput(
                f"vectors of tokens are a matrix [tokens, dim], not of the shape {tuple(self.values.shape)}."
            )

    @classmethod
    def of(cls, matrices: Sequence[ArrayLike]) -> TokenVectors:
        """From one matrix `[tokens, dim]` for each text, at least one of them."""
        arrays = [np.asarray(matrix) for matrix in matrices]
        return cls(offsets_of([*map(len, arrays)]), np.concatenate(arrays))

    @classmethod
    def concatenate(cls, parts: Sequence[TokenVectors]) -> TokenVectors:
        """The texts of all parts, one after the other."""
        values = [part.values for part in parts]
        if hasattr(values[0], "detach"):
            import torch

            joined: Any = torch.cat(values)
        else:
            joined = np.concatenate(values)
        return cls(offsets_of(np.concatenate([part.lengths for part in parts])), joined)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __iter__(self) -> Iterator[Any]:
        return (self[place] for place in range(len(self)))

    def __getitem__(self, rows: Ints | slice | int) -> Any:
        """The matrix of one text, for a number; else `TokenVectors` of some texts."""
        if isinstance(rows, (int, np.integer)):
            row = range(len(self))[rows]
            return self.values[self.offsets[row] : self.offsets[row + 1]]
        offsets, places = _picked(self.offsets, np.arange(len(self))[rows])
        if hasattr(self.values, "detach"):
            import torch

            return TokenVectors(offsets, self.values[torch.from_numpy(places).to(self.values.device)])
        return TokenVectors(offsets, self.values[places])

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of vectors of each text, `[texts]`."""
        return np.diff(self.offsets)


@dataclass(frozen=True, eq=False)
class SparseVectors:
    """For each text weights of terms, what an encoder of the kind "sparse" makes.

    Those of text `i` are `weights[offsets[i]:offsets[i + 1]]`, of the dimensions `terms` beside them, which rise; all
    others are 0. `offsets` int64 `[texts + 1]`, `terms` int32 and `weights` float32 `[entries]`; there are `size`
    dimensions.
    """

    offsets: NDArray[np.int64]
    terms: NDArray[np.int32]
    weights: Floats
    size: int

    def __post_init__(self) -> None:
        _check(self.offsets, len(self.weights))
        if len(self.terms) != len(self.weights):
            raise BadInput(f"{len(self.terms)} terms with {len(self.weights)} weights; one weight per term is needed.")

    @classmethod
    def of(cls, matrix: Floats, most: int | None = None) -> SparseVectors:
        """Keep the nonzero weights of a matrix `[texts, size]`; of each text the `most` largest, if that is given.

        Of equal weights the lower dimension is kept.
        """
        if most is not None and most < matrix.shape[1]:
            dropped = np.argsort(-matrix, axis=1, kind="stable")[:, most:]
            matrix = matrix.copy()
            np.put_along_axis(matrix, dropped, 0, axis=1)
        rows, terms = np.nonzero(matrix)
        lengths = np.bincount(rows, minlength=len(matrix))
        return cls(offsets_of(lengths), terms.astype(np.int32), matrix[rows, terms].astype(np.float32), matrix.shape[1])

    @classmethod
    def concatenate(cls, parts: Sequence[SparseVectors]) -> SparseVectors:
        """The texts of all parts, one after the other."""
        terms, weights = (np.concatenate([getattr(part, name) for part in parts]) for name in ("terms", "weights"))
        return cls(offsets_of(np.concatenate([part.lengths for part in parts])), terms, weights, parts[0].size)

    def __len__(self) -> int:
        return len(self.offsets) - 1

    def __getitem__(self, rows: Ints | slice | int) -> SparseVectors:
        """Some of the texts; one, for a number."""
        offsets, places = _picked(self.offsets, np.atleast_1d(np.arange(len(self))[rows]))
        return SparseVectors(offsets, self.terms[places], self.weights[places], self.size)

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The number of weights of each text, `[texts]`."""
        return np.diff(self.offsets)

    def matrix(self) -> csr_array:
        """The same as scipy has it, `[texts, size]`."""
        from scipy.sparse import csr_array

        return csr_array((self.weights, self.terms, self.offsets), shape=(len(self), self.size))

    def toarray(self) -> Floats:
        """The same with all zeros, float32 `[texts, size]`."""
        dense: Floats = self.matrix().toarray()
        return dense

    def pair_products(self, other: SparseVectors, rows: Ints, columns: Ints) -> Floats:
        """The dot product of a text here and one of `other` for each pair, float32 `[pairs]`.

        It is added up by rising dimension, one by one, as in a product of both matrices.
        """
        size = max(self.size, other.size)  # an index knows the terms that its documents have, and no more
        left, right = (replace(vectors, size=size).matrix() for vectors in (self, other))
        scores, ones = np.empty(len(rows), np.float32), np.ones(size, np.float32)
        for start in range(0, len(rows), _PAIRS):
            here = slice(start, start + _PAIRS)
            scores[here] = left[rows[here]].multiply(right[columns[here]]) @ ones  # a sum would pair them off
        return scores


def on_host(vectors: Any) -> Any:
    """The same vectors as numpy has them; only those of tokens may be tensors."""
    if not isinstance(vectors, TokenVectors):
        return vectors
    return TokenVectors(vectors.offsets, to_numpy(vectors.values))


def _check(offsets: NDArray[np.int64], entries: int) -> None:
    if not len(offsets) or offsets[0] != 0 or offsets[-1] != entries or (np.diff(offsets) < 0).any():
        raise BadInput(f"offsets must rise from 0 to the number of entries, {entries}.")


def _picked(offsets: NDArray[np.int64], rows: Ints) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The offsets of some rows put together, and where their entries stood."""
    lengths = np.diff(offsets)[rows]
    picked = offsets_of(lengths)
    return picked, np.repeat(offsets[rows] - picked[:-1], lengths) + np.arange(picked[-1])
