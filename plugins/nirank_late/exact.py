"""Exact late interaction: MaxSim of every query with every document."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Content, Corpus, Explanation, Floats, Queries, TokenVectors, Vectors, to_numpy
from nirank.errors import BadInput
from nirank.kit import Former
from nirank_late.explaining import by_tokens
from nirank_late.maxsim import Meetings, compare, tiled
from nirank_late.running_best import BestDocuments
from nirank_late.store import TokenStore, picked, widened

if TYPE_CHECKING:
    from nirank_late.kernels import QueryTiles

#: Documents whose tokens are in memory at once while pairs are scored.
_DOCUMENTS = 1024
#: Queries that are compared with a block of documents while it is in memory.
_QUERIES = 64


class MaxSimIndex:
    """The `k` documents of highest MaxSim, exactly, over vectors that are kept as float16 and mapped.

    `chunk` documents are encoded between two writes while the index is built: an interrupted build goes on from the
    last whole chunk. `block` tokens of documents are compared at once; memory is bounded by these, whatever the corpus.
    Equal documents have equal scores, to the bit, and rank by their ordinals. Threads are as many as torch may use.
    """

    searches = "tokens"
    prefixes = True
    separable = True
    resumes = True

    def __init__(self, chunk: int = 1024, block: int = 1 << 15) -> None:
        self.chunk, self.block = chunk, block
        self._store: TokenStore | None = None

    @property
    def index_key(self) -> dict[str, Any]:
        """The layout of the files; how they are searched does not matter to them."""
        return {"index": "tokens", "version": 1, "precision": "float16"}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[[Sequence[Content]], Vectors] | None = None) -> None:
        """Encode the corpus into `folder`, going on where an interrupted build of the same index stopped."""
        TokenStore.write(corpus, folder, encode, self.chunk, "maxsim")

    def update(
        self,
        corpus: Corpus,
        folder: Path,
        former: Former,
        encode: Callable[[Sequence[Content]], Vectors] | None = None,
    ) -> None:
        """The same from the index of an earlier state of the corpus: only what is new is encoded."""
        TokenStore.write(corpus, folder, encode, self.chunk, "maxsim", TokenStore.known(former))

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the vectors; raises `BadInput` where they are of another number of documents."""
        self._store = TokenStore.open(corpus, folder)

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` documents of highest MaxSim for each query; needs token vectors in `queries.vectors`.

        Raises `BadInput` for k below 0, and for vectors that are missing or of another dimension.
        """
        store = self._opened()
        vectors = token_vectors(queries, k, store.dim, "maxsim")
        parts = [vectors[start : start + _QUERIES] for start in range(0, len(vectors), _QUERIES)]
        return Candidates.stack([self._search(store, part, k) for part in parts])

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """MaxSim of each pair by the float16 vectors that are kept: the number that `generate` gives it, `[pairs]`.

        Raises `BadInput` as `generate` does, and for documents that the index does not have.
        """
        store = self._opened()
        vectors = token_vectors(queries, 0, store.dim, "maxsim")
        return scored(vectors, candidates, store.offsets, lambda places: widened(store.tokens[places]))

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by the tokens of the query, as the vectors that are kept have it."""
        store = self._opened()
        return explained(self, queries, candidates, store.offsets, lambda places: widened(store.tokens[places]))

    def _opened(self) -> TokenStore:
        if self._store is None:
            raise BadInput(f"{type(self).__name__} has no open index: search through a pipeline, or call open first.")
        return self._store

    def _search(self, store: TokenStore, queries: TokenVectors, k: int) -> Candidates:
        best, tiles = BestDocuments(len(queries), k), tiled(queries.values, queries.offsets)
        for documents in store.blocks(self.block):
            offsets, tokens = store.of(documents)
            scores = _every(tiles, queries.offsets, tokens, offsets)
            best.add(np.arange(documents.start, documents.stop), scores)
        return best.candidates()


def scored(
    queries: TokenVectors,
    candidates: Candidates,
    offsets: NDArray[np.int64],
    read: Callable[[NDArray[np.int64]], Floats],
) -> Floats:
    """MaxSim of each pair, `[pairs]`, over stored tokens, of which some documents' are in memory at a time.

    The tokens of document `d` are those from `offsets[d]` to `offsets[d + 1]`; `read` returns those at some places,
    float32 `[places, dim]`. Raises `BadInput` for documents that there are not.
    """
    least, last = candidates.extent
    if least < 0 or last >= len(offsets) - 1:
        raise BadInput(f"there is no document {least if least < 0 else last} in an index of {len(offsets) - 1}.")
    docs, columns = np.unique(candidates.docs, return_inverse=True)
    order = np.argsort(columns, kind="stable")  # document by document
    rows, columns, tiles = candidates.rows[order], columns[order], tiled(queries.values, queries.offsets)
    scores = np.empty(len(order), np.float32)
    for start in range(0, len(docs), _DOCUMENTS):
        own, places = picked(offsets, docs[start : start + _DOCUMENTS])
        here = slice(*np.searchsorted(columns, [start, start + _DOCUMENTS]).tolist())
        pairs = Meetings(queries.offsets, own, rows[here], columns[here] - start)
        scores[order[here]] = compare(tiles, read(places), pairs, np.empty(0, np.int32))
    return scores


def explained(
    index: Any,
    queries: Queries,
    candidates: Candidates,
    offsets: NDArray[np.int64],
    read: Callable[[NDArray[np.int64]], Floats],
) -> list[Explanation]:
    """The explanation of each pair by stored tokens, which are as in `scored`."""
    scores = index.score(queries, candidates).tolist()
    vectors = cast("TokenVectors", queries.vectors)
    read_so = zip(candidates.rows.tolist(), candidates.docs.tolist(), scores, strict=True)
    return [
        by_tokens("MaxSim", score, to_numpy(vectors[row]), read(np.arange(offsets[doc], offsets[doc + 1])))
        for row, doc, score in read_so
    ]


def token_vectors(queries: Queries, k: int, dim: int, name: str) -> TokenVectors:
    """The token vectors of queries as numpy has them. Raises `BadInput` for anything else, and for k below 0."""
    if k < 0:
        raise BadInput(f"k = {k}; it must be 0 or more.")
    vectors = queries.vectors
    if not isinstance(vectors, TokenVectors):
        raise BadInput(f"these queries have no token vectors: write `encoder >> {name}`.")
    values = to_numpy(vectors.values).astype(np.float32, copy=False)
    if values.shape[1] != dim:
        raise BadInput(
            f"query vectors have {values.shape[1]} dimensions, the index has {dim}: search with its own encoder."
        )
    if not np.isfinite(values).all():
        raise BadInput("some query vectors contain NaN or infinity: check the model that made them.")
    return TokenVectors(vectors.offsets, values)


def _every(tiles: QueryTiles, starts: NDArray[np.int64], tokens: Floats, offsets: NDArray[np.int64]) -> Floats:
    """MaxSim of all queries with all documents, `[queries, documents]`: document by document, while it is at hand.

    `starts` are the offsets of the queries' tokens, `offsets` those of the documents'.
    """
    queries, documents = len(starts) - 1, len(offsets) - 1
    rows, columns = np.tile(np.arange(queries), documents), np.repeat(np.arange(documents), queries)
    scores = compare(tiles, tokens, Meetings(starts, offsets, rows, columns), np.empty(0, np.int32))
    return scores.reshape(documents, queries).T
