"""Cutting work into batches that fit on the device, and putting the results together again."""

from __future__ import annotations

import hashlib
from collections.abc import Hashable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from nirank.data.arrays import to_numpy
from nirank.data.candidates import Candidates
from nirank.data.codes import looked_up
from nirank.data.fingerprint import content_bytes
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus, Floats, Ints
from nirank.errors import BadInput

#: Contents of this number are in memory at a time while many are hashed.
_HASHED = 1 << 16


class Batch(Protocol):
    """The input of one forward pass: it has a length, and it can be cut."""

    def __len__(self) -> int: ...

    def cut(self, start: int, stop: int) -> Batch:
        """The part from `start` up to `stop`."""

    def run(self, target: Any, method: str) -> Any:
        """Call `method` of a component's object on this batch; one result for each entry."""


@dataclass(frozen=True)
class QueryBatch:
    """Queries to encode."""

    queries: Queries

    def __len__(self) -> int:
        return len(self.queries)

    def cut(self, start: int, stop: int) -> QueryBatch:
        """The queries from `start` up to `stop`."""
        return QueryBatch(self.queries.take(slice(start, stop)))

    def run(self, target: Any, method: str) -> Any:
        """Encode them."""
        return getattr(target, method)(self.queries)


@dataclass(frozen=True)
class ContentBatch:
    """Contents of documents to encode."""

    contents: Sequence[Content]

    def __len__(self) -> int:
        return len(self.contents)

    def cut(self, start: int, stop: int) -> ContentBatch:
        """The contents from `start` up to `stop`."""
        return ContentBatch(self.contents[start:stop])

    def run(self, target: Any, method: str) -> Any:
        """Encode them."""
        return getattr(target, method)(self.contents)


@dataclass(frozen=True)
class Pairs:
    """Pairs of a query and a document to score; the length is the number of pairs."""

    queries: Queries
    candidates: Candidates

    def __len__(self) -> int:
        return self.candidates.pairs

    def cut(self, start: int, stop: int) -> Pairs:
        """The pairs from `start` up to `stop`, with only the queries that they belong to."""
        rows, part = self.candidates.cut(start, stop)
        return Pairs(self.queries.take(rows), part)

    def run(self, target: Any, method: str) -> Any:
        """Score them."""
        return getattr(target, method)(self.queries, self.candidates)


def by_length(contents: Sequence[Content]) -> NDArray[np.int64] | None:
    """An order that brings texts of similar length together, longest first; None where contents have no length.

    The longest first, so that a batch that does not fit in memory fails at once and not after an hour.
    """
    lengths = [len(content) for content in contents if isinstance(content, str)]
    return np.argsort(np.array(lengths, np.int64))[::-1] if len(lengths) == len(contents) else None


def first_of_equal(contents: Sequence[Content]) -> NDArray[np.int64] | None:
    """For each content the place of the first that equals it, `[contents]`; None where all differ.

    None too where one cannot be read: that is for its reader to tell.
    """
    try:
        return _first_places([content if isinstance(content, str) else _digest(content) for content in contents])
    except (BadInput, OSError):
        return None


def first_of_equal_documents(corpus: Corpus, docs: Ints) -> NDArray[np.int64] | None:
    """The same for documents of a corpus, `[docs]`; of many only the hashes are in memory together."""
    if len(docs) <= _HASHED:
        return first_of_equal(corpus[docs])
    parts = (corpus[docs[start : start + _HASHED]] for start in range(0, len(docs), _HASHED))
    try:
        return _first_places([(isinstance(content, str), _digest(content)) for part in parts for content in part])
    except (BadInput, OSError):
        return None


def _first_places(keys: Sequence[Hashable]) -> NDArray[np.int64] | None:
    places = dict(zip(reversed(keys), range(len(keys) - 1, -1, -1), strict=True))
    if len(places) == len(keys):
        return None
    return np.fromiter(map(places.__getitem__, keys), np.int64, len(keys))


def cuts(batch: Batch, size: int | None, whole_queries: bool = False) -> Iterator[Batch]:
    """Cut a batch into parts of at most `size` entries.

    With `whole_queries` the pairs of one query stay together, for a scorer that looks at the whole list; a
    part is then over `size` only where one query's list is.
    """
    if size is None or len(batch) <= size:
        yield batch
        return
    edges = list(range(0, len(batch), size)) + [len(batch)]
    if whole_queries and isinstance(batch, Pairs):
        edges = _query_edges(batch.candidates.offsets, size)
    for start, stop in pairwise(edges):
        yield batch.cut(start, stop)


def concatenate(parts: Sequence[Any]) -> Any:
    """Put the results of consecutive batches together: arrays, tensors, or a type with its own `concatenate`."""
    first = parts[0]
    if len(parts) == 1:
        return first
    if isinstance(first, list) and all(isinstance(each, str | list) for part in parts for each in part):  # texts
        return [each for part in parts for each in part]
    if hasattr(first, "concatenate"):
        return type(first).concatenate(parts)
    if hasattr(first, "detach"):
        import torch

        return torch.cat(list(parts))
    return np.concatenate(parts)


def similarities(left: Any, right: Any, rows: Ints, columns: Ints) -> Floats:
    """The dot product of `left[rows]` and `right[columns]` for each pair, whatever kind of vectors these are.

    Vectors that are no matrix have a method `pair_products(other, rows, columns)`; of tables and codes it is the sum of
    what is looked up (`nirank.data.codes`).
    """
    if hasattr(left, "pair_products"):
        products: Floats = left.pair_products(right, rows, columns)
        return products
    if left.ndim == 3:
        return looked_up(left, right, rows, columns)
    left, right = (to_numpy(vectors).astype(np.float32, copy=False) for vectors in (left, right))
    return pair_products(left, right, rows, columns)


def pair_products(left: Floats, right: Floats, rows: Ints, columns: Ints, block: int = 1024) -> Floats:
    """The dot product of `left[rows]` and `right[columns]` for each pair, float32 `[pairs]`.

    Each is added up in the same way wherever its pair stands, as a matrix product does not promise.
    """
    scores = np.empty(len(rows), np.float32)
    ours, theirs = (np.empty((min(block, len(rows)), left.shape[1]), np.float32) for _ in range(2))
    for start in range(0, len(rows), block):  # so that memory stays bounded, and is used again
        here = slice(start, start + block)
        some = slice(len(rows[here]))
        left.take(rows[here], axis=0, out=ours[some], mode="clip")
        right.take(columns[here], axis=0, out=theirs[some], mode="clip")  # else numpy copies what it takes twice
        np.einsum("ij,ij->i", ours[some], theirs[some], out=scores[here])
    return scores


def _digest(content: Content) -> bytes:
    return hashlib.blake2b(content_bytes(content), digest_size=16).digest()


def _query_edges(offsets: NDArray[np.int64], size: int) -> list[int]:
    edges = [0]
    for start, stop in zip(offsets[:-1].tolist(), offsets[1:].tolist(), strict=True):
        if stop - edges[-1] > size and edges[-1] < start < stop:
            edges.append(start)
    return edges + [int(offsets[-1])]
