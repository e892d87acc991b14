"""Analysers of Lucene by language, as Anserini chooses them: they make terms of text."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

from nirank.errors import BadInput, UnknownName
from nirank_lucene.java import java, utf16

ENGLISH = "english"
#: Text that was cut into terms elsewhere: white space parts them.
WHITESPACE = "whitespace"
_CODES = {
    "arabic": "ar",
    "bengali": "bn",
    "chinese": "zh",
    "danish": "da",
    "dutch": "nl",
    "finnish": "fi",
    "french": "fr",
    "german": "de",
    "hindi": "hi",
    "hungarian": "hu",
    "indonesian": "id",
    "italian": "it",
    "japanese": "ja",
    "korean": "ko",
    "norwegian": "no",
    "persian": "fa",
    "polish": "pl",
    "portuguese": "pt",
    "russian": "ru",
    "spanish": "es",
    "swedish": "sv",
    "telugu": "te",
    "thai": "th",
    "turkish": "tr",
    "ukrainian": "uk",
}
_STEMMERS = {"default": "porter", "porter": "porter", "krovetz": "krovetz", None: "none"}


@dataclass(frozen=True)
class LuceneAnalysis:
    """An analyser by its settings: `language` is "english", another that Anserini knows, or "whitespace".

    English is stemmed by "porter" (the default), "krovetz" or not at all (None), and loses its stop words unless
    `stopwords` is False. Another language has its own analyser, which takes no such settings. Raises `UnknownName` for
    other names, `BadInput` for settings that a language does not take.
    """

    language: str = ENGLISH
    stemmer: str | None = "default"
    stopwords: bool = True

    def __post_init__(self) -> None:
        if self.language not in {ENGLISH, WHITESPACE, *_CODES}:
            raise UnknownName("language of Lucene", self.language, {ENGLISH, WHITESPACE, *_CODES})
        if self.stemmer not in _STEMMERS:
            raise UnknownName("stemmer of Lucene", str(self.stemmer), filter(None, _STEMMERS))
        if self.language != ENGLISH and (self.stemmer, self.stopwords) != ("default", True):
            raise BadInput(
                f"stemmer and stopwords are settings for English, but language = {self.language!r}: leave them out."
            )

    def __getstate__(self) -> dict[str, Any]:
        return asdict(self)  # without Lucene's object

    @property
    def settings(self) -> dict[str, Any]:
        """The settings that decide the terms of a text."""
        return asdict(self) | {"stemmer": _STEMMERS[self.stemmer]}

    @property
    def as_nirank(self) -> dict[str, Any] | None:
        """The settings of nirank's own analyser that gives the same terms; None where there is none."""
        if self.language != ENGLISH or self.stemmer == "krovetz":
            return None
        from nirank.kit.text import Analyzer

        stemmer = None if self.stemmer is None else "porter"
        return Analyzer(stemmer=stemmer, stopwords=None if self.stopwords else ()).settings

    @cached_property
    def analyzer(self) -> Any:
        """Lucene's object, which may be used by several threads."""
        if self.language == ENGLISH:
            english = java("io.anserini.analysis.DefaultEnglishAnalyzer")
            return english.fromArguments(_STEMMERS[self.stemmer], not self.stopwords, None)
        if self.language == WHITESPACE:
            return java("org.apache.lucene.analysis.core.WhitespaceAnalyzer")()
        return java("io.anserini.analysis.AnalyzerMap").getLanguageSpecificAnalyzer(_CODES[self.language])

    def counts(self, text: str) -> Counter[str]:
        """The terms of a text, with how often each occurs."""
        terms = java("io.anserini.analysis.AnalyzerUtils").analyze(self.analyzer, utf16(text))
        return Counter(terms.toArray())
