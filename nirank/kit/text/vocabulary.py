"""The terms of an index, found by hash without being turned into strings.

Terms are ordered by their CRC-32, so that a search in one mapped column of integers finds a term, and opening an index
of a million terms reads a few pages of it. Those of one CRC-32 go by their bytes: the order depends on nothing but the
terms, so that two vocabularies can be merged into the one that all their terms would have had.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nirank.data.offsets import offsets_of
from nirank.kit import bounded


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """`hashes` uint32 `[terms]` rising; term `i` is `text[offsets[i]:offsets[i + 1]]` in UTF-8.

    `offsets` are integers, on disk the smallest that hold them.
    """

    hashes: NDArray[np.uint32]
    offsets: NDArray[np.integer[Any]]
    text: NDArray[np.uint8]

    @classmethod
    def of(cls, terms: Iterable[str]) -> tuple[Vocabulary, NDArray[np.int64]]:
        """A vocabulary of distinct terms, and for each of its entries which of the given terms it is."""
        encoded = [_encode(term) for term in terms]
        hashes = np.fromiter(map(crc32, encoded), np.uint32, len(encoded))
        order = np.argsort(hashes, kind="stable")
        for run in _equal(hashes[order]):
            order[run] = sorted(order[run].tolist(), key=encoded.__getitem__)
        ordered = [encoded[place] for place in order.tolist()]
        offsets = offsets_of([len(term) for term in ordered])
        return cls(hashes[order], offsets, np.frombuffer(b"".join(ordered), np.uint8)), order

    @classmethod
    def merged(cls, vocabularies: Sequence[Vocabulary]) -> tuple[Vocabulary, list[NDArray[np.int64]]]:
        """The terms of all vocabularies, and for each of these the numbers that its terms have there.

        Texts are looked at only where hashes are equal.
        """
        side_by_side = cls._side_by_side(vocabularies)
        order = np.argsort(side_by_side.hashes, kind="stable")
        is_first = np.ones(len(order), bool)
        for run in _equal(side_by_side.hashes[order]):
            terms = sorted((bytes(side_by_side._at(place)), place) for place in order[run].tolist())
            order[run] = [place for _, place in terms]
            is_first[run][1:] = [one != two for (one, _), (two, _) in pairwise(terms)]
        numbers = np.empty(len(order), np.int64)
        numbers[order] = np.cumsum(is_first) - 1
        ends = np.cumsum([len(each) for each in vocabularies])
        return side_by_side.take(order[is_first]), np.split(numbers, ends[:-1])

    @classmethod
    def _side_by_side(cls, vocabularies: Sequence[Vocabulary]) -> Vocabulary:
        """One vocabulary after the other, in no order."""
        hashes = np.concatenate([each.hashes for each in vocabularies])
        text = np.concatenate([each.text for each in vocabularies])
        return cls(hashes, offsets_of(np.concatenate([np.diff(each.offsets) for each in vocabularies])), text)

    def take(self, terms: NDArray[np.int64]) -> Vocabulary:
        """Some of the terms, as they come."""
        begins, sizes = self.offsets[terms].astype(np.int64), np.diff(self.offsets)[terms]
        offsets = offsets_of(sizes)
        letters = np.repeat(begins - offsets[:-1], sizes) + np.arange(offsets[-1])
        return Vocabulary(self.hashes[terms], offsets, self.text[letters])

    @property
    def is_ordered(self) -> bool:
        """False where terms of one CRC-32 are not ordered by their bytes: older versions left them as they came."""
        terms = ([bytes(self._at(term)) for term in range(len(self))[run]] for run in _equal(self.hashes))
        return all(run == sorted(run) for run in terms)

    def __len__(self) -> int:
        return len(self.hashes)

    def __getitem__(self, term: int) -> str:
        return bytes(self._at(term)).decode("utf-8", "surrogatepass")

    def find(self, terms: Sequence[str]) -> NDArray[np.int64]:
        """The number of each term, -1 for those that are not here, `[len(terms)]`."""
        encoded = [_encode(term) for term in terms]
        hashes = np.fromiter(map(crc32, encoded), np.uint32, len(encoded))
        first = np.searchsorted(self.hashes, hashes, "left").tolist()
        beyond = np.searchsorted(self.hashes, hashes, "right").tolist()
        numbers = (self._among(*wanted) for wanted in zip(encoded, first, beyond, strict=True))
        return np.fromiter(numbers, np.int64, len(encoded))

    def _among(self, term: bytes, first: int, beyond: int) -> int:
        return next((number for number in range(first, beyond) if self._at(number) == term), -1)

    def _at(self, term: int) -> memoryview:
        return self.text[self.offsets[term] : self.offsets[term + 1]].data

    def save(self, folder: Path) -> None:
        """Write the columns into `folder`."""
        offsets = self.offsets.astype(np.min_scalar_type(self.offsets[-1]))
        columns: tuple[NDArray[Any], ...] = (self.hashes, offsets, self.text)
        for name, column in zip(_FILES, columns, strict=True):
            np.save(folder / f"{name}.npy", column)

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Map the columns that `save` wrote. Raises `DamagedFile` where they do not fit each other."""
        hashes, offsets, text = (folder / f"{name}.npy" for name in _FILES)
        columns = bounded.column(hashes, np.uint32, None)
        vocabulary = cls(
            columns,
            bounded.column(offsets, np.integer, len(columns) + 1),  # type: ignore[type-abstract]
            bounded.column(text, np.uint8, None),
        )
        bounded.once(
            folder,
            [offsets.name, text.name],
            lambda: bounded.rising(offsets, vocabulary.offsets, len(vocabulary.text)),
        )
        return vocabulary


_FILES = ("term_hashes", "term_offsets", "term_text")


def _equal(hashes: NDArray[np.uint32]) -> Iterator[slice]:
    """The places of two or more equal hashes, of hashes that do not fall."""
    heads = np.flatnonzero(np.concatenate([[True], hashes[1:] != hashes[:-1]])[: len(hashes)])
    ends = np.append(heads[1:], len(hashes))
    several = ends - heads > 1
    yield from map(slice, heads[several].tolist(), ends[several].tolist())


def _encode(term: str) -> bytes:
    return term.encode("utf-8", "surrogatepass")
