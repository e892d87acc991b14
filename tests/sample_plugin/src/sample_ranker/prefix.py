"""A generator: documents with words that begin as a word of the query does."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from nirank import Candidates, Corpus, Queries


class Prefix:
    """Finds documents by the first `letters` of each word; the score is how many of the query's they have."""

    def __init__(self, letters: int = 3) -> None:
        self.letters = letters
        self.documents: list[set[str]] = []

    @property
    def index_key(self) -> dict[str, object]:
        """The files depend on how many letters are kept."""
        return {"index": "prefixes", "version": 1, "letters": self.letters}

    def build(self, corpus: Corpus, folder: Path, encode: Any = None) -> None:
        """Write the beginnings of the words of each document."""
        prefixes = [sorted(self._prefixes(content)) for content in corpus[:]]
        (folder / "prefixes.json").write_text(json.dumps(prefixes), encoding="utf-8")

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Read them."""
        self.documents = [set(words) for words in json.loads((folder / "prefixes.json").read_text(encoding="utf-8"))]

    def generate(self, queries: Queries, k: int) -> Candidates:
        """The best `k` documents for each query."""
        wanted = [self._prefixes(content) for content in queries.contents]
        scores = np.array([[len(words & own) for own in self.documents] for words in wanted], np.float32)
        scores = scores.reshape(len(queries), len(self.documents))
        docs = np.broadcast_to(np.arange(len(self.documents)), scores.shape)
        return Candidates.from_matrix(docs, scores, scores > 0).top(k)

    def _prefixes(self, text: str) -> set[str]:
        return {word[: self.letters] for word in re.findall(r"\w+", text.lower())}
