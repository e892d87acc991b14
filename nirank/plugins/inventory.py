"""The inventory of plugins: which are installed, their components, and the packages that they lack."""

from __future__ import annotations

import importlib.metadata
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass

from nirank.errors import MissingDependency
from nirank.plugins.loading import active
from nirank.registry import Entry, Plugin


@dataclass(frozen=True)
class Row:
    """One plugin, as `nirank plugins` shows it."""

    plugin: str
    distribution: str
    components: str
    state: str


def plugins() -> Iterator[Row]:
    """Every plugin that was found, in the order it was loaded; no component is imported."""
    for plugin in active().known:
        entries = active().registry.of(plugin)
        names = ", ".join(entry.spec for entry in entries)
        yield Row(plugin.name, f"{plugin.distribution} {plugin.version}".strip(), names, _state(plugin, entries))


def collections() -> Iterator[tuple[str, str]]:
    """Name and first line of documentation of every collection; of one that lacks a package, how to install it."""
    for entry in active().registry:
        if entry.kind == "collection":
            yield _described(entry)


def missing(entry: Entry) -> list[str]:
    """The packages of a component's extra that are not installed."""
    if not entry.extra or not entry.plugin.distribution:
        return []
    try:
        required = importlib.metadata.requires(entry.plugin.distribution) or []
    except importlib.metadata.PackageNotFoundError:
        return []
    extra = re.sub("[-_.]+", "[-_.]+", entry.extra)  # builders write any of these for any other
    marker = re.compile(rf"""extra\s*==\s*['"]{extra}['"]""", re.IGNORECASE)
    names = [re.split(r"[\s\[<>=!~;(]", line, maxsplit=1)[0] for line in required if marker.search(line)]
    return [name for name in names if not _installed(name)]


def _described(entry: Entry) -> tuple[str, str]:
    try:
        factory = entry.resolve()
    except MissingDependency as error:
        return entry.name, str(error)
    first = next(iter(inspect.signature(factory).parameters.values()))
    name = f"{entry.name}:{first.name.upper()}" if first.default is first.empty else entry.name
    return name, (inspect.getdoc(factory) or "").split("\n", 1)[0]


def _state(plugin: Plugin, entries: list[Entry]) -> str:
    if plugin.blocked:
        return "blocked by NIRANK_BLOCK"
    if plugin.error:
        return f"failed: {type(plugin.error).__name__}: {plugin.error}"
    extras = sorted({f"{plugin.distribution}[{entry.extra}]" for entry in entries if missing(entry)})
    return f"needs: pip install {' '.join(map(repr, extras))}" if extras else "ok"


def _installed(name: str) -> bool:
    try:
        importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True
