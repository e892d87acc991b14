"""Progress bars for long work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SHOWN = ContextVar("shown", default=False)
_SECONDS_BETWEEN_LINES = 0.2

#: Called with the number of entries that have just been done.
Advance = Callable[[int], None]


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show how far work on `total` entries has come; yields a function to call with each step's size.

    A bar is drawn on standard error where that is a terminal, and a line that is written over in a notebook;
    `NIRANK_PROGRESS=0` or `1` overrides this. Of work inside other work only the outer shows one.
    """
    if _SHOWN.get() or not _wanted():
        yield lambda step: None
        return
    with _line(what, total) if _in_notebook() else _bar(what, total) as advance:
        shown = _SHOWN.set(True)
        try:
            yield advance
        finally:
            _SHOWN.reset(shown)


@contextmanager
def _bar(what: str, total: int) -> Iterator[Advance]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        yield lambda step: bar.advance(task, step)


@contextmanager
def _line(what: str, total: int) -> Iterator[Advance]:
    """The progress as one line, for a notebook, where rich's bars need a package of their own."""
    done, width, last = 0, 0, -_SECONDS_BETWEEN_LINES

    def advance(step: int) -> None:
        nonlocal done, width, last
        done += step
        if time.monotonic() - last < _SECONDS_BETWEEN_LINES and done < total:
            return
        last, line = time.monotonic(), f"{what}: {done:,}/{total:,}"
        width = max(width, len(line))
        sys.stderr.write(f"\r{line:{width}}")
        sys.stderr.flush()

    try:
        advance(0)
        yield advance
    finally:
        sys.stderr.write(f"\r{'':{width}}\r")
        sys.stderr.flush()


def _in_notebook() -> bool:
    """True in the kernel of a notebook, which shows what is written to standard error, though it is no terminal."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return type(shell).__name__ == "ZMQInteractiveShell"


def _wanted() -> bool:
    asked = os.environ.get("NIRANK_PROGRESS")
    return asked == "1" if asked else sys.stderr.isatty() or _in_notebook()
