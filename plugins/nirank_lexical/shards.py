"""A shard of an inverted index: its own postings, worth what they are worth in the whole.

Beside the columns of the shard's own index stand, of each of its terms, the number, the frequency and the document
frequency that it has in the whole, and the totals of the whole. With these each posting has the impact that it has in
one index, to the bit. Queries come as the numbers of terms in the whole, counted with all words that the whole knows:
a shard that counted only those that it has itself would know a shorter query, which query likelihood shows.
"""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from nirank.data import offsets_of
from nirank.errors import DamagedFile
from nirank.kit import bounded
from nirank.kit.text import QueryTerms, Totals, Vocabulary
from nirank_lexical.postings import InvertedIndex

#: Of each term of the shard: its number, frequency and document frequency in the whole.
_NUMBERS, _FREQUENCIES, _DOCUMENT_FREQUENCIES = _COLUMNS = (
    "whole_numbers.npy",
    "whole_frequencies.npy",
    "whole_document_frequencies.npy",
)
_TOTALS = "whole.json"


@dataclass(frozen=True, eq=False)
class ShardIndex(InvertedIndex):
    """An inverted index whose frequencies are those of the whole that it is a shard of; its `numbers` are rising."""

    numbers: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))
    of_documents: NDArray[np.int64] = dataclasses.field(default_factory=lambda: np.empty(0, np.int64))

    @property
    def document_frequencies(self) -> NDArray[np.int64]:
        """The number of documents of the whole that each term occurs in, `[terms]`."""
        return self.of_documents

    def parse(self, asked: QueryTerms, first: int = 0) -> QueryTerms:  # noqa: ARG002 (as a `QueryParser`)
        """The queries with the numbers that terms have here; `tokens` stay those of the whole."""
        places = np.searchsorted(self.numbers, asked.terms)
        found = places < len(self.numbers)
        found[found] = self.numbers[places[found]] == asked.terms[found]
        sizes = np.bincount(asked.rows[found], minlength=len(asked))
        return QueryTerms(offsets_of(sizes), places[found], asked.weights[found], asked.tokens)


def share(folders: Sequence[Path], whole: Path) -> None:
    """Write into the folder of each shard what it must know of the others, and into `whole` the words of all."""
    indexes = [InvertedIndex.load(folder) for folder in folders]
    vocabulary, numbers = Vocabulary.merged([index.vocabulary for index in indexes])
    frequencies, documents = np.zeros((2, len(vocabulary)), np.int64)
    for index, own in zip(indexes, numbers, strict=True):
        frequencies[own] += index.frequencies
        documents[own] += index.document_frequencies
    totals = Totals.sum(Totals.of(index) for index in indexes)
    for folder, own in zip(folders, numbers, strict=True):
        for name, column in zip(_COLUMNS, (own, frequencies[own], documents[own]), strict=True):
            np.save(folder / name, column)
        (folder / _TOTALS).write_text(json.dumps(dataclasses.asdict(totals)), encoding="utf-8")
    vocabulary.save(whole)


def as_shard(index: InvertedIndex) -> ShardIndex | None:
    """An index as the shard that it is; None for one that is whole. Raises `DamagedFile` where columns do not fit."""
    folder = index.folder
    if not (folder / _TOTALS).exists():
        return None
    terms = len(index.vocabulary)
    numbers, frequencies, documents = (bounded.column(folder / name, np.int64, terms) for name in _COLUMNS)
    bounded.once(folder, [_NUMBERS], lambda: _check(folder, numbers))
    own = {field.name: getattr(index, field.name) for field in dataclasses.fields(InvertedIndex)}
    own |= {"frequencies": frequencies, "totals": _totals(folder / _TOTALS)}
    return ShardIndex(**own, numbers=numbers, of_documents=documents)


def _totals(path: Path) -> Totals:
    try:
        return Totals(**{name: int(value) for name, value in json.loads(path.read_text(encoding="utf-8")).items()})
    except (OSError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFile(f"cannot be read ({error}); build the index again.", path) from error


def _check(folder: Path, numbers: NDArray[np.int64]) -> None:
    if (np.diff(numbers) <= 0).any() or (len(numbers) and numbers[0] < 0):
        raise bounded.fault(folder / _NUMBERS, "its numbers do not rise")
