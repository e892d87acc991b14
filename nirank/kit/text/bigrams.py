"""Chinese, Japanese and Korean by bigrams, as Lucene's CJKAnalyzer cuts them.

Where no space tells words apart, a term is two neighbouring characters of the scripts Han, Hiragana, Katakana or
Hangul; one that has no such neighbour stands alone. Other words stay whole. Letters and kana of other widths are as
those of the usual one.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from functools import cache
from itertools import pairwise

from nirank.kit.text.word_breaks import compiled, lower, spans

_UNSPACED = r"""
    [\p{Script=Han}--\p{WB=ALetter}]<X>
  | [\p{Script=Hiragana}--[\p{WB=ALetter}\p{WB=Katakana}]]<X>
  | (?: [\p{Script=Hangul}&&\p{WB=ALetter}]<X> )++
  | (?: <Katakana><X> )++
"""
_VOICES = {"\uff9e": "\u3099", "\uff9f": "\u309a"}  # of half the width, beside a kana: they become part of it


def bigram_words(text: str) -> list[str]:
    """The words of `text` in order, in lower case: bigrams of what is written without spaces, and whole words."""
    found: list[str] = []
    run, end, unspaced = "", 0, compiled(_UNSPACED)
    for start, stop, word in spans(lower(text)):
        bigrammed = unspaced.fullmatch(word) is not None
        if run and not (bigrammed and start == end):
            found += _bigrams(run)
            run = ""
        if bigrammed:
            run, end = run + _in_full(word), stop
        else:
            found.append(_in_full(word))
    return found + list(_bigrams(run))


def _bigrams(run: str) -> Iterator[str]:
    if len(run) == 1:
        yield run
    yield from map("".join, pairwise(run))


def _in_full(word: str) -> str:
    """A word whose letters and kana have the usual width."""
    folded = ""
    for character in word:
        voiced = unicodedata.normalize("NFC", folded[-1:] + _VOICES[character]) if character in _VOICES else ""
        folded = folded[:-1] + voiced if len(voiced) == 1 and folded else folded + _of_usual_width(character)
    return folded


@cache
def _of_usual_width(character: str) -> str:
    is_letter, is_kana = "\uff01" <= character <= "\uff5e", "\uff65" <= character <= "\uff9f"
    return unicodedata.normalize("NFKC", character) if is_letter or is_kana else character
