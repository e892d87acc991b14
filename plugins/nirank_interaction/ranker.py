"""The base of the rankers of this plugin: they read texts as words, know these words' vectors, and score lists."""

from __future__ import annotations

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from nirank.data import Candidates, Collection, Documents, Explanation, Matches, Queries, to_numpy
from nirank.errors import BadInput
from nirank.kit import weights_digest
from nirank.kit.text import Analyzer, SkipGram
from nirank_interaction import vectors as word_vectors
from nirank_interaction.lexicon import Lexicon, Rarity, learn
from nirank_interaction.lists import WordLists, lists_of
from nirank_interaction.vectors import WordMatrix

#: The value of `vectors` that stands for vectors trained on the collection.
CORPUS = "corpus"
_WORDS, _TERMS, _NETWORK = "words", "terms", "network.safetensors"


@dataclass(frozen=True)
class Embedding:
    """Settings of the vectors of words.

    vectors         where they come from: the path of a file or folder (`nirank_interaction.vectors.read`), or "corpus":
                    skip-gram vectors of 100 numbers of the terms that occur twice, trained on the collection that the
                    ranker is first trained on
    train_vectors   whether training changes them, too
    """

    vectors: str = CORPUS
    train_vectors: bool = False


@dataclass(frozen=True)
class Reading:
    """Settings of how texts are read, and of the first weights: those that all rankers of this plugin have.

    language, stemmer, stopwords   of the analyser that makes terms of words: words of one term match exactly, words
                                   that it leaves out are not read
    max_query                      words of a query that are read; all of them where it is None
    model                          a folder that `save` wrote, with vectors, words and weights
    seed                           of the first weights
    device                         CUDA where it is there, unless named
    """

    language: str = "english"
    stemmer: str | None = "default"
    stopwords: Sequence[str] | None = ()
    max_query: int | None = 64
    model: str | None = None
    seed: int = 0
    device: str | None = None

    def __post_init__(self) -> None:
        _check_length("max_query", self.max_query)

    @property
    def longest_document(self) -> int | None:
        """Words of a document that are read; all of them where it is None."""
        return None


@dataclass(frozen=True)
class BoundedReading(Reading):
    """The same for rankers whose texts are no longer than `max_query` and `max_document` words."""

    max_query: int = 32
    max_document: int = 500

    def __post_init__(self) -> None:
        super().__post_init__()
        _check_length("max_document", self.max_document)

    @property
    def longest_document(self) -> int:
        """Words of a document that are read."""
        return self.max_document


def _check_length(name: str, words: int | None) -> None:
    if words is not None and words < 1:
        raise BadInput(f"{name} = {words}; a number from 1, or None for all words, is expected.")


class Ranker(nn.Module):
    """Scores a pair by its words: a model has `layers`, which makes them, and `forward`, which scores lists."""

    name: ClassVar[str]
    reads = "text"
    batch_size = 4096

    vectors: Tensor
    _lexicon: Lexicon | None = None

    def __init__(
        self, reading: Reading, vectors: str | None, train_vectors: bool | None = None, **settings: Any
    ) -> None:
        """`settings` are the model's own; `vectors` and `train_vectors` are None where it has no such setting."""
        super().__init__()
        self.reading, self.settings = reading, settings
        self._source, self._trains_vectors = vectors, train_vectors
        self._device = torch.device(reading.device or ("cuda" if torch.cuda.is_available() else "cpu"))
        self._analyzer = Analyzer(reading.language, reading.stemmer, reading.stopwords)
        self._given: WordMatrix | None = None
        if reading.model is not None:
            self._load(Path(reading.model))
        elif vectors not in (None, CORPUS):
            self._given = word_vectors.read(str(vectors))
        self.eval()

    def layers(self, dim: int) -> None:
        """Make the layers, for word vectors of `dim` numbers."""
        raise NotImplementedError

    def forward(self, lists: WordLists) -> Tensor:
        """The score of each document of the lists, `[P]`."""
        raise NotImplementedError

    def __repr__(self) -> str:
        shown = {**self.settings, "vectors": self._source}
        return f"{type(self).__name__}({', '.join(f'{name}={value!r}' for name, value in shown.items())})"

    def begin(self, collection: Collection) -> None:
        """Learn how rare terms are, train vectors where none were read, make the layers; what was made is kept."""
        if self._lexicon is not None:
            return
        trains = self._source == CORPUS
        skipgram = SkipGram(dim=100, min_count=2, seed=self.reading.seed) if trains else None
        rarity, trained = learn(collection.corpus, self._analyzer, skipgram)
        self._make(rarity, trained or self._given)

    def score(self, queries: Queries, candidates: Candidates) -> Tensor:
        """One score for each pair, float32 `[pairs]`. Raises `BadInput` for what is no text, and before training."""
        lexicon = self.lexicon
        if not candidates.pairs:
            return torch.zeros(0, device=self.device)
        if candidates.corpus is None:
            raise BadInput(
                f"{self.name} reads documents, but these candidates have no corpus. Set it: candidates.over(corpus)."
            )
        lexicon.make_room()
        docs, contents = np.unique(candidates.docs, return_inverse=True)
        query_words = lexicon.read(queries.contents, self.reading.max_query)
        document_words = lexicon.read(candidates.corpus[docs], self.reading.longest_document)
        lists = lists_of(lexicon, query_words, document_words, candidates.offsets, contents, self.device)
        scored = [(each.pairs, self(each)) for each in lists]
        order = np.argsort(np.concatenate([pairs for pairs, _ in scored]))
        return torch.cat([scores for _, scores in scored])[torch.from_numpy(order).to(self.device)]

    def explain(self, queries: Queries, candidates: Candidates) -> list[Explanation]:
        """Explain each pair by the matrix of its words, and by parts where the model is a sum of some."""
        corpus, lexicon = candidates.corpus_for(self.name), self.lexicon
        lexicon.make_room()
        found = []
        for row, doc in zip(candidates.rows.tolist(), candidates.docs.tolist(), strict=True):
            texts = queries.contents[row], corpus[doc]
            found.append(self._explained(*(str(text) for text in texts)))
        return found

    def parts_of(self, lists: WordLists, words: Sequence[str]) -> Sequence[Explanation]:  # noqa: ARG002 (others do)
        """The parts of the score of a single pair, whose query has these words; none, unless the model is a sum."""
        return ()

    def similarities_of(self, lists: WordLists) -> Tensor:
        """The matrix that the model sees, `[B, U, Q]`."""
        return self.cosines(lists)

    def _explained(self, query: str, document: str) -> Explanation:
        limits = self.reading.max_query, self.reading.longest_document
        read = [self.lexicon.read([text], most) for text, most in zip((query, document), limits, strict=True)]
        (lists,) = lists_of(self.lexicon, *read, np.array([0, 1]), np.array([0]), self.device)
        rows, columns = (self._words_of(text, most) for text, most in zip((query, document), limits, strict=True))
        table = self.similarities_of(lists)[0][lists.tokens].T[: len(rows)]  # [query words, document words]
        matches = Matches(rows, columns, to_numpy(table).astype(np.float32))
        return Explanation(self.name, float(self(lists)[0]), tuple(self.parts_of(lists, rows)), matches=matches)

    def _words_of(self, text: str, most: int | None) -> tuple[str, ...]:
        """The words of a text that are read."""
        return tuple([word for word in self._analyzer.words(text) if self._analyzer.term(word)][:most])

    @property
    def lexicon(self) -> Lexicon:
        """The words it knows. Raises `BadInput` where there are none yet."""
        if self._lexicon is None:
            raise BadInput(
                f"{self.name} has no vocabulary yet: train it with nirank.fit, or set `model` to a saved one."
            )
        return self._lexicon

    @property
    def device(self) -> torch.device:
        """The device of the weights."""
        return next(self.parameters()).device

    def vectors_of(self, known: Any) -> Tensor:
        """The vectors of words, numbers of the lexicon `[W]`; `[W + 1, dim]`, of which the last is 0, for padding."""
        rows = self.lexicon.rows(known)
        at, starts = (torch.from_numpy(part).to(self.vectors.device) for part in (rows.values, rows.offsets))
        return F.embedding_bag(at, self.vectors, starts, mode="mean")  # the mean of nothing is 0

    def cosines(self, lists: WordLists) -> Tensor:
        """The cosines of the words of documents and queries, `[B, U, Q]`: exactly 1 where both have the same term."""
        return lists.cosines(self.vectors_of(lists.known)).masked_fill(lists.exact, 1)

    def save(self, folder: Path) -> dict[str, Any]:
        """Write vectors, terms and weights into a folder in `folder`.

        Returns the table of a stage that builds this scorer again; its path is relative to `folder`.
        """
        for inside in (_WORDS, _TERMS):
            (folder / self.name / inside).mkdir(parents=True, exist_ok=True)
        if self.lexicon.vectors:
            self.lexicon.vectors.save(folder / self.name / _WORDS, self.vectors.detach().cpu().numpy())
        self.lexicon.rarity.save(folder / self.name / _TERMS)
        save_file(self._weights(), folder / self.name / _NETWORK)
        return {"use": f"scorer/{self.name}", **self.settings, **self._read_so, "model": Path(self.name)}

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of all that scores depend on."""
        made = f"{self.settings} {self._read_so}".encode()
        if self._lexicon is not None:
            made += self.lexicon.rarity.fingerprint + weights_digest(self._weights()).encode()
            if known := self.lexicon.vectors:
                made += weights_digest({"vectors": self.vectors}).encode() + known.known_by
        return hashlib.blake2b(made, digest_size=16).hexdigest()

    @property
    def _read_so(self) -> dict[str, Any]:
        """The settings of reading that a saved model keeps, of those that this model has."""
        trained = {} if self._trains_vectors is None else {"train_vectors": self._trains_vectors}
        read = {**trained, **asdict(self.reading), **self._analyzer.settings}
        return {name: value for name, value in read.items() if name not in ("model", "seed", "device")}

    def _weights(self) -> dict[str, Tensor]:
        """The weights without the vectors."""
        return {name: value.contiguous() for name, value in self.state_dict().items() if name != "vectors"}

    def _make(self, rarity: Rarity, vectors: WordMatrix | None) -> None:
        self._lexicon = Lexicon(self._analyzer, rarity, vectors)
        if vectors:
            matrix = torch.from_numpy(vectors.matrix)
            if self._trains_vectors:
                self.vectors = nn.Parameter(matrix.clone())
            else:  # what does not change is in no checkpoint of a training
                self.register_buffer("vectors", matrix, persistent=False)
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.reading.seed)
            self.layers(vectors.dim if vectors else 0)
        self.to(self._device).train(self.training)

    def _load(self, folder: Path) -> None:
        vectors = None if self._source is None else WordMatrix.load(folder / _WORDS)
        self._make(Rarity.load(folder / _TERMS), vectors)
        try:
            self.load_state_dict(load_file(folder / _NETWORK) | self._own_vectors())
        except (SafetensorError, OSError, RuntimeError) as error:
            raise BadInput(f"cannot be loaded as weights of {self!r}: {error}", folder / _NETWORK) from error

    def _own_vectors(self) -> dict[str, Tensor]:
        return {"vectors": self.vectors} if self._trains_vectors else {}


def ready(ranker: Ranker) -> Ranker:
    """A ranker made ready on a few sentences, with its first weights: for `tiny`."""
    texts = ["a small cat sat on the warm mat", "the dog ran over a long bridge", "a fast red car", "zebra 東京 a car"]
    ranker.begin(Collection("tiny", Documents(list("abcd"), texts), Queries.of([]), Candidates.empty(0)))
    return ranker
