"""The skeleton of a plugin: a distribution that can be installed, and passes its own checks, at once.

The skeleton lies in `nirank/plugins/skeleton` as a plugin called `my_ranker`; a new one differs in its name.
"""

from __future__ import annotations

import keyword
import re
import sys
from collections.abc import Iterator
from importlib.resources import files
from importlib.resources.abc import Traversable
from importlib.util import find_spec
from pathlib import Path, PurePath

from nirank.errors import BadInput
from nirank.files import beside

_MODULE, _DISTRIBUTION = "my_ranker", "my-ranker"


def create(name: str, parent: Path) -> Path:
    """Write the skeleton of a plugin called `name` into a new folder of that name in `parent`; returns the folder.

    Raises `BadInput` for a name that is no new module's, and where the folder exists.
    """
    _check(name)
    folder = parent / name
    if folder.exists():
        raise BadInput("this exists already; choose another name, or another place with --to.", folder)
    with beside(folder) as unfinished:
        for path, text in _skeleton(files("nirank.plugins") / "skeleton", PurePath()):
            _write(unfinished / _renamed(str(path), name), _renamed(text, name))
    return folder


def _check(name: str) -> None:
    if not re.fullmatch(r"[a-z][a-z0-9_]*[a-z0-9]", name) or keyword.iskeyword(name):
        near = re.sub(r"\W+", "_", name.lower()).strip("_")
        hint = f" Perhaps {near!r}?" if near.isidentifier() and near not in (name, *keyword.kwlist) else ""
        raise BadInput(f"{name!r} cannot name a plugin: small letters, digits and _ are expected.{hint}")
    installed = find_spec(name)
    if name in sys.stdlib_module_names or (installed and installed.origin):
        raise BadInput(f"{name!r} cannot name a plugin: there is a module of that name; choose another.")


def _skeleton(folder: Traversable, place: PurePath) -> Iterator[tuple[PurePath, str]]:
    for entry in folder.iterdir():
        if entry.is_file() and not entry.name.endswith(".pyc"):
            yield place / entry.name, entry.read_text(encoding="utf-8")
        elif entry.is_dir():
            yield from _skeleton(entry, place / entry.name)


def _renamed(text: str, name: str) -> str:
    return text.replace(_MODULE, name).replace(_DISTRIBUTION, name.replace("_", "-"))


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
