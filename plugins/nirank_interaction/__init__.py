"""Interaction models: exact-match patterns and matrices of word similarities."""

from typing import Any

from nirank import hookimpl


@hookimpl
def nirank_register(registry: Any) -> None:
    """Name the components."""
