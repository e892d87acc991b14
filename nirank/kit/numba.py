"""Functions that numba compiles when they are first used, without the interpreter's lock.

    @compiled                        called from Python; kept on disk for later processes
    @compiled(fastmath={"nsz"})      with options of numba's
    @inner                           called from compiled functions only

numba compiles anew what it has kept on disk only if the file of the function changes: what a compiled function calls
belongs into its own module. A module that uses this imports numba.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar, overload

import numpy as np

Function = TypeVar("Function", bound=Callable[..., Any])

_OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


@overload
def compiled(function: Function, /) -> Function: ...
@overload
def compiled(**options: Any) -> Callable[[Function], Function]: ...
def compiled(function: Any = None, /, **options: Any) -> Any:
    """Compile a function that is called from Python."""
    from numba import njit

    def make(function: Any) -> Any:
        try:
            return njit(cache=True, **_OPTIONS, **options)(function)
        except RuntimeError:  # no folder that can be written: every process compiles anew
            return njit(**_OPTIONS, **options)(function)

    return make if function is None else make(function)


@overload
def inner(function: Function, /) -> Function: ...
@overload
def inner(**options: Any) -> Callable[[Function], Function]: ...
def inner(function: Any = None, /, **options: Any) -> Any:
    """Compile a function that is called from compiled ones only, which saves half of the time of compiling."""
    from numba import njit

    make = njit(no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS, **options)
    return make if function is None else make(function)


#: What machine code may call that is not in it: of libc, and what frees memory of numba's own, of which it has none.
_KNOWN = re.compile(r"llvm\..*|mem(set|cpy|move)|NRT_MemInfo_call_dtor")


def machine_code(function: Callable[..., None]) -> tuple[str, bytes]:
    """Compile a function of one int64 pointer that returns nothing: the name of its symbol, and an object file.

    Raises `TypeError` where it calls something that is found in numba's own library, such as to take memory.
    """
    from numba import njit, types

    signature = types.void(types.CPointer(types.int64))
    make = njit(signature, no_cpython_wrapper=True, no_cfunc_wrapper=True, **_OPTIONS)
    compiled = next(iter(make(function).overloads.values()))
    called = re.findall(r'^declare .*?@"?([\w.$]+)"?\(', compiled.library.get_llvm_str(), re.MULTILINE)
    if foreign := [name for name in called if not _KNOWN.fullmatch(name)]:
        raise TypeError(f"{function.__name__} is to run without numba, and calls {', '.join(foreign)} of it.")
    _, _, (data, _) = compiled.library.serialize_using_object_code()
    return compiled.fndesc.llvm_func_name, data


@cache
def column_at() -> Any:
    """The compiled function `(address, length, dtype)` to the column that lies there: not owned, and not checked."""
    from numba import carray, types
    from numba.core import cgutils
    from numba.extending import intrinsic

    @intrinsic
    def pointer(_: Any, address: Any) -> Any:  # noqa: ARG001 (a type, for numba)
        def generate(_: Any, builder: Any, __: Any, values: Any) -> Any:
            return builder.inttoptr(values[0], cgutils.voidptr_t)

        return types.voidptr(types.uint64), generate

    @inner
    def column(address: int, length: int, dtype: Any) -> Any:
        return carray(pointer(np.uint64(address)), length, dtype)

    return column
