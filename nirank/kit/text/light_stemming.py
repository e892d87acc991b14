"""Light stemmers of the University of Neuchâtel (UniNE), which Lucene has for five languages.

Savoy, Light Stemming Approaches for the French, Portuguese, German and Hungarian Languages, SAC 2006; for Italian and
Spanish, Report on CLEF-2001 Experiments. They take endings of number and gender off, and a few of derivation. Each is
written here as rules in order, and gives what Lucene's class of that name gives.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Rule(NamedTuple):
    """A word of more than `longer_than` characters that ends in `ending` has `instead` in its place.

    `goes_on` says whether later rules see what came of it.
    """

    longer_than: int
    ending: str
    instead: str = ""
    goes_on: bool = False


def _applied(rules: Sequence[Rule], word: str) -> str:
    for longer_than, ending, instead, goes_on in rules:
        if len(word) > longer_than and word.endswith(ending):
            word = word[: len(word) - len(ending)] + instead
            if not goes_on:
                break
    return word


def _letters(**plain: str) -> dict[int, str]:
    """A table for `str.translate`: the letters that each plain one stands for."""
    return {ord(letter): to for to, letters in plain.items() for letter in letters}


_TWICE = re.compile(r"(.)\1+", re.DOTALL)
_FRENCH_LETTERS = _letters(a="àáâ", o="ô", e="èéê", u="ùû", i="î", c="ç")
_FRENCH = (
    Rule(9, "issement", "ir"),
    Rule(8, "issant", "ir"),
    Rule(7, "ivement", "if"),
    Rule(6, "ement", "e"),
    Rule(11, "ficatrice", "fier"),
    Rule(10, "ficateur", "fier"),
    Rule(9, "catrice", "quer"),
    Rule(8, "cateur", "quer"),
    Rule(8, "atrice", "er"),
    Rule(7, "ateur", "er"),
    Rule(6, "trice", "teur", goes_on=True),
    Rule(5, "ième"),
    Rule(7, "teuse", "ter"),
    Rule(6, "teur", "ter"),
    Rule(5, "euse", "eu"),
    Rule(8, "ère", "er"),
    Rule(7, "ive", "if"),
    Rule(4, "folle", "fou"),
    Rule(4, "molle", "mou"),
    Rule(9, "nnelle", "n"),
    Rule(9, "nnel", "n"),
    Rule(4, "ète", "et", goes_on=True),
    Rule(8, "ique", goes_on=True),
    Rule(8, "esse", "e"),
    Rule(7, "inage", "in"),
    Rule(12, "ualisation", "uel"),
    Rule(9, "isation"),
    Rule(9, "isateur"),
    Rule(8, "ation"),
    Rule(8, "ition"),
)


def french(word: str) -> str:
    """The stem of a French word: plurals, feminines and some derivations, then accents and doubled letters."""
    if len(word) > 5 and word.endswith("x"):
        word = f"{word[:-2]}l" if word.endswith("aux") and word[-4] != "e" else word[:-1]
    for plural in "xs":
        if len(word) > 3:
            word = word.removesuffix(plural)
    return _french_ending(_applied(_FRENCH, word))


def _french_ending(word: str) -> str:
    if len(word) > 4:
        word = _TWICE.sub(_once, word.translate(_FRENCH_LETTERS))
    if len(word) > 4:
        word = word.removesuffix("ie")
    if len(word) > 4:
        word = word.removesuffix("r").removesuffix("e").removesuffix("e")
        word = word[:-1] if word[-1] == word[-2] and word[-1].isalpha() else word
    return word


def _once(repeated: re.Match[str]) -> str:
    return repeated[1] if repeated[1].isalpha() else repeated[0]


_GERMAN_LETTERS = _letters(a="äàáâ", o="öòóô", i="ïìíî", u="üùúû")
_BEFORE_S = "bdfghklmnt"  # an s behind another letter is none of the ending's
_GERMAN = (
    (Rule(5, "ern"), *(Rule(4, ending) for ending in ("em", "en", "er", "es")), Rule(3, "e"))
    + tuple(Rule(3, f"{letter}s", letter) for letter in _BEFORE_S),
    (Rule(5, "est"), Rule(4, "er"), Rule(4, "en"), *(Rule(4, f"{letter}st", letter) for letter in _BEFORE_S)),
)


def german(word: str) -> str:
    """The stem of a German word: without accents, then without an ending of declension and one of comparison."""
    word = word.translate(_GERMAN_LETTERS)
    for rules in _GERMAN:
        word = _applied(rules, word)
    return word


_SOUTHERN_LETTERS = _letters(a="àáâä", o="òóôö", e="èéêë", u="ùúûü", i="ìíîï")
_ITALIAN = tuple(Rule(0, ending) for ending in ("ie", "he", "e", "hi", "ii", "i", "ia", "a", "io", "o"))
_SPANISH = (
    *(Rule(0, ending) for ending in "oae"),
    Rule(0, "eses", "es"),
    Rule(0, "ces", "z"),
    *(Rule(0, ending) for ending in ("os", "as", "es")),
)


def italian(word: str) -> str:
    """The stem of an Italian word of six letters or more: without accents and the last vowels."""
    return _applied(_ITALIAN, word.translate(_SOUTHERN_LETTERS)) if len(word) > 5 else word


def spanish(word: str) -> str:
    """The stem of a Spanish word of five letters or more: without accents, gender and number."""
    return _applied(_SPANISH, word.translate(_SOUTHERN_LETTERS)) if len(word) > 4 else word


_PORTUGUESE_LETTERS = _letters(a="àáâäã", o="òóôöõ", e="èéêë", u="ùúûü", i="ìíîï", c="ç")
_PORTUGUESE_NUMBER = (
    *(Rule(4, f"{letter}es", letter) for letter in "rslz"),
    Rule(3, "ns", "m"),
    Rule(4, "eis", "el"),
    Rule(4, "éis", "el"),
    Rule(4, "ais", "al"),
    Rule(4, "óis", "ol"),
    Rule(4, "is", "il"),
    Rule(3, "ões", "ão"),
    Rule(3, "ães", "ão"),
    Rule(6, "mente"),
    Rule(3, "s"),
)
_PORTUGUESE_GENDER = (
    *(Rule(7, ending, f"{ending[:-1]}o") for ending in ("inha", "iaca", "eira")),
    *(Rule(6, ending, f"{ending[:-1]}o") for ending in ("osa", "ica", "ida", "ada", "iva", "ama")),
    Rule(6, "ona", "ão"),
    Rule(6, "ora", "or"),
    Rule(6, "esa", "ês"),
    Rule(6, "na", "no"),
)
_PORTUGUESE_VOWEL = tuple(Rule(4, ending) for ending in "eao")


def portuguese(word: str) -> str:
    """The stem of a Portuguese word of four letters or more: without number, adverb, gender, last vowel and accents."""
    if len(word) < 4:
        return word
    for rules in (_PORTUGUESE_NUMBER, _PORTUGUESE_GENDER, _PORTUGUESE_VOWEL):
        word = _applied(rules, word)
    return word.translate(_PORTUGUESE_LETTERS)


#: The stemmers by the names that settings have.
LIGHT: dict[str, Callable[[str], str]] = {
    f"{stem.__name__}_light": stem for stem in (french, german, italian, spanish, portuguese)
}
