"""Lucene indexes on disk: written in the order of a corpus, or made elsewhere and opened with the corpus' ids.

An index that nirank made has one segment, whose documents stand in the order of the corpus: the number that Lucene
gives a document is its ordinal, and Lucene's own rule for equal scores is nirank's. Its fields are Anserini's: `id`,
stored and with doc values, and `contents`, with vectors of terms, so that pyserini opens it too.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Corpus, Ints
from nirank.errors import BadInput, StaleIndex
from nirank_lucene.analysis import LuceneAnalysis
from nirank_lucene.java import cast, java, java_error, utf16

ID, CONTENTS = "id", "contents"
#: Of the files that `write` makes.
LAYOUT = 1
_ORDINALS = "ordinals.npy"
_DOCUMENTS = 1024  # are read from the corpus at a time
_IDS = 1 << 14  # are read from an index at a time


def write(corpus: Corpus, analysis: LuceneAnalysis, folder: Path, memory: int) -> None:
    """Write the index of `corpus`, whose contents are texts, into `folder`; `memory` MB hold what is not on disk yet.

    Raises `BadInput` for a content that is no text.
    """
    writer = _writer(analysis, folder, memory)
    try:
        for document in _documents(corpus):
            writer.addDocument(document)
        writer.forceMerge(1)
    except BaseException:
        writer.rollback()
        raise
    writer.close()


def _writer(analysis: LuceneAnalysis, folder: Path, memory: int) -> Any:
    config = java("org.apache.lucene.index.IndexWriterConfig")(analysis.analyzer)
    config.setRAMBufferSizeMB(float(memory))
    config.setMergePolicy(java("org.apache.lucene.index.LogByteSizeMergePolicy")())  # of neighbours: order stays
    return java("org.apache.lucene.index.IndexWriter")(_directory(folder), config)


def _documents(corpus: Corpus) -> Iterator[Any]:
    """One document of Lucene, which is filled again and again."""
    document, fields = java("org.apache.lucene.document.Document")(), _Fields()
    for field in (fields.name, fields.values, fields.contents):
        document.add(field)
    for start in range(0, len(corpus), _DOCUMENTS):
        here = slice(start, start + _DOCUMENTS)
        for name, text in zip(corpus.ids[here], corpus[here], strict=True):
            fields.fill(name, text)
            yield document


class _Fields:
    """The fields of a document: its id, to be searched and stored, the same as a value, and its text."""

    def __init__(self) -> None:
        stored = java("org.apache.lucene.document.Field$Store").YES
        self._bytes = java("org.apache.lucene.util.BytesRef")
        self.name = java("org.apache.lucene.document.StringField")(ID, "", stored)
        self.values = java("org.apache.lucene.document.BinaryDocValuesField")(ID, self._bytes(b""))
        kind = java("org.apache.lucene.document.FieldType")()
        kind.setIndexOptions(java("org.apache.lucene.index.IndexOptions").DOCS_AND_FREQS)
        kind.setStoreTermVectors(True)
        text = cast("java.lang.CharSequence", java("java.lang.String")(""))
        self.contents = java("org.apache.lucene.document.Field")(CONTENTS, text, kind)

    def fill(self, name: str, text: Any) -> None:
        """Have the fields of another document."""
        if not isinstance(text, str):
            raise BadInput(f"the document {name!r} is of the type {type(text).__name__}; Lucene searches texts (str).")
        name = utf16(name)
        self.name.setStringValue(name)
        self.values.setBytesValue(self._bytes(name.encode()))
        self.contents.setStringValue(utf16(text))


@dataclass(frozen=True, eq=False)
class Index:
    """An open index. `ordinals` are those of Lucene's documents, -1 for deleted ones; None where both are the same."""

    reader: Any
    ordinals: NDArray[np.int64] | None = None

    @classmethod
    def of(cls, folder: Path, corpus: Corpus) -> Index:
        """The index that `write` made. Raises `StaleIndex` where it is of another corpus."""
        reader = _open(folder)
        if reader.maxDoc() != len(corpus):
            raise StaleIndex(
                f"The index in {folder} is of {reader.maxDoc():,} documents, but the corpus has {len(corpus):,}. "
                "Build it again, or search the corpus that it was made of."
            )
        return cls(reader)

    @cached_property
    def in_order(self) -> bool:
        """True where documents stand in the order of the corpus, so that Lucene's rule for equal scores is nirank's."""
        if self.ordinals is None:
            return True
        present = self.ordinals[self.ordinals >= 0]
        return bool((present[1:] > present[:-1]).all())

    def documents(self, numbers: Ints) -> Ints:
        """Lucene's numbers of documents as ordinals."""
        return numbers if self.ordinals is None else self.ordinals[numbers]


# Indexes made elsewhere


def made(folder: Path) -> str:
    """A hash of what an index holds: Lucene marks every commit by a number that no other has.

    Raises `BadInput` where the folder has no index of Lucene.
    """
    commits = [path for path in folder.glob("segments_*") if path.is_file()]
    if not commits:
        raise BadInput(
            f"there is no Lucene index in {folder}: it has no file segments_N. Set `index` to a folder that has one."
        )
    latest = max(commits, key=lambda path: int(path.name.removeprefix("segments_"), 36))
    return hashlib.blake2b(latest.read_bytes(), digest_size=16).hexdigest()


def match(elsewhere: Path, corpus: Corpus, folder: Path) -> None:
    """Write into `folder` which document of an index made elsewhere is which of the corpus, by their ids.

    Raises `BadInput` where the index has an id that the corpus lacks, or one id twice: documents could not be named.
    """
    reader = _open(elsewhere)
    ordinals = np.full(reader.maxDoc(), -1)
    for numbers, ids in _ids(reader):
        ordinals[numbers] = corpus.ids.find(ids)
        unknown = np.flatnonzero(ordinals[numbers] < 0)
        if len(unknown):
            other = f"the index has the document {ids[unknown[0]]!r}, which is not in the corpus"
            raise BadInput(f"{other}; search the corpus that it was made of.", elsewhere)
    present = ordinals[ordinals >= 0]
    if len(np.unique(present)) < len(present):
        twice = corpus.ids[int(np.flatnonzero(np.bincount(present) > 1)[0])]
        raise BadInput(f"the index has several documents with the id {twice!r}; ids must be unique.", elsewhere)
    np.save(folder / _ORDINALS, ordinals)


def matched(elsewhere: Path, folder: Path) -> Index:
    """The index made elsewhere, with what `match` found. Raises `StaleIndex` where that is gone."""
    path = folder / _ORDINALS
    if not path.is_file():
        raise StaleIndex(f"{folder} is incomplete: {_ORDINALS} is missing. Remove it to have it built again.")
    return Index(_open(elsewhere), np.load(path, mmap_mode="r"))


def _ids(reader: Any) -> Iterator[tuple[Ints, list[str]]]:
    """The documents that are not deleted, some at a time: their numbers and their ids."""
    searcher = java("org.apache.lucene.search.IndexSearcher")(reader)
    everything, last = java("org.apache.lucene.search.MatchAllDocsQuery")(), None
    scored = java("io.anserini.search.ScoredDocs")
    while True:
        top = searcher.searchAfter(last, everything, _IDS)
        found = scored.fromTopDocs(top, searcher)
        numbers = np.array(found.lucene_docids, np.int64)
        if not len(numbers):
            return
        yield numbers, list(found.docids)
        last = top.scoreDocs[-1]


def _open(folder: Path) -> Any:
    """A reader of an index, which knows itself as one."""
    try:
        reader = java("org.apache.lucene.index.DirectoryReader").open(_directory(folder))
    except java_error() as error:
        raise StaleIndex(f"Lucene cannot open the index in {folder}: {error.innermessage}") from error
    return cast("org.apache.lucene.index.IndexReader", reader)


def _directory(folder: Path) -> Any:
    path = java("java.nio.file.Paths").get(str(folder))
    return java("org.apache.lucene.store.FSDirectory").open(path)
