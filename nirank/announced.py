"""Plugins that installed distributions announce: entry points, each with the name and version of its distribution.

The description of a distribution is parsed anew, in two milliseconds, whenever its name is asked for. nirank announces
two dozen plugins, so that asking each for its own took most of the time of loading them: here each is read once.
"""

from __future__ import annotations

import importlib.metadata
from typing import NamedTuple


class Announced(NamedTuple):
    """An entry point; name and version of its distribution are empty where it has none."""

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
    """The entry points of a group, in the order in which they are found."""
    about: dict[int, tuple[str, str]] = {id(None): ("", "")}
    found = []
    for point in importlib.metadata.entry_points(group=group):
        dist = point.dist
        if dist is not None and id(dist) not in about:
            metadata = dist.metadata
            about[id(dist)] = metadata["Name"], metadata["Version"]
        found.append(Announced(point, *about[id(dist)]))  # which keeps the distribution, and so its id
    return found
