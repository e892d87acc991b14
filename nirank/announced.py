"""Plugins that installed distributions announce: entry points, each with the name and version of its distribution.

The description of a distribution is parsed anew, in two milliseconds, whenever its name is asked for. nirank announces
two dozen plugins, so that asking each for its own took most of the time of loading them: here each is read once.
"""

from __future__ import annotations

import importlib.metadata
from typing import NamedTuple


class Announced(NamedTuple):
    """An entry point, with name and version of its distribution."""

    point: importlib.metadata.EntryPoint
    distribution: str
    version: str


def own_points(group: str = "nirank") -> list[importlib.metadata.EntryPoint]:
    """The entry points of nirank itself; to look through all distributions takes some hundredths of a second."""
    try:
        return list(importlib.metadata.distribution("nirank").entry_points.select(group=group))
    except importlib.metadata.PackageNotFoundError:
        return []


def plugins(group: str = "nirank") -> list[Announced]:
    """The entry points of a group, in the order in which their distributions are found."""
    found = []
    for name, dist in _announcing(group).items():
        version = dist.metadata["Version"]
        found += [Announced(point, name, version) for point in dist.entry_points.select(group=group)]
    return found


def _announcing(group: str) -> dict[str, importlib.metadata.Distribution]:
    """The distributions that may have entry points of a group, by name.

    A distribution is parsed only if its file names the group, which takes half the time of
    `importlib.metadata.entry_points`. Of two with one name the first on the path counts, as it does there.
    """
    found = {}
    for dist in importlib.metadata.distributions():
        if f"[{group}]" in (dist.read_text("entry_points.txt") or ""):
            name = dist.metadata["Name"]
            found[name] = importlib.metadata.distribution(name)
    return found
