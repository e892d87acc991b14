"""From text to index terms: words, without possessives and stop words, as stems."""

from __future__ import annotations

from collections.abc import Sequence, Set
from typing import Any, Literal, get_args

from nirank.errors import BadInput, UnknownName
from nirank.kit.text.languages import LANGUAGES, Language

#: Whose rules a language goes by.
Rules = Literal["snowball", "lucene"]
#: The stop words of Lucene's EnglishAnalyzer.
ENGLISH_STOPWORDS = frozenset(
    ["a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not"]
    + ["of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was"]
    + ["will", "with"]
)
_POSSESSIVES = ("'s", "\u2019s", "\uff07s")


def _without_possessive(word: str) -> str:
    return word[:-2] if word.endswith(_POSSESSIVES) else word


_ENGLISH = Language("porter", ENGLISH_STOPWORDS, bare=_without_possessive)


class Analyzer:
    """Turns text into terms; the same one must see documents and queries.

    `language="english"` gives what Lucene's EnglishAnalyzer gives: words (`nirank.kit.text.word_breaks`), possessives
    cut off, 33 stop words left out, Porter's stemmer. Another language goes by `rules`: with "snowball" it gets its
    Snowball stemmer and no stop words, with "lucene" what Lucene's analyser of that language does, where
    `nirank.kit.text.languages` knows it. `stemmer` is `"default"`, `"porter"`, the name of a Snowball algorithm, of a
    light one (`"french_light"`) or None; `stopwords` are given in lower case, None stands for the language's own, `()`
    for none.

    Raises `UnknownName` for a language that has no stemmer, unless `stemmer` is given, and for other rules, `BadInput`
    for stop words that are no list of words.
    """

    def __init__(
        self,
        language: str = "english",
        stemmer: str | None = "default",
        stopwords: Sequence[str] | Set[str] | None = None,
        rules: Rules = "snowball",
    ) -> None:
        if rules not in get_args(Rules):
            raise UnknownName("rules of languages", rules, get_args(Rules))
        own = _language(language, rules)
        if stemmer == "default":
            stemmer = own.default
        if stopwords is None:
            stopwords = own.stopwords
        _check_words(stopwords)
        self.language, self.stemmer = language, stemmer
        self.stopwords = tuple(sorted(set(stopwords)))
        self.rules: Rules = "lucene" if rules == "lucene" and language in LANGUAGES else "snowball"
        #: The words of a text in order, in lower case, of which `term` makes terms.
        self.words = own.cut
        self._bare, self._stem = own.bare, own.stem(stemmer)
        self._dropped = frozenset(self.stopwords)

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (self.language, self.stemmer, self.stopwords, self.rules)

    def __repr__(self) -> str:
        return f"Analyzer({self.language!r}, stemmer={self.stemmer!r}, {len(self.stopwords)} stopwords)"

    @property
    def settings(self) -> dict[str, object]:
        """The settings that decide the terms of a text, to be kept beside an index."""
        rules = {"rules": self.rules} if self.rules == "lucene" else {}  # without, they are what indexes had before
        return {"language": self.language, "stemmer": self.stemmer, "stopwords": list(self.stopwords), **rules}

    def __call__(self, text: str) -> list[str]:
        """The terms of `text`, in order."""
        return [term for term in map(self.term, self.words(text)) if term]

    def term(self, word: str) -> str:
        """The term of one of `words`; empty for one that is left out."""
        word = self._bare(word)
        if word in self._dropped or not word.strip("_"):
            return ""
        return self._stem(word)


def _language(name: str, rules: Rules) -> Language:
    if name == "english":
        return _ENGLISH
    return LANGUAGES[name] if rules == "lucene" and name in LANGUAGES else Language(name, frozenset())


def _check_words(stopwords: Sequence[str] | Set[str]) -> None:
    """Refuse above all a text, which would be taken for the list of its letters."""
    is_list = isinstance(stopwords, Sequence | Set) and not isinstance(stopwords, str)
    if not (is_list and all(isinstance(word, str) for word in stopwords)):
        raise BadInput(f'stopwords is {stopwords!r}; a list of words is accepted, such as ["the", "of"]; [] for none.')
