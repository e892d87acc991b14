"""Annotated types: whether a plain value, from TOML or Python, is of one."""

from __future__ import annotations

import inspect
import math
import numbers
import types
import typing
from typing import Any


def fits(value: Any, hint: Any) -> bool:
    """True for a plain value of an annotated type; a type that cannot be judged passes."""
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


def is_finite(value: Any) -> bool:
    """True for a finite number, of Python or numpy, that is no truth value."""
    return fits(value, float) and math.isfinite(value)


#: Short names of precisions, which are accepted wherever the long one is.
_SHORT = {"bf16": "bfloat16", "fp16": "float16"}


def spelled_out(value: Any, hint: Any) -> Any:
    """The long name of a precision, `bfloat16` for `bf16`, where the type has that alone; else the value."""
    long = _SHORT.get(value) if isinstance(value, str) else None
    return long if long and fits(long, hint) and not fits(value, hint) else value


def is_simple(hint: Any) -> bool:
    """True for a type that `fits` can judge: numbers, texts, truth values, literals, None, and unions of them."""
    origin = typing.get_origin(hint)
    if origin in (typing.Union, types.UnionType):
        return all(is_simple(argument) for argument in typing.get_args(hint))
    return origin is typing.Literal or hint in (float, int, str, bool, type(None), Any)


def readable(hint: Any) -> str:
    """An annotated type as messages name it: `'dense' | 'tokens'`, `int | None`."""
    if typing.get_origin(hint) is typing.Literal:
        return " | ".join(map(repr, typing.get_args(hint)))
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        return " | ".join(map(readable, typing.get_args(hint)))
    if hint is type(None):
        return "None"
    if inspect.isclass(hint) and typing.get_origin(hint) is None:
        return hint.__name__
    return str(hint).replace("typing.", "")
