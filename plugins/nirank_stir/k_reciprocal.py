"""Re-ranking by k-reciprocal neighbours: images that share many neighbours are near."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_matrix

from nirank.data import Candidates, Corpus, Floats, Queries, pair_products
from nirank.errors import BadInput
from nirank.kit import bounded
from nirank_stir.neighbours import mapped, nearest, products, query_vectors, write

_LAST = "last.npy"
_PARTS = ("data", "indices", "indptr")
_QUERIES, _CELLS = 64, 1 << 22  # queries, and pairs of these with documents, held at a time


class KReciprocal:
    """Ranks all documents by a distance of two parts: that of vectors, and how few neighbours two images share.

    Zhong, Zheng, Cao and Li, Re-ranking Person Re-identification with k-reciprocal Encoding, CVPR 2017. With d the
    cosine distance of unit vectors and N(x, k) the k nearest of x, itself before them:

        R(x)  = those y of N(x, k1) that have x in N(y, k1)
        R*(x) = R(x), and for each y in R(x) its R of half k1, if more than two thirds of that are in R(x)
        V(x)  = exp(-d(x, y)) for y in R*(x), divided by their sum; then the mean of V over x and its k2 - 1 nearest
        score = -((1 - weight) J + weight d),   J = 1 - sum min(V(q), V(d)) / sum max(V(q), V(d))

    In the paper all queries are neighbours of one another; here a query is alone with the documents, and these are
    encoded once, without it, so that a score does not depend on the other queries. A query that is a document too
    meets itself there. V(q) has a place for q, where no document has anything. With `scaled`, d(x, y) is divided by
    that of the document farthest from x, in V and in the score, as in the authors' code.

    Raises `BadInput` for settings out of range, for queries without vectors and for those of another dimension.
    """

    searches = "dense"

    def __init__(self, k1: int = 20, k2: int = 6, weight: float = 0.3, scaled: bool = False) -> None:
        if not 1 <= k2 <= k1 + 1 or not 0 <= weight <= 1:
            raise BadInput(
                f"k1 = {k1}, k2 = {k2}, weight = {weight}: 1 <= k2 <= k1 + 1, and a share from 0 to 1, are expected."
            )
        self.k1, self.k2, self.weight, self.scaled = k1, k2, weight, scaled
        self._vectors: Floats | None = None

    def __repr__(self) -> str:
        return f"KReciprocal(k1={self.k1}, k2={self.k2}, weight={self.weight}, scaled={self.scaled})"

    @property
    def index_key(self) -> Mapping[str, object]:
        """The layout of the files, and what the encoding depends on."""
        own = {"scaled": True} if self.scaled else {}  # the key of an index without is that of before
        return {"index": "k-reciprocal", "version": 1, "k1": self.k1, "k2": self.k2, **own}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:
        """Encode the corpus into `folder`: its vectors, and what of its neighbours is reciprocal."""
        vectors = write(corpus, folder, encode)
        found = nearest(vectors, vectors, self.k1 + 1)
        near, half = _marks(found, len(vectors)), _reciprocal(found.top(round(self.k1 / 2) + 1), len(vectors))
        farthest = self._farthest(vectors, vectors)
        encoded = _encoded(_expanded(near.multiply(near.T).tocsr(), half), vectors, vectors, farthest)
        mean = _marks(found.top(self.k2), len(vectors)) @ encoded / min(self.k2, len(vectors))
        for name, matrix in (("half", half), ("encoded", encoded), ("mean", mean)):
            _save(matrix, folder / name)
        np.save(folder / _LAST, found.scores[found.offsets[1:] - 1])

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the vectors, and read the encoding. Raises `DamagedFile` where files do not fit each other."""
        size = len(corpus)
        self._vectors = mapped(folder, size)
        self._last = np.array(bounded.column(folder / _LAST, np.float32, size))
        self._half, self._encoding, mean = (_load(folder / name, size) for name in ("half", "encoded", "mean"))
        self._inverted = mean.tocsc()

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` documents of highest score for each query."""
        return Candidates.stack([_best(scores, k) for scores in self._scores(queries)])

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The score of each pair, `[pairs]`: the number that `generate` gives it."""
        scores, start = [np.empty(0, np.float32)], 0
        for part in self._scores(queries):
            pairs = candidates.take(slice(start, start + len(part)))
            scores.append(part[pairs.rows, pairs.docs].astype(np.float32))
            start += len(part)
        return np.concatenate(scores)

    def _scores(self, queries: Queries) -> Iterator[NDArray[np.float64]]:
        """The scores of all documents for some queries after the other, `[queries, documents]`."""
        if self._vectors is None:
            raise BadInput(f"{type(self).__name__} has no open index: search through a pipeline, or call open first.")
        every = query_vectors(queries, self._vectors.shape[1])
        size = max(1, min(_QUERIES, _CELLS // len(self._vectors)))
        for start in range(0, len(every), size):
            wanted = every[start : start + size]
            farthest = self._farthest(wanted, self._vectors)
            shared = self._shared(self._encode(wanted, self._vectors, farthest))
            jaccard = 1 - shared / (2 - shared)
            apart = (1 - products(wanted, self._vectors)) / farthest[:, None]
            yield -((1 - self.weight) * jaccard + self.weight * apart)

    def _farthest(self, wanted: Floats, vectors: Floats) -> Floats:
        """What distances from each of the vectors `wanted` are divided by, float32 `[wanted]`: 1 unless `scaled`."""
        if not self.scaled or not len(vectors):
            return np.ones(len(wanted), np.float32)
        size = max(1, _CELLS // len(vectors))
        parts = (wanted[start : start + size] for start in range(0, len(wanted), size))
        farthest = [1 - products(part, vectors).min(1) for part in parts]
        return np.maximum(np.concatenate([np.empty(0, np.float32), *farthest]), np.finfo(np.float32).tiny)

    def _encode(self, wanted: Floats, vectors: Floats, farthest: Floats) -> csr_matrix:
        """V of queries without the place of the query itself, `[queries, documents]`."""
        found = nearest(wanted, vectors, self.k1)
        reciprocal = found.where(found.scores >= self._last[found.docs])
        sets = _expanded(_marks(reciprocal, len(vectors)), self._half)
        encoded = _encoded(sets, wanted, vectors, farthest, itself=1)
        near = found.top(self.k2 - 1)
        together = encoded + _marks(near, len(vectors)) @ self._encoding
        return csr_matrix(together.multiply(1 / (1 + near.lengths[:, None])))

    def _shared(self, encoded: csr_matrix) -> NDArray[np.float64]:
        """The sum of the smaller of both values over all columns, `[queries, documents]`; by inverted lists."""
        starts, inverted = self._inverted.indptr, self._inverted
        rows = np.repeat(np.arange(encoded.shape[0]), np.diff(encoded.indptr))
        lengths = np.diff(starts)[encoded.indices]
        ends = np.cumsum(lengths)
        at = np.arange(ends[-1] if len(ends) else 0) + np.repeat(starts[encoded.indices] - (ends - lengths), lengths)
        places = np.repeat(rows, lengths) * encoded.shape[1] + inverted.indices[at]
        smaller = np.minimum(np.repeat(encoded.data, lengths), inverted.data[at])
        return np.bincount(places, smaller, encoded.shape[0] * encoded.shape[1]).reshape(encoded.shape)


def _best(scores: NDArray[np.float64], k: int) -> Candidates:
    """The best `k` of each row of a matrix."""
    docs = np.broadcast_to(np.arange(scores.shape[1]), scores.shape)
    return Candidates.from_matrix(docs, scores, np.ones(scores.shape, bool)).top(k)


def _marks(found: Candidates, documents: int) -> csr_matrix:
    """1 where a document was found, `[queries, documents]`."""
    return csr_matrix((np.ones(found.pairs), found.docs, found.offsets), (len(found), documents))


def _reciprocal(found: Candidates, documents: int) -> csr_matrix:
    """1 where two documents were found for each other."""
    marks = _marks(found, documents)
    return marks.multiply(marks.T).tocsr()


def _expanded(sets: csr_matrix, half: csr_matrix) -> csr_matrix:
    """R* from R: with the half sets of those members whose half set is more than two thirds inside."""
    inside = sets.multiply(sets @ half.T).tocsr()
    sizes = np.asarray(half.sum(1)).ravel()
    inside.data = (inside.data > 2 / 3 * sizes[inside.indices]).astype(np.float64)
    return (sets + inside @ half).tocsr()


def _encoded(sets: csr_matrix, wanted: Floats, vectors: Floats, farthest: Floats, itself: float = 0) -> csr_matrix:
    """exp(-d / farthest) of the members of each set, divided by their sum and that of what is no document, `itself`."""
    sets.eliminate_zeros()
    sets.sort_indices()
    rows = np.repeat(np.arange(sets.shape[0]), np.diff(sets.indptr))
    values = np.exp((pair_products(wanted, vectors, rows, sets.indices).astype(np.float64) - 1) / farthest[rows])
    sums = itself + np.bincount(rows, values, sets.shape[0])
    return csr_matrix((values / sums[rows], sets.indices, sets.indptr), sets.shape)


def _save(matrix: csr_matrix, stem: Path) -> None:
    for part in _PARTS:
        np.save(stem.with_name(f"{stem.name}-{part}.npy"), getattr(matrix, part))


def _load(stem: Path, size: int) -> csr_matrix:
    data, indices, starts = (stem.with_name(f"{stem.name}-{part}.npy") for part in _PARTS)
    columns = bounded.column(indices, np.signedinteger, None)
    values = bounded.column(data, np.float64, len(columns))
    offsets = bounded.column(starts, np.signedinteger, size + 1)
    bounded.rising(starts, offsets, len(columns))
    bounded.within(indices, columns, size)
    return csr_matrix((np.array(values), np.array(columns), np.array(offsets)), (size, size))


def tiny() -> KReciprocal:
    """Of four neighbours."""
    return KReciprocal(k1=4, k2=2)
