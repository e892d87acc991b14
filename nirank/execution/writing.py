"""Texts that a writer writes for documents: kept on disk by writer and content, so that each is written once.

They lie in `written/` of the cache, in a folder for each writer: Arrow files of some hundred texts, each under the hash
of the content that it was written for. A process that is killed loses the texts of one file at most, and a corpus that
has grown has only its new documents written for.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.columns import gather, to_array, to_column
from nirank.data.corpus import ArrowCorpus, field_of
from nirank.data.corpus_files import write_corpus
from nirank.data.fingerprint import content_bytes
from nirank.data.ids import ITERATED, Ids
from nirank.data.types import Content, Corpus
from nirank.execution import stages
from nirank.files import cache_folder
from nirank.hashing import digest
from nirank.progress import progress

if TYPE_CHECKING:
    import pyarrow as pa

#: Documents whose texts are in one file.
CHUNK = 512
_TEXT = "text"


def write_texts(writer: Component, corpus: Corpus) -> pa.ChunkedArray:
    """The text that a writer writes for each document, a column of strings; of several each has a line of its own.

    What was written before for a document of the same content is taken from the cache, unless nothing is known of the
    writer that would tell it from another one.
    """
    corpus = field_of(corpus, writer.field)
    if not (writer.recognised and writer.traits.cacheable):
        return to_column([text for _, texts in _written(writer, corpus, np.arange(len(corpus))) for text in texts])
    keys, folder = _keys(corpus), _folder(writer)
    missing = np.flatnonzero(_Known.read(folder).find(keys) < 0)
    _, first = np.unique(keys[missing], return_index=True)
    for docs, texts in _written(writer, corpus, missing[np.sort(first)]):
        names = keys[docs].tolist()
        write_corpus(folder / f"{digest(names)[:16]}.arrow", [{"id": names, _TEXT: texts}], [_TEXT])
    known = _Known.read(folder)
    return to_column(gather(known.texts, known.find(keys)))


def _written(
    writer: Component, corpus: Corpus, docs: NDArray[np.int64]
) -> Iterator[tuple[NDArray[np.int64], list[str]]]:
    """Some documents after the other, and the texts that are written for them now."""
    with progress(f"Writing with {writer.name}", len(docs)) as advance:
        for start in range(0, len(docs), CHUNK):
            some = docs[start : start + CHUNK]
            yield some, stages.write(writer, corpus[some])
            advance(len(some))


class _Known:
    """The texts of a writer, and the hashes of the contents that they are for."""

    def __init__(self, ids: Ids, texts: pa.ChunkedArray) -> None:
        self.ids, self.texts = ids, texts

    @classmethod
    def read(cls, folder: Path) -> _Known:
        """All files of a folder. Raises `DamagedFile` for one that is not as it was written."""
        import pyarrow as pa

        files = [ArrowCorpus(path) for path in sorted(folder.glob("*.arrow"))]
        ids = [file.ids.gather(np.arange(len(file))) for file in files]
        texts = [to_array(file.column(_TEXT, slice(None))) for file in files]
        columns = (pa.chunked_array([to_array([]), *column]) for column in (ids, texts))
        return cls(Ids(next(columns), unique=True), next(columns))

    def find(self, keys: NDArray[np.str_]) -> NDArray[np.int64]:
        """The place of the text for each hash, -1 where there is none."""
        return self.ids.find(keys.tolist())


def _folder(writer: Component) -> Path:
    return cache_folder() / "written" / f"{writer.name}-{writer.fingerprint[:16]}"


def _keys(corpus: Corpus) -> NDArray[np.str_]:
    """A hash of each content, `[documents]`."""
    found: list[str] = []
    for start in range(0, len(corpus), ITERATED):
        found += map(_key, corpus[start : start + ITERATED])
    return np.array(found, "U32")


def _key(content: Content) -> str:
    return hashlib.blake2b(content_bytes(content), digest_size=16).hexdigest()
