"""The inverted index: for each term the documents that contain it, and how often.

On disk it is a handful of `.npy` columns, mapped when opened. Nothing in it depends on how matches are weighted, so
every lexical ranker that analyses text alike shares one index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Corpus
from nirank.errors import BadInput, StaleIndex
from nirank_lexical.analysis import Analyzer
from nirank_lexical.vocabulary import Vocabulary
from nirank_lexical.words import words

#: The layout of the files; part of every index key.
LAYOUT = "nirank_lexical/1"

_COLUMNS = ("starts", "docs", "counts", "lengths", "frequencies")
_DOCUMENTS_AT_ONCE = 4096


@dataclass(frozen=True, eq=False)
class Postings:
    """An inverted index in memory or mapped from disk.

    The documents of term `t` are `docs[starts[t]:starts[t + 1]]` in rising order, with `counts` beside them.
    `starts` int64 `[terms + 1]`; `docs` int32 and `counts` (the smallest unsigned integers that hold them)
    `[postings]`; `lengths` int32 `[documents]`, in terms; `frequencies` int64 `[terms]`, how often each term occurs.
    """

    starts: NDArray[np.int64]
    docs: NDArray[np.int32]
    counts: NDArray[np.unsignedinteger[Any]]
    lengths: NDArray[np.int32]
    frequencies: NDArray[np.int64]
    vocabulary: Vocabulary

    @property
    def document_frequencies(self) -> NDArray[np.int64]:
        """In how many documents each term occurs, `[terms]`."""
        return np.diff(self.starts)

    def save(self, folder: Path) -> None:
        """Write the columns into `folder`, which exists."""
        for name in _COLUMNS:
            np.save(folder / f"{name}.npy", getattr(self, name))
        self.vocabulary.save(folder)

    @classmethod
    def load(cls, folder: Path) -> Postings:
        """Map what `save` wrote. Raises `StaleIndex` where files are missing or cut short."""
        try:
            columns = {name: np.load(folder / f"{name}.npy", mmap_mode="r").view(np.ndarray) for name in _COLUMNS}
            return cls(vocabulary=Vocabulary.load(folder), **columns)
        except (OSError, ValueError, EOFError) as error:
            raise StaleIndex(f"The lexical index in {folder} is incomplete ({error}); build it again.") from error


def invert(corpus: Corpus, analyzer: Analyzer) -> Postings:
    """Index every document of `corpus`. Raises `BadInput` where a content is not text."""
    building = _Building(analyzer)
    for start in range(0, len(corpus), _DOCUMENTS_AT_ONCE):
        building.add(corpus[start : start + _DOCUMENTS_AT_ONCE])
    return building.finish()


class _TermNumbers(dict[str, int]):
    """The number of the term that a word stands for; each distinct word is analysed once."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.analyzer = analyzer
        self.terms: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        term = self.analyzer.term(word)
        number = self[word] = self.terms.setdefault(term, len(self.terms)) if term else -1
        return number


@dataclass
class _Building:
    """Postings of a few thousand documents at a time, each sorted by term and then document."""

    analyzer: Analyzer
    lengths: list[NDArray[np.int32]] = field(default_factory=list)
    batches: list[tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.int32]]] = field(default_factory=list)
    documents: int = 0

    def __post_init__(self) -> None:
        self.numbers = _TermNumbers(self.analyzer)

    def add(self, texts: Sequence[str]) -> None:
        require_text(texts, "document", self.documents)
        found = [words(text) for text in texts]
        terms = np.fromiter(map(self.numbers.__getitem__, chain.from_iterable(found)), np.int64)
        rows = np.repeat(np.arange(len(texts)), [len(each) for each in found])[terms >= 0]
        pairs, counts = _counted(terms[terms >= 0] * len(texts) + rows)
        numbers, within = np.divmod(pairs, len(texts))
        self.batches.append((numbers, (within + self.documents).astype(np.int32), counts.astype(np.int32)))
        self.lengths.append(np.bincount(rows, minlength=len(texts)).astype(np.int32))
        self.documents += len(texts)

    def finish(self) -> Postings:
        vocabulary, order = Vocabulary.of(self.numbers.terms)
        place = np.empty(len(order), np.int64)
        place[order] = np.arange(len(order))
        self.batches = [(place[terms], docs, counts) for terms, docs, counts in self.batches]
        starts = np.concatenate([[0], np.cumsum(self._totals(len(order)), dtype=np.int64)])
        docs, counts = self._merged(starts)
        frequencies = np.add.reduceat(counts, starts[:-1], dtype=np.int64) if len(order) else np.empty(0, np.int64)
        lengths = np.concatenate([*self.lengths, np.empty(0, np.int32)])
        smallest = counts.astype(np.min_scalar_type(counts.max(initial=0)))
        return Postings(starts, docs, smallest, lengths, frequencies, vocabulary)

    def _totals(self, terms: int) -> NDArray[np.int64]:
        """In how many documents each term occurs."""
        totals = np.zeros(terms, np.int64)
        for numbers, _, _ in self.batches:
            totals += np.bincount(numbers, minlength=terms)
        return totals

    def _merged(self, starts: NDArray[np.int64]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
        """All batches, by term and document: each batch goes behind the ones before it, so nothing is sorted again."""
        docs, counts = np.empty((2, starts[-1]), np.int32)
        free = starts[:-1].copy()
        for numbers, batch_docs, batch_counts in self.batches:
            heads = np.flatnonzero(np.diff(numbers, prepend=-1))
            sizes = np.diff(heads, append=len(numbers))
            places = np.repeat(free[numbers[heads]] - heads, sizes) + np.arange(len(numbers))
            docs[places], counts[places] = batch_docs, batch_counts
            free[numbers[heads]] += sizes
        return docs, counts


def _counted(keys: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct keys in rising order and how often each occurs."""
    keys.sort()
    heads = np.flatnonzero(np.diff(keys, prepend=-1))
    return keys[heads], np.diff(heads, append=len(keys))


def require_text(contents: Sequence[object], what: str, first: int = 0) -> None:
    """Raise `BadInput` for the first of `contents` that is not a string."""
    for number, content in enumerate(contents, first):
        if not isinstance(content, str):
            raise BadInput(f"Lexical search reads text, but {what} {number} is of type {type(content).__name__}.")
