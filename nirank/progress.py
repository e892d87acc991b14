"""Progress bars for long work."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from html import escape

_SHOWN = ContextVar("shown", default=False)
_SECONDS_BETWEEN_UPDATES = 0.2

#: Called with the number of entries that have just been done.
Advance = Callable[[int], None]
#: Called with a text that is to stand beside a bar.
Tell = Callable[[str], None]

_TELLS: ContextVar[Tell | None] = ContextVar("tells", default=None)


def tell(text: str) -> None:
    """Show a text beside the bar that is shown, such as who does how much of the work; nowhere where there is none."""
    shown = _TELLS.get()
    if shown is not None:
        shown(text)


@contextmanager
def progress(what: str, total: int) -> Iterator[Advance]:
    """Show how far work on `total` entries has come; yields a function to call with each step's size.

    A bar is drawn on standard error where that is a terminal, and one that is updated in its place in a notebook;
    `NIRANK_PROGRESS=0` or `1` overrides this. Of work inside other work only the outer shows one.
    """
    if _SHOWN.get() or not _wanted():
        yield lambda step: None
        return
    with _updated(what, total) if _in_notebook() else _bar(what, total) as (advance, beside):
        shown, tells = _SHOWN.set(True), _TELLS.set(beside)
        try:
            yield advance
        finally:
            _SHOWN.reset(shown)
            _TELLS.reset(tells)


@contextmanager
def _bar(what: str, total: int) -> Iterator[tuple[Advance, Tell]]:
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    beside = TextColumn("{task.fields[beside]}", markup=False)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn(), beside)
    with Progress(*columns, console=Console(stderr=True), transient=True) as bar:
        task = bar.add_task(what, total=total, beside="")
        yield lambda step: bar.advance(task, step), lambda text: bar.update(task, beside=text)


@contextmanager
def _updated(what: str, total: int) -> Iterator[tuple[Advance, Tell]]:
    """One bar in a notebook, which is updated where it stands and empty at the end; rich's need a package of their own.

    Lines that are written over would all be kept in the file of the notebook. Short work shows nothing.
    """
    from IPython.display import DisplayHandle

    done, last, beside = 0, time.monotonic(), ""
    bar = DisplayHandle()
    show = bar.display

    def advance(step: int) -> None:
        nonlocal done, last, show
        done += step
        if time.monotonic() - last >= _SECONDS_BETWEEN_UPDATES:
            show(_bundle(what, done, total, beside), raw=True)
            last, show = time.monotonic(), bar.update

    def tell_beside(text: str) -> None:
        nonlocal beside
        beside = text

    try:
        yield advance, tell_beside
    finally:
        if show == bar.update:
            show({"text/plain": "", "text/html": ""}, raw=True)


def _bundle(what: str, done: int, total: int, beside: str) -> dict[str, str]:
    """A bar as text, and as the element that HTML has for it."""
    bar = f'<progress value="{done}" max="{max(total, 1)}" style="width: 16em"></progress>'
    count = f"{done:,}/{total:,} {beside}".rstrip()
    return {"text/plain": f"{what}: {count}", "text/html": f"<div>{escape(what)} {bar} {escape(count)}</div>"}


def _in_notebook() -> bool:
    """True in the kernel of a notebook, which shows what is displayed; a shell of text has no kernel."""
    shell = getattr(sys.modules.get("IPython"), "get_ipython", lambda: None)()
    return getattr(shell, "kernel", None) is not None


def _wanted() -> bool:
    asked = os.environ.get("NIRANK_PROGRESS")
    return asked == "1" if asked else sys.stderr.isatty() or _in_notebook()
