"""Functions that numba compiles when they are first used, without the interpreter's lock.

    @compiled                        called from Python; kept on disk for later processes
    @compiled(fastmath={"nsz"})      with options of numba's
    @inner                           called from compiled functions only

numba compiles anew what it has kept on disk only if the file of the function changes: what a compiled function calls
belongs into its own module. A module that uses this imports numba.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar, overload

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
