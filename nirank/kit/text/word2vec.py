"""Word vectors from the words around words: skip-gram with negative sampling, both of its matrices kept.

Mikolov et al., Distributed Representations of Words and Phrases and their Compositionality, NeurIPS 2013: a word w and
a word c near it are an example, k words drawn by their frequency to the power 3/4 are its negatives, and

    log sigma(in(w) . out(c)) + sum over the k negatives n of log sigma(-in(w) . out(n))

is made large. Words that occur in the same places have similar vectors IN; a vector IN is similar to the vectors OUT of
the words that occur beside it (Mitra et al., A Dual Embedding Space Model for Document Ranking, 2016).

gensim trains, in C, word by word. The equation is also a loss that nirank trains rankers with, over a batch of scores;
of abstracts (845,000 words, 200 dimensions, 5 words on either side, 5 negatives, one thread) gensim read 145,000 words
a second, and that loss in PyTorch, with sparse gradients and 1,024 pairs a step, 32,000.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, islice, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.offsets import offsets_of
from nirank.data.types import Floats, Ints
from nirank.errors import BadInput
from nirank.files import beside
from nirank.progress import Advance, progress

if TYPE_CHECKING:
    from nirank.kit.text.forward_index import ForwardIndex

#: Texts as numbers: those of text i are `numbers[offsets[i]:offsets[i + 1]]`.
Ragged = tuple[NDArray[np.int64], Ints]

#: Of longer texts gensim would read only the beginning; they are read in pieces.
_LONGEST = 10_000
_TEXTS = 1024  # read at a time


@dataclass(frozen=True, kw_only=True)
class SkipGram:
    """The training of word vectors; equal settings, seed and texts give equal vectors.

    `dim` numbers a vector; `window` words on either side, at most, are near a word; `negatives` are drawn for each;
    words that occur fewer than `min_count` times are left out, and occurrences of those more frequent than `sample` of
    all words are dropped at random (0: none). `learning_rate` falls to 0 over all `epochs`.

    Raises `BadInput` for settings that make no sense.
    """

    dim: int = 200
    window: int = 5
    negatives: int = 5
    epochs: int = 5
    min_count: int = 5
    sample: float = 1e-3
    learning_rate: float = 0.025
    seed: int = 0

    def __post_init__(self) -> None:
        for name in ("dim", "window", "negatives", "epochs", "min_count"):
            if getattr(self, name) < 1:
                raise BadInput(f"{name} is {getattr(self, name)}; it must be 1 or more.")
        if not (0 <= self.sample < 1 and self.learning_rate > 0 and self.seed >= 0):
            raise BadInput(
                f"sample is {self.sample}, learning_rate {self.learning_rate}, seed {self.seed}; expected are a number "
                "from 0 to below 1, one above 0, and one of 0 or more."
            )

    def train(self, texts: Iterable[Ragged], counts: Ints, what: str = "Training word vectors") -> Trained:
        """Vectors of the words of some texts, by number: the most frequent word first, then by rising number.

        `texts` are read once an epoch, a chunk at a time; `counts` say how often each number occurs in them. There may
        be no word that is frequent enough, and then there are no vectors.
        """
        kept = _by_frequency(counts, self.min_count)
        if not len(kept):
            return Trained(kept, *np.zeros((2, 0, self.dim), np.float32))
        model = self._model(counts[kept])
        rows = np.full(len(counts), -1)
        rows[kept] = np.arange(len(kept))
        words = int(counts[kept].sum())
        with progress(what, self.epochs * words) as advance, _quiet():
            read = _Read(texts, rows, advance)
            model.train(read, total_words=words, epochs=self.epochs)
        if read.failure:
            raise read.failure
        return Trained(kept, model.wv.vectors, model.syn1neg)

    def _model(self, counts: Ints) -> Any:
        """A model of gensim's, before training, whose word i occurs `counts[i]` times."""
        from gensim.models import Word2Vec as Model

        model = Model(
            sg=1,
            hs=0,
            vector_size=self.dim,
            window=self.window,
            negative=self.negatives,
            min_count=1,
            sample=self.sample,
            alpha=self.learning_rate,
            min_alpha=0.0,
            seed=self.seed,
            workers=1,  # several write over one another, and no two trainings are the same
            sorted_vocab=0,  # gensim's order of equal counts is another on other processors
        )
        with _quiet():
            model.build_vocab_from_freq(dict(enumerate(counts.tolist())))
        return model


@dataclass(frozen=True, eq=False)
class Trained:
    """The numbers of words, int64 `[words]`, and both vectors of each, float32 `[words, dim]`."""

    numbers: NDArray[np.int64]
    inputs: Floats
    outputs: Floats


@dataclass(frozen=True, eq=False)
class Word2Vec:
    """Words, the most frequent one first, with both vectors of each, float32 `[words, dim]`.

    `about` says how they were made: plain values, whatever the one who made them wants to know again.
    """

    words: Sequence[str]
    inputs: Floats
    outputs: Floats
    about: dict[str, Any]

    @classmethod
    def of_index(cls, index: ForwardIndex, settings: SkipGram, **about: Any) -> Word2Vec:
        """Train vectors of the terms of all documents of an index. Raises `BadInput` where none is frequent enough."""
        trained = settings.train(_Documents(index), index.frequencies)
        return cls._named(trained, [index.vocabulary[number] for number in trained.numbers.tolist()], settings, about)

    @classmethod
    def of_texts(cls, texts: Iterable[Sequence[str]], settings: SkipGram, **about: Any) -> Word2Vec:
        """Train vectors of the words of some texts, read once more than there are epochs.

        Raises `BadInput` where no word is frequent enough.
        """
        counts = Counter(chain.from_iterable(texts))
        words = sorted(counts)
        known = {word: number for number, word in enumerate(words)}
        trained = settings.train(_Numbered(texts, known), np.array([counts[word] for word in words], np.int64))
        return cls._named(trained, [words[number] for number in trained.numbers.tolist()], settings, about)

    @classmethod
    def _named(cls, trained: Trained, words: Sequence[str], settings: SkipGram, about: dict[str, Any]) -> Word2Vec:
        if not words:
            raise BadInput(
                f"no word occurs min_count = {settings.min_count} times, so there is nothing to train: lower it."
            )
        return cls(words, trained.inputs, trained.outputs, about)

    def find(self, words: Sequence[str]) -> NDArray[np.int64]:
        """The row of each word, -1 for those that are not here, `[len(words)]`."""
        return np.fromiter((self._rows.get(word, -1) for word in words), np.int64, len(words))

    @cached_property
    def _rows(self) -> dict[str, int]:
        return {word: row for row, word in enumerate(self.words)}

    def save(self, path: Path) -> None:
        """Write one file of safetensors; what was there is replaced."""
        from safetensors.numpy import save_file

        encoded = [word.encode("utf-8", "surrogatepass") for word in self.words]
        tensors = {
            "inputs": np.ascontiguousarray(self.inputs),
            "outputs": np.ascontiguousarray(self.outputs),
            "text": np.frombuffer(b"".join(encoded), np.uint8),
            "ends": np.cumsum(np.fromiter(map(len, encoded), np.int64, len(encoded))),
        }
        with beside(path) as unfinished:
            save_file(tensors, unfinished, metadata={"about": json.dumps(self.about, sort_keys=True)})

    @classmethod
    def load(cls, path: Path) -> Word2Vec:
        """Read what `save` wrote. Raises `BadInput` for a file that is missing, damaged or something else."""
        from safetensors import SafetensorError, safe_open

        try:
            with safe_open(path, "numpy") as file:
                inputs, outputs, text, ends = map(file.get_tensor, ("inputs", "outputs", "text", "ends"))
                about = json.loads((file.metadata() or {}).get("about", "{}"))
        except (SafetensorError, OSError, ValueError) as error:
            raise BadInput(f"cannot be read as word vectors that nirank's word2vec wrote: {error}", path) from error
        if not len(ends) == len(inputs) == len(outputs):
            raise BadInput(
                f"is damaged: it has {len(ends)} words, {len(inputs)} input and {len(outputs)} output vectors; these "
                "numbers must be equal.",
                path,
            )
        held = text.tobytes()
        words = [held[start:end].decode("utf-8", "surrogatepass") for start, end in pairwise([0, *ends.tolist()])]
        return cls(words, inputs, outputs, about)


def unit(vectors: Floats) -> Floats:
    """The rows of a matrix, made of length 1; those of length 0 stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    lengths[lengths == 0] = 1
    made: Floats = vectors / lengths
    return made


class _Documents:
    """The documents of an index, chunk by chunk, as often as they are asked for."""

    def __init__(self, index: ForwardIndex) -> None:
        self.index = index

    def __iter__(self) -> Iterator[Ragged]:
        offsets = self.index.offsets
        for first in range(0, len(offsets) - 1, _TEXTS):
            here = offsets[first : first + _TEXTS + 1]
            yield here - here[0], self.index.terms[here[0] : here[-1]]


class _Numbered:
    """Texts of words, chunk by chunk, as numbers."""

    def __init__(self, texts: Iterable[Sequence[str]], numbers: dict[str, int]) -> None:
        self.texts, self.numbers = texts, numbers

    def __iter__(self) -> Iterator[Ragged]:
        texts = iter(self.texts)
        while chunk := list(islice(texts, _TEXTS)):
            offsets = offsets_of([*map(len, chunk)])
            numbers = map(self.numbers.__getitem__, chain.from_iterable(chunk))
            yield offsets, np.fromiter(numbers, np.int64, offsets[-1])


class _Read:
    """Texts as gensim reads them: a list of the rows of its known words each, in pieces where it is long.

    gensim reads in a thread, and waits for ever for one that failed. So reading ends instead, and `failure` is kept.
    """

    def __init__(self, texts: Iterable[Ragged], rows: Ints, advance: Advance) -> None:
        self.texts, self.rows, self.advance = texts, rows, advance
        self.failure: Exception | None = None

    def __iter__(self) -> Iterator[list[int]]:
        try:
            for offsets, numbers in self.texts:
                yield from self._pieces(offsets, numbers)
        except Exception as failure:  # told by whoever started the training
            self.failure = failure

    def _pieces(self, offsets: Ints, numbers: Ints) -> Iterator[list[int]]:
        rows = self.rows[numbers]
        known = rows >= 0
        cuts = offsets_of(known)[offsets].tolist()
        flat = rows[known].tolist()
        for start, end in pairwise(cuts):
            for piece in range(start, end, _LONGEST):
                yield flat[piece : min(piece + _LONGEST, end)]
        self.advance(len(flat))


def _by_frequency(counts: Ints, least: int) -> NDArray[np.int64]:
    """The numbers that occur often enough: by falling count, then rising number."""
    kept = np.flatnonzero(counts >= least)
    return kept[np.argsort(-counts[kept].astype(np.int64), kind="stable")]


@contextmanager
def _quiet() -> Iterator[None]:
    """Without gensim's advice on how to feed more workers, and on words it has not seen."""
    log = logging.getLogger("gensim.models.word2vec")
    before = log.level
    log.setLevel(logging.ERROR)
    try:
        yield
    finally:
        log.setLevel(before)
