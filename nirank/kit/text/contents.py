"""Contents that have to be texts: checked without what analyses them."""

from __future__ import annotations

from collections.abc import Sequence

from nirank.errors import BadInput


def require_text(contents: Sequence[object], what: str, first: int = 0) -> None:
    """Raise `BadInput` for the first of `contents` that is not a string."""
    for number, content in enumerate(contents, first):
        if not isinstance(content, str):
            raise BadInput(f"{what} {number} is of type {type(content).__name__}; only texts can be read here.")
