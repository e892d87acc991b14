"""The inverted index: for each term the documents that contain it, and how often.

On disk it is a handful of `.npy` columns, mapped when opened, and the postings in few bits (`nirank_lexical.packed`).
Nothing in it depends on how matches are weighted, so every lexical ranker that analyses text alike shares one index.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple, TypedDict

import numpy as np
from numpy.typing import NDArray

from nirank.kit import bounded
from nirank.kit.text import Totals, Vocabulary
from nirank_lexical.packed import PackedPostings, Part, Places, write_postings

#: The layout of the files; part of every index key.
LAYOUT = "nirank_lexical/2"

#: Postings that are unpacked at once, of an index that is read from end to end; of a term they are unpacked together.
_POSTINGS_AT_ONCE = 1 << 22


class SideColumns(TypedDict):
    """The columns of `InvertedIndex` beside the postings themselves."""

    starts: NDArray[np.int64]
    lengths: NDArray[np.int32]
    frequencies: NDArray[np.int64]
    vocabulary: Vocabulary


class Some(NamedTuple):
    """The postings of the terms from `first` up to `last`: documents and counts, by term and by document."""

    first: int
    last: int
    docs: NDArray[np.int32]
    counts: NDArray[np.integer[Any]]


@dataclass(frozen=True, eq=False)
class InvertedIndex:
    """An inverted index whose postings are mapped from disk.

    Term `t` has the postings from `starts[t]` up to `starts[t + 1]`, by rising documents. `starts` int64 `[terms + 1]`;
    `lengths` int32 `[documents]`, in terms; `frequencies` int64 `[terms]`, how often each term occurs. Of several
    fields together, counts are `[postings, fields]` and `lengths` `[documents, fields]`. Of a shard of a larger index
    (`nirank_lexical.shards`), `totals` are the numbers of that.
    """

    folder: Path
    starts: NDArray[np.int64]
    packed: PackedPostings
    lengths: NDArray[np.int32]
    frequencies: NDArray[np.int64]
    vocabulary: Vocabulary
    totals: Totals | None = None

    @property
    def document_frequencies(self) -> NDArray[np.int64]:
        """The number of documents that each term occurs in, `[terms]`."""
        return self.packed.places.sizes

    def of(self, terms: slice) -> Part:
        """Unpack the postings of some terms that follow one another: documents int32 and counts int32.

        Raises `DamagedFile` where they cannot be those of documents.
        """
        first, last, _ = terms.indices(len(self.vocabulary))
        return self.packed.of(first, last)

    def parts(self, postings: int | None = None) -> Iterator[Some]:
        """All postings, of some terms at a time that have about so many."""
        ends = self.starts[1:]
        cuts = np.searchsorted(ends, np.arange(0, self.starts[-1], postings or _POSTINGS_AT_ONCE), "right")
        for first, last in pairwise(np.unique([*cuts, len(ends)]).tolist()):
            yield Some(first, last, *self.packed.of(first, last))

    @staticmethod
    def write(folder: Path, parts: Iterable[Part], rest: SideColumns) -> None:
        """Write an index whose postings come in `parts`, by term and by document; `rest` are the other columns."""
        starts, frequencies, lengths = rest["starts"], rest["frequencies"], rest["lengths"]
        write_postings(folder, parts, Places(starts, frequencies, len(lengths), *lengths.shape[1:]))
        for name, column in (("starts", starts), ("frequencies", frequencies), ("lengths", lengths)):
            np.save(folder / f"{name}.npy", column.astype(np.min_scalar_type(column.max(initial=0))))
        rest["vocabulary"].save(folder)

    @classmethod
    def load(cls, folder: Path, fields: int | None = None) -> InvertedIndex:
        """Map what `write` wrote; `fields` is how many there are together, if several may be.

        Raises `DamagedFile` where files are missing, cut short or do not fit each other.
        """
        vocabulary = Vocabulary.load(folder)
        terms, of_fields = len(vocabulary), () if fields is None else (fields,)
        starts = bounded.column(folder / "starts.npy", np.unsignedinteger, terms + 1).astype(np.int64)
        frequencies = bounded.column(folder / "frequencies.npy", np.unsignedinteger, terms).astype(np.int64)
        lengths = bounded.column(folder / "lengths.npy", np.unsignedinteger, None, *of_fields).astype(np.int32)
        checked = [f"{name}.npy" for name in ("starts", "frequencies", "lengths")]
        bounded.once(folder, checked, lambda: _check(folder, starts, frequencies, lengths))
        packed = PackedPostings(folder, Places(starts, frequencies, len(lengths), fields))
        return cls(folder, starts, packed, lengths, frequencies, vocabulary)


def _check(folder: Path, starts: NDArray[np.int64], frequencies: NDArray[np.int64], lengths: NDArray[np.int32]) -> None:
    """Raise `DamagedFile` where terms have postings or occurrences that there cannot be."""
    bounded.within(folder / "lengths.npy", lengths, np.iinfo(np.int32).max)
    bounded.rising(folder / "starts.npy", starts, int(starts[-1]))
    bounded.within(folder / "starts.npy", np.diff(starts), len(lengths) + 1)
    bounded.within(folder / "frequencies.npy", frequencies, int(lengths.sum(dtype=np.int64)) + 1)
