"""The inventory of plugins: which are installed, their components and settings, and the packages that they lack."""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from nirank.errors import MissingDependency, UnknownName
from nirank.hints import readable
from nirank.plugins import settings
from nirank.plugins.loading import active
from nirank.registry import FIELD, FUNCTION, STAGES, Entry, Plugin


@dataclass(frozen=True)
class Row:
    """One plugin, as `nirank plugins` shows it."""

    plugin: str
    distribution: str
    components: str
    state: str


@dataclass(frozen=True)
class SettingRow:
    """One setting of a component: its type and default as text, and what its documentation says of it."""

    name: str
    type: str
    default: str
    about: str


@dataclass(frozen=True)
class Description:
    """One component, as `nirank plugins NAME` shows it.

    `components` are its names with their kinds, `about` is its documentation, and `missing` how to install what it
    lacks, in which case there are no settings to be seen.
    """

    components: list[str]
    plugin: str
    about: str
    settings: list[SettingRow]
    missing: str = ""


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


def describe(name: str) -> list[Description]:
    """The components called `name` (`ql`, `scorer/ql`), or all of the plugin of this name, one a factory.

    Raises `UnknownName` where there is none.
    """
    entries: dict[str, list[Entry]] = {}
    for entry in active().registry:
        if name in (entry.name, entry.spec, entry.plugin.name):
            entries.setdefault(entry.target, []).append(entry)
    if not entries:
        known = {known for entry in active().registry for known in (entry.name, entry.plugin.name)}
        raise UnknownName("component or plugin", name, known)
    return [_description(found) for found in entries.values()]


def names(*kinds: str) -> list[str]:
    """The names of all components, or of those of some kinds; none of them is imported."""
    return sorted({entry.name for entry in active().registry if entry.kind in kinds or not kinds})


def _description(entries: list[Entry]) -> Description:
    """The description of one factory, which is registered under some names."""
    components, plugin = [entry.spec for entry in entries], str(entries[0].plugin)
    try:
        factory = entries[0].resolve()
    except MissingDependency as error:
        return Description(components, plugin, "", [], str(error))
    rows = [] if entries[0].kind == FUNCTION else list(_settings(factory))  # whose parameters are no settings
    if any(entry.kind in STAGES for entry in entries):
        rows.append(
            SettingRow(
                FIELD, "str | list[str] | None", "None", "The field of documents that is read, or several as one."
            )
        )
    return Description(components, plugin, inspect.getdoc(factory) or "", rows)


def _settings(factory: Callable[..., Any]) -> Iterator[SettingRow]:
    parameters = inspect.signature(factory).parameters
    own = _documentation(factory)
    for setting in settings.declared(factory).values():
        group = [] if setting.within is None else _documentation(type(parameters[setting.within].default))
        kind = "" if setting.hint is Any else readable(setting.hint).replace("collections.abc.", "")
        default = "required" if setting.default is settings.REQUIRED else repr(setting.default)
        found = (_entry(text, setting.name) or _sentence(text, setting.name) for text in (*group, *own))
        said = sorted(filter(None, found), key=lambda text: text.startswith("of `"))  # which says where it is said
        yield SettingRow(setting.name, kind, default, said[0] if said else "")


def _documentation(factory: Any) -> list[str]:
    """The texts on a factory: its own documentation, that of its bases, of its module, and of what it refers to."""
    kinds = inspect.getmro(factory)[:-1] if inspect.isclass(factory) else (factory,)
    texts = [text for one in (*kinds, inspect.getmodule(factory)) if (text := inspect.getdoc(one))]
    named = re.findall(r"`(?:(nirank[\w.]*)\.)?([A-Z]\w+)`", texts[0]) if texts else []
    own = factory.__module__
    return texts + [text for module, name in named if (text := _documented(module or own, name))]


def _documented(module: str, name: str) -> str:
    try:
        return inspect.getdoc(getattr(importlib.import_module(module), name)) or ""
    except (ImportError, AttributeError):
        return ""


def _entry(text: str, name: str) -> str:
    """The entry of a setting in a list of a documentation: names, two blanks or more, and a text. Empty without one."""
    for names, said in re.findall(r"^(\w+(?:, \w+)*) {2,}(.+(?:\n {2,}.+)*)", text, re.MULTILINE):
        if name in names.split(", "):
            return " ".join(said.split())
    return ""


def _sentence(text: str, name: str) -> str:
    """The first sentence of a documentation that names a setting; empty where none does."""
    paragraphs = re.split(r"\n\s*\n", text)
    sentences = [" ".join(said.split()) for part in paragraphs for said in re.split(r"(?<=\.)\s+(?=[A-Z`(])", part)]
    told = [sentence for sentence in sentences if not sentence.startswith("Raises ")]
    alone = (sentence for sentence in told if f"`{name}`" in sentence)
    return next(alone, next((sentence for sentence in told if _in_a_formula(name, sentence)), ""))


def _in_a_formula(name: str, sentence: str) -> bool:
    return any(re.search(rf"\b{name}\b", quoted) for quoted in sentence.split("`")[1::2])


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
