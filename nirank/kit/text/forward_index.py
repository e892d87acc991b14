"""The terms of each document, in order: what phrases, windows and the vectors of words are counted from.

On disk it is a handful of `.npy` columns, mapped when opened. Terms are numbered as in the vocabulary, which is the
same that an inverted index of the same texts has.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from nirank.data.offsets import offsets_of
from nirank.data.types import Content, Corpus, Ints
from nirank.errors import DamagedFile
from nirank.files import small_text, write_header
from nirank.kit import bounded
from nirank.kit.text.analysis import Analyzer
from nirank.kit.text.contents import require_text
from nirank.kit.text.corpus_terms import TermNumbers, term_batches
from nirank.kit.text.vocabulary import Vocabulary

#: The layout of the files; part of every index key.
LAYOUT = "nirank.kit.text.forward/1"

_TOKENS_AT_ONCE = 1 << 22
_ANALYSIS = "analysis.json"


def index_key(analyzer: Analyzer, field: str | None = None) -> dict[str, Any]:
    """The values that the files of a forward index depend on, besides the corpus."""
    return {"index": "terms", "layout": LAYOUT, "field": field, **analyzer.settings}


@dataclass(frozen=True, eq=False)
class ForwardIndex:
    """The terms of documents: those of document `d` are `terms[offsets[d]:offsets[d + 1]]`, in its order.

    `offsets` int64 `[documents + 1]`, `terms` int32 `[tokens]`; `frequencies` int64 `[terms]`, how often each term
    occurs, and `document_frequencies` int64 `[terms]`, in how many documents.
    """

    offsets: NDArray[np.int64]
    terms: NDArray[np.int32]
    frequencies: NDArray[np.int64]
    document_frequencies: NDArray[np.int64]
    vocabulary: Vocabulary
    analyzer: Analyzer

    def __len__(self) -> int:
        return len(self.offsets) - 1

    @property
    def lengths(self) -> NDArray[np.int64]:
        """The terms of each document, `[documents]`."""
        return np.diff(self.offsets)

    def of(self, docs: Ints) -> tuple[NDArray[np.int64], NDArray[np.int32]]:
        """The terms of some documents, as offsets `[docs + 1]` and terms.

        A document beyond the corpus has none.
        """
        known = np.minimum(docs, len(self) - 1)
        begins = self.offsets[known]
        sizes = np.where(docs < len(self), self.offsets[known + 1] - begins, 0)
        offsets = offsets_of(sizes)
        return offsets, self.terms[np.repeat(begins - offsets[:-1], sizes) + np.arange(offsets[-1])]

    def numbers(self, texts: Sequence[Content]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The terms of some texts in order, as offsets `[texts + 1]` and numbers; -1 for a term that is not here."""
        found = [self.analyzer(text) for text in require_text(texts, "query")]
        offsets = offsets_of([*map(len, found)])
        return offsets, self.vocabulary.find([*chain.from_iterable(found)])

    @staticmethod
    def write(corpus: Corpus, analyzer: Analyzer, folder: Path, field: str | None = None) -> None:
        """Write the index of a corpus, or of one field of it, into `folder`, which exists.

        In memory there are some thousand documents at a time, the distinct words, and a number for each document.
        Raises `BadInput` where a content is not text, and for a field that the corpus lacks.
        """
        numbers, lengths = TermNumbers(analyzer), [np.zeros(1, np.int64)]
        unordered = folder / "unordered"
        with unordered.open("wb") as file:
            for texts, _ in term_batches(corpus, field):
                lengths.append(_append(file, texts, numbers))
        offsets = np.cumsum(np.concatenate(lengths))
        vocabulary, order = Vocabulary.of(numbers.terms)
        frequencies, document_frequencies = _reorder(unordered, folder / "terms.npy", offsets, np.argsort(order))
        unordered.unlink()
        vocabulary.save(folder)
        (folder / _ANALYSIS).write_text(json.dumps(analyzer.settings), encoding="utf-8")
        np.save(folder / "offsets.npy", offsets)
        np.save(folder / "frequencies.npy", frequencies)
        np.save(folder / "document_frequencies.npy", document_frequencies)

    @classmethod
    def load(cls, folder: Path) -> ForwardIndex:
        """Map what `write` wrote. Raises `DamagedFile` where files are missing, cut short or do not fit each other."""
        vocabulary = Vocabulary.load(folder)
        offsets, terms = folder / "offsets.npy", folder / "terms.npy"
        index = cls(
            bounded.column(offsets, np.int64, None),
            bounded.column(terms, np.int32, None),
            bounded.column(folder / "frequencies.npy", np.int64, len(vocabulary)),
            bounded.column(folder / "document_frequencies.npy", np.int64, len(vocabulary)),
            vocabulary,
            _analyzer(folder / _ANALYSIS),
        )
        bounded.once(folder, [offsets.name, terms.name, "frequencies.npy"], lambda: index.check(folder))
        return index

    def check(self, folder: Path) -> None:
        """Raise `DamagedFile` where texts lie outside of the column of terms, or terms beyond the vocabulary."""
        bounded.rising(folder / "offsets.npy", self.offsets, len(self.terms))
        bounded.within(folder / "terms.npy", self.terms, len(self.vocabulary))


def _analyzer(path: Path) -> Analyzer:
    try:
        return Analyzer(**json.loads(small_text(path)))
    except (OSError, ValueError, TypeError, LookupError, RecursionError) as error:
        raise DamagedFile(f"is incomplete ({error}); build the index again.", path) from error


def _append(file: BinaryIO, texts: Sequence[str], numbers: TermNumbers) -> NDArray[np.int64]:
    """Write the terms of some texts, numbered as they come up; how many each text has."""
    terms, rows = numbers.of(texts)
    file.write(terms.astype(np.int32).data)
    return np.bincount(rows, minlength=len(texts))


def _reorder(unordered: Path, ordered: Path, offsets: NDArray[np.int64], ranks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Number the terms as the vocabulary does; how often each occurs, and in how many documents, `[2, terms]`."""
    counts = np.zeros((2, len(ranks)), np.int64)
    cuts = np.searchsorted(offsets, np.arange(0, offsets[-1], _TOKENS_AT_ONCE), "right") - 1
    with unordered.open("rb") as read, ordered.open("wb") as written:
        write_header(written, (int(offsets[-1]),), np.int32)
        for first, last in pairwise(np.unique([*cuts, len(offsets) - 1]).tolist()):
            sizes = np.diff(offsets[first : last + 1])
            terms = ranks[np.fromfile(read, np.int32, sizes.sum())]
            written.write(terms.astype(np.int32).data)
            pairs = np.unique(np.repeat(np.arange(len(sizes)), sizes) * len(ranks) + terms)
            counts[0] += np.bincount(terms, minlength=len(ranks))
            counts[1] += np.bincount(pairs % max(1, len(ranks)), minlength=len(ranks))
    return counts
