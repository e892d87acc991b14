"""The packages that adapters adapt to: which are not there is told with the command that brings them."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from nirank.errors import MissingDependency


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """Inside the block a package that is missing raises `MissingDependency`, which names the `extra` that brings it."""
    try:
        yield
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        raise MissingDependency(
            f"this adapter needs the package {missing!r}, which is not installed. Run: pip install 'nirank[{extra}]'",
            name=error.name,
        ) from error
