"""Settings that name a stage of the experiment.

    [stage.dalle]
    vae = "@dvae"         # the stage `dvae`: as it is in this experiment, trained where it has been trained before

The component is given the stage itself, a `nirank.pipeline.Stage`, as `nirank.load("dalle", vae=dvae)` would; one that
several stages name is there once. A stage that settings name is trained before those that name it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from nirank.errors import BadInput

SIGN = "@"
#: The tables [stage.NAME], by name.
Tables = Mapping[str, Mapping[str, Any]]


def named_by(settings: Mapping[str, Any]) -> list[str]:
    """The stages that the settings of a stage name, each once."""
    return list(dict.fromkeys(_name(value) for value in settings.values() if _name(value)))


def given(settings: Mapping[str, Any], stage_of: Callable[[str], Any]) -> dict[str, Any]:
    """The settings with stages in the place of their names."""
    return {key: stage_of(_name(value)) if _name(value) else value for key, value in settings.items()}


def in_order(names: Iterable[str], tables: Tables) -> list[str]:
    """The given stages and all that their settings name, each behind those that it names.

    Raises `BadInput` for stages that name each other in a circle.
    """
    found: list[str] = []
    for name in names:
        _add(name, tables, found, ())
    return found


def _add(name: str, tables: Tables, found: list[str], path: tuple[str, ...]) -> None:
    if name in path:
        circle = " -> ".join([*path[path.index(name) :], name])
        raise BadInput(f"settings of stages name each other in a circle, {circle}: none could be built first.")
    if name not in found:
        for other in named_by(tables.get(name, {})):
            _add(other, tables, found, (*path, name))
        found.append(name)


def _name(value: Any) -> str:
    """The name of the stage in a value of a setting; an empty text for any other value."""
    if isinstance(value, str) and value.startswith(SIGN) and value[1:].isidentifier():
        return value[1:]
    return ""
