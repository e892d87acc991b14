"""The code of a class as a hash: of its file, and of what it is made of, so that what one class computed is never taken
for the work of another.

A file is hashed whole; of a package all its files are, for a component may call whatever is in it. What was typed into
an interpreter has no file, and a class that a function makes depends on what the function was given: so methods, the
values they close over and the globals they name are hashed too.
"""

from __future__ import annotations

import functools
import hashlib
import importlib.metadata
import inspect
import json
import sys
import types
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

#: Whose code has versions that are told elsewhere: nirank's own layouts, and libraries.
_LIBRARIES = ("nirank", "numpy", "torch", "transformers", "sentence_transformers", "abc", "typing", "builtins", "enum")
_FILES = 500  # Python files of a package that are read at most
_DEPTH = 8  # from a method to functions that it calls, and so on


def source_digest(kind: type) -> str:
    """A hash of the code of a class and of its bases, as far as these are its author's."""
    hashed = hashlib.blake2b(digest_size=16)
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] not in _LIBRARIES:
            hashed.update(_files_digest(base.__module__).encode())
            for part in _class_parts(base):
                hashed.update(part.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def is_ours(kind: type) -> bool:
    """True for a class that comes with nirank: its layouts and fingerprints have versions of their own."""
    return kind.__module__.partition(".")[0] in _ours()


@functools.cache
def _ours() -> frozenset[str]:
    """The packages of this distribution: the core, and the plugins that it announces."""
    points = importlib.metadata.entry_points(group="nirank")
    announced = (point.value.partition(":")[0].partition(".")[0] for point in points if _is_of_nirank(point))
    return frozenset({"nirank", *announced})


def _is_of_nirank(point: importlib.metadata.EntryPoint) -> bool:
    return point.dist is not None and point.dist.name == "nirank"


@functools.cache
def _files_digest(module: str) -> str:
    """A hash of the files of a module's package, or of its only file; of no file where there is none."""
    hashed = hashlib.blake2b(digest_size=16)
    for path in _files_of(module):
        try:
            hashed.update(path.read_bytes())
        except OSError:
            hashed.update(b"unreadable")
    return hashed.hexdigest()


def _files_of(module: str) -> list[Path]:
    top = sys.modules.get(module.partition(".")[0])
    if paths := getattr(top, "__path__", None):
        return sorted(path for folder in paths for path in Path(folder).rglob("*.py"))[:_FILES]
    file = getattr(sys.modules.get(module), "__file__", None)
    return [Path(file)] if file else []


def _class_parts(kind: type) -> Iterator[str]:
    """The parts of a class, in words that are equal for equal code."""
    seen: set[int] = set()
    for name, value in sorted(vars(kind).items()):
        if name in ("__dict__", "__weakref__", "__doc__", "__module__", "__abstractmethods__", "_abc_impl"):
            continue
        yield f"{name}: "
        yield from _parts(value, seen, _DEPTH)


def _parts(value: Any, seen: set[int], depth: int) -> Iterator[str]:
    value = _function_of(value)
    if isinstance(value, types.FunctionType):
        if depth and id(value) not in seen:
            seen.add(id(value))
            yield from _function_parts(value, seen, depth - 1)
    elif isinstance(value, (types.ModuleType, type)):
        yield getattr(value, "__name__", "")
    else:
        yield _plain(value)


def _function_parts(function: types.FunctionType, seen: set[int], depth: int) -> Iterator[str]:
    yield from _code_parts(function.__code__)
    for default in (*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()):
        yield from _parts(default, seen, depth)
    for cell in function.__closure__ or ():
        try:
            yield from _parts(cell.cell_contents, seen, depth)
        except ValueError:  # not filled yet
            yield "empty"
    for name in function.__code__.co_names:
        if name in function.__globals__ and _is_author_s(function.__globals__[name], function.__globals__):
            yield from _parts(function.__globals__[name], seen, depth)


def _code_parts(code: types.CodeType) -> Iterator[str]:
    """Instructions and constants; no names of files, and no numbers of lines."""
    yield code.co_code.hex()
    yield repr((code.co_names, code.co_varnames))
    for constant in code.co_consts:
        if isinstance(constant, types.CodeType):
            yield from _code_parts(constant)
        else:
            yield repr(constant) if not isinstance(constant, frozenset) else repr(sorted(map(repr, constant)))


def _function_of(value: Any) -> Any:
    """The function in a property, a class method and the like."""
    for attribute in ("fget", "__func__", "func"):
        if isinstance(inspect.getattr_static(value, attribute, None), types.FunctionType):
            return getattr(value, attribute)
    return value


def _is_author_s(value: Any, own: Mapping[str, Any]) -> bool:
    """True for a global of the module itself, and not for an import."""
    return getattr(value, "__module__", own.get("__name__")) == own.get("__name__")


def _plain(value: Any) -> str:
    """A value as JSON has it; of one that JSON cannot hold, its type if it is a descriptor, else something unique."""
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError):
        pass
    if hasattr(type(value), "__get__") or type(value).__module__.partition(".")[0] in _LIBRARIES:
        return type(value).__qualname__
    if isinstance(value, (frozenset, set, tuple)):
        return repr(sorted(map(repr, value)))
    return uuid.uuid4().hex
