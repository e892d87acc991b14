"""The code of a class as a hash: of its file, and of what it is made of, so that what one class computed is never taken
for the work of another.

A file is hashed whole; of a package all its files are, for a component may call whatever is in it. What was typed into
an interpreter has no file, and a class that a function makes depends on what the function was given: so methods, the
values they close over and the globals they name are hashed too, arrays and models by their contents.
"""

from __future__ import annotations

import functools
import hashlib
import json
import pickle
import sys
import types
import typing
import uuid
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import Field
from pathlib import Path
from typing import Any

from nirank import announced
from nirank.hashing import weights_digest

#: Whose code has versions that are told elsewhere: nirank's own layouts, and libraries.
_LIBRARIES = (
    *("nirank", "numpy", "torch", "transformers", "sentence_transformers"),
    *("abc", "builtins", "dataclasses", "enum", "typing"),
)
_FILES = 500  # Python files of a package that are read at most
_DEPTH = 8  # from a method to functions that it calls, and so on
#: What stands round functions and values, or names types, with the attributes that hold all that it is.
_MADE_OF: dict[type, tuple[str, ...]] = {
    property: ("fget", "fset", "fdel"),
    classmethod: ("__func__",),
    staticmethod: ("__func__",),
    types.MethodType: ("__self__", "__func__"),
    functools.cached_property: ("func",),
    functools.partial: ("func", "args", "keywords"),
    Field: ("name", "type", "default", "default_factory"),
    typing.TypeVar: ("__name__", "__bound__", "__constraints__"),
    typing.ForwardRef: ("__forward_arg__",),
}


def source_digest(kind: type) -> str:
    """A hash of the code of a class and of its bases, as far as these are its author's."""
    hashed = hashlib.blake2b(digest_size=16)
    for base in kind.__mro__:
        if base.__module__.partition(".")[0] not in _LIBRARIES:
            hashed.update(_files_digest(base.__module__).encode())
            for part in _class_parts(base):
                hashed.update(part.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def function_digest(function: Any) -> str:
    """A hash of the code of a function, of its module, and of what it closes over; of anything else what is known."""
    module = getattr(function, "__module__", None) or ""
    hashed = hashlib.blake2b(digest_size=16)
    if module.partition(".")[0] not in _LIBRARIES:
        hashed.update(_files_digest(module).encode())
    for part in _parts(function, set(), _DEPTH):
        hashed.update(part.encode("utf-8", "surrogatepass"))
    return hashed.hexdigest()


def files_digest(module: str) -> str:
    """A hash of the files of an imported module's package, or of its only file; equal code has an equal one."""
    return _files_digest(module)


def is_ours(kind: type) -> bool:
    """True for a class that comes with nirank: its layouts and fingerprints have versions of their own."""
    return kind.__module__.partition(".")[0] in _ours()


@functools.cache
def _ours() -> frozenset[str]:
    """The packages of this distribution: the core, and the plugins that it announces."""
    targets = (point.value for point in announced.own_points())
    return frozenset({"nirank", *(target.partition(":")[0].partition(".")[0] for target in targets)})


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
        # the path of a package without an `__init__.py` may name a folder twice, in one process and not in another
        return sorted({path for folder in paths for path in Path(folder).resolve().rglob("*.py")})[:_FILES]
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
    if isinstance(value, types.FunctionType):
        if depth and id(value) not in seen:
            seen.add(id(value))
            yield from _function_parts(value, seen, depth - 1)
    elif isinstance(value, (types.ModuleType, type)):
        yield getattr(value, "__name__", "")
    elif (plain := _json(value)) is not None:
        yield plain
    elif (inside := _inside(value)) is not None:
        yield f"{type(value).__qualname__}({'' if depth else _unique()}"
        texts = ["".join(_parts(part, set(seen), depth - 1)) for part in inside] if depth else []
        yield from sorted(texts) if isinstance(value, Set) else texts
        yield ")"
    else:
        yield _value(value)


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


def _json(value: Any) -> str | None:
    try:
        return json.dumps(value, sort_keys=True)
    except (TypeError, ValueError, RecursionError):
        return None


def _inside(value: Any) -> Sequence[Any] | None:
    """The parts of a container, a type with arguments, and what is in `_MADE_OF`; None for anything else."""
    if isinstance(value, Mapping):
        return [part for entry in value.items() for part in entry]
    if isinstance(value, (list, tuple, Set)):
        return list(value)
    if arguments := typing.get_args(value):
        return [typing.get_origin(value), *arguments]
    for kind, names in _MADE_OF.items():
        if isinstance(value, kind):
            return [getattr(value, name) for name in names]
    return None


def _is_author_s(value: Any, own: Mapping[str, Any]) -> bool:
    """True for a global of the module itself, also one of a library's class, and not for an import."""
    if isinstance(value, types.MethodType):
        return _is_author_s(value.__self__, own)
    if isinstance(value, functools.partial) or getattr(value, "__module__", own.get("__name__")) == own.get("__name__"):
        return True
    return not hasattr(value, "__name__") and _is_library_s(type(value))


def _is_library_s(kind: type) -> bool:
    return kind.__module__.partition(".")[0] in _LIBRARIES


def _value(value: Any) -> str:
    """A value by its contents if a library made it, by its type if it is a descriptor; else something unique."""
    kind = type(value)
    if hasattr(kind, "__get__"):
        return kind.__qualname__
    if not _is_library_s(kind):
        return _unique()
    try:
        return f"{kind.__qualname__}:{_contents(value)}"
    except Exception:  # whatever a library raises of what it cannot write down
        return _unique()


def _contents(value: Any) -> str:
    if isinstance(own := getattr(value, "fingerprint", None), str):
        return own
    if hasattr(value, "untyped_storage"):  # a tensor; torch pickles those with the address of their memory
        return weights_digest({"": value})
    if hasattr(value, "state_dict"):
        settings = json.dumps(vars(value), sort_keys=True, default=lambda other: type(other).__qualname__)
        return f"{value!r} {settings} {weights_digest(value.state_dict())}"
    return hashlib.blake2b(pickle.dumps(value), digest_size=16).hexdigest()


def _unique() -> str:
    return uuid.uuid4().hex
