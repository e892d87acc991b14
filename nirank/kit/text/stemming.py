"""Words to stems: Porter's algorithm as Lucene has it, light stemmers, and the Snowball stemmers by name."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any, TypeAlias, cast

import Stemmer

from nirank.errors import UnknownName
from nirank.kit.text.light_stemming import LIGHT
from nirank.kit.text.nordic_stemming import NORDIC

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

    The light ones of `nirank.kit.text.light_stemming` have names such as `"french_light"`; Snowball stemmers as Lucene
    has them, where those of the package differ, such as `"danish_lucene"`. Raises `UnknownName` where Snowball has no
    such algorithm.
    """
    if name is None:
        return str
    return _OWN[name] if name in _OWN else Named(name)


class Named:
    """A stemmer that goes into a pickle as its name."""

    def __init__(self, name: str) -> None:
        self.name = name
        lucene = _AS_LUCENE.get(name)
        self._stem = lucene(_snowball(name.removesuffix("_lucene"))) if lucene else _snowball(name)

    def __call__(self, word: str) -> str:
        """The stem of a word."""
        return self._stem(word)

    def __reduce__(self) -> tuple[type[Named], tuple[str]]:
        return Named, (self.name,)


def _snowball(name: str) -> Stem:
    if name not in Stemmer.algorithms():
        raise UnknownName(
            "stemmer", name, [*Stemmer.algorithms(), *_OWN, *_AS_LUCENE], "stemmer=None leaves words as they are."
        )
    uncached: Any = Stemmer.Stemmer(name, 0)  # who stems a corpus remembers the words already
    return cast("Stem", uncached.stemWord)


def _porter_as_lucene(porter: Stem) -> Stem:
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


def _finnish_as_lucene(finnish: Stem) -> Stem:
    """Snowball 2's, which Lucene has, takes no n off where -han to -hön do not repeat a vowel, nor -hun as a whole."""

    def stem(word: str) -> str:
        word = word.replace("'", _NO_LETTER)  # for Snowball 3 gives the apostrophe a meaning
        bare = _PARTICLE.sub("", word)  # which is taken off before
        if _ILLATIVE.fullmatch(bare) or bare.endswith("uhun"):
            word = bare
        if (ending := _ILLATIVE.fullmatch(word)) and ending[1] != ending[2]:
            return _shown(finnish(f"{word[:-1]}{_NO_N}"))
        if word.endswith("uhun"):
            word = f"{word[:-4]}yhun"
            return _shown(f"{word[:-4]}u{finnish(word)[len(word) - 3 :]}")
        return _shown(finnish(word))

    return stem


def _shown(word: str) -> str:
    return word.replace(_NO_LETTER, "'").replace(_NO_N, "n")


def _romanian_as_lucene(romanian: Stem) -> Stem:
    """Snowball 2's, which Lucene has, knows s and t with a cedilla and takes those with a comma for other letters."""

    def stem(word: str) -> str:
        return romanian(word.translate(_COMMAS_HIDDEN)).translate(_CEDILLAS_SHOWN)

    return stem


_ILLATIVE = re.compile("(?=.*?[aeiouyäö][^aeiouyäö].*?h.n$).*(.)h([aeioäö])n")  # in the region R1
_PARTICLE = re.compile("(?:kin|kaan|kään|ko|kö|han|hän|pa|pä)$")
_NO_LETTER, _NO_N = "\ue000", "\ue001"
_COMMAS_HIDDEN = str.maketrans("\u0219\u021b", "\ue000\ue001")
_CEDILLAS_SHOWN = str.maketrans("\u0219\u021b\ue000\ue001", "\u015f\u0163\u0219\u021b")
_OWN: dict[str, Stem] = {**LIGHT, **NORDIC}
_AS_LUCENE: dict[str, Callable[[Stem], Stem]] = {
    "porter": _porter_as_lucene,
    "finnish_lucene": _finnish_as_lucene,
    "romanian_lucene": _romanian_as_lucene,
}
