"""Find, load, block and report plugins; the registry of components.

Plugins come in through the entry-point group `nirank`, the first-party ones by the same door as everyone's.
Each is loaded on its own: what fails is left out, remembered with its distribution and version, and told
once, while the rest works. Three environment variables steer this:

    NIRANK_BLOCK    plugins to leave out, separated by commas
    NIRANK_PLUGINS  modules to load as plugins besides the installed ones, separated by commas
    NIRANK_STRICT   1: the first plugin that fails raises
"""

from __future__ import annotations

import copy
import functools
import hashlib
import importlib
import importlib.metadata
import inspect
import json
import logging
import os
import sys
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import pluggy

from nirank import hooks, settings
from nirank.errors import BadInput, MissingDependency, PluginError, UnknownName

if TYPE_CHECKING:
    from nirank.data import Collection, Corpus

log = logging.getLogger("nirank")

GROUP = "nirank"
#: What stands in pipelines, and what training adds to them.
STAGES = ("encoder", "generator", "scorer", "extractor")
TRAINING = ("loss", "sampler")
KINDS = (*STAGES, *TRAINING, "collection", "observer")
#: The setting of every stage that says which field of documents it reads.
FIELD = "field"
#: What stands before the folder of a checkpoint, where a name is expected (`nirank.weights`).
TRAINED = "trained:"

#: What `nirank_wrap` returns: called as `middleware(call, method, *inputs)`.
Middleware = Callable[..., Any]


@dataclass
class Plugin:
    """One plugin: where it comes from, and what became of loading it."""

    name: str
    distribution: str = ""
    version: str = ""
    module: Any = field(default=None, repr=False)
    error: BaseException | None = None
    blocked: bool = False

    def __str__(self) -> str:
        source = f" ({self.distribution} {self.version})" if self.distribution else ""
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
        """Import and return what `target` names. Raises `MissingDependency` with the command that helps."""
        return self._import(self.target)

    def resolve_tiny(self) -> Any:
        """Import and return the factory of a small instance for checks; None where there is none."""
        return self._import(self.tiny) if self.tiny else None

    def _import(self, target: str) -> Any:
        module, _, attribute = target.partition(":")
        try:
            return functools.reduce(getattr, attribute.split("."), importlib.import_module(module))
        except ModuleNotFoundError as error:
            missing = (error.name or "").partition(".")[0]
            if missing == module.partition(".")[0]:
                raise
            raise MissingDependency(self._how_to_install(missing), name=error.name) from error

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

    def __iter__(self) -> Iterator[Entry]:
        return iter(self._entries.values())

    def add(self, entry: Entry) -> None:
        """Take in one component. Raises `PluginError` for an unknown kind or a name that is taken."""
        if entry.kind not in KINDS:
            raise PluginError(f"{entry.plugin} adds {entry.spec!r}, but kinds are {', '.join(KINDS)}.")
        taken = self._entries.get((entry.kind, entry.name))
        if taken:
            raise PluginError(f"{entry.plugin} adds {entry.spec!r}, but {taken.plugin} has that name already.")
        self._entries[entry.kind, entry.name] = entry

    def remove(self, plugin: Plugin) -> None:
        """Forget all that `plugin` added."""
        self._entries = {key: entry for key, entry in self._entries.items() if entry.plugin is not plugin}

    def of(self, plugin: Plugin) -> list[Entry]:
        """What `plugin` added, in its order."""
        return [entry for entry in self if entry.plugin is plugin]

    def find(self, spec: str, kinds: tuple[str, ...] = KINDS) -> Entry:
        """The component called `spec`: `name`, or `kind/name` where several kinds share a name.

        A name shared by several kinds is no question where all of them mean one class (BM25 generates and
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


@dataclass(frozen=True)
class Opened:
    """The index that a component has open: of which corpus, with whose vectors, from which folder.

    `encoded` is the fingerprint that the encoder had when it encoded the corpus.
    """

    corpus: Corpus
    encoder: Component | None
    folder: Path
    encoded: str | None = None


class Component:
    """A built component: the object itself, with its name, settings, origin and middleware.

    The hooks are given this; `target` is the plain object that does the work.
    """

    def __init__(self, name: str, target: Any, given: Mapping[str, Any] | None = None, entry: Entry | None = None):
        self.name = name
        self.target = target
        self.settings = dict(given or {})
        self.entry = entry
        #: The field of documents that is read in the place of their content (`nirank.corpus.Field`).
        self.field: str | None = None
        #: What `target` has open, where it needs an index.
        self.opened: Opened | None = None
        self._searching: dict[Component, Component] = {}
        self.middleware: list[Middleware] = [
            function for function in active().hook.nirank_wrap(component=self) if function is not None
        ]

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={value!r}" for key, value in self.settings.items())
        return f"{self.spec}({values})"

    @property
    def spec(self) -> str:
        """Where it was registered (`scorer/monot5`), or its class for an object of the user's own."""
        return self.entry.spec if self.entry else type(self.target).__name__

    @property
    def origin(self) -> str:
        """The plugin it comes from, with its version, for messages and manifests."""
        return str(self.entry.plugin) if self.entry else type(self.target).__module__

    def can(self, method: str) -> bool:
        """Whether the object has this method."""
        return callable(getattr(self.target, method, None))

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what results depend on: the class, and the object's own `fingerprint`, or its settings and weights.

        A component that starts from a model elsewhere has that attribute, a hash of the weights and of all else that
        matters, so that a model is the same wherever its folder lies.
        """
        own = getattr(self.target, "fingerprint", None)
        if own is None:
            own = self.settings if self.entry else _plain(self.target)
            if callable(state := getattr(self.target, "state_dict", None)):
                from nirank import weights

                own = {"settings": own, "weights": weights.digest(state())}
        return digest({"class": _qualified_name(self.target), "own": own})

    def changed(self) -> None:
        """Forget what was known of the object, and the index made with it: its weights are not what they were."""
        for cached in (vars(self), vars(self.target)):
            cached.pop("fingerprint", None)
        self.opened = None

    def searching(self, encoder: Component) -> Component:
        """The index for the vectors of `encoder`: itself for the first encoder it is asked for, then a copy.

        An index has the vectors of one encoder open at a time.
        """
        if encoder not in self._searching:
            first = not self._searching
            copied = self if first else Component(self.name, copy.copy(self.target), self.settings, self.entry)
            copied.field = self.field
            self._searching[encoder] = copied
        return self._searching[encoder]

    def around(self, method: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call` with this component's middleware round it; the first plugin's is outermost."""
        for middleware in reversed(self.middleware):
            call = functools.partial(middleware, call, method)
        return call


class Plugins:
    """All plugins of this process: the hooks they implement and the components they name."""

    def __init__(self) -> None:
        self.manager = pluggy.PluginManager(hooks.PROJECT)
        self.manager.add_hookspecs(hooks)
        self.registry = Registry()
        self.known: list[Plugin] = []

    @property
    def hook(self) -> pluggy.HookRelay:
        """The hooks, to be called by name: `plugins.hook.nirank_score(scorer=..., ...)`."""
        return self.manager.hook

    def load_all(self) -> None:
        """Load the core's own plugin, the installed ones, and those that NIRANK_PLUGINS names."""
        from nirank import execute

        self.load(Plugin("nirank.execute", *_distribution("nirank")), lambda: execute)
        for point in sorted(importlib.metadata.entry_points(group=GROUP), key=lambda point: point.name):
            about = point.dist.metadata if point.dist else {"Name": "", "Version": ""}  # read once: it is parsed anew
            self.load(Plugin(point.name, about["Name"], about["Version"]), point.load)
        for name in _names("NIRANK_PLUGINS"):
            self.load(Plugin(name, "NIRANK_PLUGINS"), functools.partial(importlib.import_module, name))

    def load(self, plugin: Plugin, importer: Callable[[], Any]) -> Plugin:
        """Import and register one plugin; a failure is kept in `plugin.error` and told, not raised."""
        self.known.append(plugin)
        plugin.blocked = plugin.name in _names("NIRANK_BLOCK")
        if plugin.blocked:
            return plugin
        try:
            self._register(plugin, importer())
        except (Exception, SystemExit) as error:  # whatever a plugin raises, the others go on
            self._give_up(plugin, error)
        return plugin

    def listen(self, implementer: Any, owner: str, name: str | None = None) -> None:
        """From now on call the hooks that an object implements. Raises `PluginError` for one that does not exist."""
        unknown = sorted(_unknown_hooks(self.manager, implementer))
        if unknown:
            known = ", ".join(name for name in vars(hooks) if name.startswith("nirank_"))
            raise PluginError(f"{owner} implements {', '.join(unknown)}, which nirank does not call. Hooks: {known}.")
        self.manager.register(implementer, name)

    def _register(self, plugin: Plugin, module: Any) -> None:
        plugin.module = module
        self.listen(module, str(plugin), plugin.name)
        alone = [other for other in self.manager.get_plugins() if other is not module]
        register = self.manager.subset_hook_caller("nirank_register", alone)
        register(registry=PluginRegistry(self.registry, plugin))

    def _give_up(self, plugin: Plugin, error: BaseException) -> None:
        plugin.error = error
        self.registry.remove(plugin)
        if self.manager.is_registered(plugin.module):
            self.manager.unregister(plugin.module)
        if os.environ.get("NIRANK_STRICT") == "1":
            raise PluginError(f"The plugin {plugin} could not be loaded: {error}") from error
        log.warning("The plugin %s could not be loaded and is left out: %s: %s", plugin, type(error).__name__, error)


@functools.cache
def active() -> Plugins:
    """The plugins of this process, loaded at the first call."""
    plugins = Plugins()
    plugins.load_all()
    return plugins


def build(
    spec: str,
    given: Mapping[str, Any] | None = None,
    name: str | None = None,
    kinds: tuple[str, ...] = (*STAGES, *TRAINING),
) -> Component:
    """Build the component called `spec`, of one of the given `kinds`, with the given settings.

    `name` is what it is called in expressions (the registered name by default); `trained:FOLDER` is the component of
    a checkpoint. Raises `UnknownName` for a component or a setting that does not exist, `BadInput` for a setting of
    the wrong type.
    """
    if spec.startswith(TRAINED):
        from nirank import weights

        return weights.load(Path(spec.removeprefix(TRAINED)), given, name)
    entry = active().registry.find(spec, kinds)
    factory = entry.resolve()
    field, own = field_apart(entry, factory, given or {})
    bound = settings.bind(factory, own, entry.spec)
    component = Component(name or entry.name, factory(**bound), bound | field, entry)
    component.field = field.get(FIELD)
    return component


def field_apart(
    entry: Entry, factory: Callable[..., Any], given: Mapping[str, Any]
) -> tuple[dict[str, str], dict[str, Any]]:
    """The setting `field` that every stage has, and those of its factory, which may have one of that name itself.

    Raises `BadInput` for a field that is no name.
    """
    if entry.kind not in STAGES or FIELD not in given or FIELD in inspect.signature(factory).parameters:
        return {}, dict(given)
    if not isinstance(given[FIELD], str):
        raise BadInput(f"{entry.spec}: {FIELD} = {given[FIELD]!r} is not the name of a field.")
    return {FIELD: given[FIELD]}, {name: value for name, value in given.items() if name != FIELD}


def collection(spec: str, **given: Any) -> Collection:
    """Open a test collection by name: `collection("emoji")`, `collection("beir:FOLDER", split="dev")`.

    What follows the colon is the collection's first setting. Raises `UnknownName` for a collection or a
    setting that does not exist; what else goes wrong is said by the collection.
    """
    name, colon, argument = spec.partition(":")
    entry = active().registry.find(name, ("collection",))
    factory = entry.resolve()
    if colon:
        given = {next(iter(inspect.signature(factory).parameters)): argument, **given}
    opened: Collection = factory(**settings.bind(factory, given, entry.spec))
    return opened


def load_file(path: str | os.PathLike[str]) -> Plugin:
    """Load a Python file as a plugin, as is done with a `nirank_plugin.py` beside an experiment."""
    known = [plugin for plugin in active().known if plugin.name == str(path)]
    return known[0] if known else active().load(Plugin(str(path)), lambda: _import_file(path))


def digest(value: Any) -> str:
    """A short hash of a value that JSON can hold, equal on every machine."""
    text = json.dumps(value, sort_keys=True, default=str, ensure_ascii=False)
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


def _import_file(path: str | os.PathLike[str]) -> ModuleType:
    from importlib.util import module_from_spec, spec_from_file_location

    name = f"{Path(path).stem}_{digest(os.path.abspath(path))}"  # there may be many files of that name
    spec = spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise PluginError(f"{path} is not a Python file.")
    module = sys.modules[name] = module_from_spec(spec)  # where the targets of its components are looked up
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
    return module


def _unknown_hooks(manager: pluggy.PluginManager, module: Any) -> Iterator[str]:
    for name in dir(module):
        if manager.parse_hookimpl_opts(module, name) is not None and not hasattr(hooks, name):
            yield name


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]


def _distribution(name: str) -> tuple[str, str]:
    try:
        return name, importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return name, "not installed"


def _plain(target: Any) -> Any:
    """The attributes of an object of the user's own, or, where they are not plain values, something unique.

    Nothing can be known of such an object, so nothing that was made with it is taken for that of another.
    """
    attributes = getattr(target, "__dict__", {})
    try:
        return json.loads(json.dumps(attributes))
    except (TypeError, ValueError):
        return uuid.uuid4().hex


def _qualified_name(target: Any) -> str:
    return f"{type(target).__module__}:{type(target).__qualname__}"
