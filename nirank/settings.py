"""Settings of a component, bound to its factory's own signature and checked before anything is built."""

from __future__ import annotations

import inspect
import numbers
import types
import typing
from collections.abc import Callable, Mapping
from typing import Any

from nirank.errors import BadInput, UnknownName


def bind(factory: Callable[..., Any], given: Mapping[str, Any], owner: str) -> dict[str, Any]:
    """The settings to call `factory` with: the given ones, checked, and its defaults for the rest.

    Raises `UnknownName` for a setting that the factory lacks, `BadInput` for one that is missing or of the
    wrong type; both name the `owner`. Numbers of numpy become Python's own, so that JSON can hold them.
    """
    parameters = inspect.signature(factory).parameters
    open_ended = any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values())
    named = {name: parameter for name, parameter in parameters.items() if parameter.kind not in _STARRED}
    if not open_ended:
        for name in given.keys() - named.keys():
            raise UnknownName(f"setting of {owner}", name, named)
    for name, parameter in named.items():
        if parameter.default is parameter.empty and name not in given:
            raise BadInput(f"{owner} needs the setting {name!r}.")
    hints = _type_hints(factory)
    for name, value in given.items():
        if name in hints and not fits(value, hints[name]):
            raise BadInput(f"{owner}: {name} = {value!r} is not of the type {_readable(hints[name])}.")
    return {name: parameter.default for name, parameter in named.items() if name not in given} | {
        name: _plain(value) for name, value in given.items()
    }


def fits(value: Any, hint: Any) -> bool:
    """Whether a plain value (from TOML or Python) is of an annotated type; what cannot be judged passes."""
    origin, arguments = typing.get_origin(hint), typing.get_args(hint)
    if origin in (typing.Union, types.UnionType):
        return any(fits(value, argument) for argument in arguments)
    if origin is typing.Literal:
        return value in arguments
    if hint is float:
        return isinstance(value, numbers.Real) and not isinstance(value, bool)
    if hint is int:
        return isinstance(value, numbers.Integral) and not isinstance(value, bool)
    if hint in (str, bool, type(None)):
        return isinstance(value, type(None) if hint is None else hint)
    return True


_STARRED = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)


def _type_hints(factory: Callable[..., Any]) -> dict[str, Any]:
    function = factory.__init__ if inspect.isclass(factory) else factory
    try:
        return typing.get_type_hints(function)
    except Exception:  # annotations may name what is imported for type checking only: then nothing is checked
        return {}


def _plain(value: Any) -> Any:
    if isinstance(value, (int, float)) or not isinstance(value, numbers.Real):
        return value
    return int(value) if isinstance(value, numbers.Integral) else float(value)


def _readable(hint: Any) -> str:
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(repr, typing.get_args(hint)))
    return getattr(hint, "__name__", None) or str(hint).replace("typing.", "")
