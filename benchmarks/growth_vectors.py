"""How indexes of vectors grow: made-up vectors of each number are indexed, and then searched in a fresh process."""

# ruff: noqa: D102 (what the methods of engines do is said in `speed_bm25_engines.Lexical`)

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from growth_work import Figures, Work, indexed, searched
from numpy.typing import NDArray
from speed_dense import DIM
from speed_table import OURS
from speed_worker import Engine

_TERMS = 30_522  # of BERT, which SPLADE weighs
_WEIGHED = {1: 24, 2: 150}  # drawn for a query and a document, some of them more than once
_TOKEN_DIM, _WORDS, _NOISE = 128, 5_000, 0.6
_TOKENS = {1: (8, 16), 2: (20, 100)}  # the fewest and the most of a query and of a document


def measure(
    index: str,
    vectors: str,
    asked: Sequence[tuple[int, int]],
    settings: Mapping[str, Any],
    folder: Path,
    size: int,
    threads: int,
) -> Figures:
    """Index and search so many vectors; `asked` are numbers of queries at once, and k."""
    named = {"index": index, "vectors": vectors, "settings": settings}
    engine = Engine(
        OURS,
        "growth_vectors:Nirank",
        settings={**named, "folder": str(folder / "index"), "documents": size, "threads": threads},
    )
    ways = {f"k={k}, batches of {batch:,}": (batch, "search", (batch, k)) for batch, k in asked}
    return indexed(engine, "open", ["load"]) | searched(engine, ways, ["load"])


class Nirank:
    """The pipeline `vectors >> index`, whose index is made where there is none."""

    def __init__(
        self, index: str, vectors: str, settings: dict[str, Any], folder: str, documents: int, threads: int
    ) -> None:
        self.index, self.vectors, self.settings = index, vectors, settings
        self.folder, self.documents, self.threads = Path(folder), documents, threads

    def load(self) -> None:
        """Import what all sizes need, before the clock starts."""
        import torch

        import nirank

        torch.set_num_threads(self.threads)
        nirank.load(self.index, **self.settings)

    def open(self) -> None:
        import nirank

        names = list(map(str, range(self.documents)))
        self.corpus = nirank.Documents(names, names)
        self.pipeline = nirank.load(Drawn(self.vectors)) >> nirank.load(self.index, **self.settings)
        self.pipeline.index(self.corpus, self.folder)

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def search(self, batch: int, k: int) -> None:
        (self.pipeline % k).search(list(map(str, range(batch))), self.corpus)


class Drawn:
    """An encoder that makes up vectors of a kind, the same ones for the same contents.

    Of a sequence that begins with one content, which is a number, there is one draw.
    """

    def __init__(self, vectors: str) -> None:
        self.vectors = vectors
        self.fingerprint = f"the {vectors} vectors of benchmarks/growth_vectors.py"

    def encode(self, queries: Any) -> Any:
        return _DRAWN[self.vectors](queries.contents, 1)

    def encode_documents(self, contents: Sequence[str]) -> Any:
        return _DRAWN[self.vectors](contents, 2)


def dense(contents: Sequence[str], side: int) -> NDArray[np.float32]:
    """Vectors of length one, in any direction, `[contents, DIM]`."""
    return _of_length_one(_random(contents, side).standard_normal((len(contents), DIM), np.float32))


def sparse(contents: Sequence[str], side: int) -> Any:
    """Weights of terms, of which few are in most texts, as Zipf has it."""
    from nirank.data import SparseVectors, offsets_of

    random, drawn = _random(contents, side), _WEIGHED[side]
    terms = np.searchsorted(_frequencies(_TERMS), random.random((len(contents), drawn)))
    keys = np.unique(terms + _TERMS * np.arange(len(contents))[:, None])
    weights = random.gamma(2, 0.4, len(keys)).astype(np.float32)
    offsets = offsets_of(np.bincount(keys // _TERMS, minlength=len(contents)))
    return SparseVectors(offsets, (keys % _TERMS).astype(np.int32), weights, _TERMS)


def tokens(contents: Sequence[str], side: int) -> Any:
    """Vectors of tokens that lie about those of their words, of which few are in most texts."""
    from nirank.data import TokenVectors, offsets_of

    random = _random(contents, side)
    least, most = _TOKENS[side]
    lengths = random.integers(least, most + 1, len(contents))
    words = np.searchsorted(_frequencies(_WORDS), random.random(lengths.sum()))
    noise = random.standard_normal((len(words), _TOKEN_DIM), np.float32) * np.float32(_NOISE / _TOKEN_DIM**0.5)
    return TokenVectors(offsets_of(lengths), _of_length_one(_words()[words] + noise))


@cache
def _words() -> NDArray[np.float32]:
    return _of_length_one(np.random.default_rng(0).standard_normal((_WORDS, _TOKEN_DIM), np.float32))


@cache
def _frequencies(words: int) -> NDArray[np.float64]:
    """The share of texts' words that are of the first so many, `[words]`."""
    sums = np.cumsum(1 / (np.arange(words) + 20))
    return sums / sums[-1]


def _random(contents: Sequence[str], side: int) -> np.random.Generator:
    return np.random.default_rng([side, int(contents[0])])


def _of_length_one(vectors: NDArray[np.float32]) -> NDArray[np.float32]:
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


_DRAWN = {"dense": dense, "sparse": sparse, "tokens": tokens}
_TOKENS_DESCRIBED = (
    f"{_TOKENS[2][0]} to {_TOKENS[2][1]} vectors a document and {_TOKENS[1][0]} to {_TOKENS[1][1]} a query, of "
    f"{_TOKEN_DIM} dimensions, which lie about those of {_WORDS:,} words."
)
EXACT = Work(
    "exact dense search",
    f"Random vectors of length one, {DIM} dimensions.",
    "Of n vectors of d dimensions a query reads n d bytes and multiplies as many, O(n d), and scores some hundred in "
    "float64; an index takes O(n d) time and space. To open it reads all codes once, to add them up.",
    (10_000, 100_000, 1_000_000),
    partial(
        measure,
        "exact",
        "dense",
        [(batch, k) for batch in (1, 32, 1000) for k in (10, 1000)],
        {"device": "cpu", "precision": "int8"},
    ),
)
IMPACT = Work(
    "an index of learned weights, `impact`",
    f"At most {_WEIGHED[2]} weights of {_TERMS:,} terms a document and {_WEIGHED[1]} a query, drawn by Zipf's law.",
    "Of n documents a query reads the O(n) postings of its terms, all of them; an index takes O(n) time and space.",
    (10_000, 100_000, 1_000_000),
    partial(measure, "impact", "sparse", [(1, 10), (100, 10), (100, 1000)], {}),
)
MAXSIM = Work(
    "late interaction, `maxsim`",
    _TOKENS_DESCRIBED,
    "Of n documents a query is compared with all vectors, O(n); an index takes O(n) time and space.",
    (1_000, 10_000, 100_000),
    partial(measure, "maxsim", "tokens", [(1, 10), (50, 10)], {}),
)
PLAID = Work(
    "late interaction over few bits, `plaid`",
    _TOKENS_DESCRIBED,
    "Of n documents there are O(sqrt n) centroids, to which all O(n) vectors are compared when an index is made, "
    "O(n^1.5) time; a query is compared with the centroids, and with at most as many documents as are set.",
    (1_000, 10_000, 100_000),
    partial(measure, "plaid", "tokens", [(1, 10), (50, 10)], {}),
)
