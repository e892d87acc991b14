"""The words of many ASCII texts at once, as columns: those that `word_breaks.words` finds text by text.

There a word is a run of letters, digits and `_`; one mark may stand in it between two letters, or between two digits.
So whether a mark is of a word can be seen from the characters on both sides of it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from nirank.data.columns import integers_to_numpy
from nirank.data.offsets import offsets_of
from nirank.kit.text.word_breaks import LONGEST_WORD

_ASCII = [chr(code) for code in range(128)]
# By the code of a character: what it is, whether a word goes on behind such a mark, and what it becomes.
_LETTERS, _DIGITS, _BETWEEN_LETTERS, _BETWEEN_DIGITS = (
    np.array([of_kind(character) for character in _ASCII])
    for of_kind in (str.isalpha, str.isdigit, ".:'".__contains__, ".,;'".__contains__)
)
_LOWER = np.array([ord(each.lower() if each.isalnum() or each == "_" else " ") for each in _ASCII], np.uint8)


class Words(NamedTuple):
    """The `distinct` words of some texts, the place among them of each word, and how many each text has.

    A word that is empty may be among them.
    """

    distinct: list[str]
    places: NDArray[np.int32]
    lengths: NDArray[np.int32]


def words_of(texts: Sequence[str]) -> Words | None:
    """The words of ASCII texts, of which there is at least one, in order; None where a word has to be cut."""
    import pyarrow as pa
    from pyarrow import compute

    characters = np.frombuffer(" ".join(texts).encode("ascii"), np.uint8)
    offsets = offsets_of([len(text) + 1 for text in texts])
    offsets[-1] = len(characters)  # behind the last text there is no space
    columns = None, pa.py_buffer(offsets), pa.py_buffer(_spaced(characters))
    column = pa.Array.from_buffers(pa.large_string(), len(texts), columns)
    found = compute.ascii_split_whitespace(column)
    coded = found.values.dictionary_encode()
    places, starts = map(integers_to_numpy, (coded.indices, found.offsets))
    distinct = coded.dictionary.to_pylist()
    if max(map(len, distinct), default=0) > LONGEST_WORD:
        return None
    return Words(distinct, places, np.diff(starts))


def _spaced(characters: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lower case, and a space for all that is of no word."""
    spaced, marks = _LOWER[characters], characters[1:-1]
    within = np.zeros(len(marks), bool)
    for kind, between in ((_LETTERS, _BETWEEN_LETTERS), (_DIGITS, _BETWEEN_DIGITS)):
        of_kind = kind[characters]
        within |= between[marks] & of_kind[:-2] & of_kind[2:]
    spaced[1:-1][within] = marks[within]
    return spaced
