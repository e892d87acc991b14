"""The documents and queries that lexical engines are timed on.

`../shared/data/descriptions` where it is present: 181,325 short documents, 1,000 queries. Elsewhere a synthetic corpus
of that size, seeded: words fall off in frequency as Zipf (1949) has it, and a query is some words of one document.
"""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

DESCRIPTIONS = Path(__file__).parents[1] / "../shared/data/descriptions"
DOCUMENTS, QUERIES = 181_325, 1_000

_WORDS = 120_000
_DOCUMENT_LENGTH, _QUERY_LENGTH = 37, 13

#: Ids and texts.
Columns = tuple[list[str], list[str]]


@dataclass(frozen=True)
class Texts:
    """Where the documents lie, for engines that want lists, a folder of JSON lines or a mapped file."""

    folder: Path

    @property
    def json_folder(self) -> Path:
        """A folder with one file of JSON lines, `{"id": ..., "contents": ...}`."""
        return self.folder / "json"

    @property
    def json_lines(self) -> Path:
        """The same as `nirank index` reads it: a file of `{"id": ..., "text": ...}`."""
        return self.folder / "documents.jsonl"

    @property
    def arrow(self) -> Path:
        """The same documents as `nirank.ArrowCorpus` maps them."""
        return self.folder / "documents.arrow"

    def first(self, count: int, folder: Path) -> Texts:
        """The first of the documents and all queries, written into another folder."""
        texts = Texts(folder)
        ids, contents = self.documents()
        _write_all(texts, (ids[:count], contents[:count]), self._queries())
        return texts

    def documents(self) -> Columns:
        """Ids and texts of all documents."""
        return _read(self.json_folder / "documents.jsonl", "contents")

    def queries(self) -> list[str]:
        """The text of each query."""
        return self._queries()[1]

    def _queries(self) -> Columns:
        return _read(self.folder / "queries.jsonl", "text")


def prepare(folder: Path, small: bool) -> tuple[Texts, str]:
    """Write the texts into `folder` in every form that an engine reads; also what they are, in words."""
    texts = Texts(folder)
    if not small and DESCRIPTIONS.is_dir():
        documents = _read(DESCRIPTIONS / "corpus.jsonl.gz", "text")
        queries = _read(DESCRIPTIONS / "queries.jsonl", "text")
        name = "descriptions"
    else:
        documents, queries = synthetic(*((2_000, 50) if small else (DOCUMENTS, QUERIES)))
        name = "a synthetic corpus"
    _write_all(texts, documents, queries)
    return texts, f"{name}: {len(documents[0]):,} documents, {len(queries[0]):,} queries"


def _write_all(texts: Texts, documents: Columns, queries: Columns) -> None:
    texts.json_folder.mkdir(parents=True)
    _write(texts.json_folder / "documents.jsonl", "contents", *documents)
    _write(texts.json_lines, "text", *documents)
    _write(texts.folder / "queries.jsonl", "text", *queries)
    _write_arrow(texts.arrow, *documents)


def synthetic(documents: int, queries: int, seed: int = 0) -> tuple[Columns, Columns]:
    """Ids and texts of documents, and of queries; the same for the same seed."""
    random = np.random.default_rng(seed)
    letters = random.integers(ord("a"), ord("z") + 1, (_WORDS, 9), dtype=np.uint8)
    words = [bytes(row[: 3 + number % 7]).decode() for number, row in enumerate(letters)]
    frequency = 1 / (np.arange(_WORDS) + 2.7)
    lengths = np.maximum(4, random.lognormal(np.log(_DOCUMENT_LENGTH), 0.6, documents).astype(int))
    chosen = random.choice(_WORDS, lengths.sum(), p=frequency / frequency.sum())
    contents = np.split(chosen, np.cumsum(lengths)[:-1])
    asked = [random.permutation(contents[target])[:_QUERY_LENGTH] for target in random.integers(0, documents, queries)]
    return _named("d", contents, words), _named("q", asked, words)


def _named(prefix: str, contents: Iterable[np.ndarray], words: list[str]) -> Columns:
    texts = [" ".join(map(words.__getitem__, numbers.tolist())) for numbers in contents]
    return [f"{prefix}{number}" for number in range(len(texts))], texts


def _read(path: Path, field: str) -> Columns:
    with gzip.open(path, "rt", encoding="utf-8") if path.suffix == ".gz" else path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [row["id"] for row in rows], [row[field] for row in rows]


def _write(path: Path, field: str, ids: list[str], texts: list[str]) -> None:
    with path.open("w", encoding="utf-8") as file:
        file.writelines(json.dumps({"id": name, field: text}) + "\n" for name, text in zip(ids, texts, strict=True))


def _write_arrow(path: Path, ids: list[str], texts: list[str]) -> None:
    from nirank.data import write_corpus

    cuts = range(0, len(ids), 65_536)
    write_corpus(path, ({"id": ids[at : at + 65_536], "text": texts[at : at + 65_536]} for at in cuts), ["text"])
