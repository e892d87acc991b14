"""The places of a query's words in a text, compared by their stems."""

from __future__ import annotations

import functools

from nirank.kit.text.analysis import Analyzer
from nirank.kit.text.word_breaks import lower, spans, words


class Matcher:
    """Finds the words of a query in texts as the analyser of a `language` compares them.

    Raises `UnknownName` for a language that has no stemmer.
    """

    def __init__(self, language: str = "english") -> None:
        self._term = functools.lru_cache(maxsize=100_000)(Analyzer(language).term)
        self._wanted = functools.lru_cache(maxsize=1000)(self._terms_of)

    def matches(self, query: object, text: str) -> list[tuple[int, int]]:
        """Begin and end of each word of the text that is in the query, in characters."""
        wanted = self._of(query)
        found = spans(lower(text)) if wanted else ()
        return [(start, stop) for start, stop, word in found if self._term(word) in wanted]

    def terms(self, query: object, text: str) -> list[str]:
        """The terms of these words, in order."""
        wanted, term = self._of(query), self._term
        return [found for word in words(text) if (found := term(word)) in wanted] if wanted else []

    def _of(self, query: object) -> frozenset[str]:
        return self._wanted(query) if isinstance(query, str) else frozenset()

    def _terms_of(self, query: str) -> frozenset[str]:
        return frozenset(term for word in words(query) if (term := self._term(word)))
