"""Learning to rank: features of a pair by name, and rankers over features."""

from typing import Any

from nirank import hookimpl


@hookimpl
def nirank_register(registry: Any) -> None:
    """Name the components."""
