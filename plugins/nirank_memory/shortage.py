"""Recognise that memory ran out, and let go of what the failed work still holds."""

from __future__ import annotations

import gc
import sys
import traceback

_MESSAGES = ("out of memory", "can't allocate memory", "not enough memory", "failed to allocate", "alloc_failed")


def is_shortage(error: BaseException) -> bool:
    """True for an exception that means that memory ran out: Python's own, numpy's, or torch's on any device."""
    if isinstance(error, RuntimeError):  # torch's is one, and on some devices only its message tells
        return any(message in str(error).lower() for message in _MESSAGES)
    return isinstance(error, MemoryError)


def release(error: BaseException) -> None:
    """Free what the frames of an exception hold, the activations of the failed pass above all, and empty caches."""
    reached: BaseException | None = error
    while reached is not None:
        traceback.clear_frames(reached.__traceback__)
        reached = reached.__context__
    gc.collect()
    torch = sys.modules.get("torch")
    if torch is None:
        return
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()
