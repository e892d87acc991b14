"""Faces: the public names of a package, imported when they are first used.

    __getattr__, __dir__, __all__ = faces.lazily(__name__, {"nirank.data.queries": ["Queries"], ...})

A face costs nothing before a name of it is used, so plugins import from faces without paying for what they do not use.
What is not in a face may change; `CHANGELOG.md` lists changes to what is. Type checkers read the imports under
`if TYPE_CHECKING` beside it; a test holds both together.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

#: Where plugins, and everybody else, may import from.
FACES = (
    *("nirank", "nirank.data", "nirank.errors", "nirank.evaluation", "nirank.formats", "nirank.kit", "nirank.kit.text"),
    *("nirank.kit.transformers", "nirank.kit.vision", "nirank.pipeline", "nirank.plugins", "nirank.testing"),
    *("nirank.training", "nirank.clicks"),
)

_Face = tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]


def lazily(package: str, homes: Mapping[str, Sequence[str]]) -> _Face:
    """`__getattr__`, `__dir__` and `__all__` of a package whose names live in the modules `homes`.

    A name that is listed under the package itself is one of its modules.
    """
    home_of = {name: home for home, names in homes.items() for name in names}
    public = sorted(home_of)

    def get(name: str) -> Any:
        if name not in home_of:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        home = home_of[name]
        inside = home == package
        value = importlib.import_module(f"{package}.{name}") if inside else getattr(importlib.import_module(home), name)
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: public, public
