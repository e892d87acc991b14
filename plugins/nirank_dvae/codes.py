"""An index of codes: a byte or two a position, searched exactly by the tables of queries."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import (
    Candidates,
    Codes,
    Content,
    Corpus,
    Floats,
    Ints,
    Queries,
    Vectors,
    as_codes,
    as_tables,
    from_sort_keys,
    looked_up,
    sort_keys,
)
from nirank.errors import BadInput
from nirank.kit import Former, ragged_files

Encode = Callable[[Sequence[Content]], Vectors]

_CODES = "codes"
#: Documents that queries are compared with at once, and queries.
_DOCUMENTS, _QUERIES = 1 << 16, 64


class CodesIndex:
    """The `k` documents of the highest sum of look-ups, exactly: `sum_i table[i, code_i of the document]`.

    Where tables are `log q(code | query)`, that is how probable the document's codes are of the query. Jégou et al.,
    Product Quantization for Nearest Neighbor Search, TPAMI 2011, call it asymmetric: documents are codes, and the
    query is not. An index has as many bytes a document as there are positions (twice as many for more than 256 codes),
    and 4 for their number. A sum is made in float64 and rounded once: equal codes have equal scores, and rank by their
    ordinals.

    `chunk` documents are encoded between two writes while the index is built: an interrupted build goes on from the
    last whole chunk.
    """

    searches = "codes"
    prefixes = True
    resumes = True

    def __init__(self, chunk: int = 1024) -> None:
        self.chunk = chunk
        self._codes: Codes | None = None
        self._largest = 0
        self._allowed: NDArray[np.int64] | None = None

    @property
    def index_key(self) -> dict[str, Any]:
        """The layout of the files."""
        return {"index": _CODES, "version": 1}

    def build(self, corpus: Corpus, folder: Path, encode: Encode | None = None) -> None:
        """Encode the corpus into `folder`, going on where an interrupted build of the same index stopped."""
        self._write(corpus, folder, encode)

    def update(self, corpus: Corpus, folder: Path, former: Former, encode: Encode | None = None) -> None:
        """The same from the index of an earlier state of the corpus: only what is new is encoded."""
        self._write(corpus, folder, encode, ragged_files.Known(_read(former.folder), former.ordinals))

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Map the codes; raises `BadInput` where they are of another number of documents."""
        codes = _read(folder)
        if len(codes) != len(corpus):
            raise BadInput(
                f"has codes of {len(codes)} documents, but the corpus has {len(corpus)}: build it again.", folder
            )
        self.search_in(codes)

    def search_in(self, codes: Codes) -> None:
        """Search codes in memory, uint8 or uint16 `[documents, positions]`."""
        blocks = range(0, len(codes), _DOCUMENTS)
        self._largest = max((int(codes[start : start + _DOCUMENTS].max(initial=0)) for start in blocks), default=0)
        self._codes = as_codes(codes)

    def within(self, allowed: NDArray[np.bool_]) -> CodesIndex:
        """The same search, among the documents that a mask `[documents]` allows."""
        documents = len(self._opened())
        if allowed.dtype != bool or allowed.shape != (documents,):
            raise BadInput(f"the mask has the shape {allowed.shape}; {documents}, one entry a document, is expected.")
        copied, before = copy.copy(self), self._allowed
        copied._allowed = np.flatnonzero(allowed) if before is None else before[allowed[before]]
        return copied

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The `k` documents of highest score for each query; needs tables in `queries.vectors`.

        Raises `BadInput` for k below 0, and for tables that are missing, not finite or of other positions.
        """
        if k < 0:
            raise BadInput(f"k = {k}; it must be 0 or more.")
        tables = self._tables(queries)
        starts = range(0, len(tables), _QUERIES)
        parts = [self._search(tables[start : start + _QUERIES], k) for start in starts]
        return Candidates.stack(parts) if parts else Candidates.empty(0)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The sum of look-ups of each pair, `[pairs]`: the number that `generate` gives it. Raises as that does."""
        codes, tables = self._opened(), self._tables(queries)
        least, last = candidates.extent
        if least < 0 or last >= len(codes):
            raise BadInput(f"there is no document {least if least < 0 else last} in an index of {len(codes)}.")
        return looked_up(tables, codes, candidates.rows, candidates.docs)

    def vectors_of(self, docs: Ints) -> Codes:
        """The codes of some documents as the encoder made them, `[docs, positions]`."""
        return self._opened()[docs]

    def _opened(self) -> Codes:
        if self._codes is None:
            raise BadInput(f"{type(self).__name__} has no open index: search through a pipeline, or call open first.")
        return self._codes

    def _tables(self, queries: Queries) -> Floats:
        if queries.vectors is None:
            raise BadInput("these queries have no tables of codes: write `encoder >> codes`.")
        return as_tables(queries.vectors, self._opened().shape[1], self._largest)

    def _search(self, tables: Floats, k: int) -> Candidates:
        """The best `k` of every block of documents, and of these the best."""
        from nirank_dvae.lookups import every_sum

        best = np.empty((len(tables), 0), np.uint64)
        for docs in self._blocks():
            scores = every_sum(tables, self._opened()[docs])
            keys = sort_keys(np.tile(docs, len(tables)), scores.ravel()).reshape(scores.shape)
            best = _least(np.concatenate([best, keys], axis=1), k)
        found, scores = from_sort_keys(np.sort(best, axis=1).ravel())
        return Candidates(best.shape[1] * np.arange(len(tables) + 1), found.astype(np.int64), scores)

    def _blocks(self) -> list[NDArray[np.int64]]:
        docs = np.arange(len(self._opened())) if self._allowed is None else self._allowed
        return [docs[start : start + _DOCUMENTS] for start in range(0, len(docs), _DOCUMENTS)]

    def _write(
        self, corpus: Corpus, folder: Path, encode: Encode | None, known: ragged_files.Known | None = None
    ) -> None:
        if encode is None:
            raise BadInput("an index of codes is built with an encoder: write `encoder >> codes`.")
        ragged_files.write(corpus, folder, encode, _split, self.chunk, known)


def tiny() -> CodesIndex:
    """An index with small chunks, so that checks cross their borders."""
    return CodesIndex(chunk=4)


def _split(vectors: Any) -> tuple[NDArray[np.int64], Mapping[str, NDArray[Any]]]:
    codes = as_codes(vectors)
    return np.ones(len(codes), np.int64), {_CODES: codes}


def _read(folder: Path) -> Codes:
    """The codes in a folder, mapped. Raises `BadInput` where there is not one row a document."""
    offsets, columns = ragged_files.read(folder)
    if columns.keys() != {_CODES} or not (np.diff(offsets) == 1).all():
        raise BadInput("does not hold one row of codes for each document: build the index again.", folder)
    return as_codes(columns[_CODES])


def _least(keys: NDArray[np.uint64], k: int) -> NDArray[np.uint64]:
    """The `k` least keys of each row, in any order."""
    if k >= keys.shape[1]:
        return keys
    return np.partition(keys, k - 1, axis=1)[:, :k] if k else keys[:, :0]
