"""The places of terms in a text as it is written, whatever an analyser does to words: case, accents, bigrams, stems.

The words of an analyser come in order, each composed, folded or widened. Text and words are folded further, both alike,
so that a word is found again where it stands: character by character as readers see these (grapheme clusters), of
which folding never mixes two.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from typing import Any, NamedTuple

from nirank.kit.text.analysis import Analyzer
from nirank.kit.text.word_breaks import lower


class Place(NamedTuple):
    """A term and where it stands: `text[start:end]`, in characters."""

    start: int
    end: int
    term: str


def term_places(analyzer: Analyzer, text: str) -> Iterator[Place]:
    """The terms of a text with their places, in order; without the words that the analyser leaves out."""
    folded, starts, ends = _folded(text)
    last = begin = 0
    word = ""
    for found in analyzer.words(text):
        wanted = _fold(found)
        overlaps = len(word) == len(wanted) == 2 and word[1] == wanted[0]  # as neighbours among bigrams do
        at = folded.find(wanted, begin + 1 if overlaps else last)
        if at < 0 or not wanted:
            continue
        word, begin, last = wanted, at, at + len(wanted)
        if term := analyzer.term(found):
            yield Place(starts[at], ends[last - 1], term)


def _folded(text: str) -> tuple[str, list[int] | range, list[int] | range]:
    """A text folded, and for each of its characters where that which it was made of begins and ends."""
    if text.isascii():
        return text.lower(), range(len(text)), range(1, len(text) + 1)
    parts: list[str] = []
    starts: list[int] = []
    ends: list[int] = []
    for cluster in _clusters().finditer(text):
        parts.append(_fold(cluster[0]))
        starts += [cluster.start()] * len(parts[-1])
        ends += [cluster.end()] * len(parts[-1])
    return "".join(parts), starts, ends


def _fold(text: str) -> str:
    if text.isascii():
        return text.lower()
    return lower(unicodedata.normalize("NFKC", text)).replace("\N{LATIN SMALL LETTER DOTLESS I}", "i")


@cache
def _clusters() -> Any:
    import regex

    return regex.compile(r"\X")
