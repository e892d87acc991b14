"""The terms of an index, found by hash without being turned into strings.

Terms are ordered by their CRC-32, so that a search in one mapped column of integers finds a term, and opening an index
of a million terms reads a few pages of it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from nirank.data.offsets import offsets_of
from nirank.kit import bounded


@dataclass(frozen=True, eq=False)
class Vocabulary:
    """`hashes` uint32 `[terms]` rising; term `i` is `text[offsets[i]:offsets[i + 1]]` in UTF-8."""

    hashes: NDArray[np.uint32]
    offsets: NDArray[np.int64]
    text: NDArray[np.uint8]

    @classmethod
    def of(cls, terms: Iterable[str]) -> tuple[Vocabulary, NDArray[np.int64]]:
        """A vocabulary of distinct terms, and for each of its entries which of the given terms it is."""
        encoded = [_encode(term) for term in terms]
        hashes = np.fromiter(map(crc32, encoded), np.uint32, len(encoded))
        order = np.argsort(hashes, kind="stable")
        ordered = [encoded[place] for place in order.tolist()]
        offsets = offsets_of([len(term) for term in ordered])
        return cls(hashes[order], offsets, np.frombuffer(b"".join(ordered), np.uint8)), order

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
        for name in _FILES:
            np.save(folder / f"{name}.npy", getattr(self, name.removeprefix("term_")))

    @classmethod
    def load(cls, folder: Path) -> Vocabulary:
        """Map the columns that `save` wrote. Raises `DamagedFile` where they do not fit each other."""
        hashes, offsets, text = (folder / f"{name}.npy" for name in _FILES)
        columns = bounded.column(hashes, np.uint32, None)
        vocabulary = cls(
            columns,
            bounded.column(offsets, np.int64, len(columns) + 1),
            bounded.column(text, np.uint8, None),
        )
        bounded.once(
            folder,
            [offsets.name, text.name],
            lambda: bounded.rising(offsets, vocabulary.offsets, len(vocabulary.text)),
        )
        return vocabulary


_FILES = ("term_hashes", "term_offsets", "term_text")


def _encode(term: str) -> bytes:
    return term.encode("utf-8", "surrogatepass")
