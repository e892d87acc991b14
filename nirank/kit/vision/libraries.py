"""Libraries of image models that are installed by those who want them, and need a torchvision that fits."""

from __future__ import annotations

import importlib
from typing import Any

from nirank.errors import MissingDependency


def imported(name: str, what: str) -> Any:
    """The module `name`, which is also that of the extra; `what` needs it, in words.

    Raises `MissingDependency` where it, or something that it imports, is missing, and where it cannot be loaded.
    """
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        message = f"{what} need the package {error.name!r}. Run: pip install 'nirank[{name}]'"
        raise MissingDependency(message, name=error.name) from error
    except RuntimeError as error:  # what a torchvision raises that was built for another torch
        message = f"{name} cannot be loaded: {error}. It needs a torchvision that was built for the torch installed."
        raise MissingDependency(message) from error
