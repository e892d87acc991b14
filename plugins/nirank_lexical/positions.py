"""Where terms stand: an inverted index with the address of every occurrence, and counts of neighbours from it.

The terms of all documents, one document after the other, have addresses 0, 1, 2, ...; a document is a range of them.
Stop words have none, so that the words beside one are neighbours.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.data import Corpus, offsets_of
from nirank.kit import bounded, write_header
from nirank.kit.text import Analyzer, ForwardIndex
from nirank_lexical.packed import Part
from nirank_lexical.postings import InvertedIndex, SideColumns
from nirank_lexical.segments import ranges

if TYPE_CHECKING:
    from nirank_lexical.merging import Merging, Placed

#: The layout of the files; part of every index key.
LAYOUT = "nirank_lexical.positions/2"

_ADDRESSES = "addresses.npy"
_TOKENS_AT_ONCE = 1 << 22

Addresses = NDArray[np.unsignedinteger[Any]]


class Near(NamedTuple):
    """The documents in which two terms are near each other, rising, and how often: `ordered` and `unordered`, int64."""

    docs: NDArray[np.int64]
    ordered: NDArray[np.int64]
    unordered: NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Positions:
    """The addresses of all occurrences: those of term `t` are `addresses[begins[t]:begins[t + 1]]`, rising.

    `addresses` are the smallest unsigned integers that hold them, `[tokens]`; `begins` int64 `[terms + 1]`; the
    addresses of document `d` are from `offsets[d]` up to `offsets[d + 1]`, int64 `[documents + 1]`.
    """

    addresses: Addresses
    begins: NDArray[np.int64]
    offsets: NDArray[np.int64]

    @classmethod
    def load(cls, folder: Path, index: InvertedIndex) -> Positions:
        """Map what `write_positions` wrote, beside its inverted index.

        Raises `DamagedFile` where files are missing, cut short or do not fit each other.
        """
        path, begins = folder / _ADDRESSES, offsets_of(index.frequencies)
        addresses = bounded.column(path, np.unsignedinteger, int(begins[-1]))
        found = cls(addresses, begins, offsets_of(index.lengths.astype(np.int64)))
        bounded.once(folder, [path.name, "frequencies.npy", "lengths.npy"], lambda: found.check(folder))
        return found

    def check(self, folder: Path) -> None:
        """Raise `DamagedFile` where addresses lie outside of the documents, or not in the order of their terms."""
        bounded.rising(folder / "frequencies.npy", self.begins, len(self.addresses))
        bounded.rising(folder / "lengths.npy", self.offsets, len(self.addresses))
        bounded.within(folder / _ADDRESSES, self.addresses, len(self.addresses))
        bounded.rows_rising(folder / _ADDRESSES, self.addresses, self.begins)

    def near(self, first: int, second: int, window: int) -> Near:
        """Count in every document where two terms are near each other.

        `ordered` counts the places where `second` follows `first` at once. `unordered` counts those from where a window
        of `window` terms or less has both: each place of either where the other one comes next, near enough (Indri's
        `#1` and `#uwN`). Of one term twice these are the places that another of the same follows.
        """
        one, other = self._of(first), self._of(second)
        if first == second:
            return self._repeated(one, window)
        is_first = len(one) <= len(other)
        return self._around(*((one, other) if is_first else (other, one)), window, is_first)

    def phrase(self, terms: Sequence[int]) -> NDArray[np.int64]:
        """The documents in which some terms stand side by side in this order, rising."""
        rarest = min(range(len(terms)), key=lambda place: len(self._of(terms[place])))
        starts = self._of(terms[rarest]).astype(np.int64) - rarest
        starts = starts[starts >= 0]
        for place, term in enumerate(terms):
            own = self._of(term)
            wanted = starts + place
            starts = starts[_at(own, np.searchsorted(own, wanted.astype(own.dtype))) == wanted]
        docs = np.searchsorted(self.offsets, starts, "right") - 1
        return np.unique(docs[starts + len(terms) <= self.offsets[docs + 1]])

    def _of(self, term: int) -> Addresses:
        return self.addresses[self.begins[term] : self.begins[term + 1]]

    def _repeated(self, places: Addresses, window: int) -> Near:
        docs, _, end = self._documents(places)
        at = places.astype(np.int64)
        ahead = np.append(at[1:], _NOWHERE)
        unordered = ahead < np.minimum(end, at + window)
        return _per_document(docs, unordered & (ahead == at + 1), unordered)

    def _around(self, few: Addresses, many: Addresses, window: int, few_first: bool) -> Near:
        """Bisect for each place of the rarer term the places of the other around it."""
        docs, begin, end = self._documents(few)
        at = few.astype(np.int64)
        before = np.searchsorted(many, few)  # as many are before it; they are different terms, so none is at it
        ahead = _at(many, before)
        starts_here = ahead < np.minimum(end, at + window)
        earliest = np.maximum.reduce([begin, at - window + 1, np.append(-1, at[:-1]) + 1])
        ending_here = before - np.searchsorted(many, earliest.astype(many.dtype))  # for them this is the next one
        beside = starts_here & (ahead == at + 1) if few_first else (ending_here > 0) & (_at(many, before - 1) == at - 1)
        return _per_document(docs, beside, starts_here + ending_here)

    def _documents(self, places: Addresses) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
        """The document of each place, and where it begins and ends."""
        docs = np.searchsorted(self.offsets, places, "right") - 1
        return docs, self.offsets[docs], self.offsets[docs + 1]


_NOWHERE = np.iinfo(np.int64).max


def _at(places: Addresses, which: NDArray[np.int64]) -> NDArray[np.int64]:
    """Some of the places; beyond the last one, what is behind every place."""
    if not len(places):
        return np.full(len(which), _NOWHERE)
    found = places[np.clip(which, 0, len(places) - 1)].astype(np.int64)
    return np.where(which < len(places), found, _NOWHERE)


def _per_document(docs: NDArray[np.int64], ordered: NDArray[Any], unordered: NDArray[Any]) -> Near:
    """Counts at places, whose documents rise, added up for each document that has any."""
    found = np.flatnonzero(unordered)
    docs = docs[found]
    heads = np.flatnonzero(np.diff(docs, prepend=-1))
    if not len(heads):
        return Near(docs, docs, docs)
    sums = (np.add.reduceat(counts[found], heads, dtype=np.int64) for counts in (ordered, unordered))
    return Near(docs[heads], *sums)


def write_positions(corpus: Corpus, analyzer: Analyzer, folder: Path) -> None:
    """Index every document of `corpus`, with the places of its terms, into `folder`, which exists.

    In memory there are some millions of tokens at a time, the distinct words, and numbers for each document and term.
    Raises `BadInput` where a content is not text.
    """
    with tempfile.TemporaryDirectory(prefix="texts-", dir=folder) as apart:
        ForwardIndex.write(corpus, analyzer, Path(apart))
        texts = ForwardIndex.load(Path(apart))
        addresses = _invert(texts, folder / _ADDRESSES)
        rest = SideColumns(
            starts=offsets_of(texts.document_frequencies),
            lengths=texts.lengths.astype(np.int32),
            frequencies=np.asarray(texts.frequencies),
            vocabulary=texts.vocabulary,
        )
        InvertedIndex.write(folder, _parts(texts, addresses), rest)


def write_merged(merging: Merging, known: Sequence[Positions], folder: Path) -> None:
    """Write the addresses that all occurrences have in indexes that are merged; `known` are those in each of them."""
    offsets = offsets_of(merging.lengths)
    kind = np.min_scalar_type(offsets[-1])

    def read(part: int, terms: slice) -> list[NDArray[Any]]:
        return [_moved(merging.parts[part], known[part], terms, offsets).astype(kind)]

    with (folder / _ADDRESSES).open("wb") as file:
        write_header(file, (int(offsets[-1]),), kind)
        for (addresses,) in merging.merged(merging.frequencies, read):
            file.write(addresses.data)


def _moved(part: Placed, known: Positions, terms: slice, offsets: NDArray[np.int64]) -> NDArray[np.int64]:
    """The addresses of some terms in documents that stayed, which now begin at `offsets`."""
    docs = np.repeat(*part.index.of(terms))
    addresses = known.addresses[known.begins[terms.start] : known.begins[terms.stop]]
    moved = addresses.astype(np.int64) + (offsets[part.places] - known.offsets[:-1])[docs]
    return moved[part.stayed[docs]]


def _invert(texts: ForwardIndex, path: Path) -> Addresses:
    """Write the addresses of each term, term by term; tokens are read once, in order."""
    tokens = len(texts.terms)
    with path.open("wb") as file:
        kind = np.min_scalar_type(tokens)
        write_header(file, (tokens,), kind)
        file.truncate(file.tell() + tokens * kind.itemsize)
    if not tokens:
        return np.empty(0, kind)
    addresses, free = np.load(path, mmap_mode="r+"), offsets_of(texts.frequencies)[:-1]
    for start in range(0, tokens, _TOKENS_AT_ONCE):
        terms = texts.terms[start : start + _TOKENS_AT_ONCE]
        distinct, sizes = np.unique(terms, return_counts=True)
        addresses[ranges(free[distinct], sizes)] = start + np.argsort(terms, kind="stable")
        free[distinct] += sizes
    addresses.flush()
    return addresses


def _parts(texts: ForwardIndex, addresses: Addresses) -> Iterator[Part]:
    """The documents and counts of all terms, some terms at a time."""
    begins = offsets_of(texts.frequencies)
    cuts = np.searchsorted(begins, np.arange(0, begins[-1], _TOKENS_AT_ONCE), "right") - 1
    for first, last in pairwise(np.unique([*cuts, len(begins) - 1]).tolist()):
        docs = np.searchsorted(texts.offsets, addresses[begins[first] : begins[last]], "right") - 1
        terms = np.repeat(np.arange(last - first), texts.frequencies[first:last])
        heads = np.flatnonzero(np.diff(terms * len(texts) + docs, prepend=-1))
        yield docs[heads].astype(np.int32), np.diff(heads, append=len(docs))
