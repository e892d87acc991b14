"""Progress bars for long work."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_SHOWN = ContextVar("shown", default=False)

#: Called with the number of entries that have just been done.
Advance = Callable[[int], None]


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show how far work on `total` entries has come; yields a function to call with each step's size.

    A bar is drawn on standard error where that is a terminal; `NIRANK_PROGRESS=0` or `1` overrides this. Of work
    inside other work only the outer shows one.
    """
    if _SHOWN.get() or not _wanted():
        yield lambda step: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total)
        shown = _SHOWN.set(True)
        try:
            yield lambda step: bar.advance(task, step)
        finally:
            _SHOWN.reset(shown)


def _wanted() -> bool:
    asked = os.environ.get("NIRANK_PROGRESS")
    return asked == "1" if asked else sys.stderr.isatty()
