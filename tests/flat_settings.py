"""Components made in Python from flat settings, as a file or `nirank.load` makes them."""

from __future__ import annotations

from nirank.plugins import settings


def flat(factory):
    """A factory that takes the fields of its groups of settings as settings of its own; positional ones in order."""

    def make(*values, **named):
        given = dict(zip(settings.declared(factory), values, strict=False)) | named
        return factory(**settings.bind(factory, given, factory.__name__).arguments)

    return make
