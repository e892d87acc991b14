"""Files of word vectors as they are passed around: GloVe's text, and word2vec's text and binary forms.

Text has a word and its numbers on each line; word2vec's begins with a line that says how many words and dimensions
there are. A word may hold blanks, as some of GloVe's do. Files that end in `.gz`, `.bz2`, `.xz` or `.zst` are
unpacked on the way.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

import numpy as np

from nirank.data import Floats
from nirank.errors import BadInput
from nirank.formats import COMPRESSED, opened

_BINARY = (".bin", *(f".bin{packed}" for packed in COMPRESSED))
_HEADER = re.compile(rb"\s*(\d+)\s+(\d+)\s*")


class VectorFile(NamedTuple):
    """Words, each once, with the vectors beside them, float32 `[words, dim]`."""

    words: Sequence[str]
    matrix: Floats


def read(path: Path) -> VectorFile:
    """The words and vectors of a file; `.bin` (and `.bin.gz`, ...) is word2vec's binary form, all others text.

    Raises `BadInput`, with the line where there are lines, for a file that is missing, cut short or damaged, where
    vectors differ in length or hold what is no finite number, and for a word that comes twice.
    """
    try:
        return _binary(path) if path.name.endswith(_BINARY) else _text(path)
    except (OSError, EOFError) as error:
        raise BadInput(f"cannot be read: {error}", path) from error


def _text(path: Path) -> VectorFile:
    places: dict[str, int] = {}
    vectors: list[Floats] = []
    with opened(path) as file:
        for number, word, vector in _lines(file, path):
            if word in places:
                raise BadInput(f"the word {word!r} is already in line {places[word]}.", path, number)
            places[word] = number
            vectors.append(vector)
    if not vectors:
        raise BadInput("has no vectors; lines of a word and its numbers are expected.", path)
    return VectorFile(list(places), np.stack(vectors))


def _lines(file: IO[bytes], path: Path) -> Iterator[tuple[int, str, Floats]]:
    """The number, the word and the vector of each line."""
    expected = dim = None
    number, last = 0, 0
    for number, line in enumerate(file, 1):
        if number == 1 and (header := _HEADER.fullmatch(line)):
            expected, dim = map(int, header.groups())
            continue
        if not (line := line.strip(b" \r\n")):
            continue
        dim, last = dim or line.count(b" "), last + 1
        yield number, *_word(line, dim, path, number)
    if expected not in (None, last):
        raise BadInput(f"the first line announces {expected} words, but {last} follow.", path, max(number, 1))


def _word(line: bytes, dim: int, path: Path, number: int) -> tuple[str, Floats]:
    word, *numbers = line.rsplit(b" ", dim)
    if len(numbers) != dim or not numbers:
        raise BadInput(f"a word and {max(dim, 1)} numbers are expected; this line has {len(numbers)}.", path, number)
    try:
        vector = np.array(numbers).astype(np.float32)
        decoded = word.decode()
    except ValueError as error:  # that of a wrong encoding is one
        raise BadInput(f"a word in UTF-8 and {dim} numbers are expected: {error}.", path, number) from error
    if not np.isfinite(vector).all():
        raise BadInput(f"the vector of {decoded!r} contains NaN or infinity.", path, number)
    return decoded, vector


def _binary(path: Path) -> VectorFile:
    """Read by gensim, which leaves out words that come twice."""
    from gensim.models import KeyedVectors

    with opened(path) as file:
        header = _HEADER.fullmatch(file.readline(100))
    if not header:
        raise BadInput(
            "does not begin with the numbers of words and of dimensions, as binary files of word2vec do.", path
        )
    words, dim = map(int, header.groups())
    if path.suffix != ".gz" and words * dim * 4 > path.stat().st_size:
        raise BadInput(f"is too short for {words} vectors of {dim} numbers.", path)
    try:
        found = KeyedVectors.load_word2vec_format(str(path), binary=True)
    except (EOFError, ValueError) as error:
        raise BadInput(f"is not a binary file of word2vec, or is damaged: {error}", path) from error
    if (distinct := len(found.key_to_index)) != words:
        raise BadInput(f"the first line announces {words} words, but {distinct} are distinct.", path)
    if not np.isfinite(found.vectors).all():
        raise BadInput("a vector contains NaN or infinity.", path)
    return VectorFile(found.index_to_key, found.vectors)
