"""The registry: every component that plugins name, by kind and name, and the plugin that brought it."""

from __future__ import annotations

import contextlib
import functools
import importlib
import importlib.metadata
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from nirank.errors import BadInput, MissingDependency, PluginError, UnknownName

log = logging.getLogger("nirank")

#: What stands in pipelines, and what training adds to them.
STAGES = ("encoder", "generator", "scorer", "extractor", "rewriter", "writer")
TRAINING = ("loss", "sampler")
#: Plain functions that expressions name.
FUNCTION = "function"
KINDS = (*STAGES, *TRAINING, FUNCTION, "collection", "observer")
#: The setting of every stage that says which field of documents it reads, or which several as one text.
FIELD = "field"
#: What stands before the folder of a checkpoint, where a name is expected (`nirank.checkpoints`).
TRAINED = "trained:"


class MissingModule(PluginError, ModuleNotFoundError):
    """A module that a plugin names as its own, and that it does not have."""


@dataclass
class Plugin:
    """One plugin: where it comes from, and the outcome of loading it."""

    name: str
    distribution: str = ""
    version: str = ""
    module: Any = field(default=None, repr=False)
    error: BaseException | None = None
    blocked: bool = False

    def __str__(self) -> str:
        source = f" ({self.distribution} {self.version})".replace(" )", ")") if self.distribution else ""
        return f"{self.name}{source}"


@dataclass(frozen=True)
class Entry:
    """One registered component: its name, where it lives, and which plugin brought it."""

    kind: str
    name: str
    target: str
    plugin: Plugin
    tiny: str | None = None
    extra: str | None = None

    @property
    def spec(self) -> str:
        """The name with its kind, as it is written in experiments: `scorer/monot5`."""
        return f"{self.kind}/{self.name}"

    def resolve(self) -> Any:
        """Import and return what `target` names.

        Raises `MissingDependency` with the command that helps, and `PluginError` where there is nothing of that name.
        """
        return self._import(self.target)

    def resolve_tiny(self) -> Any:
        """Import and return the factory of a small instance for checks; None where there is none."""
        return self._import(self.tiny) if self.tiny else None

    @contextlib.contextmanager
    def needing(self) -> Iterator[None]:
        """Inside the block a package that is missing raises `MissingDependency`, with the command that helps.

        A missing module of the plugin itself is its own fault, and raised as it is.
        """
        try:
            yield
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing == self.target.partition(":")[0].partition(".")[0]:
                raise
            raise MissingDependency(self._how_to_install(missing), name=error.name) from error

    def _import(self, target: str) -> Any:
        module, _, attribute = target.partition(":")
        if not (module and attribute):
            raise PluginError(f"{self.plugin} says that {self.spec} is {target!r}; `module:attribute` is expected.")
        imported = self._module(module, target)
        try:
            return functools.reduce(getattr, attribute.split("."), imported)
        except AttributeError as error:
            raise PluginError(f"{self.plugin} says that {self.spec} is {target!r}, and {error}.") from error

    def _module(self, module: str, target: str) -> Any:
        try:
            with self.needing():
                return importlib.import_module(module)
        except ModuleNotFoundError as error:  # of the plugin itself
            told = f"{self.plugin} says that {self.spec} is {target!r}, and that is not there: {error}."
            raise MissingModule(told) from error

    def _how_to_install(self, missing: str) -> str:
        extra = f"{self.plugin.distribution or 'nirank'}[{self.extra}]"
        command = f"pip install '{extra}'" if self.extra else f"pip install {missing}"
        return f"{self.spec} needs the package {missing!r}, which is not installed. Run: {command}"


class PluginRegistry:
    """The registry as one plugin sees it: what it adds is known to be its own."""

    def __init__(self, registry: Registry, plugin: Plugin) -> None:
        self._registry, self._plugin = registry, plugin

    def add(self, kind: str, name: str, target: str, *, tiny: str | None = None, extra: str | None = None) -> None:
        """Name a component.

        `target` is `module:attribute`, imported when the component is first built: a class or a function whose
        parameters are the settings. `tiny` names a function that builds a small instance without any download,
        for the contract checks. `extra` is the extra of the plugin's distribution that brings its dependencies.
        """
        self._registry.add(Entry(kind, name, target, self._plugin, tiny, extra))


class Registry:
    """All named components, by kind and name."""

    def __init__(self) -> None:
        self._entries: dict[tuple[str, str], Entry] = {}
        self._replaced: list[Entry] = []  # by those that override them, the last one last

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, entry: Entry) -> None:
        """Take in one component. Raises `PluginError` for an unknown kind.

        A name that is taken stays with the plugin that has it, and the second component is left out, with a warning,
        unless the second plugin lists it in `nirank_override`: then that one has the name.
        """
        if entry.kind not in KINDS:
            raise PluginError(
                f"{entry.plugin} adds {entry.spec!r}, but there is no kind {entry.kind!r}. Kinds: {', '.join(KINDS)}."
            )
        taken = self._entries.get((entry.kind, entry.name))
        if taken and entry.spec not in getattr(entry.plugin.module, "nirank_override", ()):
            log.warning(
                "%s adds %r, but %s has that name already: the second one is left out. Give it another name, or list "
                "it in `nirank_override` of the plugin to replace the first.",
                entry.plugin,
                entry.spec,
                taken.plugin,
            )
            return
        if taken:
            self._replaced.append(taken)
        self._entries[entry.kind, entry.name] = entry

    def remove(self, plugin: Plugin) -> None:
        """Forget all that `plugin` added, and give names back that it took."""
        self._replaced = [entry for entry in self._replaced if entry.plugin is not plugin]
        left = {(entry.kind, entry.name): entry for entry in self._replaced}
        found = {key: left.get(key) if entry.plugin is plugin else entry for key, entry in self._entries.items()}
        self._entries = {key: entry for key, entry in found.items() if entry is not None}

    def of(self, plugin: Plugin) -> list[Entry]:
        """The components that `plugin` added, in its order."""
        return [entry for entry in self if entry.plugin is plugin]

    def find(self, spec: str, kinds: tuple[str, ...] = KINDS) -> Entry:
        """The component called `spec`: `name`, or `kind/name` where several kinds share a name.

        A name shared by several kinds is not ambiguous where all of them mean one class (BM25 generates and
        scores), and what stands in pipelines goes before a loss or sampler of its name. Raises `UnknownName` with the
        nearest names, `BadInput` where the kind must be said.
        """
        kind, slash, name = spec.rpartition("/")
        wanted = (kind,) if slash else kinds
        found = [entry for entry in self if entry.name == name and entry.kind in wanted]
        if not found:
            known = {entry.spec if slash else entry.name for entry in self if slash or entry.kind in wanted}
            hint = "`nirank plugins` lists what is installed, and what failed to load."
            raise UnknownName(wanted[0] if len(wanted) == 1 else "component", spec, known, hint)
        found = [entry for entry in found if entry.kind in STAGES] or found
        if len({entry.target for entry in found}) > 1:
            raise BadInput(f"{spec!r} is ambiguous: say {' or '.join(entry.spec for entry in found)}.")
        return found[0]
