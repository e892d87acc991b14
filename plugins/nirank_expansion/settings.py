"""Settings that several encoders of this plugin have: of text, and of word vectors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass

from nirank.kit.text import Analyzer, Rules, SkipGram


@dataclass(frozen=True)
class TermAnalysis:
    """Settings of `nirank.kit.text.analysis.Analyzer`, which are to be those of the ranking that follows."""

    language: str = "english"
    stemmer: str | None = "default"
    stopwords: Sequence[str] | None = None
    rules: Rules = "lucene"

    @property
    def analyzer(self) -> Analyzer:
        """The analyser itself."""
        return Analyzer(self.language, self.stemmer, self.stopwords, self.rules)


@dataclass(frozen=True)
class VectorTraining:
    """Settings of `nirank.kit.text.word2vec.SkipGram` for word vectors of which all occurrences of words count."""

    dim: int = 50
    window: int = 5
    negatives: int = 5
    epochs: int = 10
    min_count: int = 2
    seed: int = 0

    @property
    def skipgram(self) -> SkipGram:
        """The trainer. Raises `BadInput` for settings that make no sense."""
        return SkipGram(**{"sample": 0.0, **asdict(self)})


@dataclass(frozen=True)
class SampledTraining(VectorTraining):
    """The same where occurrences of frequent words are dropped at random: those more frequent than `sample` of all."""

    dim: int = 200
    sample: float = 1e-3
