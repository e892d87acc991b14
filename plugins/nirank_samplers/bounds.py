"""Bounds of the settings of samplers."""

from nirank.errors import BadInput


def at_least(least: int, value: int, setting: str) -> None:
    """Raise `BadInput` for a setting below what it may be."""
    if value < least:
        raise BadInput(f"{setting} = {value}; at least {least} is expected.")
