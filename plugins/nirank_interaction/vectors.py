"""Vectors of words: where they come from, and which rows of a matrix a word is made of.

A word has the mean of its rows: the one of its own in a list of words, or those of its pieces where a tokenizer cuts
words up, as with the input embeddings of a transformer. A word that has neither gets three of the last rows, which are
random, chosen by a hash of its letters: so it has the same vector everywhere, nearly at right angles to all others.
"""

from __future__ import annotations

import functools
import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from nirank.data import Floats
from nirank.errors import BadInput
from nirank.kit.text import Vocabulary, Word2Vec, lower
from nirank.kit.transformers import word_tokenizer
from nirank_interaction import wordfiles

if TYPE_CHECKING:
    from tokenizers import Tokenizer

_MATRIX, _TOKENIZER, _KIND = "vectors.safetensors", "tokenizer.json", "kind"
#: Rows for words without vectors, and how many of them such a word has.
_UNKNOWN, _EACH = 1024, 3
#: What the matrix of input embeddings is called in models of the library transformers.
_EMBEDDINGS = ("word_embeddings.weight", "embed_tokens.weight", "wte.weight", "shared.weight", "tok_embeddings.weight")


class RowFinder(Protocol):
    """A way from words to their rows."""

    def __call__(self, words: Sequence[str]) -> list[list[int]]:
        """The rows of each word, none for one that is not known."""

    def save(self, folder: Path) -> None:
        """Write it into `folder`."""


@dataclass(frozen=True, eq=False)
class WordRows:
    """Words with a row each: row `i` is that of word `i` of the vocabulary. `stems` where these are stems of words."""

    vocabulary: Vocabulary
    stems: bool = False

    def __call__(self, words: Sequence[str]) -> list[list[int]]:
        """The row of each word, none for one that is not known."""
        return [[row] if row >= 0 else [] for row in self.vocabulary.find(words).tolist()]

    def save(self, folder: Path) -> None:
        """Write the words."""
        self.vocabulary.save(folder)


class Pieces:
    """Words cut up by a tokenizer, whose ids are rows; its piece for what it does not know is left out."""

    stems = False

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        model = json.loads(tokenizer.to_str())["model"]
        named = model.get("unk_token")
        self._unknown = model.get("unk_id") if named is None else tokenizer.token_to_id(named)

    def __call__(self, words: Sequence[str]) -> list[list[int]]:
        """The rows of each word."""
        valid = [word.encode("utf-8", "replace").decode() for word in words]  # a tokenizer takes no lone surrogates
        cut = self.tokenizer.encode_batch_fast(valid, add_special_tokens=False)
        return [[row for row in pieces.ids if row != self._unknown] for pieces in cut]

    def save(self, folder: Path) -> None:
        """Write the tokenizer."""
        self.tokenizer.save(str(folder / _TOKENIZER))


@dataclass(frozen=True, eq=False)
class WordMatrix:
    """A matrix, float32 `[rows, dim]`, whose last rows are for unknown words; `known` finds the rows of the others."""

    matrix: Floats
    known: WordRows | Pieces

    @classmethod
    def of(cls, matrix: Floats, known: WordRows | Pieces) -> WordMatrix:
        """The matrix with rows for unknown words added, as long as those of other words are on average."""
        random = np.random.default_rng(0).standard_normal((_UNKNOWN, matrix.shape[1]), np.float32)
        length = float(np.sqrt((matrix.astype(np.float32) ** 2).sum(1).mean()))
        unknown = random * np.float32(length * np.sqrt(_EACH / matrix.shape[1]))
        return cls(np.concatenate([matrix.astype(np.float32), unknown]), known)

    @classmethod
    def of_words(cls, words: Sequence[str], matrix: Floats, stems: bool = False) -> WordMatrix:
        """From a list of words, which are looked up in lower case: of `Cat` and `cat` the latter counts."""
        rows = {word: row for row, word in enumerate(words) if word == lower(word)}
        for row, word in enumerate(words):
            rows.setdefault(lower(word), row)
        vocabulary, order = Vocabulary.of(rows)
        return cls.of(matrix[np.fromiter(rows.values(), np.int64, len(rows))[order]], WordRows(vocabulary, stems))

    @property
    def dim(self) -> int:
        """The length of a vector."""
        return self.matrix.shape[1]

    @functools.cached_property
    def known_by(self) -> bytes:
        """A hash of how words find their rows; without the matrix, which a model may have trained."""
        known = self.known
        described = known.tokenizer.to_str().encode() if isinstance(known, Pieces) else known.vocabulary.text.tobytes()
        return hashlib.blake2b(described, digest_size=16).digest()

    def rows(self, words: Sequence[str]) -> list[list[int]]:
        """The rows that each word is the mean of; there is one at least."""
        found = self.known(words)
        return [rows or self._unknown(word) for rows, word in zip(found, words, strict=True)]

    def _unknown(self, word: str) -> list[int]:
        hashed = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=4 * _EACH).digest()
        return (len(self.matrix) - _UNKNOWN + np.frombuffer(hashed, "<u4") % _UNKNOWN).tolist()

    def save(self, folder: Path, matrix: Floats | None = None) -> None:
        """Write all of it into `folder`, with the matrix as it is now where it was trained."""
        kind = "pieces" if isinstance(self.known, Pieces) else "stems" if self.known.stems else "words"
        now = self.matrix if matrix is None else matrix
        save_file({"vectors": np.ascontiguousarray(now)}, folder / _MATRIX, metadata={_KIND: kind})
        self.known.save(folder)

    @classmethod
    def load(cls, folder: Path) -> WordMatrix:
        """Read what `save` wrote. Raises `BadInput` where it is incomplete or damaged."""
        try:
            with safe_open(folder / _MATRIX, "numpy") as file:
                matrix, kind = file.get_tensor("vectors"), (file.metadata() or {})[_KIND]
            if kind == "pieces":
                return cls(matrix, Pieces(word_tokenizer(folder / _TOKENIZER, len(matrix) - _UNKNOWN)))
            vocabulary = Vocabulary.load(folder)
        except (SafetensorError, OSError, KeyError, ValueError) as error:
            raise BadInput(f"does not have the word vectors that are saved with a model: {error}", folder) from error
        if len(vocabulary) + _UNKNOWN != len(matrix):
            raise BadInput(f"is damaged: it has {len(matrix) - _UNKNOWN} vectors for {len(vocabulary)} words.", folder)
        return cls(matrix, WordRows(vocabulary, kind == "stems"))


def read(vectors: str) -> WordMatrix:
    """The word vectors of a file or a folder.

    A folder holds a tokenizer (`tokenizer.json`, or its only JSON file) and safetensors: with a `config.json` those of
    a transformer, of which the input embeddings are taken, and otherwise one matrix, as WordLlama's. A file ends in
    `.safetensors` (what `nirank.kit.text.word2vec.Word2Vec.save` wrote; its vectors IN are taken) or is one of
    those that `nirank_interaction.wordfiles` reads. Raises `BadInput` for anything else, and for what is damaged.
    """
    path = Path(vectors).expanduser()
    if path.is_dir():
        matrix = _embeddings(path)
        return WordMatrix.of(matrix, Pieces(word_tokenizer(_tokenizer_file(path), len(matrix))))
    if not path.exists():
        raise BadInput('does not exist; the path of word vectors is expected, or "corpus" to train them.', path)
    if path.suffix == ".safetensors":
        found = Word2Vec.load(path)
        return WordMatrix.of_words(found.words, found.inputs)
    return WordMatrix.of_words(*wordfiles.read(path))


def _embeddings(folder: Path) -> Floats:
    """The one matrix in the files of safetensors, or that of the input embeddings."""
    matrices = dict(chain.from_iterable(map(_matrices, sorted(folder.glob("*.safetensors")))))
    named = [name for name in matrices if name.endswith(_EMBEDDINGS)]
    chosen = named if (folder / "config.json").exists() else list(matrices)
    if len(chosen) != 1:
        found = ", ".join(sorted(chosen or matrices)[:5]) or "none"
        raise BadInput(f"one matrix of word vectors is expected in files *.safetensors; found: {found}.", folder)
    path, name = matrices[chosen[0]], chosen[0]
    import torch
    from safetensors.torch import load_file

    tensor: torch.Tensor = load_file(path)[name].float()  # numpy has no bfloat16
    if not bool(torch.isfinite(tensor).all()):
        raise BadInput(f"{name} contains NaN or infinity.", path)
    return np.asarray(tensor.numpy())


def _matrices(path: Path) -> Iterable[tuple[str, Path]]:
    try:
        with safe_open(path, "numpy") as file:
            names = [name for name in file.keys() if len(file.get_slice(name).get_shape()) == 2]  # noqa: SIM118
    except SafetensorError as error:
        raise BadInput(f"is not a file of safetensors: {error}", path) from error
    return [(name, path) for name in names]


def _tokenizer_file(folder: Path) -> Path:
    found = [path for path in folder.glob("*.json") if path.name == _TOKENIZER] or sorted(folder.glob("*.json"))
    if len(found) != 1:
        raise BadInput(f"has {len(found)} files *.json, but no {_TOKENIZER}; one tokenizer is expected.", folder)
    return found[0]
