"""Texts as numbers of words, and what a model knows of each word: its term, how rare that is, and the rows of its
vector.

Words are those of `nirank.kit.text.word_breaks`, in lower case; those that the analyser leaves out (stop words, where
there are any) do not count. The *term* of a word is what the analyser makes of it, by default its stem: two words match
exactly where they have the same term.
"""

from __future__ import annotations

import hashlib
import tempfile
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file

from nirank.data import Content, Corpus, Floats, offsets_of
from nirank.errors import BadInput
from nirank.kit.text import Analyzer, ForwardIndex, SkipGram, Vocabulary, Word2Vec, require_text
from nirank.kit.text import words as words_of
from nirank_interaction.vectors import WordMatrix

Numbers = NDArray[np.int64]

_COUNTS = "counts.safetensors"
#: The number of words, and of letters of texts, that are remembered at most; then all are forgotten.
_WORDS, _LETTERS = 1 << 20, 1 << 26


@dataclass(frozen=True, eq=False)
class Rarity:
    """Document frequencies of the terms of a vocabulary: `counts` int64 `[terms]`, in `documents` documents."""

    vocabulary: Vocabulary
    counts: Numbers
    documents: int

    def idf(self, terms: Sequence[str]) -> Floats:
        """`ln(1 + (N - df + 0.5) / (df + 0.5))` of each term, as in BM25; df is 0 for those not seen, `[terms]`."""
        found = self.vocabulary.find(terms)
        counts = np.append(self.counts, 0)[found]
        return np.log1p((self.documents - counts + 0.5) / (counts + 0.5)).astype(np.float32)

    @property
    def largest(self) -> float:
        """The idf of a term that was not seen."""
        return float(np.log1p((self.documents + 0.5) / 0.5))

    @property
    def fingerprint(self) -> bytes:
        """A hash of all of it."""
        hashed = hashlib.blake2b(self.counts.tobytes() + self.vocabulary.text.tobytes(), digest_size=16)
        return hashed.digest() + str(self.documents).encode()

    def save(self, folder: Path) -> None:
        """Write terms and counts into `folder`."""
        self.vocabulary.save(folder)
        save_file({"counts": self.counts, "documents": np.array([self.documents])}, folder / _COUNTS)

    @classmethod
    def load(cls, folder: Path) -> Rarity:
        """Read what `save` wrote. Raises `BadInput` where it is incomplete or damaged."""
        try:
            tensors, vocabulary = load_file(folder / _COUNTS), Vocabulary.load(folder)
            counts, documents = tensors["counts"], int(tensors["documents"][0])
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise BadInput(f"does not have the terms that are saved with a model: {error}", folder) from error
        if len(counts) != len(vocabulary):
            raise BadInput(f"is damaged: it has {len(counts)} counts for {len(vocabulary)} terms.", folder)
        return cls(vocabulary, counts, documents)


def learn(corpus: Corpus, analyzer: Analyzer, skipgram: SkipGram | None) -> tuple[Rarity, WordMatrix | None]:
    """The rarity of the terms of a corpus and, where `skipgram` says how to train them, their vectors."""
    with tempfile.TemporaryDirectory() as folder:
        ForwardIndex.write(corpus, analyzer, Path(folder))
        index = ForwardIndex.load(Path(folder))
        vectors = None
        if skipgram:
            trained = Word2Vec.of_index(index, skipgram)
            vectors = WordMatrix.of_words(trained.words, trained.inputs, stems=True)
        held = Vocabulary(*(np.array(getattr(index.vocabulary, name)) for name in ("hashes", "offsets", "text")))
        return Rarity(held, np.array(index.document_frequencies), len(index)), vectors


@dataclass(frozen=True, eq=False)
class Ragged:
    """Rows of different lengths: row `i` is `values[offsets[i]:offsets[i + 1]]`."""

    values: Numbers
    offsets: Numbers

    @classmethod
    def of(cls, rows: Sequence[Numbers]) -> Ragged:
        """From one array a row."""
        return cls(np.concatenate([np.empty(0, np.int64), *rows]), offsets_of([*map(len, rows)]))

    @property
    def lengths(self) -> Numbers:
        """The length of each row."""
        return np.diff(self.offsets)

    def take(self, rows: Numbers) -> Ragged:
        """A selection of the rows."""
        lengths = self.lengths[rows]
        offsets = offsets_of(lengths)
        return Ragged(
            self.values[np.repeat(self.offsets[rows] - offsets[:-1], lengths) + np.arange(offsets[-1])], offsets
        )


class Lexicon:
    """Gives words numbers as they come up, and remembers the texts that it has read, within bounds."""

    def __init__(self, analyzer: Analyzer, rarity: Rarity, vectors: WordMatrix | None) -> None:
        self.analyzer, self.rarity, self.vectors = analyzer, rarity, vectors
        self.forget()

    def forget(self) -> None:
        """Forget all texts and words; earlier numbers mean nothing any more."""
        self._texts: dict[str, Numbers] = {}
        self._letters = 0
        self._numbers: dict[str, int] = {}
        self._term_numbers: dict[str, int] = {}
        self._terms, self._idf = array("q"), array("f")
        self._rows, self._ends = array("q"), array("q", [0])

    def make_room(self) -> None:
        """Forget everything where too much is remembered: to be called when no numbers are in use."""
        if self._letters > _LETTERS or len(self._numbers) > _WORDS:
            self.forget()

    def __len__(self) -> int:
        return len(self._terms)

    def read(self, contents: Sequence[Content], longest: int | None = None) -> Ragged:
        """The numbers of the first `longest` words of each text. Raises `BadInput` for what is no text."""
        texts = require_text(contents, "content")
        if new := [text for text in dict.fromkeys(texts) if text not in self._texts]:
            self._read(new)
        return Ragged.of([self._texts[text][:longest] for text in texts])

    def terms(self, numbers: Numbers) -> Numbers:
        """The terms of words, as numbers: equal where words match exactly."""
        return np.frombuffer(self._terms, np.int64)[numbers] if len(self) else np.zeros(0, np.int64)

    def idf(self, numbers: Numbers) -> Floats:
        """The idf of the terms of words, float32."""
        return np.frombuffer(self._idf, np.float32)[numbers] if len(self) else np.zeros(0, np.float32)

    def rows(self, numbers: Numbers) -> Ragged:
        """The rows of the vectors of words."""
        return Ragged(np.frombuffer(self._rows, np.int64), np.frombuffer(self._ends, np.int64)).take(numbers)

    def _read(self, texts: Sequence[str]) -> None:
        found = [words_of(text) for text in texts]
        self._add([word for word in dict.fromkeys(chain.from_iterable(found)) if word not in self._numbers])
        for text, words in zip(texts, found, strict=True):
            numbers = np.fromiter(map(self._numbers.__getitem__, words), np.int64, len(words))
            self._texts[text] = numbers[numbers >= 0]
            self._letters += len(text)

    def _add(self, words: Sequence[str]) -> None:
        """Give numbers to new words; -1 to those that the analyser leaves out."""
        terms = [self.analyzer.term(word) for word in words]
        kept = [(word, term) for word, term in zip(words, terms, strict=True) if term]
        self._numbers.update(dict.fromkeys(words, -1))
        self._numbers.update({word: len(self) + place for place, (word, _) in enumerate(kept)})
        self._terms.extend(self._term_numbers.setdefault(term, len(self._term_numbers)) for _, term in kept)
        self._idf.frombytes(self.rarity.idf([term for _, term in kept]).tobytes())
        if self.vectors and kept:
            rows = self.vectors.rows([pair[self.vectors.known.stems] for pair in kept])
            self._rows.extend(chain.from_iterable(rows))
            self._ends.frombytes((self._ends[-1] + np.cumsum([*map(len, rows)])).astype(np.int64).tobytes())
