"""Errors of plugins while they are loaded: which are caught, the time limit, and their messages."""

from __future__ import annotations

import dis
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from nirank.errors import PluginError

_SECONDS = 60.0


def message_of(error: BaseException) -> str:
    """The text of an error, also where its `__str__` raises."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:  # whatever an error of a plugin does when it is asked for its text
        return f"{type(error).__name__} (its message cannot be read)"


def is_of_plugin(error: BaseException) -> bool:
    """True for an error of the plugin, and not for a user's Ctrl-C: that interrupts anywhere, and not at a `raise`."""
    if not isinstance(error, KeyboardInterrupt):
        return True
    trace = error.__traceback__
    while trace and trace.tb_next:
        trace = trace.tb_next
    return trace is not None and trace.tb_frame.f_code.co_code[trace.tb_lasti] == dis.opmap["RAISE_VARARGS"]


@contextmanager
def in_time(what: str) -> Iterator[None]:
    """Raise `PluginError` where the block takes longer than NIRANK_PLUGIN_SECONDS (60 unless set; 0: no limit).

    On the main thread alone, and where the system has alarms: elsewhere nothing can interrupt it.
    """
    seconds = _limit()
    alarms = hasattr(signal, "setitimer") and threading.current_thread() is threading.main_thread()
    if not seconds or not alarms or signal.getitimer(signal.ITIMER_REAL)[0]:
        yield
        return

    def ring(*_: Any) -> None:
        raise PluginError(f"{what} took longer than {seconds:g} seconds; set NIRANK_PLUGIN_SECONDS to allow more.")

    before = signal.signal(signal.SIGALRM, ring)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _limit() -> float:
    try:
        return float(os.environ.get("NIRANK_PLUGIN_SECONDS", _SECONDS))
    except ValueError:
        return _SECONDS
