"""The Snowball stemmers of Danish, Norwegian and Swedish as Lucene has them, which are those of Snowball 2.

Snowball 3 has other rules for some endings, so its stems are not Lucene's. The algorithms are described on
snowballstem.org. All of them look for endings in the region R1 alone: what is behind the first consonant after a vowel,
and behind the third letter.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Nordic:
    """One of the languages.

    vowels      its vowels
    endings     those of inflexion, which are taken off
    before_s    letters behind which an s is such an ending
    pairs       of consonants, whose second is taken off
    changed     other endings of inflexion, with what they become
    derived     endings of derivation, which are taken off
    lessened    endings of derivation that lose letters: what they become
    """

    vowels: str
    endings: frozenset[str]
    before_s: re.Pattern[str]
    pairs: frozenset[str]
    derived: frozenset[str]
    changed: Mapping[str, str] = field(default_factory=dict)
    lessened: Mapping[str, str] = field(default_factory=dict)

    def inflexion(self, word: str, start: int) -> str:
        """The word without its longest ending of inflexion in R1, which begins at `start`."""
        ending = _longest(word, start, self.endings | self.changed.keys() | {"s"})
        stem = word[: len(word) - len(ending)]
        if ending == "s" and not self.before_s.search(stem):
            return word
        return stem + self.changed.get(ending, "")

    def pair(self, word: str, start: int) -> str:
        """The word without the second consonant of a pair at its end."""
        return word[:-1] if word[-2:] in self.pairs and len(word) - 2 >= start else word

    def derivation(self, word: str, start: int) -> str:
        """The word without its longest ending of derivation."""
        ending = _longest(word, start, self.derived | self.lessened.keys())
        return word[: len(word) - len(ending)] + self.lessened.get(ending, "")

    def region(self, word: str) -> int:
        """The place where R1 begins; of a word without one, its end."""
        found = re.search(f"[{self.vowels}][^{self.vowels}]", word) if len(word) > 2 else None
        return max(3, found.end()) if found else len(word)


def _longest(word: str, start: int, endings: frozenset[str]) -> str:
    """The longest of the endings that a word has behind `start`; empty where it has none."""
    sizes = range(min(len(word) - start, _LONGEST), 0, -1)
    return next((word[-size:] for size in sizes if word[-size:] in endings), "")


def _set(endings: str) -> frozenset[str]:
    return frozenset(endings.split())


_LONGEST = 7
_DANISH = Nordic(
    "aeiouyæåø",
    _set(
        "hed ethed ered e erede ende erende ene erne ere en heden eren er heder erer heds es endes erendes "
        "enes ernes eres ens hedens erens ers ets erets et eret"
    ),
    re.compile("[abcdfghjklmnoprtvyzå]$"),
    frozenset(["gd", "dt", "gt", "kt"]),
    frozenset(["ig", "lig", "elig", "els"]),
    lessened={"løst": "løs"},
)
_NORWEGIAN = Nordic(
    "aeiouyæåø",
    _set(
        "a e ede ande ende ane ene hetene en heten ar er heter as es edes endes enes hetenes ens hetens ers "
        "ets et het ast"
    ),
    re.compile("(?:[bcdfghjlmnoprtvyz]|[^aeiouyæåø]k)$"),
    frozenset(["dt", "vt"]),
    _set("leg eleg ig eig lig elig els lov elov slov hetslov"),
    changed={"erte": "er", "ert": "er"},
)
_SWEDISH = Nordic(
    "aeiouyäåö",
    _set(
        "a arna erna heterna orna ad e ade ande arne are aste en anden aren heten ern ar er heter or as arnas "
        "ernas ornas es ades andes ens arens hetens erns at andet het ast"
    ),
    re.compile("[bcdfghjklmnoprtvy]$"),
    frozenset(["dd", "gd", "nn", "dt", "gt", "kt", "tt"]),
    frozenset(["lig", "ig", "els"]),
    lessened={"löst": "lös", "fullt": "full"},
)
_TWICE = re.compile(r"([bcdfghjklmnpqrstvwxz])\1$")


def danish(word: str) -> str:
    """The stem of a Danish word."""
    start = _DANISH.region(word)
    word = _DANISH.pair(_DANISH.inflexion(word, start), start)
    word = word.removesuffix("st") if word.endswith("igst") else word
    derived = _DANISH.derivation(word, start)
    if derived != word and not word.endswith("løst"):
        derived = _DANISH.pair(derived, start)
    return derived[:-1] if _TWICE.search(derived) and len(derived) > start else derived


def norwegian(word: str) -> str:
    """The stem of a Norwegian word."""
    return _in_turn(_NORWEGIAN, word)


def swedish(word: str) -> str:
    """The stem of a Swedish word."""
    return _in_turn(_SWEDISH, word)


def _in_turn(language: Nordic, word: str) -> str:
    start = language.region(word)
    for step in (language.inflexion, language.pair, language.derivation):
        word = step(word, start)
    return word


#: The stemmers by the names that settings have.
NORDIC: dict[str, Callable[[str], str]] = {f"{stem.__name__}_lucene": stem for stem in (danish, norwegian, swedish)}
