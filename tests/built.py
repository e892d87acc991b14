"""Models as a registered name builds them, from settings as they are written in TOML."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nirank


def built(name: str, model: str | Path, **settings: Any) -> Any:
    """The object of a component that starts from `model`; on the CPU unless a device is set."""
    return nirank.load(name, **{"model": str(model), "device": "cpu", **settings}).component.target
