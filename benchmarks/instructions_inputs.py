"""Texts, vectors, tokens and weights that are the same on every machine: drawn by a seed, without a library's products.

Numbers are whole ones of 24 bits, scaled: as float32 they are exact, and their products have to be rounded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import growth_bm25
import numpy as np
from numpy.typing import NDArray

DIM, TOKEN_DIM, QUERY_TOKENS = 384, 128, 32
_LEAST_TOKENS, _MOST_TOKENS = 40, 180
#: Terms of a document, and of a query, as learned weights have them.
_TERMS, _TERMS_OF_QUERY, VOCABULARY = 60, 20, 30_000


@dataclass(frozen=True)
class Inputs:
    """Files in a folder, for `texts` documents and so many vectors, and `token_texts` documents in tokens."""

    folder: Path
    texts: int
    queries: int
    token_texts: int
    token_queries: int

    def write(self) -> str:
        """Write all of them; a hash of what they hold."""
        growth_bm25.write_corpus(self.folder, self.texts, self.queries)
        random = np.random.default_rng(1)
        arrays: dict[str, NDArray[Any]] = {}
        arrays["vectors"], arrays["asked"] = (_numbers(random, rows, DIM) for rows in (self.texts, self.queries))
        lengths = random.integers(_LEAST_TOKENS, _MOST_TOKENS + 1, self.token_texts)
        arrays["lengths"], arrays["tokens"] = lengths, _numbers(random, int(lengths.sum()), TOKEN_DIM)
        arrays["asked_tokens"] = _numbers(random, self.token_queries * QUERY_TOKENS, TOKEN_DIM)
        for name, rows, terms in (("", self.texts, _TERMS), ("asked_", self.queries, _TERMS_OF_QUERY)):
            arrays[f"{name}terms"] = _distinct(random, rows, terms)
            arrays[f"{name}weights"] = np.abs(_numbers(random, rows, terms)) + np.float32(2**-23)
        hashed = hashlib.blake2b(digest_size=8)
        for name, array in arrays.items():
            np.save(self.folder / f"{name}.npy", array)
            hashed.update(array.tobytes())
        hashed.update("\n".join([*self.documents(), *self.texts_of_queries()]).encode())
        return hashed.hexdigest()

    def array(self, name: str) -> NDArray[Any]:
        """What was written under a name."""
        return np.load(self.folder / f"{name}.npy")

    def documents(self) -> list[str]:
        """The documents' texts."""
        from nirank.data import ArrowCorpus

        return list(ArrowCorpus(self.folder / "documents.arrow")[np.arange(self.texts)])

    def texts_of_queries(self) -> list[str]:
        """The queries' texts."""
        lines = (self.folder / "queries.jsonl").read_text(encoding="utf-8").splitlines()
        return [json.loads(line)["text"] for line in lines]


def _numbers(random: np.random.Generator, rows: int, columns: int) -> NDArray[np.float32]:
    whole = random.integers(-(2**23), 2**23, (rows, columns), dtype=np.int32)
    return whole.astype(np.float32) * np.float32(2**-23)


def _distinct(random: np.random.Generator, rows: int, terms: int) -> NDArray[np.int32]:
    """Rising terms of each row, `[rows, terms]`: one out of each of as many parts of the vocabulary."""
    part = VOCABULARY // terms
    drawn = random.integers(0, part, (rows, terms), dtype=np.int32)
    return drawn + np.arange(terms, dtype=np.int32) * np.int32(part)
