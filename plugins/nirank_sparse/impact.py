"""An inverted index of learned weights, searched exactly: the dot product of the query with every document it meets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Candidates, Content, Corpus, Explanation, Floats, Ints, Queries, SparseVectors, Vectors
from nirank.errors import BadInput
from nirank.kit import Former, ragged_files
from nirank_sparse.postings import ImpactPostings


class ImpactIndex:
    """The `k` documents of highest dot product with a query's weights, exactly; only those that share a term with it.

    Weights are kept as float32 and mapped: by term, and once more by document, for an index of what the corpus becomes.
    A score is added up by rising term, in the same way in every batch, so that equal documents score alike, and rank by
    their ordinals. `chunk` documents are encoded between two writes while the index is built: an interrupted build goes
    on from the last whole chunk.
    """

    searches = "sparse"
    prefixes = True
    separable = True
    resumes = True

    def __init__(self, chunk: int = 1024) -> None:
        self.chunk = chunk
        self._postings: ImpactPostings | None = None
        self._written: SparseVectors | None = None

    @property
    def index_key(self) -> dict[str, Any]:
        """The layout of the files."""
        return {"index": "impacts", "version": 1, "precision": "float32"}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[[Sequence[Content]], Vectors] | None = None) -> None:
        """Encode the corpus, going on where an interrupted build of the same index stopped, and invert the weights."""
        self._write(corpus, folder, encode)

    def update(
        self,
        corpus: Corpus,
        folder: Path,
        former: Former,
        encode: Callable[[Sequence[Content]], Vectors] | None = None,
    ) -> None:
        """The same from the index of an earlier state of the corpus: only what is new is encoded."""
        self._write(corpus, folder, encode, former)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the postings; raises `BadInput` where they are of another number of documents."""
        postings = ImpactPostings.load(folder)
        if postings.documents != len(corpus):
            raise BadInput(
                f"has postings of {postings.documents} documents, but the corpus has {len(corpus)}: build it again.",
                folder,
            )
        self._postings, self._written = postings, _read(folder)

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` documents of highest score for each query; needs `SparseVectors` in `queries.vectors`.

        Raises `BadInput` for k below 0, and for vectors that are missing or of more terms than the index has.
        """
        postings, _ = self._opened()
        if k < 0:
            raise BadInput(f"k = {k}; it must be 0 or more.")
        return postings.search(_weights(queries), k)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The dot product of each pair, `[pairs]`: the number that `generate` gives it, 0 where no term is shared.

        Raises `BadInput` as `generate` does, and for documents that the index does not have.
        """
        postings, _ = self._opened()
        vectors, (least, last) = _weights(queries), candidates.extent
        if least < 0 or last >= postings.documents:
            raise BadInput(f"there is no document {least if least < 0 else last} in an index of {postings.documents}.")
        postings.check_size(vectors)
        docs, columns = np.unique(candidates.docs, return_inverse=True)
        return vectors.pair_products(self.vectors_of(docs), candidates.rows, columns)

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by the terms that query and document share, each by its number."""
        from nirank_sparse.explaining import by_terms

        scores = self.score(queries, candidates)
        return by_terms("impact", scores, _weights(queries)[candidates.rows], self.vectors_of(candidates.docs))

    def vectors_of(self, docs: Ints) -> SparseVectors:
        """The weights of some documents as the encoder made them; how many terms it knows is not written there."""
        postings, written = self._opened()
        return replace(written, size=len(postings.starts) - 1)[docs]

    def _opened(self) -> tuple[ImpactPostings, SparseVectors]:
        if self._postings is None or self._written is None:
            raise BadInput(f"{type(self).__name__} has no open index: search through a pipeline, or call open first.")
        return self._postings, self._written

    def _write(
        self,
        corpus: Corpus,
        folder: Path,
        encode: Callable[[Sequence[Content]], Vectors] | None,
        former: Former | None = None,
    ) -> None:
        if encode is None:
            raise BadInput("an index of sparse vectors is built with an encoder: write `encoder >> impact`.")
        ragged_files.write(corpus, folder, encode, _split, self.chunk, _known(former) if former else None)
        offsets, columns = ragged_files.read(folder)
        ImpactPostings.write(folder, offsets, columns["terms"], columns["weights"])


def tiny() -> ImpactIndex:
    """An index with small chunks, so that checks cross their borders."""
    return ImpactIndex(chunk=4)


def _known(former: Former) -> ragged_files.Known:
    """The weights of an index of an earlier state of the corpus."""
    return ragged_files.Known(_read(former.folder), former.ordinals)


def _read(folder: Path) -> SparseVectors:
    """The weights in a folder, document by document; how many terms a model has is not written there."""
    offsets, columns = ragged_files.read(folder, {"terms": np.int32, "weights": np.float32})
    return SparseVectors(offsets, columns["terms"], columns["weights"], 0)


def _weights(queries: Queries) -> SparseVectors:
    """The vectors of queries. Raises `BadInput` where they are not sparse."""
    if not isinstance(queries.vectors, SparseVectors):
        raise BadInput("these queries have no sparse vectors: write `encoder >> impact`.")
    return queries.vectors


def _split(vectors: SparseVectors) -> tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]:
    if not np.isfinite(vectors.weights).all():
        raise BadInput("some weights of documents are NaN or infinity: check the model that made them.")
    return vectors.lengths, {"terms": vectors.terms, "weights": vectors.weights}
