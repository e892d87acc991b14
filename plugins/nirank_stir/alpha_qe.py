"""Search with vectors that were moved towards their nearest: alpha query expansion, and the same for documents."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix

from nirank.data import Candidates, Corpus, Floats, Queries
from nirank.errors import BadInput
from nirank.pipeline import own_documents
from nirank_stir.neighbours import VECTORS, mapped, nearest, pair_products, query_vectors, unit, write


class AlphaQE:
    """Exact search with queries, and documents, that are moved towards their nearest.

    Radenović, Tolias and Chum, Fine-tuning CNN Image Retrieval with No Human Annotation, TPAMI 2018. All vectors are
    made of length 1. The query q is searched, and once more as

        q' ~ q + sum over its `neighbours` nearest documents d of max(0, q . d)^alpha d

    with length 1; the document that is the query itself (it has its id) is not among them. With 0 `neighbours` queries
    stay as they are. Database augmentation moves each document in the same way, by its `database` nearest others,
    before anything is searched; 0 leaves documents as they are.

    Raises `BadInput` for settings below 0, for queries without vectors and for those of another dimension.
    """

    searches = "dense"

    def __init__(self, neighbours: int = 10, alpha: float = 3.0, database: int = 0) -> None:
        if neighbours < 0 or database < 0 or not 0 <= alpha < np.inf:
            raise BadInput(
                f"neighbours = {neighbours}, database = {database}, alpha = {alpha}: numbers from 0 are expected."
            )
        self.neighbours, self.alpha, self.database = neighbours, alpha, database
        self._vectors: Floats | None = None

    def __repr__(self) -> str:
        return f"AlphaQE(neighbours={self.neighbours}, alpha={self.alpha}, database={self.database})"

    @property
    def index_key(self) -> Mapping[str, object]:
        """The layout of the files, and how documents are moved."""
        moved = {"database": self.database, "alpha": self.alpha} if self.database else {}
        return {"index": "moved-vectors", "version": 1, **moved}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:
        """Encode the corpus into `folder`, and move its vectors."""
        vectors = write(corpus, folder, encode)
        if self.database:
            found = nearest(vectors, vectors, self.database + 1)
            np.save(folder / _MOVED, self._moved(vectors, _but(found, np.arange(len(vectors)), self.database), vectors))

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the vectors."""
        self._corpus = corpus
        self._vectors = mapped(folder, len(corpus), _MOVED if self.database else VECTORS)

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` documents nearest to each query, once it was moved; the scores are cosines."""
        vectors = self._opened()
        return nearest(self._wanted(queries, vectors), vectors, k)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The cosine of each pair, `[pairs]`: the number that `generate` gives it."""
        vectors = self._opened()
        return pair_products(self._wanted(queries, vectors), vectors, candidates)

    def _opened(self) -> Floats:
        if self._vectors is None:
            raise BadInput(f"{type(self).__name__} has no open index: search through a pipeline, or call open first.")
        return self._vectors

    def _wanted(self, queries: Queries, vectors: Floats) -> Floats:
        """The vectors of queries, moved."""
        wanted = query_vectors(queries, vectors.shape[1])
        if not self.neighbours or not len(queries):
            return wanted
        found = nearest(wanted, vectors, self.neighbours + 1)
        own = own_documents(queries, self._corpus)
        return self._moved(wanted, _but(found, own, self.neighbours), vectors)

    def _moved(self, vectors: Floats, found: Candidates, documents: Floats) -> Floats:
        """Each of the vectors plus documents in proportion to their scores in `found`; of length 1."""
        weights = np.maximum(found.scores, 0).astype(np.float64) ** self.alpha
        matrix = csr_matrix((weights, found.docs, found.offsets), (len(vectors), len(documents)))
        return unit(vectors + matrix @ documents.astype(np.float64))


_MOVED = "moved.npy"


def dba(neighbours: int = 10, alpha: float = 3.0) -> AlphaQE:
    """Database augmentation alone: each document is moved by its nearest others, queries stay (see `AlphaQE`)."""
    return AlphaQE(neighbours=0, alpha=alpha, database=neighbours)


def _but(found: Candidates, own: np.ndarray[Any, Any], k: int) -> Candidates:
    """The best `k` of each row without the document that is its own."""
    return found.where(found.docs != own[found.rows]).top(k)


def tiny() -> AlphaQE:
    """Two neighbours each."""
    return AlphaQE(neighbours=2, database=2)


def tiny_dba() -> AlphaQE:
    """Documents moved by two others."""
    return dba(neighbours=2)
