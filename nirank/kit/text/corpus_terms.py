"""Reading a corpus for its terms: a few thousand documents at a time, each distinct word analysed once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import chain, pairwise
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.offsets import offsets_of
from nirank.data.types import Corpus
from nirank.kit.text import word_breaks
from nirank.kit.text.analysis import Analyzer
from nirank.kit.text.contents import require_text
from nirank.kit.text.pieces import pieces

#: The numbers of words, one text after the other, and what tells which text they are of.
Numbered: TypeAlias = tuple[NDArray[np.int64], NDArray[np.int64]]

_DOCUMENTS_AT_ONCE = 4096
_CHARACTERS_AT_ONCE = 1 << 22  # and a document; until they are counted, their words take over ten times as many bytes


class TermNumbers(dict[str, int]):
    """The number of the term that a word stands for, as they come up; -1 for a word that is left out."""

    def __init__(self, analyzer: Analyzer) -> None:
        self.analyzer = analyzer
        self.terms: dict[str, int] = {}
        self._pieces = _PieceNumbers(self)

    def __missing__(self, word: str) -> int:
        number = self[word] = self.number(word)
        return number

    def number(self, word: str) -> int:
        """The same of a word that need not be remembered."""
        term = self.analyzer.term(word)
        return self.terms.setdefault(term, len(self.terms)) if term else -1

    def of(self, texts: Sequence[str]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The terms of some texts, in order: the number of each, and the place of its text, `[terms]` both."""
        by_pieces = self.analyzer.words is word_breaks.words
        simple = np.array([by_pieces and text.isascii() for text in texts], bool)
        parts = [
            _terms_of(texts, np.flatnonzero(among), read)
            for among, read in ((simple, self._pieces.of), (~simple, self._of_words))
            if among.any()
        ]
        if len(parts) == 1:
            return parts[0]
        numbers, rows = map(np.concatenate, zip(*parts, strict=True)) if parts else np.zeros((2, 0), np.int64)
        order = np.argsort(rows, kind="stable")
        return numbers[order], rows[order]

    def _of_words(self, texts: list[str]) -> Numbered:
        found = [self.analyzer.words(text) for text in texts]
        lengths = np.array([len(words) for words in found])
        return np.fromiter(map(self.__getitem__, chain.from_iterable(found)), np.int64, lengths.sum()), lengths


class _PieceNumbers(dict[str, int]):
    """The number of each piece of a text that is one word; below -1 for one that is none, or several."""

    def __init__(self, words: TermNumbers) -> None:
        self._words = words
        self._several: list[list[int]] = []

    def __missing__(self, piece: str) -> int:
        numbers = [self._words.number(word) for word in word_breaks.words(piece)]
        if len(numbers) != 1:
            self._several.append(numbers)
        self[piece] = number = numbers[0] if len(numbers) == 1 else -1 - len(self._several)
        return number

    def of(self, texts: list[str]) -> Numbered:
        """The number of each word of ASCII texts, and how many words each has."""
        found = pieces(texts)
        numbers = np.array([*map(self.__getitem__, found.distinct)], np.int64)[found.places]
        places = np.flatnonzero(numbers < -1)
        parts = [self._several[-2 - number] for number in numbers[places].tolist()]
        counts = np.ones(len(numbers), np.int64)
        counts[places] = [len(part) for part in parts]
        ends = offsets_of(counts)[np.cumsum(found.lengths)]
        numbers = np.repeat(numbers, counts)
        numbers[numbers < -1] = [*chain.from_iterable(parts)]
        return numbers, np.diff(ends, prepend=0)


def _terms_of(texts: Sequence[str], rows: NDArray[np.int64], read: Callable[[list[str]], Numbered]) -> Numbered:
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
