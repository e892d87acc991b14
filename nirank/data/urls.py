"""Corpora at URLs, wherever fsspec reaches: `s3://bucket/corpus.arrow`, `gs://`, `memory://`, `file://`.

A corpus is mapped into memory, so the file is copied: once for each machine, into the cache, under the fingerprint of
its documents. Who needs some ranges of it alone, as a worker of a cluster does, reads these where they lie
(`UrlRanges`), and copies nothing.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank import seals
from nirank.data import attributes
from nirank.data.arrow_files import BATCHES, fingerprint_of, hash_of, map_table, stamped, text_columns
from nirank.data.columns import join_texts
from nirank.data.offsets import offsets_of
from nirank.errors import BadInput, DamagedFile, MissingDependency, NirankError
from nirank.files import beside, cache_folder
from nirank.hashing import digest

if TYPE_CHECKING:
    import pyarrow as pa

#: Batches of a file that are kept: a range lies in two as a rule.
_KEPT = 2


def is_url(place: Any) -> bool:
    """True for a text such as `s3://bucket/corpus.arrow`."""
    return isinstance(place, str) and "://" in place


def local_copy(url: str) -> Path:
    """The path of a copy in the cache, made unless it is there; attributes and seals lie beside it.

    Raises `BadInput` for what cannot be read or has no fingerprint, `DamagedFile` where the copy is not what was
    written, `MissingDependency` without fsspec or its package for this protocol.
    """
    with _reached(url) as (files, path), files.open(path, "rb") as file:
        fingerprint, _ = _stamp_of(_opened(file), url)
        named = [name for name in _names(Path(path).name) if files.exists(_sibling(path, name))]
        others = [
            files.cat_file(_sibling(path, name)) for name in named if name.endswith(f"attributes.arrow.{seals.SEAL}")
        ]
    key = f"{fingerprint}-{digest([other.decode() for other in others])[:8]}" if others else fingerprint
    folder = cache_folder() / "corpora" / "of-urls" / key
    copy = folder / Path(path).name
    if not copy.exists():
        _copy(url, named, folder, fingerprint)
    return copy


def name_of(url: str) -> str:
    """The name of the file at a URL. Raises as `local_copy` does."""
    with _reached(url) as (_, path):
        return Path(path).name


def upload(folder: Path, url: str) -> None:
    """Copy the corpus of this name in a folder, with attributes and seals, to a URL. Raises as `local_copy` does."""
    with _reached(url) as (files, target):
        files.makedirs(files._parent(target), exist_ok=True)
        for name in _names(Path(target).name):
            if (folder / name).exists():
                files.put_file(str(folder / name), _sibling(target, name))


class UrlRanges:
    """Ranges of the documents of a corpus at a URL, read where it lies: `ranges[start:stop]` are their contents.

    `field` is one field, or several as one text, instead of the whole content. Raises `ValueError` where the documents
    are not those of `fingerprint`, `BadInput` for what cannot be read, or was written before files said where batches
    begin.
    """

    def __init__(self, url: str, fingerprint: str, field: str | tuple[str, ...] | None = None) -> None:
        self.url = url
        with _reached(url) as (files, path):
            self._file = _opened(files.open(path, "rb"))
        found, batches = _stamp_of(self._file, url)
        if found != fingerprint:
            raise ValueError(
                f"{url} is another corpus now: its fingerprint is {found[:12]}, and that of the one that is encoded "
                f"{fingerprint[:12]}."
            )
        if batches is None:
            raise BadInput(f"{url} does not say where its batches begin: write it again with write_corpus.")
        self.offsets, self._hashes = offsets_of([count for count, _ in batches]), [hashed for _, hashed in batches]
        fields = [name for name in text_columns(self._file.schema, Path(url)) if name != "id"]
        self._names = fields if field is None else [field] if isinstance(field, str) else list(field)
        if strangers := [name for name in self._names if name not in fields]:
            raise BadInput(f"{url} has no text column {strangers[0]!r}; there are {', '.join(fields)}.")
        self._batch = functools.lru_cache(_KEPT)(self._read)

    def __len__(self) -> int:
        return int(self.offsets[-1])

    def __getitem__(self, which: slice) -> list[str]:
        start, stop, _ = which.indices(len(self))
        return [text for part in self._parts(start, stop) for text in part.to_pylist()]

    def _parts(self, start: int, stop: int) -> Iterator[pa.Array]:
        """The contents of a range, batch by batch."""
        first, last = np.searchsorted(self.offsets, [start, stop - 1], side="right") - 1 if start < stop else (0, -1)
        for number in range(int(first), int(last) + 1):
            begin = int(self.offsets[number])
            yield self._batch(number)[max(0, start - begin) : stop - begin]

    def _read(self, number: int) -> pa.Array:
        """The contents of a batch. Raises `DamagedFile` where it is not what was written."""
        import pyarrow as pa

        try:
            batch = self._file.get_batch(number)
            batch.validate(full=True)
            sound = hash_of(batch) == self._hashes[number]
            columns = [batch[name].cast(pa.large_string()) for name in self._names]
        except (OSError, ValueError, pa.ArrowException) as error:
            raise DamagedFile(f"{self.url} cannot be read: {error}.") from error
        if not sound:
            raise DamagedFile(f"{self.url} is damaged: its contents are not those that were written. Write it again.")
        return join_texts(columns)


def _copy(url: str, names: Iterable[str], folder: Path, fingerprint: str) -> None:
    """Copy the files of a corpus into a folder, which appears when they are whole."""
    try:
        with beside(folder) as unfinished, _reached(url) as (files, path):
            unfinished.mkdir()
            for name in names:
                files.get_file(_sibling(path, name), str(unfinished / name))
            copied, again = unfinished / Path(path).name, f"Write {url} again; it may have been replaced meanwhile."
            sealed = seals.check_file(copied, again)
            table, stamp = map_table(copied)
            if (stamp if sealed else fingerprint_of(table)) != fingerprint:
                raise DamagedFile(f"is not what {url} said that it is. {again}", copied)
    except OSError:
        if not folder.exists():  # else another process was faster
            raise


def _names(name: str) -> list[str]:
    """The names of the files that make up a corpus; its seal is the last."""
    own, beside_it = Path(name), attributes.path_beside(Path(name))
    return [beside_it.name, f"{beside_it.name}.{seals.SEAL}", own.name, f"{own.name}.{seals.SEAL}"]


def _sibling(path: str, name: str) -> str:
    return "/".join([*path.split("/")[:-1], name])


def _opened(file: Any) -> Any:
    import pyarrow as pa

    return pa.ipc.open_file(pa.PythonFile(file, mode="r"))


def _stamp_of(reader: Any, url: str) -> tuple[str, list[tuple[int, str]] | None]:
    """The fingerprint in a file, and documents and hash of each batch. Raises `BadInput` where there is none."""
    fingerprint, metadata = stamped(reader)
    if fingerprint is None:
        raise BadInput(f"{url} has no fingerprint: write it with nirank.data.write_corpus.")
    if BATCHES not in metadata:
        return fingerprint, None
    return fingerprint, [(int(count), str(hashed)) for count, hashed in json.loads(metadata[BATCHES])]


@contextmanager
def _reached(url: str) -> Iterator[tuple[Any, str]]:
    """The file system of a URL, and the path there. Its errors are `BadInput`."""
    try:
        import fsspec
    except ImportError as error:
        raise MissingDependency(f"{url} needs the package fsspec: pip install 'nirank[urls]'.") from error
    try:
        yield fsspec.core.url_to_fs(url)
    except NirankError:
        raise
    except ImportError as error:
        raise MissingDependency(f"{url} cannot be reached: {error}.") from error
    except Exception as error:  # of whatever package speaks this protocol
        raise BadInput(f"{url} cannot be read or written: {type(error).__name__}: {error}.") from error
