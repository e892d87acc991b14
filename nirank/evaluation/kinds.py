"""Kinds of measures that take settings: how each is computed, and what it can be set to."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nirank.errors import BadInput, UnknownName
from nirank.evaluation.measures import Values, is_rank


@dataclass(frozen=True)
class Kind:
    """The way a measure is computed, the settings that it takes, and whether it can be cut off."""

    compute: Callable[..., Values]
    settings: tuple[str, ...] = ("rel",)
    cut: bool = True


def check_settings(
    name: str, given: Mapping[str, Any], known: Sequence[str], valid: Mapping[str, Callable[[Any], bool]]
) -> None:
    """Raise `UnknownName` for a setting that is not `known`, and `BadInput` for a value that is not `valid`."""
    for setting, value in given.items():
        if setting not in known:
            raise UnknownName(f"setting of {name}", setting, known)
        if not valid[setting](value):
            raise BadInput(f"{name} cannot have {setting}={value!r}.")


def check_cutoff(name: str, cutoff: Any, cut: bool) -> None:
    """Raise `BadInput` for a cutoff that is no rank, or where the measure is not `cut` off."""
    if cutoff is not None and not (cut and is_rank(cutoff)):
        expected = "a whole number from 1 on is expected" if cut else "it has none"
        raise BadInput(f"{name} cannot have cutoff={cutoff!r}; {expected}.")
