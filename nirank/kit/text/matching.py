"""The places of a query's words in a text, compared by their stems."""

from __future__ import annotations

import functools
from collections.abc import Iterator

from nirank.kit.text.analysis import Analyzer
from nirank.kit.text.word_breaks import lower, spans


class Matcher:
    """Finds the words of a query in texts as the analyser of a `language` compares them.

    Raises `UnknownName` for a language that has no stemmer.
    """

    def __init__(self, language: str = "english") -> None:
        self._term = functools.lru_cache(maxsize=100_000)(Analyzer(language).term)
        self._wanted = functools.lru_cache(maxsize=1000)(self._terms_of)

    def matches(self, query: object, text: str) -> list[tuple[int, int]]:
        """Begin and end of each word of the text that is in the query, in characters."""
        return [(start, stop) for start, stop, _ in self._found(query, text)]

    def terms(self, query: object, text: str) -> Iterator[str]:
        """The terms of these words, in order."""
        return (term for _, _, term in self._found(query, text))

    def _found(self, query: object, text: str) -> Iterator[tuple[int, int, str]]:
        wanted = self._wanted(query) if isinstance(query, str) else frozenset()
        for start, stop, word in spans(lower(text)) if wanted else ():
            if (term := self._term(word)) in wanted:
                yield start, stop, term

    def _terms_of(self, query: str) -> frozenset[str]:
        return frozenset(term for _, _, word in spans(lower(query)) if (term := self._term(word)))
