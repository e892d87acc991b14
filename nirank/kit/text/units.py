"""Units that texts are cut by: words, sentences, and tokens of a model."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.offsets import offsets_of
from nirank.errors import MissingDependency

#: The characters that Python's `str.split` splits at.
_SPACES = np.zeros(0x3002, bool)
_SPACES[[code for code in range(len(_SPACES)) if chr(code).isspace()]] = True

# Unicode Standard Annex 29, rules SB6 to SB11, with one change: a line break is a space unless an empty line follows,
# for texts come wrapped into lines.
_BLANK = r"(?:\r\n|[\r\n\x85])[^\S\r\n\x85]*(?:\r\n|[\r\n\x85])|\u2029"
_X = r"[\p{SB=Extend}\p{SB=Format}]*+"
_SPACE = r"[\p{SB=Sp}\p{SB=Sep}\p{SB=CR}\p{SB=LF}--[\u2029]]"
_TERMS = r"[\p{SB=ATerm}\p{SB=STerm}]"
_BEHIND = rf"(?:\p{{SB=Close}}{_X})*+(?:(?!{_BLANK}){_SPACE}{_X})*+(?![\p{{SB=SContinue}}{_TERMS}])"
_LOWER_FOLLOWS = rf"[^\p{{SB=OLetter}}\p{{SB=Upper}}\p{{SB=Lower}}\u2029{_TERMS}]*+\p{{SB=Lower}}"
_INITIAL = rf"(?<=[\p{{SB=Upper}}\p{{SB=Lower}}]{_X.replace('*+', '{0,4}')}\p{{SB=ATerm}}{_X.replace('*+', '{0,4}')})"
_END = rf"""{_BLANK}
  | \p{{SB=STerm}}{_X} {_BEHIND} (?:{_BLANK})?
  | \p{{SB=ATerm}}{_X} (?!\p{{SB=Numeric}}) (?!{_INITIAL}\p{{SB=Upper}}) {_BEHIND} (?!{_LOWER_FOLLOWS}) (?:{_BLANK})?
"""


@dataclass(frozen=True, eq=False)
class Units:
    """The units of some texts: how many each has, `[texts]`, and where each begins and ends there, `[units]`."""

    counts: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]


def words(texts: Sequence[str]) -> Units:
    """Runs of what is no white space, as `str.split` has them."""
    codes = np.frombuffer(" ".join([*texts, ""]).encode("utf-32-le", "surrogatepass"), np.uint32)
    spaces = _SPACES[np.minimum(codes, len(_SPACES) - 1)]
    changes = np.diff(spaces, prepend=True).nonzero()[0]  # a word begins, it ends, and so on: the last is a space
    starts, stops = changes[::2], changes[1::2]
    begins = offsets_of([len(text) + 1 for text in texts])
    owners = np.searchsorted(begins, starts, side="right") - 1
    return Units(np.bincount(owners, minlength=len(texts)), starts - begins[owners], stops - begins[owners])


def sentences(texts: Sequence[str]) -> Units:
    """Sentences by the rules of Unicode Standard Annex 29, without the white space around them.

    They know no abbreviations: `Dr. Smith` ends a sentence, `e.g. this` and `3.14` end none. A line break ends one
    only before an empty line. Raises `MissingDependency` without the package `regex`.
    """
    return _units([_sentences(text) for text in texts])


def tokens(texts: Sequence[str], model: str) -> Units:
    """The tokens of a model's tokenizer, without those that it adds: `model` is a name on the model hub or a folder."""
    if not len(texts):
        return _units([])
    clean = [text.encode("utf-8", "replace").decode() for text in texts]
    read = tokenizer(model)(clean, add_special_tokens=False, return_offsets_mapping=True, verbose=False)
    return _units([[(start, stop) for start, stop in row if stop > start] for row in read["offset_mapping"]])


@functools.lru_cache(maxsize=4)
def tokenizer(model: str) -> Any:
    """The tokenizer of a model. Raises `BadInput` where there is none."""
    from nirank.kit import transformers

    return transformers.load("AutoTokenizer", model)


def _units(spans: Sequence[Sequence[tuple[int, int]]]) -> Units:
    flat = np.array([span for row in spans for span in row], np.int64).reshape(-1, 2)
    return Units(np.array([len(row) for row in spans], np.int64), flat[:, 0], flat[:, 1])


def _sentences(text: str) -> list[tuple[int, int]]:
    edges = [0, *(found.end() for found in _ends().finditer(text)), len(text)]
    pieces = ((start, text[start:stop]) for start, stop in pairwise(edges))
    found = [(start + len(piece) - len(piece.lstrip()), piece.strip()) for start, piece in pieces]
    return [(start, start + len(piece)) for start, piece in found if piece]


@functools.cache
def _ends() -> Any:
    try:
        import regex
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "Sentences need the package 'regex', which is not installed. Run: pip install 'nirank[lexical]'",
            name=error.name,
        ) from error
    return regex.compile(_END, regex.VERSION1 | regex.VERBOSE)
