"""Rules of languages other than English, as Lucene's analysers have them: how words are cut, elided, stemmed, left out.

Letters are composed first (NFC), which Lucene leaves to its users: a text has the same terms however its accents are
written down, and those that Lucene gives the composed one.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from importlib.resources import files

from nirank.kit.text.bigrams import bigram_words
from nirank.kit.text.stemming import Stem
from nirank.kit.text.stemming import stemmer as stemmer_called
from nirank.kit.text.word_breaks import words


@dataclass(frozen=True)
class Language:
    """The rules of one language.

    default      the name of its stemmer; None: words stay as they are
    listed       its stop words, or the name of their list in the folder `stopwords`
    cut          makes words in lower case of a text
    bare         takes from a word what an apostrophe parts from it
    normal       folds the letters of a word before it is stemmed
    exceptions   words whose stem the default stemmer does not know
    """

    default: str | None
    listed: frozenset[str] | str
    cut: Callable[[str], list[str]] = words
    bare: Callable[[str], str] = str
    normal: Callable[[str], str] | None = None
    exceptions: Mapping[str, str] = field(default_factory=dict)

    @property
    def stopwords(self) -> frozenset[str]:
        """Its stop words."""
        return _list_called(self.listed) if isinstance(self.listed, str) else self.listed

    def stem(self, name: str | None) -> Stem:
        """The stemmer of this name behind what the language does before it."""
        called, normal = stemmer_called(name), self.normal
        known = self.exceptions if name == self.default else {}
        if known:
            return lambda word: known.get(word) or called(word)
        return (lambda word: called(normal(word))) if normal else called


@cache
def _list_called(name: str) -> frozenset[str]:
    lines = (files("nirank.kit.text") / "stopwords" / f"{name}.txt").read_text(encoding="utf-8").splitlines()
    return frozenset(word for line in lines if not line.startswith("#") for word in line.split())


def _composed(text: str) -> list[str]:
    return words(unicodedata.normalize("NFC", text))


def _bigrams(text: str) -> list[str]:
    return bigram_words(unicodedata.normalize("NFC", text))


def _turkish_words(text: str) -> list[str]:
    """Words in lower case, where I is the capital of the dotless letter."""
    return words(unicodedata.normalize("NFC", text).translate(_TURKISH_CAPITALS))


def _without(*elided: str) -> Callable[[str], str]:
    """Cuts off what is elided before an apostrophe, as French l' is."""
    before = frozenset(elided)

    def bare(word: str) -> str:
        parted = _APOSTROPHE.split(word, 1)
        return parted[1] if len(parted) > 1 and parted[0] in before else word

    return bare


def _without_suffix(word: str) -> str:
    """A Turkish name without the endings that an apostrophe parts from it."""
    return _APOSTROPHE.split(word, 1)[0]


_APOSTROPHE = re.compile("['\u2019]")
_TURKISH_CAPITALS = {ord("I"): "\N{LATIN SMALL LETTER DOTLESS I}", 0x0130: "i"}


def _plain_german(word: str) -> str:
    """A word without umlauts, however they are written: ae, oe, and ue but behind a vowel or q, stand for them too.

    The heuristic of Snowball's German2, as Lucene's GermanNormalizationFilter has it.
    """
    return _UMLAUT_E.sub("", word).translate(_UMLAUTS)


_UMLAUT_E = re.compile("(?<=[ao])e|(?<=(?<![aeiouqyäöü])u)e")
_UMLAUTS = str.maketrans({"ä": "a", "ö": "o", "ü": "u", "ß": "ss"})
_FRENCH = _without(*"lmtnsjdc", "qu", "jusqu", "quoiqu", "lorsqu", "puisqu")
_ITALIAN = _without(
    *"clmtsvd",
    *("all", "dall", "dell", "nell", "sull", "coll", "pell", "gl", "agl", "dagl", "degl", "negl", "sugl", "un"),
)
_DUTCH = {"fiets": "fiets", "bromfiets": "bromfiets", "ei": "eier", "kind": "kinder"}
_CJK = Language(None, "cjk", _bigrams)
#: The languages that have rules here.
LANGUAGES: dict[str, Language] = {
    "catalan": Language("catalan", "catalan", _composed, _without(*"dlmnst")),
    "chinese": _CJK,
    "dutch": Language("dutch_porter", "dutch", _composed, exceptions=_DUTCH),
    "french": Language("french_light", "french", _composed, _FRENCH),
    "german": Language("german_light", "german", _composed, normal=_plain_german),
    "hungarian": Language("hungarian", "hungarian", _composed),
    "italian": Language("italian_light", "italian", _composed, _ITALIAN),
    "japanese": _CJK,
    "korean": _CJK,
    "portuguese": Language("portuguese_light", "portuguese", _composed),
    "russian": Language("russian", "russian", _composed),
    "spanish": Language("spanish_light", "spanish", _composed),
    "turkish": Language("turkish", "turkish", _turkish_words, _without_suffix),
} | {
    name: Language(f"{name}_lucene", name, _composed)
    for name in ("danish", "finnish", "norwegian", "romanian", "swedish")
}
