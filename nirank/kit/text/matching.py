"""The places of a query's words in a text, compared by their stems."""

from __future__ import annotations

import functools

from nirank.kit.text.analysis import Analyzer
from nirank.kit.text.word_breaks import lower, spans, words

#: Longer runs without a space are texts of scripts that have none: they do not come again, and are not remembered.
_LONGEST_RUN = 64


class Matcher:
    """Finds the words of a query in texts as the analyser of a `language` compares them.

    Most runs of characters between spaces come again and again, so their terms are remembered, and only those that have
    a term of the query are read word by word. Raises `UnknownName` for a language that has no stemmer.
    """

    def __init__(self, language: str = "english") -> None:
        self._term = functools.lru_cache(maxsize=100_000)(Analyzer(language).term)
        self._known = functools.lru_cache(maxsize=100_000)(self._terms_of)
        self._wanted = functools.lru_cache(maxsize=1000)(self._terms_of)

    def matches(self, query: object, text: str) -> list[tuple[int, int]]:
        """Begin and end of each word of the text that is in the query, in characters."""
        return [(start, stop) for start, stop, _ in self.found(query, text)]

    def found(self, query: object, text: str) -> list[tuple[int, int, str]]:
        """Begin and end of each of these words, and its term, in order."""
        wanted = self._wanted(query) if isinstance(query, str) else frozenset()
        if not wanted:
            return []
        found, at = [], 0
        runs = lower(text).split(" ")
        having = {run for run in {*runs} if not self._terms_in(run).isdisjoint(wanted)}
        for run in runs:
            if run in having:
                read = ((at + start, at + stop, self._term(word)) for start, stop, word in spans(run))
                found += [match for match in read if match[2] in wanted]
            at += len(run) + 1
        return found

    def _terms_in(self, run: str) -> frozenset[str]:
        return self._known(run) if len(run) <= _LONGEST_RUN else self._terms_of(run)

    def _terms_of(self, text: str) -> frozenset[str]:
        return frozenset(term for word in words(text) if (term := self._term(word)))
