"""Files and folders that appear whole or not at all: written beside their place, then moved there."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from nirank.errors import BadInput, DamagedFile

#: In a folder where something is written, locked by the process that writes it; and seconds.
_AT_WORK, _MINUTE, _DAY = ".at-work", 60, 86400
#: Of a text that describes other files; a manifest of ten thousand files has one.
_MOST_TEXT = 1 << 26


class InUse(BadInput):
    """A place that another process is writing to."""


def cache_folder() -> Path:
    """The folder of files that can be made again: `$NIRANK_CACHE`, or else `nirank` in the user's cache folder.

    That is `$XDG_CACHE_HOME`, or `~/.cache` where it is not set. The folder need not exist yet.
    """
    if own := os.environ.get("NIRANK_CACHE"):
        return Path(own).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "nirank"


def as_path(value: object, what: str) -> Path:
    """The path that was given; raises `BadInput` for anything else, and says `what` is expected."""
    if isinstance(value, (str, os.PathLike)):
        return Path(value)
    raise BadInput(f"{what} is given by its path, not by a {type(value).__name__}.")


def small_text(path: Path) -> str:
    """The text of a description: UTF-8, of at most 64 MiB. Raises `DamagedFile` for a longer one, and where there is no
    plain file: reading a pipe or a device would not end.
    """
    if path.is_dir():
        raise DamagedFile("is a folder, and should be a file.", path)
    refuse_special(path)
    if (size := path.stat().st_size) > _MOST_TEXT:
        raise DamagedFile(f"has {size:,} bytes; a description has at most {_MOST_TEXT:,}.", path)
    return path.read_text(encoding="utf-8")


def refuse_special(path: Path) -> None:
    """Raise `DamagedFile` for a pipe, a socket or a device, and for a folder that one lies in."""
    for each in path.rglob("*") if path.is_dir() else [path]:
        if each.exists() and not each.is_file() and not each.is_dir():
            raise DamagedFile("is no plain file, but a pipe, a socket or a device; remove it.", each)


def refuse_existing(out: str | Path | None) -> None:
    """Raise `BadInput` where `out` is there already and is not an empty folder.

    What was left beside it by a process that was killed when `out` was there is removed.
    """
    if out is None or not Path(out).exists():
        return
    remove_leftovers(Path(out))
    if not Path(out).is_dir() or any(Path(out).iterdir()):
        raise BadInput("exists already; results are never overwritten. Name another folder or remove it.", out)


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Keep other processes from writing to `path` in the block; raise `InUse`, which names `what`, where one does.

    Raises `BadInput` where nothing can be written there, before the work and not after it. The lock is a hidden file
    beside `path`; it goes with the process, however that ends.
    """
    from filelock import FileLock, Timeout

    place = path.with_name(f".{path.name}.lock")
    lock = FileLock(place, timeout=0)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire()
    except Timeout:
        raise InUse(f"another {what} is writing to it; wait until it is done, or name another place.", path) from None
    except OSError as error:
        raise BadInput(f"cannot be written ({error.strerror}); name another place.", path) from error
    try:
        yield
    finally:
        with suppress(OSError):  # on Windows an open file stays
            place.unlink()
        lock.release()


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A place to write `path` in: it becomes `path` if the block succeeds, and is removed if it fails.

    Folders above `path` are made. A file that was there is replaced; a folder only if it is empty. An `OSError`
    gets a note that names `path`, because that of a full disk names no file. What a process that was killed left of
    the same file is removed.
    """
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    remove_leftovers(path)
    try:
        with (
            tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder,
            FileLock(Path(folder) / _AT_WORK),
        ):
            unfinished = Path(folder) / path.name
            yield unfinished
            keep(unfinished)
            os.replace(unfinished, path)
    except OSError as error:
        error.add_note(f"while writing {path}")
        raise


def remove_leftovers(path: Path) -> None:
    """Remove what processes that were killed left beside `path` when they wrote it; what is being written stays."""
    named = re.compile(rf"\.{re.escape(path.name)}\.[a-z0-9_]{{8}}")  # as `tempfile` names it
    for name in os.listdir(path.parent) if path.parent.is_dir() else ():
        if named.fullmatch(name) and _is_left(path.parent / name, path.name):
            shutil.rmtree(path.parent / name, ignore_errors=True)


def _is_left(folder: Path, name: str) -> bool:
    """Tell whether nobody writes `name` into a folder that `beside` made; of an older version's, if it is a day old.

    An empty one may just have been made, for a minute. A folder that holds anything else is somebody's own.
    """
    from filelock import FileLock, Timeout

    lock = folder / _AT_WORK
    try:
        inside = os.listdir(folder)
        if not all(each.startswith((name, _AT_WORK)) for each in inside):
            return False
        if not lock.exists():
            return time.time() - folder.stat().st_mtime > (_DAY if inside else _MINUTE)
        with FileLock(lock, timeout=0):
            return True
    except (OSError, Timeout):
        return False


def write_header(file: BinaryIO, shape: tuple[int, ...], kind: DTypeLike) -> None:
    """Begin a `.npy` file; its rows follow in plain writes: on a full disk these raise, where a mapping would kill."""
    descr = np.lib.format.dtype_to_descr(np.dtype(kind))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def keep(path: Path) -> None:
    """Flush a file, or all in a folder, to disk before it is moved, lest a power cut leaves it empty."""
    for each in filter(Path.is_file, [path, *path.rglob("*")]):
        with each.open("rb") as file:
            os.fsync(file.fileno())
