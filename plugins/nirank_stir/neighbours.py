"""Vectors of a corpus on disk, made of length 1, and the search for the nearest of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Corpus, Floats, Queries, to_numpy
from nirank.errors import BadInput
from nirank.kit import bounded

VECTORS = "vectors.npy"
_CHUNK = 4096  # documents encoded at a time
_PRODUCTS = 1 << 23  # numbers in memory at a time, one for each query and document


def write(corpus: Corpus, folder: Path, encode: Callable[..., Any] | None) -> Floats:
    """Encode a corpus into `folder`, each vector made of length 1; they are mapped, float32 `[documents, dim]`."""
    if encode is None:
        raise BadInput("an index of vectors is built with an encoder: write `encoder >> index`.")
    written: Any = None
    for start in range(0, len(corpus), _CHUNK):
        part = unit(to_numpy(encode(corpus[start : start + _CHUNK])))
        if written is None:
            shape = (len(corpus), part.shape[1])
            written = np.lib.format.open_memmap(folder / VECTORS, "w+", np.float32, shape)
        written[start : start + len(part)] = part
    written.flush()
    return mapped(folder, len(corpus))


def mapped(folder: Path, documents: int, name: str = VECTORS) -> Floats:
    """The vectors in `folder`. Raises `DamagedFile` where there is not one for each document."""
    return bounded.column(folder / name, np.float32, documents, None)


def query_vectors(queries: Queries, dim: int) -> Floats:
    """The vectors of queries made of length 1, `[queries, dim]`. Raises `BadInput` for others, or none."""
    if queries.vectors is None:
        raise BadInput("these queries have no vectors: write `encoder >> index`.")
    vectors = to_numpy(queries.vectors).astype(np.float32)
    if len(queries) and vectors.shape[1:] != (dim,):
        raise BadInput(
            f"query vectors have the shape {vectors.shape}, the index {dim} dimensions: search with its own encoder."
        )
    return unit(vectors)


def unit(vectors: NDArray[Any]) -> Floats:
    """Vectors of length 1, float32 `[n, dim]`; one without a direction stays 0."""
    lengths = np.linalg.norm(vectors.astype(np.float64), axis=1, keepdims=True)
    return (vectors / np.maximum(lengths, np.finfo(np.float32).tiny)).astype(np.float32)


def nearest(wanted: Floats, vectors: Floats, k: int) -> Candidates:
    """For each of the vectors `wanted` the `k` documents of highest dot product, ranked.

    Products are added up as float64 and then rounded, so that they do not depend on where in a block they stand.
    """
    rows = max(1, min(len(wanted), 1024))
    size = max(1, _PRODUCTS // rows)
    found = [_nearest(wanted[start : start + rows], vectors, k, size) for start in range(0, len(wanted), rows)]
    return Candidates.stack(found)


def products(wanted: Floats, vectors: Floats) -> Floats:
    """All dot products, float32 `[wanted, documents]`."""
    return (wanted.astype(np.float64) @ vectors.astype(np.float64).T).astype(np.float32)


def pair_products(wanted: Floats, vectors: Floats, candidates: Candidates) -> Floats:
    """The dot product of each pair, `[pairs]`, added up as `products` does, query by query."""
    rows = [products(wanted[row : row + 1], vectors[candidates[row][0]])[0] for row in range(len(candidates))]
    return np.concatenate([np.empty(0, np.float32), *rows])


def _nearest(wanted: Floats, vectors: Floats, k: int, size: int) -> Candidates:
    best = Candidates.empty(len(wanted))
    for start in range(0, len(vectors), size):
        scores = products(wanted, vectors[start : start + size])
        docs = np.broadcast_to(np.arange(start, start + scores.shape[1]), scores.shape)
        here = Candidates.from_matrix(docs, scores, np.ones(scores.shape, bool)).top(k)
        best = best.union(here).top(k)
    return best
