"""Small corpora with vectors of their own for tests of stores: dense enough in ties that rounding shows."""

from __future__ import annotations

import hashlib

import numpy as np

import nirank
from nirank.data import Queries

DIM = 48


def vector_of(text):
    """A vector of a text, the same in every process; texts that end alike after `=` have the same one."""
    seed = int.from_bytes(hashlib.blake2b(text.rpartition("=")[2].encode(), digest_size=8).digest(), "big")
    return np.random.default_rng(seed).standard_normal(DIM).astype(np.float32)


class Hashed:
    """An encoder; `asked` counts the documents that it has encoded."""

    vectors = "dense"
    fingerprint = "hashed"

    def __init__(self):
        self.asked = []
        self.before = lambda texts: None

    def encode(self, queries):
        return np.array([vector_of(text) for text in queries.contents], np.float32).reshape(-1, DIM)

    def encode_documents(self, texts):
        self.before(texts)
        self.asked += list(texts)
        return np.array([vector_of(text) for text in texts], np.float32).reshape(-1, DIM)


def corpus(count, first=0, **changed):
    """Documents `d0`, `d1`, ...; every tenth has the vector of the one before it. Some texts may be changed by id."""
    numbers = range(first, first + count)
    texts = [f"text {n}={n - 1 if n % 10 == 9 else n}" for n in numbers]
    ids = [f"d{n}" for n in numbers]
    texts = [changed.get(name, text) for name, text in zip(ids, texts, strict=True)]
    return nirank.Documents(ids, texts, fields={"year": [2000 + n % 30 for n in numbers]})


def queries(count):
    return Queries.of([f"query {n}" for n in range(count)])
