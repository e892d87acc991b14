"""What an index proposes: the best documents by its own rounded scores, and all that may tie with the last of them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data import Candidates, Floats, Queries
from nirank.errors import BadInput
from nirank_dense.exact.blocks import blocks
from nirank_dense.exact.search import ExactSearch

#: Documents that are asked for at first beyond those wanted, for the ones that tie with the last.
MORE_DOCUMENTS = 16
#: Allowed documents, at most, that are all compared with every query.
FEW_DOCUMENTS = 4096
#: Scores and documents of a result that are in memory at once.
_RESULTS = 2**22

#: Called with queries and a number: documents `[queries, number]`, -1 where there are no more, and their scores.
Fetch = Callable[[Floats, int], tuple[NDArray[np.int64], Floats]]


def proposed(fetch: Fetch, queries: Floats, slack: NDArray[np.float64], need: int, count: int, most: int) -> Candidates:
    """The documents that score as well as the `need`-th of each query, or better, as an index sees it.

    `count` are asked for at first, and four times as many where the last of them may still tie; `most` is how many
    there are. `slack`, `[queries]`, is how far two scores of one product may lie apart.
    """
    count = min(count, most)
    if not count:
        return Candidates.empty(len(queries))
    size = max(1, _RESULTS // count)
    parts = [
        _close(*fetch(part, count), apart, min(need, count))
        for part, apart in zip(blocks(queries, size), blocks(slack, size), strict=True)
    ]
    found, is_open = Candidates.stack([one for one, _ in parts]), np.concatenate([two for _, two in parts])
    rows = np.flatnonzero(is_open)
    if count == most or not len(rows):
        return found
    again = proposed(fetch, queries[rows], slack[rows], need, 4 * count, most)
    return replaced(found, rows, again)


def replaced(found: Candidates, rows: NDArray[np.int64], again: Candidates) -> Candidates:
    """The same lists, but those of some queries replaced by those of `again`."""
    order = np.arange(len(found))
    order[rows] = len(found) + np.arange(len(rows))
    return Candidates.stack([found, again]).take(order)


def as_mask(allowed: ArrayLike | None, documents: int) -> NDArray[np.bool_] | None:
    """The allowed documents as a mask, `[documents]`, of a mask or of ordinals; None for all.

    Raises `BadInput` for a mask of another length, and for ordinals that no document has.
    """
    if allowed is None:
        return None
    allowed, mask = np.asarray(allowed), np.zeros(documents, bool)
    if allowed.dtype == bool and allowed.shape != mask.shape:
        raise BadInput(
            f"the mask has the shape {allowed.shape}; one entry for each of the {len(mask)} documents is expected."
        )
    if allowed.dtype != bool:
        allowed = allowed.astype(np.int64)
        if not ((allowed >= 0) & (allowed < len(mask))).all():
            raise BadInput(
                f"the ordinals to search among go from {allowed.min()} to {allowed.max()}, but there "
                f"are {len(mask)} documents."
            )
    mask[allowed] = True
    return mask


def scan(vectors: Floats, docs: NDArray[np.int64] | None, queries: Floats, k: int) -> Candidates:
    """The best `k` of some documents, or of all, exactly."""
    if docs is not None and not len(docs):
        return Candidates.empty(len(queries))
    return scan_rows(vectors if docs is None else np.ascontiguousarray(vectors[docs]), docs, queries, k)


def scan_rows(vectors: Floats, docs: NDArray[np.int64] | None, queries: Floats, k: int) -> Candidates:
    """The best `k` of the documents whose vectors these are; `docs`, rising, are their ordinals."""
    exact = ExactSearch(device="cpu", precision="float32")
    exact.search_in(vectors)
    found = exact.generate(Queries([""] * len(queries), [""] * len(queries), queries), k)
    return found if docs is None else Candidates(found.offsets, docs[found.docs], found.scores)


def _close(
    docs: NDArray[Any], scores: Floats, slack: NDArray[np.float64], need: int
) -> tuple[Candidates, NDArray[np.bool_]]:
    """The documents that score like the `need`-th of each query or better, and a mask of queries that may have more."""
    floor = scores[:, need - 1] - slack
    close = (docs >= 0) & (scores >= floor[:, None])
    return Candidates.from_matrix(docs, scores, close), close[:, -1]
