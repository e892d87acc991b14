"""Words to stems: Porter's algorithm as Lucene has it, and the Snowball stemmers by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import Stemmer

from nirank.errors import UnknownName

Stem: TypeAlias = Callable[[str], str]

# A vowel and then a consonant, which is what the algorithm counts; y is a vowel behind a consonant.
_MEASURED = re.compile(r"[aeiou][^aeiou]|(?:[^aeiouy]|^y)y[^aeiou]")
# The endings that step 1 turns into -bli and -logi.
_DEPARTURE = re.compile(r"(?P<part>.*)(?:(?P<ble>bl)|log)(?:[iy](?:ed|ing)?s?|ies)", re.DOTALL)
# Doubled letters that Snowball does not make single in step 1: those that English hardly doubles.
_DOUBLED = re.compile(
    r"(?P<single>.*(?:[aeiou].*|.y.*)(?P<letter>[^aeioubdfglmnprstyz]))(?P=letter)(?:ed|ing)s?", re.DOTALL
)


def stemmer(name: str | None) -> Stem:
    """The stemmer called `name`: `"porter"` (Lucene's), a Snowball algorithm (`"german"`), or none (`None`).

    Raises `UnknownName` where Snowball has no such algorithm.
    """
    if name is None:
        return str
    stem = _snowball(name)
    return _as_lucene(stem) if name == "porter" else stem


def _snowball(name: str) -> Stem:
    if name not in Stemmer.algorithms():
        raise UnknownName("stemmer", name, Stemmer.algorithms(), "stemmer=None leaves words as they are.")
    uncached: Any = Stemmer.Stemmer(name, 0)  # who stems a corpus remembers the words already
    return cast("Stem", uncached.stemWord)


def _as_lucene(porter: Stem) -> Stem:
    """Porter's own program, which Lucene follows, differs from his paper (Program 14(3), 1980) and from Snowball.

    Words of one or two letters stay as they are; in step 2 -bli becomes -ble and -logi becomes -log; in step 1 any
    doubled consonant but l, s and z becomes single. Snowball's `porter` is handed such words with their ending already
    changed. What still differs are words in -yyed and -yying.
    """

    def stem(word: str) -> str:
        if len(word) < 3 and word <= "\uffff":
            return word
        if (ending := _DEPARTURE.fullmatch(word)) and _MEASURED.search(ending["part"]):
            word = ending["part"] + ("ble" if ending["ble"] else "log")
        elif doubled := _DOUBLED.fullmatch(word):
            word = doubled["single"]
        return porter(word)

    return stem
