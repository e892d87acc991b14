"""Components made by their classes from flat settings, as they are written in TOML."""

from __future__ import annotations

from nirank.plugins.settings import bind


def built(kind, **settings):
    """An object of the class `kind`; what belongs to a group of its settings goes there."""
    return kind(**bind(kind, settings, kind.__name__).arguments)
