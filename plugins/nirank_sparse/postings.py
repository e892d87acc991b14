"""Postings of learned weights on disk: for each term the documents that have it, and how much."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Floats, SparseVectors, offsets_of
from nirank.errors import BadInput
from nirank.kit import bounded, write_header

#: Weights that are sorted at once.
_WEIGHTS_AT_ONCE = 1 << 22
#: Documents, at most, of which the highest score is looked at first.
_GROUP = 64
_NONE = np.empty(0, np.float32)
_COLUMNS = {"docs": np.dtype(np.int32), "weights": np.dtype(np.float32)}


@dataclass(frozen=True, eq=False)
class ImpactPostings:
    """Postings of all terms: those of term `t` are `docs[starts[t]:starts[t + 1]]`, rising, with `weights` beside them.

    `starts` int64 `[terms + 1]`, `docs` int32 and `weights` float32 `[postings]`.
    """

    starts: NDArray[np.int64]
    docs: NDArray[np.int32]
    weights: NDArray[np.float32]
    documents: int

    @staticmethod
    def write(folder: Path, offsets: NDArray[np.int64], terms: NDArray[np.int32], weights: NDArray[np.float32]) -> None:
        """Invert the weights of documents, those of document `d` being `weights[offsets[d]:offsets[d + 1]]`.

        In memory there are some million at a time, and for each of these a number for each term.
        """
        parts = _parts(offsets)
        size = 1 + max(
            (int(terms[offsets[first] : offsets[last]].max(initial=-1)) for first, last in parts), default=-1
        )
        counts = [np.bincount(terms[offsets[first] : offsets[last]], minlength=size) for first, last in parts]
        starts = offsets_of(np.sum(counts, axis=0))
        docs, inverted = (_created(folder / f"{name}.npy", kind, int(starts[-1])) for name, kind in _COLUMNS.items())
        free = starts[:-1].copy()
        for (first, last), own in zip(parts, counts, strict=True):
            here = slice(offsets[first], offsets[last])
            owners = np.repeat(np.arange(first, last), np.diff(offsets[first : last + 1]))
            order = np.argsort(terms[here], kind="stable")
            places = np.repeat(free - (np.cumsum(own) - own), own) + np.arange(len(order))
            docs[places], inverted[places] = owners[order], weights[here][order]
            free += own
        np.save(folder / "starts.npy", starts)
        np.save(folder / "documents.npy", len(offsets) - 1)

    @classmethod
    def load(cls, folder: Path) -> ImpactPostings:
        """Map what `write` wrote. Raises `DamagedFile` where files are missing, cut short or do not fit each other."""
        starts = bounded.column(folder / "starts.npy", np.int64, None)
        docs = bounded.column(folder / "docs.npy", np.int32, None)
        weights = bounded.column(folder / "weights.npy", np.float32, len(docs))
        postings = cls(starts, docs, weights, int(bounded.column(folder / "documents.npy", np.int64)))
        bounded.once(folder, ["starts.npy", "docs.npy", "documents.npy"], lambda: postings.check(folder))
        return postings

    def check(self, folder: Path) -> None:
        """Raise `DamagedFile` where postings lie outside of the columns, or of the documents."""
        bounded.rising(folder / "starts.npy", self.starts, len(self.docs))
        bounded.within(folder / "docs.npy", self.docs, self.documents)

    def search(self, queries: SparseVectors, k: int) -> Candidates:
        """The `k` documents of highest dot product with each query, of those for which it is not 0."""
        self.check_size(queries)
        scores = np.zeros(self.documents, np.float32)
        return Candidates.stack([self._best(queries, query, k, scores) for query in range(len(queries))])

    def _best(self, queries: SparseVectors, query: int, k: int, scores: Floats) -> Candidates:
        """The same for one query; `scores`, `[documents]`, is memory that is 0 before and after."""
        here = slice(queries.offsets[query], queries.offsets[query + 1])
        terms = queries.terms[here][queries.terms[here] < len(self.starts) - 1]
        begins, ends = self.starts[terms], self.starts[terms + 1]
        parts = list(map(slice, begins.tolist(), ends.tolist()))
        weights = queries.weights[here][: len(terms)]  # terms rise, so that those in the index come first
        products = np.concatenate([_NONE, *map(self.weights.__getitem__, parts)]) * np.repeat(weights, ends - begins)
        owners = np.concatenate([_NONE, *map(self.docs.__getitem__, parts)], dtype=np.intp, casting="unsafe")
        np.add.at(scores, owners, products)
        docs = _reaching(scores, k) if products.min(initial=0) >= 0 else np.flatnonzero(scores)
        found = Candidates.of_one(docs.astype(np.int32), scores[docs]).top(k)
        scores[:] = 0
        return found

    def check_size(self, queries: SparseVectors) -> None:
        """Raise `BadInput` for queries of fewer dimensions than there are terms."""
        terms = len(self.starts) - 1
        if queries.size < terms:
            raise BadInput(
                f"query vectors have {queries.size} dimensions, the index has {terms}: search with its own encoder."
            )


def _reaching(scores: Floats, k: int) -> NDArray[np.int64]:
    """Documents of which `k`, or all that are above 0, have the highest scores, rising: few more than `k` as a rule.

    The k-th of the highest scores of groups of documents is reached by k documents at least.
    """
    size = min(_GROUP, len(scores) // max(1, 2 * k))
    if size < 2:
        return np.flatnonzero(scores > 0)
    groups = len(scores) // size
    highest = scores[: groups * size].reshape(groups, size).max(1)
    bound = np.partition(highest, groups - k)[groups - k] if k else np.inf
    return np.flatnonzero(scores >= bound if bound > 0 else scores > 0)


def _parts(offsets: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Ranges of documents with about as many weights as are sorted at once."""
    cuts = np.searchsorted(offsets, np.arange(0, offsets[-1], _WEIGHTS_AT_ONCE), "right") - 1
    return [*pairwise(np.unique([0, *cuts, len(offsets) - 1]).tolist())]


def _created(path: Path, kind: np.dtype[Any], length: int) -> NDArray[Any]:
    """A column of zeros to be filled in any order; a full disk is an error now, where a mapping would kill later."""
    zeros = np.zeros(min(length, _WEIGHTS_AT_ONCE), kind)
    with path.open("wb") as file:
        write_header(file, (length,), kind)
        for start in range(0, length, _WEIGHTS_AT_ONCE):
            file.write(zeros[: length - start].tobytes())
    if not length:
        return np.empty(0, kind)  # nothing can be mapped of an empty column
    return np.lib.format.open_memmap(path, "r+")
