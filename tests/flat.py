"""Components made by their classes from flat settings, as they are written in TOML."""

from __future__ import annotations

from nirank.plugins import settings


def built(kind, **given):
    """An object of the class `kind`; what belongs to a group of its settings goes there."""
    return kind(**settings.bind(kind, given, kind.__name__).arguments)


def flat(factory):
    """A factory that takes the fields of its groups of settings as settings of its own; positional ones in order."""

    def make(*values, **named):
        return built(factory, **dict(zip(settings.declared(factory), values, strict=False)), **named)

    return make
