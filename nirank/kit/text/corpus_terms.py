"""Reading a corpus for its terms: a few thousand documents at a time, each distinct word analysed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.types import Corpus
from nirank.kit.text import word_breaks
from nirank.kit.text.analysis import Analyzer
from nirank.kit.text.contents import require_text
from nirank.kit.text.words_at_once import words_of

#: The number of each word, one text after the other, and how many words each text has.
Numbered: TypeAlias = tuple[NDArray[np.int64], NDArray[Any]]

_DOCUMENTS_AT_ONCE = 4096
_CHARACTERS_WORTH_IT = 1 << 16  # with less, columns of words, and pyarrow, cost more than they save
_CHARACTERS_AT_ONCE = 1 << 22  # and a document; until they are counted, their words take over ten times as many bytes


class TermNumbers(dict[str, int]):
    """The number of the term that a word stands for, as they come up; -1 for a word that is left out."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.analyzer = analyzer
        self.terms: dict[str, int] = {}

    def __missing__(self, word: str) -> int:
        term = self.analyzer.term(word)
        number = self[word] = self.terms.setdefault(term, len(self.terms)) if term else -1
        return number

    def of(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The terms of some texts, in order: the number of each, and the place of its text, `[terms]` both."""
        simple = self._simple(texts)
        read = ((simple, self._at_once), (~simple, self._one_by_one))
        parts = [_terms_of(texts, np.flatnonzero(among), numbers) for among, numbers in read if among.any()]
        if len(parts) == 1:
            return parts[0]
        numbers, rows = map(np.concatenate, zip(*parts, strict=True)) if parts else np.zeros((2, 0), np.int64)
        order = np.argsort(rows, kind="stable")
        return numbers[order], rows[order]

    def _simple(self, texts: Sequence[str]) -> NDArray[np.bool_]:
        """A mask of the texts that are read at once."""
        if self.analyzer.words is not word_breaks.words or sum(map(len, texts)) < _CHARACTERS_WORTH_IT:
            return np.zeros(len(texts), bool)
        return np.fromiter(map(str.isascii, texts), bool, len(texts))

    def _at_once(self, texts: list[str]) -> Numbered:
        found = words_of(texts)
        if found is None:
            return self._one_by_one(texts)
        return np.array([*map(self.__getitem__, found.distinct)], np.int64)[found.places], found.lengths

    def _one_by_one(self, texts: list[str]) -> Numbered:
        found = [self.analyzer.words(text) for text in texts]
        lengths = np.array([len(words) for words in found])
        return np.fromiter(map(self.__getitem__, chain.from_iterable(found)), np.int64, lengths.sum()), lengths


def _terms_of(
    texts: Sequence[str], rows: NDArray[np.int64], read: Callable[[list[str]], Numbered]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The terms of the texts at `rows`, and the rows they are of; words that are left out are not among them."""
    numbers, lengths = read([texts[row] for row in rows.tolist()])
    kept = numbers >= 0
    return numbers[kept], np.repeat(rows, lengths)[kept]


def term_batches(corpus: Corpus, field: str | None = None) -> Iterator[tuple[Sequence[str], int]]:
    """The documents in batches whose words fit in memory, each with the number of its first document.

    `field` names the one that is read, of a corpus that has several. Raises `BadInput` where a content is not text.
    """
    for start in range(0, len(corpus), _DOCUMENTS_AT_ONCE):
        here = slice(start, start + _DOCUMENTS_AT_ONCE)
        contents = corpus[here] if field is None else _column(corpus, field, here)
        texts = require_text(contents, "document", start)
        ends = np.cumsum([len(text) for text in texts])
        cuts = np.flatnonzero(np.diff(ends // _CHARACTERS_AT_ONCE)) + 1
        for first, last in pairwise([0, *cuts.tolist(), len(texts)]):
            yield texts[first:last], start + first


def _column(corpus: Corpus, field: str, here: slice) -> Sequence[str]:
    from nirank.errors import BadInput

    column = getattr(corpus, "column", None)
    if column is None:
        raise BadInput(f"{corpus!r} has no fields, and so no field {field!r}.")
    texts: Sequence[str] = column(field, here)
    return texts
