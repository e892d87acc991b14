"""Seals: the size and hash of every file of a folder, written last, so that nothing damaged is trusted.

A folder that nirank writes (an index, a checkpoint, a state of training, results) has a `seal.json`; a file that stands
alone (a corpus) has one beside it, `NAME.seal.json`. While such a file is replaced its seal is for the one before and
the one after: there is no moment in which nothing vouches for either.

Opening compares names and sizes, which takes a stat a file, and the contents of those files that have not been seen in
this very state before: what was seen is remembered in the cache by inode, size and times, so that a hash is computed
once after writing or copying, and not again where a folder was moved. `nirank verify FOLDER` computes all of them. What
has no seal was written before there were any: that is told once in a process, and it is opened.
"""

from __future__ import annotations

import functools
import json
import logging
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from nirank.errors import BadInput, DamagedFile
from nirank.files import beside, cache_folder, refuse_special, remove_leftovers, small_text
from nirank.hashing import digest

log = logging.getLogger("nirank")

SEAL = "seal.json"
_VERSION = 1
_BLOCK_BYTES = 1 << 22

Stamp = list[int]
#: Size and hash of a file.
Entry = tuple[int, str]


def seal(folder: Path, names: Iterable[str] | None = None) -> None:
    """Write the seal of a folder: of the files `names`, or of all that it holds, those of folders inside with a seal of
    their own left out.
    """
    paths = [folder / name for name in names] if names is not None else _files(folder)
    files = {path.relative_to(folder).as_posix(): _entry(path) for path in paths}
    (folder / SEAL).write_text(_text(files), encoding="utf-8")


def seal_file(path: Path) -> None:
    """Write the seal of a file that stands alone."""
    _write_beside(path, {path.name: _entry(path)})
    remember(path)


@contextmanager
def sealed(path: Path) -> Iterator[Path]:
    """Yield a place to write what `path` becomes, with its seal, if the block succeeds (`files.beside`)."""
    with beside(path) as unfinished:
        yield unfinished
        if unfinished.is_dir():
            seal(unfinished)
        else:
            entry, written = _entry(unfinished), unfinished.stat().st_ino
            _write_beside(path, _present(path), {path.name: entry})
    if path.is_dir():
        remember(path)
    elif path.stat().st_ino == written:  # and not what another process has put there meanwhile, and seals
        _write_beside(path, {path.name: entry})
        remember(path)


def _present(path: Path) -> dict[str, Entry]:
    """Read what its seal says of a file that is about to be replaced; without one, what is in it."""
    if not path.is_file():
        return {}
    if not _beside(path).exists():
        return {path.name: _entry(path)}
    try:
        entries = _read(_beside(path), "")[path.name]
    except (DamagedFile, KeyError):
        return {}
    known = entries if len(entries) == 1 else [_entry(path)]  # two: a process was killed when it replaced the file
    return {path.name: known[0]} if known[0] in entries else {}


def _write_beside(path: Path, files: Mapping[str, Entry], following: Mapping[str, Entry] | None = None) -> None:
    with beside(_beside(path)) as unfinished:
        unfinished.write_text(_text(files, following), encoding="utf-8")


def remember(path: Path) -> None:
    """Take a folder or file that has just been written, and moved to its place, for what its seal says."""
    seal_path = path / SEAL if path.is_dir() else _beside(path)
    folder = seal_path.parent
    _remember(path, seal_path, {name: _stamp(folder / name) for name in _read(seal_path, "")})


def check(folder: Path, again: str, everything: bool = False) -> bool:
    """Raise `DamagedFile` where a folder is not as it was sealed; return False where it has no seal.

    `again` is what the message ends with: how to make the folder again. With `everything` contents are hashed even of
    files that were seen before.
    """
    return _check(folder, folder, folder / SEAL, again, everything)


def check_file(path: Path, again: str, everything: bool = False) -> bool:
    """The same for a file that stands alone, or in a folder whose seal is for it."""
    if not _beside(path).exists() and check_inside(path, again, everything):
        return True
    return _check(path, path.parent, _beside(path), again, everything)


def check_inside(path: Path, again: str, everything: bool = False) -> bool:
    """The same for one file of a folder; False where that has no seal, or one that does not name the file."""
    seal_path = path.parent / SEAL
    if not seal_path.exists() or path.name not in _read(seal_path, again):
        return False
    return _check(path, path.parent, seal_path, again, everything, path.name)


def once(folder: Path, what: str, names: Iterable[str], check: Callable[[], None]) -> None:
    """Run `check`, by the name `what`, on some files of a folder, unless they passed it in this very state before."""
    stamps = {name: _stamp(folder / name) for name in names}
    try:
        if json.loads(_record(folder, what).read_text(encoding="utf-8")) == stamps:
            return
    except (OSError, ValueError, RecursionError):
        pass  # it was not looked at before, or nobody can say
    check()
    _write_record(folder, stamps, what)


def remove(path: Path) -> None:
    """Remove a file that stands alone, and its seal."""
    path.unlink(missing_ok=True)
    _beside(path).unlink(missing_ok=True)


def sealed_inside(folder: Path) -> list[Path]:
    """Every folder, itself and those within, that has a seal, and every file that has one beside it."""
    found = sorted(folder.rglob(f"*{SEAL}")) if folder.is_dir() else []
    return [path.parent if path.name == SEAL else path.with_name(path.name.removesuffix(f".{SEAL}")) for path in found]


def check_all(folder: Path, again: str, unsealed: Iterable[str] = ()) -> int:
    """Compare every file in a folder with the seals in it; return how many seals there are.

    Raises `DamagedFile` where a file differs, and `BadInput` where there is no seal, or a file that none names and that
    is not one of `unsealed`, so that nothing in the folder is trusted without one.
    """
    places = sealed_inside(folder)
    if not places:
        raise BadInput("has no seals (hashes of the files that nirank wrote): nothing vouches for it.", folder)
    for place in places:
        (check if place.is_dir() else check_file)(place, again, everything=True)
    named = {folder / name for name in unsealed} | {file for place in places for file in _named_by(place)}
    if strangers := [path for path in sorted(folder.rglob("*")) if path.is_file() and path not in named]:
        raise BadInput(f"{len(strangers)} files are in no seal, such as this one. {again}", strangers[0])
    return len(places)


def _named_by(place: Path) -> Iterator[Path]:
    """The files that a seal names, and itself."""
    seal_path = place / SEAL if place.is_dir() else _beside(place)
    yield seal_path
    yield from (seal_path.parent / name for name in _read(seal_path, ""))


def _check(sealed: Path, folder: Path, seal_path: Path, again: str, everything: bool, only: str | None = None) -> bool:
    if not seal_path.exists():
        remove_leftovers(seal_path)  # of a process that was killed when it wrote the seal
        refuse_special(sealed)
        _tell_unsealed(os.path.abspath(sealed))
        return False
    files, stamps = _read(seal_path, again), {}
    for name, entries in files.items() if only is None else [(only, files[only])]:
        stamps[name] = _sized(folder / name, entries, again)
    seen = {} if everything else _seen(sealed, seal_path)
    unseen = [name for name, stamp in stamps.items() if seen.get(name) != stamp]
    for name in unseen:
        if _entry(folder / name) not in files[name]:
            raise DamagedFile(f"is damaged: its contents are not those that were written. {again}", folder / name)
    if unseen:
        for path in (sealed, seal_path):
            remove_leftovers(path)  # of a process that was killed as soon as it had moved them to their place
        _remember(sealed, seal_path, stamps)
    return True


@functools.cache  # once in a process
def _tell_unsealed(sealed: str) -> None:
    if os.path.exists(sealed):
        log.warning(
            "%s has no seal: it was written before there were any, or not by nirank; damage to it may not be told.",
            sealed,
        )


def _sized(path: Path, entries: Sequence[Entry], again: str) -> Stamp:
    try:
        stamp = _stamp(path)
    except (OSError, ValueError) as error:  # ValueError: of a name that no file can have
        raise DamagedFile(f"is missing ({getattr(error, 'strerror', error)}). {again}", path) from error
    if stamp[1] not in [size for size, _ in entries] or not path.is_file():
        raise DamagedFile(f"is damaged: it has {stamp[1]:,} bytes, and {entries[-1][0]:,} were written. {again}", path)
    return stamp


def _read(path: Path, again: str) -> dict[str, list[Entry]]:
    """Read what may be in each file: as a rule one thing, but two while a file that stands alone is replaced."""
    try:
        text = small_text(path)
        written = json.loads(text)
        files, following = _entries(written["files"]), _entries(written.get("next", {}))
    except (OSError, ArithmeticError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise DamagedFile(f"cannot be read as a seal (the hashes of a folder): {error!r}. {again}", path) from error
    names = files | following
    inside = all(not name.startswith("/") and ".." not in name.split("/") for name in names)
    if text != _text(files, following) or not inside:
        raise DamagedFile(f"is damaged: it is not as it was written. {again}", path)
    return {name: [each[name] for each in (files, following) if name in each] for name in names}


def _entries(written: Mapping[str, Any]) -> dict[str, Entry]:
    return {str(name): (int(size), str(hashed)) for name, (size, hashed) in written.items()}


def _text(files: Mapping[str, Entry], following: Mapping[str, Entry] | None = None) -> str:
    parts = [files, following] if following else [files]
    written = {"version": _VERSION, **dict(zip(("files", "next"), parts, strict=False)), "seal": _sum(parts)}
    return json.dumps(written, indent=1, ensure_ascii=False) + "\n"


def _sum(parts: Iterable[Mapping[str, Entry]]) -> str:
    return digest([_VERSION, *(sorted((name, list(entry)) for name, entry in files.items()) for files in parts)])


def _beside(path: Path) -> Path:
    return path.with_name(f"{path.name}.{SEAL}")


def _files(folder: Path) -> list[Path]:
    """The files of a folder but its seal, and but those of folders within that have one of their own."""
    found: list[Path] = []
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not (path / SEAL).exists():
            found += [inside for inside in path.rglob("*") if inside.is_file()]
        elif path.is_file() and path.name != SEAL:
            found.append(path)
    return found


def _entry(path: Path) -> Entry:
    return path.stat().st_size, _hash(path)


def _hash(path: Path) -> str:
    import xxhash

    hashed = xxhash.xxh3_128()
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            hashed.update(block)
    return hashed.hexdigest()


def _stamp(path: Path) -> Stamp:
    """The marks of a file in one state: inode, size, times of content and of inode."""
    found = os.stat(path)
    return [found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns]


def _record(checked: Path, what: str = "") -> Path:
    """The note on a folder or file, which it keeps when it, or what it lies in, is moved."""
    found = os.stat(checked)
    return cache_folder() / "verified" / f"{digest([found.st_dev, found.st_ino, what])}.json"


def _seen(sealed: Path, seal_path: Path) -> dict[str, Any]:
    """The states in which files were found to be as this very seal says."""
    try:
        seen: dict[str, Any] = json.loads(_record(sealed).read_text(encoding="utf-8"))
        files: dict[str, Any] = seen["files"] if seen["seal"] == _stamp(seal_path) else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
    return files if isinstance(files, dict) else {}


def _remember(sealed: Path, seal_path: Path, stamps: Mapping[str, Stamp]) -> None:
    """Note in which state the files were."""
    _write_record(sealed, {"seal": _stamp(seal_path), "files": stamps})


def _write_record(checked: Path, record: Mapping[str, Any], what: str = "") -> None:
    """Note what was checked; where nothing can be written, or not all of it is, it is checked again the next time."""
    try:
        place = _record(checked, what)
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(record), encoding="utf-8")
    except OSError as error:
        log.debug("it cannot be remembered that %s was checked: %s", checked, error)
