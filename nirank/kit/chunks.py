"""The vectors of a corpus chunk by chunk, wherever each is encoded: in order for who writes them, and none twice.

A chunk is the unit of the work: encoded by another process it is the same to the bit, and one that is cut elsewhere is
not, for a model sees other batches. Chunks that come before their turn wait in files, so that a process that dies loses
those under way and no others.
"""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.types import Content, Corpus
from nirank.data.vectors import Vectors
from nirank.errors import ComponentError
from nirank.files import beside

#: What waits for its turn, in the folder of an index that grows.
WAITING = "waiting"
_RANGE = "range of documents"

Encode = Callable[[Sequence[Content]], Vectors]
Columns = Mapping[str, NDArray[Any]]


def in_order(
    corpus: Corpus, encode: Encode, chunk: int, folder: Path, columns: Callable[[Any], Columns], done: int = 0
) -> Iterator[tuple[int, Columns]]:
    """The first document of each chunk of `chunk` documents after the first `done`, and what `columns` makes of it.

    `encode` is what an index is built with. Raises `ComponentError` for a chunk that nobody asked for, that comes
    twice, or that never comes.
    """
    expected = [range(start, min(start + chunk, len(corpus))) for start in range(done, len(corpus), chunk)]
    waiting = _Waiting(folder / WAITING, expected)
    with _closing(made_of(corpus, encode, waiting.missing)) as made:
        for turn in expected:
            while turn.start not in waiting.places:
                waiting.put(*_next(made, waiting, turn), columns, turn)
            yield turn.start, waiting.take(turn)
        _refuse_more(made)
    waiting.close()


def as_made(corpus: Corpus, encode: Encode, ranges: Sequence[range]) -> Iterator[tuple[range, Vectors]]:
    """The vectors of each range of documents as they are made, in any order, for who can write them so.

    Raises `ComponentError` as `in_order` does.
    """
    left = dict.fromkeys(ranges)
    with _closing(made_of(corpus, encode, ranges)) as made:
        while left:
            one, vectors = _asked_for(next(made, None), left, next(iter(left)))
            del left[one]
            yield one, vectors
        _refuse_more(made)


def made_of(corpus: Corpus, encode: Encode, ranges: Sequence[range]) -> Iterator[tuple[range, Vectors]]:
    """The vectors of ranges in any order, from an encoding that can be asked for these, else one after the other."""
    of_ranges = getattr(encode, "of_ranges", None)
    if of_ranges is not None:
        return iter(of_ranges(corpus, ranges))
    return ((one, encode(corpus[one.start : one.stop])) for one in ranges)


@dataclass(frozen=True)
class Partly:
    """Encodes what is not known of a corpus, `new` `[documents]` being true for it.

    `mixed` makes the vectors of a range of which some are known; a range that is all new is encoded as if none were.
    """

    encode: Encode
    new: NDArray[np.bool_]
    mixed: Callable[[range], Vectors]

    def __call__(self, contents: Sequence[Content]) -> Vectors:
        """The vectors of contents, encoded."""
        return self.encode(contents)

    def of_ranges(self, corpus: Corpus, ranges: Sequence[range]) -> Iterator[tuple[range, Vectors]]:
        """The vectors of each range of documents; those of which some are known first, made here."""
        whole = [one for one in ranges if self.new[one.start : one.stop].all()]
        for one in sorted(set(ranges) - set(whole), key=lambda one: one.start):
            yield one, self.mixed(one)
        yield from made_of(corpus, self.encode, whole)


@contextmanager
def _closing(made: Iterator[tuple[range, Vectors]]) -> Iterator[Iterator[tuple[range, Vectors]]]:
    """The iterator, closed when the block ends: who encodes elsewhere lets go of what is under way."""
    try:
        yield made
    finally:
        if callable(close := getattr(made, "close", None)):
            close()


def _next(made: Iterator[tuple[range, Vectors]], waiting: _Waiting, turn: range) -> tuple[range, Vectors]:
    return _asked_for(next(made, None), waiting.open, turn)


def _asked_for(found: tuple[range, Vectors] | None, wanted: Container[range], turn: range) -> tuple[range, Vectors]:
    """Pass on a range that was made, if it is wanted and whole; `turn` is one that is missing still."""
    if found is None:
        raise ComponentError(f"{_named(turn)} never came: what encodes a corpus is to answer for each range.")
    if not (isinstance(found, tuple) and len(found) == 2 and isinstance(found[0], range)):
        raise ComponentError(f"what encodes a corpus yielded {found!r:.80}: a range and its vectors are expected.")
    one, vectors = found
    if one not in wanted:
        raise ComponentError(f"{_named(one)} came, and was not asked for, or came before: each is to come once.")
    try:
        count = vectors.shape[0] if hasattr(vectors, "shape") else len(vectors)
    except (TypeError, IndexError) as error:
        raise ComponentError(f"{_named(one)} came with {vectors!r:.80}, and no vectors.") from error
    if count != len(one):
        raise ComponentError(f"{_named(one)} came with {count:,} vectors.")
    return one, vectors


def _refuse_more(made: Iterator[tuple[range, Vectors]]) -> None:
    if (more := next(made, None)) is not None:
        told = _named(more[0]) if isinstance(more, tuple) and isinstance(more[0], range) else repr(more)[:80]
        raise ComponentError(f"{told} came when all had come: each is to come once.")


def _named(one: range) -> str:
    return f"the chunk of documents {one.start:,} up to {one.stop:,}"


class _Waiting:
    """Chunks that came before their turn: in a file each, but for the one whose turn it is."""

    def __init__(self, folder: Path, expected: Sequence[range]) -> None:
        self.folder = folder
        kept = {one.start: path for one in expected if (path := folder / f"{one.start}-{one.stop}.npz").exists()}
        #: By first document where a chunk is, a file or its columns.
        self.places: dict[int, Path | Columns] = {first: path for first, path in kept.items() if _is_whole(path)}
        self.missing = [one for one in expected if one.start not in self.places]
        self.open = set(self.missing)

    def put(self, one: range, vectors: Vectors, columns: Callable[[Any], Columns], turn: range) -> None:
        """Take in a chunk, into a file unless it is its turn."""
        self.open.remove(one)
        found = columns(vectors)
        self.places[one.start] = found if one == turn else self._kept(one, found)

    def take(self, turn: range) -> Columns:
        """The chunk whose turn it is. Its file is removed when the next is taken: it is written only then."""
        self._forget()
        found = self.places.pop(turn.start)
        if not isinstance(found, Path):
            return found
        self._taken = found
        with np.load(found, allow_pickle=False) as columns:
            return {name: column for name, column in columns.items() if name != _RANGE}

    def close(self) -> None:
        """Remove the files: all was written."""
        shutil.rmtree(self.folder, ignore_errors=True)

    _taken: Path | None = None

    def _forget(self) -> None:
        if self._taken is not None:
            self._taken.unlink(missing_ok=True)
            self._taken = None

    def _kept(self, one: range, columns: Columns) -> Path:
        self.folder.mkdir(exist_ok=True)
        path = self.folder / f"{one.start}-{one.stop}.npz"
        with beside(path) as partial, partial.open("wb") as file:
            named: dict[str, Any] = {**columns, _RANGE: [one.start, one.stop]}
            np.savez(file, **named)
        return path


def _is_whole(path: Path) -> bool:
    """True for a file of the chunk that its name says, whose columns are as they were written: each has a checksum."""
    try:
        with zipfile.ZipFile(path) as kept:
            sound = kept.testzip() is None
        with np.load(path, allow_pickle=False) as columns:
            return sound and path.stem == "-".join(map(str, columns[_RANGE].tolist()))
    except (OSError, zipfile.BadZipFile, EOFError, KeyError, ValueError):
        return False
