"""Reading a corpus for its terms: a few thousand documents at a time, each distinct word analysed once."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import pairwise

import numpy as np

from nirank.data.types import Corpus
from nirank.kit.text.analysis import Analyzer
from nirank.kit.text.contents import require_text

_DOCUMENTS_AT_ONCE = 4096
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
