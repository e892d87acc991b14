"""Corpora as files: written beside and moved into place, and kept in the cache."""

from __future__ import annotations

import hashlib
import logging
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from nirank.data import attributes
from nirank.data.arrow_files import map_table, write_batches
from nirank.data.corpus import ArrowCorpus
from nirank.data.ids import refuse_repeated
from nirank.data.urls import is_url, name_of, upload
from nirank.errors import BadInput, DamagedFile
from nirank.files import cache_folder
from nirank.seals import sealed

log = logging.getLogger("nirank")

_FORMAT = 2  # of the files in the cache; 1 was without attributes
_LONGEST_NAME = 50  # characters, of at most four bytes, of 255 that a name may have
_ENDS = 1 << 16  # bytes at the head and at the tail of a source that are hashed


def write_corpus(
    path: str | Path, batches: Iterable[Mapping[str, Any]], fields: Sequence[str] = ("title", "text")
) -> ArrowCorpus:
    """Write documents into an Arrow file and open it.

    Each batch maps `"id"` and every field to equally many strings; only one batch is in memory at a time. Whatever
    else it has, texts, numbers or truth values, are attributes, which a file beside `path` keeps. Files are written
    elsewhere and moved into place; for a URL that fsspec knows they are written here and copied there. Raises
    `RepeatedId`, and `BadInput` where no documents came.
    """
    if is_url(path):
        with tempfile.TemporaryDirectory(dir=_made(cache_folder()), prefix=".upload-") as folder:
            write_corpus(Path(folder) / name_of(str(path)), batches, fields)
            upload(Path(folder), str(path))
        return ArrowCorpus(path)
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    with sealed(path) as unfinished, attributes.Spool(path.parent) as spool:
        write_batches(unfinished, spool.taking(iter(batches), fields), fields)
        written, fingerprint = map_table(unfinished)
        if not written.num_rows:
            raise BadInput("a corpus without documents cannot be written.", path)
        refuse_repeated(written["id"])
        spool.write(attributes.path_beside(path), fingerprint)
    return ArrowCorpus(path)


def _made(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def cached_corpus(
    name: str,
    depends_on: Iterable[object],
    batches: Callable[[], Iterable[Mapping[str, Any]]],
    *,
    fields: Sequence[str] = ("title", "text"),
    cache: str | Path | None = None,
    origin: str | Path | None = None,
) -> ArrowCorpus:
    """A corpus from the cache; where it is not there yet, it is written from `batches()` as by `write_corpus`.

    The printed form of `depends_on` identifies what it was made from: another source, version or date is another
    corpus. `name` only makes the file recognisable. `cache` is `cache_folder()` if None. `origin` is what the user
    named: errors about the documents name it, as they must never name one in the cache.
    """
    source = "\n".join(map(str, (_FORMAT, *fields, *depends_on)))
    key = hashlib.blake2b(source.encode("utf-8", "surrogateescape"), digest_size=8).hexdigest()
    shown = name[:_LONGEST_NAME].encode("utf-8", "replace").decode()  # a file's name may hold what is no text
    path = Path(cache or cache_folder()) / "corpora" / f"{shown}-{key}.arrow"
    if path.exists():
        try:
            return ArrowCorpus(path)
        except DamagedFile as fault:
            log.warning("%s It is now made again.", fault)
    return write_corpus(path, batches() if origin is None else _not_empty(batches(), origin), fields)


def _not_empty(batches: Iterable[Mapping[str, Any]], origin: str | Path) -> Iterator[Mapping[str, Any]]:
    """The batches; raises `BadInput` with `origin` where there is no document in them."""
    documents = 0
    for batch in batches:
        documents += len(batch["id"])
        yield batch
    if not documents:
        raise BadInput("the corpus is empty; at least one document is needed.", origin)


def source_state(path: Path) -> tuple[str, ...]:
    """The state of a file, for `depends_on`: path, size, times, and a hash of its head and tail.

    The time of the last change (ctime) is kept by the system: a file that was changed under the same size and time of
    modification has another one.
    """
    try:
        state = path.stat()
        digest = hashlib.blake2b(digest_size=16)
        with path.open("rb") as file:
            digest.update(file.read(_ENDS))
            file.seek(max(0, state.st_size - _ENDS))
            digest.update(file.read(_ENDS))
    except OSError as fault:
        raise BadInput(f"the file cannot be read: {fault.strerror or fault}.", path) from fault
    return (str(path), str(state.st_size), str(state.st_mtime_ns), str(state.st_ctime_ns), digest.hexdigest())
