"""Tables as TOML; tomllib reads them back."""

from __future__ import annotations

import numbers
from collections.abc import Mapping
from datetime import date, time
from typing import Any


def to_toml(table: Mapping[str, Any]) -> str:
    """A table as TOML. What is None is left out; what TOML has no type for is written as its text."""
    import tomli_w

    return tomli_w.dumps(_plain(table))


def _plain(value: Any) -> Any:
    match value:
        case Mapping():
            return {str(key): _plain(part) for key, part in value.items() if part is not None}
        case list() | tuple():
            return [_plain(part) for part in value]
        case bool() | date() | time():
            return value
        case numbers.Integral():
            return int(value)
        case numbers.Real():
            return float(value)
    return str(value)
