"""Names of files as ids and words: composed, whatever they were encoded in, and each id once."""

from __future__ import annotations

import logging
import os
import re
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

#: What can stand in no line of a run.
_CONTROLS = re.compile(r"[\x00-\x20\x7f]")

log = logging.getLogger("nirank")


def readable(name: str) -> str:
    """A name as it is typed: composed (NFC); bytes that are not UTF-8 are read as Windows-1252."""
    raw = os.fsencode(name)
    for encoding in ("utf-8", "cp1252", "latin-1"):
        try:
            return unicodedata.normalize("NFC", raw.decode(encoding))
        except UnicodeDecodeError:
            continue
    return name


def present(path: Path) -> Path:
    """The path as the file is spelt on the disk, where its name is composed in another way there; else itself."""
    if os.path.lexists(path) or not path.parent.is_dir():
        return path
    wanted = readable(path.name)
    return next((each for each in path.parent.iterdir() if readable(each.name) == wanted), path)


def words(name: str) -> str:
    """The words of a name: its parts without underscores, hyphens and slashes."""
    return " ".join(name.replace("_", " ").replace("-", " ").replace("/", " ").split())


def clean(name: str) -> str:
    """A name as an id: what would be white space or a control character in it is an underscore."""
    return "_".join(_CONTROLS.sub(" ", name).split())


def distinct(names: Sequence[str]) -> list[str]:
    """An id for each name. Where two names are cleaned to one id, the one that is spelt so has it, others a number.

    The logger `nirank` warns of each that gets a number.
    """
    taken = {name for name in names if clean(name) == name}
    spelt: set[str] = set()
    ids = []
    for name in names:
        wanted = clean(name)
        if wanted != name or name in spelt:
            number, free = 2, wanted
            while free in taken:
                free, number = f"{wanted}~{number}", number + 1
            if free != wanted:
                log.warning("the file %r gets the id %r, because another file has the id %r.", name, free, wanted)
            wanted = free
        spelt.add(name)
        taken.add(wanted)
        ids.append(wanted)
    return ids


def below(folder: Path) -> Iterator[Path]:
    """Each file in a folder and its sub-folders, in order, linked folders as well, but no folder within itself."""
    pending: list[tuple[Path, frozenset[str]]] = [(folder, frozenset())]
    while pending:
        place, above = pending.pop()
        real = os.path.realpath(place)
        if real in above:
            log.warning("%s is a link to a folder that it is in; it is left out.", readable(str(place)))
            continue
        try:
            inside = sorted(place.iterdir())
        except OSError as fault:
            log.warning("%s is left out: %s.", readable(str(place)), fault.strerror)
            continue
        yield from (each for each in inside if each.is_file())
        for each in inside:
            if not (each.is_file() or each.is_dir()):
                log.warning("%s is left out: it is a broken link, or no file.", readable(str(each)))
        pending += [(each, above | {real}) for each in inside if each.is_dir()]
