"""The pass over all documents: what cannot reach a query's floor is dropped, the rest is scored."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from nirank.data import Floats
from nirank_dense.exact import floors, kernels
from nirank_dense.exact.code_products import THIS_PROCESSOR, TILE, Codes, Processor
from nirank_dense.exact.comparison import CodedDocuments
from nirank_dense.exact.first_pass_tiles import ByTiles
from nirank_dense.exact.kernels import BestScores, Exact
from nirank_dense.exact.one_query import LARGEST_K, OneQuery
from nirank_dense.exact.pairs import ScoredPairs
from nirank_dense.exact.quantised import Quantised, QuantisedQueries
from nirank_dense.exact.rounded import rounding
from nirank_dense.exact.threads import mapping, shared

#: Queries, at least, for each thread.
_QUERIES = 8


class FirstPass:
    """All documents: their `vectors`, float32 `[documents, dim]`, and what they are in bytes.

    `block` of them are looked at at once; unless it is given, as many as keep the processor's cache filled.
    """

    def __init__(
        self,
        vectors: Floats,
        documents: Quantised,
        block: int | None = None,
        processor: Processor = THIS_PROCESSOR,
    ) -> None:
        self._vectors, self._norms = kernels.read_only(vectors), kernels.read_only(documents.norms)
        self._first_pass: ByTiles | ByProducts
        self._one_query: OneQuery | None = None
        if processor.instructions():
            codes = CodedDocuments(documents)
            self._first_pass = ByTiles(codes, block)
            self._one_query = OneQuery(documents.nibbles, codes.whole) if documents.nibbles else None
        else:
            self._first_pass = ByProducts(documents, block, processor)

    def pairs(self, queries: QuantisedQueries, steps: Floats, k: int) -> ScoredPairs:
        """Pairs that reach `steps` (`[queries]`, in steps of each query), among them the best `k` of those that do.

        Left out are only pairs with a lower score than `k` of these.
        """
        return ScoredPairs.joined(self._first_pass.pairs(queries, steps, self._exact(queries), k))

    def pairs_of_one(self, query: QuantisedQueries, k: int) -> ScoredPairs | None:
        """Pairs of one query, among them its best `k`; None where this is not worth while, or not found out so."""
        if self._one_query is None or k > LARGEST_K:
            return None
        found = self._one_query.pairs(query, self._exact(query), k)
        pairs = None if found is None else ScoredPairs.joined(found)
        return pairs if pairs and len(pairs.rows) >= k else None

    def takes_one(self, k: int) -> bool:
        """True if the best `k` of one query may be found without a guess."""
        return self._one_query is not None and k <= LARGEST_K

    def _exact(self, queries: QuantisedQueries) -> Exact:
        apart = rounding(queries.vectors.shape[1]) * queries.norms
        return Exact(queries.vectors.astype(np.float64), apart, self._vectors, self._norms)


class ByProducts:
    """The first pass where the processor has no instructions for it that we know: block by block all products."""

    def __init__(self, documents: Quantised, block: int | None, processor: Processor = THIS_PROCESSOR) -> None:
        self._codes, self._block = Codes(documents.codes, processor), block
        self._bounds = kernels.bounds(documents.scales, documents.lengths, documents.errors)

    def pairs(self, queries: QuantisedQueries, steps: Floats, exact: Exact, k: int) -> list[ScoredPairs]:
        """Pairs that reach `steps`, among them the best `k` of those that do."""
        return list(self._blocks(queries, steps, exact, floors.begun(queries, steps, k)))

    def _blocks(
        self, queries: QuantisedQueries, steps: Floats, exact: Exact, best: BestScores
    ) -> Iterator[ScoredPairs]:
        documents, shares = len(self._bounds.scales), shared(len(queries), _QUERIES)
        size = min(documents, self._block or max(1024, TILE // max(1, len(queries)) // 1024 * 1024))
        memory = np.empty(len(queries) * size, np.int32)
        spaces = [kernels.space((share.stop - share.start) * size + 1) for share in shares]

        def look(share: slice, found: kernels.PairColumns) -> ScoredPairs:
            count = kernels.reaching(products[share], bounds, weights.of(share), here.start, found.rows, found.docs)
            found.rows[:count] += share.start
            return ScoredPairs.judged(exact, best, count, found)

        with mapping(len(shares)) as run:
            for start in range(0, documents, size):
                here = slice(start, min(start + size, documents))
                products = self._codes.products(queries.codes, here.start, here.stop, memory)
                bounds, weights = self._bounds.of(here), floors.weights(queries, steps)
                yield from run(look, shares, spaces)
                steps = floors.raised(queries, steps, best)
