"""Exact search in one pass: every document is compared with every query in float32, block by block.

A block's scores are compared with the k-th best score seen so far, and only what comes near it is kept: sorting each
block whole would cost as much as the products.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Floats
from nirank_dense.exact import quantised
from nirank_dense.exact.running_best import RunningBest
from nirank_dense.exact.scores_on_device import OnDevice, OnHost


class Scan:
    """Search over the vectors of `products`, of which the longest has the length `longest`.

    `block` is the number of documents compared at once, chosen for the number of queries unless given.
    """

    def __init__(self, products: OnHost | OnDevice, longest: float, block: int | None = None) -> None:
        self._products, self._longest, self._block = products, longest, block

    def over(self, products: OnHost | OnDevice) -> Scan:
        """The same search over some of its vectors."""
        return Scan(products, self._longest, self._block)

    def search(self, queries: Floats, k: int, allowed: NDArray[np.bool_] | None = None) -> Candidates:
        """The best `k` documents of each query, float32 `[queries, dim]`, ranked.

        `allowed` is a mask of the documents that may be found, `[documents]`; blocks without any are passed over.
        """
        products = self._products
        best = RunningBest(k, _slack(queries, self._longest))
        prepared = products.queries(queries)
        documents = len(products.vectors)
        size = self._block or min(65536, max(1024, products.budget // len(queries)))
        for start in range(0, documents, size):
            stop = min(start + size, documents)
            if allowed is not None and not allowed[start:stop].any():
                continue
            scores = products.scores(prepared, start, stop)  # (queries, documents of the block)
            if start == 0 and k <= stop:
                best.reached(_kth_best(products, scores, k, allowed))
            rows, columns, found = products.reaching(scores, best.floor)
            if allowed is not None:
                pairs = allowed[columns + start]
                rows, columns, found = rows[pairs], columns[pairs], found[pairs]
            best.add(rows, columns + start, found)
        kept = best.candidates()
        return kept.with_scores(products.each(prepared, kept.rows, kept.docs)).top(k)


def _kth_best(products: OnHost | OnDevice, scores: Any, k: int, allowed: NDArray[np.bool_] | None) -> Floats:
    """The k-th best score of each query in the first block, `[queries]`; -inf where fewer of it are allowed."""
    if allowed is None:
        return products.kth_best(scores, k)
    columns = np.flatnonzero(allowed[: scores.shape[1]])
    if len(columns) < k:
        return np.full(len(scores), -np.inf, np.float32)
    return products.kth_best(scores[:, columns], k)


def _slack(queries: Floats, longest: float) -> Floats:
    """Twice the distance that two ways of adding up a dot product can lie apart, `[queries]`.

    Twice, because both the k-th best and what is compared with it are rounded.
    """
    apart = quantised.rounding(queries.shape[1]) * longest * quantised.lengths_of(queries)
    return (2 * (apart + quantised.TINY)).astype(np.float32)
