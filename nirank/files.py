"""Files and folders that appear whole or not at all: written beside their place, then moved there."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from nirank.errors import BadInput


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


def refuse_existing(out: str | Path | None) -> None:
    """Raise `BadInput` where `out` is there already and is not an empty folder."""
    if out is not None and Path(out).exists() and (not Path(out).is_dir() or any(Path(out).iterdir())):
        raise BadInput("exists already; results are never overwritten. Name another folder or remove it.", out)


@contextmanager
def alone(path: Path, what: str) -> Iterator[None]:
    """Keep other processes from writing to `path` in the block; raise `BadInput`, which names `what`, where one does.

    The lock is a hidden file beside `path`; it goes with the process, however that ends.
    """
    from filelock import FileLock, Timeout

    path.parent.mkdir(parents=True, exist_ok=True)
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        with lock:
            yield
    except Timeout:
        raise BadInput(
            f"another {what} is writing to it; wait until it is done, or name another place.", path
        ) from None


@contextmanager
def beside(path: Path) -> Iterator[Path]:
    """A place to write `path` in: it becomes `path` if the block succeeds, and is removed if it fails.

    Folders above `path` are made. A file that was there is replaced; a folder only if it is empty. An `OSError`
    gets a note that names `path`, because that of a full disk names no file.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        with tempfile.TemporaryDirectory(prefix=f".{path.name}.", dir=path.parent) as folder:
            unfinished = Path(folder) / path.name
            yield unfinished
            keep(unfinished)
            os.replace(unfinished, path)
    except OSError as error:
        error.add_note(f"while writing {path}")
        raise


def write_header(file: BinaryIO, shape: tuple[int, ...], kind: DTypeLike) -> None:
    """Begin a `.npy` file; its rows follow in plain writes: on a full disk these raise, where a mapping would kill."""
    descr = np.lib.format.dtype_to_descr(np.dtype(kind))
    np.lib.format.write_array_header_1_0(file, {"descr": descr, "fortran_order": False, "shape": shape})


def keep(path: Path) -> None:
    """Flush a file, or all in a folder, to disk before it is moved, lest a power cut leaves it empty."""
    for each in filter(Path.is_file, [path, *path.rglob("*")]):
        with each.open("rb") as file:
            os.fsync(file.fileno())
