"""The whole cache folder: what its parts take, what was left in it, and dropping what was not used for longest."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

#: Folders of which each entry can be made again by itself.
_PARTS = ("indexes", "corpora", "written")
#: What cannot be made again: code that somebody has said to trust, and the queries that were typed.
_KEPT = ("trusted", "search-history")
#: The end of the name of a seal that stands beside a file.
_SEAL = ".seal.json"
#: The end of the name of the file with the attributes of documents.
_ATTRIBUTES = ".attributes.arrow"
_DAY = 86400


@dataclass(frozen=True)
class Entry:
    """An index, a corpus: the files that it has, their bytes, and when one of them was used last."""

    paths: tuple[Path, ...]
    bytes: int
    used: float

    def drop(self) -> None:
        """Remove it, with its seal, lock and marker."""
        for path in self.paths:
            remove(path)


def sizes(folder: Path) -> dict[str, tuple[int, int]]:
    """The files and the bytes of each part of the cache, by its name."""
    parts = sorted(path for path in folder.iterdir()) if folder.is_dir() else []
    counted = {path.name: [file.stat().st_size for file in _files(path)] for path in parts}
    return {name: (len(found), sum(found)) for name, found in counted.items()}


def leftovers(folder: Path) -> list[Path]:
    """Hidden and unfinished entries of indexes and corpora that were not touched for a day: a killed process left them.

    An index that grows for longer is touched meanwhile.
    """
    inside = [path for part in _PARTS for path in _listed(folder / part)]
    return [path for path in inside if _is_unfinished(path) and time.time() - _used(path) > _DAY]


def entries(folder: Path) -> list[Entry]:
    """The indexes and corpora of a cache, those that were not used for longest first."""
    found = []
    for part in _PARTS:
        paths = _listed(folder / part)
        for path in paths:
            if path.suffix in (".json", ".lock", ".partial") or path.name.startswith("."):
                continue
            if _is_beside(path):
                continue
            own = tuple(one for one in paths if one == path or one.name.startswith((f"{path.name}.", _beside(path))))
            found.append(Entry(own, sum(_bytes(one) for one in own), max(map(_used, own))))
    return sorted(found, key=lambda entry: entry.used)


def trim(folder: Path, limit: float) -> int:
    """Drop leftovers, then indexes and corpora, until the cache has at most `limit` bytes; returns how many went."""
    gone = leftovers(folder)
    for path in gone:
        remove(path)
    dropped, total = len(gone), sum(size for _, size in sizes(folder).values())
    for entry in entries(folder):
        if total <= limit:
            break
        entry.drop()
        dropped, total = dropped + 1, total - entry.bytes
    return dropped


def clear(folder: Path) -> None:
    """Remove all that can be made again."""
    for path in _listed(folder):
        if path.name not in _KEPT:
            remove(path)


def remove(path: Path) -> None:
    """Remove a file, or a folder with all in it."""
    shutil.rmtree(path, ignore_errors=True) if path.is_dir() else path.unlink(missing_ok=True)


def _beside(path: Path) -> str:
    """How the names begin of the files of the attributes of a corpus."""
    return f"{path.stem}{_ATTRIBUTES}"


def _is_beside(path: Path) -> bool:
    """True for the attributes of a corpus that is there: it goes with them, and they with it."""
    name = path.name.removesuffix(_ATTRIBUTES)
    return name != path.name and path.with_name(f"{name}.arrow").exists()


def _is_unfinished(path: Path) -> bool:
    """Tell whether this was being written, or is the seal of a file that is not there yet."""
    of = path.with_name(path.name.removesuffix(_SEAL))
    return path.name.startswith(".") or path.name.endswith(".partial") or not of.exists()


def _listed(folder: Path) -> list[Path]:
    return sorted(folder.iterdir()) if folder.is_dir() else []


def _files(path: Path) -> Iterator[Path]:
    yield from (file for file in ([path] if path.is_file() else path.rglob("*")) if file.is_file())


def _bytes(path: Path) -> int:
    return sum(file.stat().st_size for file in _files(path))


def _used(path: Path) -> float:
    return max((max(file.stat().st_atime, file.stat().st_mtime) for file in _files(path)), default=path.stat().st_mtime)
