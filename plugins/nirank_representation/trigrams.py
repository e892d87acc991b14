"""Words as their letter trigrams: `cat` is #ca, cat, at#.

A trigram is one number, three code points of Unicode of 21 bits each, so that a batch of texts is cut up and counted in
a few operations on columns.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from nirank.data import Content, offsets_of
from nirank.kit.text import require_text, words

Numbers = NDArray[np.int64]


def trigrams(texts: Sequence[Content]) -> tuple[Numbers, Numbers]:
    """The trigrams of all texts in one column, in order, and where those of each text begin in it (and end at last).

    Words are those of `nirank.kit.text.word_breaks`, in lower case. Raises `BadInput` for a content that is no text.
    """
    found = [words(text) for text in require_text(texts, "content")]
    each = np.fromiter(map(len, found), np.int64, len(found))
    lengths = np.fromiter(map(len, chain.from_iterable(found)), np.int64, each.sum())  # as many trigrams as letters
    ends = offsets_of(lengths)[offsets_of(each)]
    return _numbers("".join(f"#{word}#" for word in chain.from_iterable(found)), lengths), ends


def vocabulary(batches: Iterable[Sequence[Content]], least: int = 1) -> Numbers:
    """The distinct trigrams of all texts that occur at least `least` times, rising."""
    known, counts = np.empty(0, np.int64), np.empty(0, np.int64)
    for texts in batches:
        new, times = np.unique(trigrams(texts)[0], return_counts=True)
        together, place = np.unique(np.concatenate([known, new]), return_inverse=True)
        counts = np.bincount(place, np.concatenate([counts, times]), len(together))
        known = together
    return known[counts >= least]


def spelled(number: int) -> str:
    """The letters of a trigram."""
    return "".join(chr(number >> bits & 0x1FFFFF) for bits in (42, 21, 0))


def _numbers(marked: str, lengths: Numbers) -> Numbers:
    """The trigrams of words with a mark before and behind each: all but those that would reach over two words."""
    letters = np.frombuffer(marked.encode("utf-32-le", "surrogatepass"), np.uint32).astype(np.int64)
    first = np.arange(lengths.sum()) + 2 * np.repeat(np.arange(len(lengths)), lengths)  # two marks for each word before
    return letters[first] << 42 | letters[first + 1] << 21 | letters[first + 2]
