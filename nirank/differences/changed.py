"""Differences of two manifests, each named by its path: `components.bm25.settings.k1: 0.9 -> 1.2`."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: What a path is about, by how it begins; the first that fits counts, and what fits none is left out.
_ABOUT = (
    ("judgments", r"collection\.judgments"),
    ("queries", r"collection\.queries"),
    ("corpus", r"collection\.(corpus|documents)|experiment\.write"),
    (
        "settings",
        r"pipeline$|components\..*\.(settings|use)|components\.[^.]+$|experiment\.(?!collection)|seed$|ties\.",
    ),
    ("collection", r"collection\.|experiment\.collection"),
    ("models", r"components\."),
    ("code", r"code\.|plugins\."),
    ("versions", r"versions\."),
    ("machine", r"machine\.|platform\."),
)
#: Tables of an experiment that the rest of a manifest does not tell.
_EXPERIMENT = ("collection", "numbers", "evaluate", "write", "folds", "train", "tune")
ABOUT = tuple(name for name, _ in _ABOUT)


@dataclass(frozen=True)
class Change:
    """Something that differs: what it is about (`settings`, `machine`, ...), its path, and what either side says.

    None stands for what a side does not have.
    """

    about: str
    path: str
    a: Any
    b: Any

    def __str__(self) -> str:
        return f"{self.path}: {told(self.a)} -> {told(self.b)}"


@dataclass(frozen=True)
class Changes:
    """What differs between two manifests; `unknown` are sentences about what they do not tell."""

    rows: tuple[Change, ...] = ()
    unknown: tuple[str, ...] = ()

    def about(self, *what: str) -> list[Change]:
        """The changes of these kinds."""
        return [row for row in self.rows if row.about in what]


def told(value: Any) -> str:
    """A value as a table shows it."""
    if value is None:
        return "(none)"
    return ", ".join(map(str, value)) if isinstance(value, Sequence) and not isinstance(value, str) else str(value)


def changes(one: Mapping[str, Any] | None, other: Mapping[str, Any] | None, systems: tuple[Any, Any]) -> Changes:
    """Compare the manifests of two sides, as far as they concern the two `systems`."""
    lacking = [name for name, manifest in zip("ab", (one, other), strict=True) if manifest is None]
    if one is None or other is None:
        runs = "either run" if len(lacking) == 2 else f"run {lacking[0]}"
        return Changes(unknown=(f"Nothing is known of what {runs} was made from: there is no manifest beside it.",))
    sides = {"a": _of_system(one, systems[0]), "b": _of_system(other, systems[1])}
    first, second = sides["a"], sides["b"]
    second["components"] = _paired(first["components"], second["components"])
    if ("machine" in first) != ("machine" in second):  # a former version, which told only what it had imported
        _keep_common(first["versions"], second["versions"])
    untold = [(name, key) for key in sorted(first.keys() ^ second.keys()) for name in sides if key not in sides[name]]
    rows = tuple(_compared(first, second, sorted(first.keys() & second.keys())))
    return Changes(rows, tuple(f"The manifest of run {name} does not tell {key}." for name, key in untold))


def _keep_common(one: dict[str, Any], other: dict[str, Any]) -> None:
    """Drop the keys that only one of two tables has."""
    for table, key in [(table, key) for table in (one, other) for key in one.keys() ^ other.keys() if key in table]:
        del table[key]


def _of_system(manifest: Mapping[str, Any], system: str | None) -> dict[str, Any]:
    """The parts of a manifest that concern a system, those that are always there and those that it has."""
    pipelines = table_of(manifest, "pipelines")
    pipeline = pipelines.get(system, "")
    components, names = table_of(manifest, "components"), re.findall(r"\w+", str(pipeline))
    experiment = table_of(manifest, "experiment")
    taken = {
        "pipeline": pipeline,
        "components": {name: components[name] for name in dict.fromkeys(names) if name in components},
        "plugins": {Path(name).name: version for name, version in table_of(manifest, "plugins").items()},
        "versions": table_of(manifest, "versions"),
    }
    others = ("seed", "ties", "collection", "platform", "machine", "code")
    if experiment:
        taken["experiment"] = {name: experiment[name] for name in _EXPERIMENT if experiment.get(name)}
    return taken | {name: manifest[name] for name in others if name in manifest}


def table_of(manifest: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A table of a manifest; an empty one where there is none."""
    found = manifest.get(name)
    return dict(found) if isinstance(found, Mapping) else {}


def _paired(one: Mapping[str, Any], other: Mapping[str, Any]) -> dict[str, Any]:
    """The components of the second side by the names of the first, where two of one kind have other names."""
    spare = [name for name in one if name not in other]
    renamed = {}
    for name, component in other.items():
        same = [known for known in spare if name not in one and _use(one[known]) == _use(component)]
        renamed[same[0] if same else name] = component
        spare = [known for known in spare if known not in same[:1]]
    return renamed


def _use(component: Any) -> Any:
    return component.get("use") if isinstance(component, Mapping) else None


def _compared(
    one: Mapping[str, Any], other: Mapping[str, Any], keys: Sequence[str], above: str = ""
) -> Iterator[Change]:
    for key in keys:
        path, first, second = f"{above}{key}", one.get(key), other.get(key)
        if isinstance(first, Mapping) and isinstance(second, Mapping):
            yield from _compared(first, second, list(dict.fromkeys([*first, *second])), f"{path}.")
        elif first != second:
            first, second = _without_common(first, second)
            yield from (Change(about, path, first, second) for about in _about(path))


def _about(path: str) -> list[str]:
    return [name for name, pattern in _ABOUT if re.match(pattern, path)][:1]


def _without_common(one: Any, other: Any) -> tuple[Any, Any]:
    """Of two long lists the entries that differ: of instruction sets, and the like."""
    if isinstance(one, list) and isinstance(other, list) and max(len(one), len(other)) > 3:
        return [each for each in one if each not in other], [each for each in other if each not in one]
    return one, other
