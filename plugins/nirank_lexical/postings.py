"""The inverted index: for each term the documents that contain it, and how often.

On disk it is a handful of `.npy` columns, mapped when opened. Nothing in it depends on how matches are weighted, so
every lexical ranker that analyses text alike shares one index.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias, TypedDict

import numpy as np
from numpy.typing import NDArray

from nirank.kit import bounded, write_header
from nirank.kit.text import Totals, Vocabulary

#: The layout of the files; part of every index key.
LAYOUT = "nirank_lexical/1"

#: The documents and the counts of some postings.
Part: TypeAlias = tuple[NDArray[np.int32], NDArray[np.unsignedinteger[Any]]]


class SideColumns(TypedDict):
    """The columns of `InvertedIndex` beside the postings themselves."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    frequencies: NDArray[np.int64]
    vocabulary: Vocabulary


@dataclass(frozen=True, eq=False)
class InvertedIndex:
    """An inverted index in memory or mapped from disk.

    The documents of term `t` are `docs[starts[t]:starts[t + 1]]` in rising order, with `counts` beside them.
    `starts` int64 `[terms + 1]`; `docs` int32 and `counts` (the smallest unsigned integers that hold them)
    `[postings]`; `lengths` int32 `[documents]`, in terms; `frequencies` int64 `[terms]`, how often each term occurs.
    `folder` is where it is mapped from. Of several fields together, `counts` are `[postings, fields]` and `lengths`
    `[documents, fields]`. Of a shard of a larger index (`nirank_lexical.shards`), `totals` are the numbers of that, and
    `statistics` a hash of all that impacts here depend on there.
    """

    starts: NDArray[np.int64]
    docs: NDArray[np.int32]
    counts: NDArray[np.unsignedinteger[Any]]
    lengths: NDArray[np.int32]
    frequencies: NDArray[np.int64]
    vocabulary: Vocabulary
    folder: Path | None = None
    totals: Totals | None = None
    statistics: str = ""

    @property
    def document_frequencies(self) -> NDArray[np.int64]:
        """The number of documents that each term occurs in, `[terms]`."""
        return np.diff(self.starts)

    def save(self, folder: Path) -> None:
        """Write the columns into `folder`, which exists."""
        rest = SideColumns(
            starts=self.starts, lengths=self.lengths, frequencies=self.frequencies, vocabulary=self.vocabulary
        )
        self.write(folder, [(self.docs, self.counts)], len(self.docs), self.counts.dtype, rest)

    @staticmethod
    def write(folder: Path, parts: Iterable[Part], postings: int, kind: np.dtype[Any], rest: SideColumns) -> None:
        """Write an index whose postings come in `parts`: `docs` and `counts` of `postings` postings in all.

        `kind` is the type of the counts, `rest` are the other columns.
        """
        with (folder / "docs.npy").open("wb") as docs, (folder / "counts.npy").open("wb") as counts:
            write_header(docs, (postings,), np.int32)
            write_header(counts, (postings, *rest["lengths"].shape[1:]), kind)
            for part_docs, part_counts in parts:
                docs.write(part_docs.data)
                counts.write(part_counts.data)
        np.save(folder / "starts.npy", rest["starts"])
        np.save(folder / "lengths.npy", rest["lengths"])
        np.save(folder / "frequencies.npy", rest["frequencies"])
        rest["vocabulary"].save(folder)

    @classmethod
    def load(cls, folder: Path, fields: int | None = None) -> InvertedIndex:
        """Map what `save` wrote; `fields` is how many there are together, if several may be.

        Raises `DamagedFile` where files are missing, cut short or do not fit each other.
        """
        of_fields = () if fields is None else (fields,)
        vocabulary = Vocabulary.load(folder)
        terms = len(vocabulary)
        docs = bounded.column(folder / "docs.npy", np.int32, None)
        index = cls(
            starts=bounded.column(folder / "starts.npy", np.int64, terms + 1),
            docs=docs,
            counts=bounded.column(folder / "counts.npy", np.unsignedinteger, len(docs), *of_fields),
            lengths=bounded.column(folder / "lengths.npy", np.int32, None, *of_fields),
            frequencies=bounded.column(folder / "frequencies.npy", np.int64, terms),
            vocabulary=vocabulary,
            folder=folder,
        )
        bounded.once(folder, [f"{name}.npy" for name in ("starts", "docs", "lengths")], index.check)
        return index

    def check(self) -> None:
        """Raise `DamagedFile` where postings lie outside of the columns, or of the documents."""
        docs = (self.folder or Path()) / "docs.npy"
        bounded.rising(docs.with_name("starts.npy"), self.starts, len(self.docs))
        bounded.within(docs, self.docs, len(self.lengths))
        bounded.rows_rising(docs, self.docs, self.starts)
