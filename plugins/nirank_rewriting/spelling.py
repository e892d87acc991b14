"""Spelling: a word that no document has becomes the most frequent of the nearest words that some have.

Near is what optimal string alignment says: letters inserted, left out, exchanged, or two neighbours swapped. Words are
those of the corpus, before stemming, with the number of times that they occur; or those of a list.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Content, Corpus, Queries
from nirank.errors import BadInput, DamagedFile, MissingDependency, StaleIndex
from nirank.kit import bounded
from nirank.kit.text import Analyzer, TermNumbers, term_batches

_WORDS, _COUNTS = "words.txt", "counts.npy"
_WORD = re.compile(r"[^\W\d_]+")


class Spelling:
    """A rewriter that corrects words which the corpus does not have.

    A word of fewer than `shortest` letters stays; one of fewer than 2 `shortest` may differ by 1 from its correction,
    a longer one by `distance`. What occurs fewer than `least` times is no correction. `words` is a file to take
    instead of the corpus: a word a line, with a tab and how often it occurs if that is known. What is known is left
    alone, and so is what has a digit. Raises `MissingDependency` without rapidfuzz.
    """

    reads = "text"

    def __init__(self, distance: int = 2, shortest: int = 4, least: int = 2, words: str | None = None) -> None:
        _import()
        for name, value in {"distance": distance, "shortest": shortest, "least": least}.items():
            if value < 1:
                raise BadInput(f"{name} = {value}; it must be 1 or more.")
        self.distance, self.shortest, self.least = distance, shortest, least
        self._listed = None if words is None else _read(Path(words))
        self._near: _Near | None = None

    @property
    def index_key(self) -> dict[str, object]:
        """The layout, and the list where there is one."""
        listed = None if self._listed is None else hashlib.blake2b(repr(sorted(self._listed.items())).encode())
        return {"index": "spelling", "version": 1, "words": listed and listed.hexdigest()[:32]}

    def build(self, corpus: Corpus, folder: Path, encode: Callable[..., Any] | None = None) -> None:  # noqa: ARG002
        """Write the words, the short ones first, and how often each occurs."""
        counts = _counted(corpus) if self._listed is None else self._listed
        ordered = sorted(counts, key=lambda word: (len(word), word))
        (folder / _WORDS).write_bytes("\n".join(ordered).encode("utf-8", "surrogatepass"))
        np.save(folder / _COUNTS, np.array([counts[word] for word in ordered], np.int64))

    def open(self, corpus: Corpus, folder: Path) -> None:  # noqa: ARG002
        """Read what `build` wrote. Raises `DamagedFile` where there is not one count for each word."""
        words = (folder / _WORDS).read_bytes().decode("utf-8", "surrogatepass").split("\n")
        words = words if words != [""] else []
        counts = np.array(bounded.column(folder / _COUNTS, np.int64, None))
        if len(words) != len(counts):
            raise DamagedFile(f"has {len(words)} words, and {len(counts)} counts beside it.", folder / _WORDS)
        self._near = _Near(words, counts, self.least)

    def rewrite(self, queries: Queries) -> list[Content]:
        """The queries with words corrected; whatever stands between words stays, and so do images."""
        if self._near is None:
            raise StaleIndex("spelling has no words: search through a pipeline, or call build and open first.")
        return [_WORD.sub(self._corrected, text) if isinstance(text, str) else text for text in queries.contents]

    def _corrected(self, found: re.Match[str]) -> str:
        word, near = found[0], self._near
        beside = found.string[max(0, found.start() - 1) : found.start()] + found.string[found.end() : found.end() + 1]
        touching = any(sign.isalnum() or sign in "_'\u2019" for sign in beside)  # a part of a number, or before an 's
        if near is None or len(word) < self.shortest or touching or near.knows(word.lower()):
            return word
        return near.best(word.lower(), self.distance if len(word) >= 2 * self.shortest else 1) or word


class _Near:
    """Words ordered by length, with counts."""

    def __init__(self, words: Sequence[str], counts: NDArray[np.int64], least: int) -> None:
        self._known = frozenset(words)
        kept = np.flatnonzero(counts >= least)
        self._words, self._counts = [words[place] for place in kept.tolist()], counts[kept]
        self._lengths = np.array(list(map(len, self._words)), np.int64)
        self._found: dict[tuple[str, int], str | None] = {}

    def knows(self, word: str) -> bool:
        """True for a word that occurs, however rarely."""
        return word in self._known

    def best(self, word: str, distance: int) -> str | None:
        """The word at the least distance, of several the most frequent, and then the first; None if all are far."""
        if (word, distance) not in self._found:
            self._found[word, distance] = self._best(word, distance)
        return self._found[word, distance]

    def _best(self, word: str, distance: int) -> str | None:
        process, osa = _import()
        first, last = np.searchsorted(self._lengths, [len(word) - distance, len(word) + distance + 1]).tolist()
        among = self._words[first:last]
        near = process.extract(word, among, scorer=osa.distance, score_cutoff=distance, limit=None)
        ranked = ((apart, -int(self._counts[first + place]), other) for other, apart, place in near)
        return min(ranked, default=(0, 0, None))[2]


def _counted(corpus: Corpus) -> dict[str, int]:
    """How often each word occurs."""
    numbers = TermNumbers(Analyzer(stemmer=None, stopwords=()))
    counts = np.zeros(0, np.int64)
    for texts, _ in term_batches(corpus):
        found, _ = numbers.of(texts)
        more = np.bincount(found, minlength=len(numbers.terms))
        more[: len(counts)] += counts
        counts = more
    return {word: int(counts[number]) for word, number in numbers.terms.items() if _WORD.fullmatch(word)}


def _read(path: Path) -> dict[str, int]:
    """The words of a list. Raises `BadInput` for a file that is none."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        pairs = (line.strip().partition("\t") for line in lines if line.strip())
        return {word.lower(): int(count or 1 << 30) for word, _, count in pairs}
    except (OSError, ValueError) as error:
        told = f"is not a list of words, one a line, alone or with a tab and a number: {error}."
        raise BadInput(told, path) from error


def _import() -> tuple[Any, Any]:
    try:
        from rapidfuzz import process
        from rapidfuzz.distance import OSA
    except ModuleNotFoundError as error:
        raise MissingDependency("spelling needs the package rapidfuzz. Run: pip install 'nirank[rewriting]'") from error
    return process, OSA
