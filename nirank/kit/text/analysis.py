"""From text to index terms: words, without possessives and stop words, as stems."""

from __future__ import annotations

from collections.abc import Sequence, Set

from nirank.errors import BadInput
from nirank.kit.text.stemming import stemmer as stemmer_called
from nirank.kit.text.word_breaks import words

#: The stop words of Lucene's EnglishAnalyzer.
ENGLISH_STOPWORDS = frozenset(
    ["a", "an", "and", "are", "as", "at", "be", "but", "by", "for", "if", "in", "into", "is", "it", "no", "not"]
    + ["of", "on", "or", "such", "that", "the", "their", "then", "there", "these", "they", "this", "to", "was"]
    + ["will", "with"]
)
_POSSESSIVES = ("'s", "\u2019s", "\uff07s")


class Analyzer:
    """Turns text into terms; the same one must see documents and queries.

    `language="english"` gives what Lucene's EnglishAnalyzer gives: words (`nirank.kit.text.word_breaks`), possessives
    cut off, 33 stop words left out, Porter's stemmer. Another language gets its Snowball stemmer and no stop words.
    `stemmer` is `"default"`, `"porter"`, the name of a Snowball algorithm or None; `stopwords` are given in lower
    case, None stands for the language's own, `()` for none.

    Raises `UnknownName` for a language that Snowball has no stemmer for, unless `stemmer` is given, and `BadInput`
    for stop words that are no list of words.
    """

    def __init__(
        self,
        language: str = "english",
        stemmer: str | None = "default",
        stopwords: Sequence[str] | Set[str] | None = None,
    ) -> None:
        english = language == "english"
        if stemmer == "default":
            stemmer = "porter" if english else language
        if stopwords is None:
            stopwords = ENGLISH_STOPWORDS if english else ()
        _check_words(stopwords)
        self.language, self.stemmer = language, stemmer
        self.stopwords = tuple(sorted(set(stopwords)))
        self._stem = stemmer_called(stemmer)
        self._dropped = frozenset(self.stopwords)
        self._possessives = _POSSESSIVES if english else ()

    def __repr__(self) -> str:
        return f"Analyzer({self.language!r}, stemmer={self.stemmer!r}, {len(self.stopwords)} stopwords)"

    @property
    def settings(self) -> dict[str, object]:
        """The settings that decide the terms of a text, to be kept beside an index."""
        return {"language": self.language, "stemmer": self.stemmer, "stopwords": list(self.stopwords)}

    def __call__(self, text: str) -> list[str]:
        """The terms of `text`, in order."""
        return [term for term in map(self.term, words(text)) if term]

    def term(self, word: str) -> str:
        """The term of one of `words`; empty for one that is left out."""
        if self._possessives and word.endswith(self._possessives):
            word = word[:-2]
        if word in self._dropped or not word.strip("_"):
            return ""
        return self._stem(word)


def _check_words(stopwords: Sequence[str] | Set[str]) -> None:
    """Refuse above all a text, which would be taken for the list of its letters."""
    is_list = isinstance(stopwords, Sequence | Set) and not isinstance(stopwords, str)
    if not (is_list and all(isinstance(word, str) for word in stopwords)):
        raise BadInput(f'stopwords is {stopwords!r}; a list of words is accepted, such as ["the", "of"]; [] for none.')
