"""Shards that did not answer during a search, noted so that its result says so, whatever is made of what was found."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar

_LOST: ContextVar[dict[str, None] | None] = ContextVar("lost", default=None)


def note_lost(names: Sequence[str]) -> None:
    """Note shards that are missing from what was just found."""
    lost = _LOST.get()
    if lost is not None:
        lost.update(dict.fromkeys(names))


@contextmanager
def noted() -> Iterator[dict[str, None]]:
    """Inside the block what is noted is gathered, by name."""
    lost: dict[str, None] = {}
    token = _LOST.set(lost)
    try:
        yield lost
    finally:
        _LOST.reset(token)
