"""Find, load, block and report plugins.

Plugins are found by the entry-point group `nirank`, those of nirank itself like any other. Each is loaded on
its own: one that fails is left out and reported once, with its distribution and version, while the rest works.
Three environment variables steer this:

    NIRANK_BLOCK    plugins to leave out, separated by commas
    NIRANK_PLUGINS  modules to load as plugins besides the installed ones, separated by commas
    NIRANK_STRICT   1: the first plugin that fails raises
"""

from __future__ import annotations

import copyreg
import functools
import importlib
import logging
import os
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pluggy

from nirank import announced, hooks
from nirank.errors import PluginError
from nirank.hashing import digest
from nirank.plugins.faults import in_time, is_of_plugin, message_of
from nirank.registry import Plugin, PluginRegistry, Registry

log = logging.getLogger("nirank")
GROUP = "nirank"
#: The version of what plugins rely on: the hooks, and the faces of the core.
API = 1


class Manager(pluggy.PluginManager):
    """The plugins that implement hooks; `sole` are the functions of hooks that one plugin alone implements."""

    def __init__(self) -> None:
        super().__init__(hooks.PROJECT)
        self.add_hookspecs(hooks)
        self.sole: dict[str, Callable[..., Any]] = {}
        self._lock = threading.Lock()

    def register(self, plugin: Any, name: str | None = None) -> str | None:
        """Have the hooks call a plugin from now on."""
        registered = super().register(plugin, name)
        self._find_sole()
        return registered

    def unregister(self, plugin: Any = None, name: str | None = None) -> Any:
        """Have the hooks call a plugin no more."""
        removed = super().unregister(plugin, name)
        self._find_sole()
        return removed

    def _find_sole(self) -> None:
        with self._lock:  # so that what is found last is what is so
            known = {name: caller.get_hookimpls() for name, caller in vars(self.hook).items()}
            self.sole = {name: of[0].function for name, of in known.items() if len(of) == 1}


class Plugins:
    """All plugins of this process: the hooks they implement and the components they name."""

    def __init__(self) -> None:
        self.manager = Manager()
        self.registry = Registry()
        self.known: list[Plugin] = []

    @property
    def hook(self) -> pluggy.HookRelay:
        """The hooks, to be called by name: `plugins.hook.nirank_score(scorer=..., ...)`."""
        return self.manager.hook

    def load_all(self) -> None:
        """Load the installed plugins, the core's own among them, and those that NIRANK_PLUGINS names."""
        for point, distribution, version in sorted(announced.plugins(GROUP), key=_order):
            self.load(Plugin(point.name, distribution, version), point.load)
        for name in _names("NIRANK_PLUGINS"):
            self.load(Plugin(name, "NIRANK_PLUGINS"), functools.partial(importlib.import_module, name))

    def load(self, plugin: Plugin, importer: Callable[[], Any]) -> Plugin:
        """Import and register one plugin; a failure is kept in `plugin.error` and logged, not raised."""
        self.known.append(plugin)
        plugin.blocked = plugin.name in _names("NIRANK_BLOCK")
        if plugin.blocked:
            return plugin
        try:
            with in_time(f"Loading {plugin}"):
                self._register(plugin, importer())
        except (Exception, SystemExit, KeyboardInterrupt) as error:  # whatever a plugin raises, the others go on
            if not is_of_plugin(error):
                raise
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
        _refuse_other_api(module)
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
            raise PluginError(f"The plugin {plugin} could not be loaded: {message_of(error)}") from error
        log.warning("The plugin %s could not be loaded and is left out: %s", plugin, message_of(error))


@functools.cache
def active() -> Plugins:
    """The plugins of this process, loaded at the first call."""
    plugins = Plugins()
    plugins.load_all()
    return plugins


def load_file(path: str | os.PathLike[str]) -> Plugin:
    """Load a Python file as a plugin, as is done with a `nirank_plugin.py` beside an experiment."""
    known = [plugin for plugin in active().known if plugin.name == str(path)]
    return known[0] if known else active().load(Plugin(str(path)), lambda: _import_file(path))


def _pickled(plugin: Plugin) -> tuple[Any, ...]:
    """Take a plugin's name for a pickle."""
    return _unpickled, (plugin.name, str(plugin))


def _unpickled(name: str, shown: str) -> Plugin:
    """The plugin of this name in this process, loaded if it is a file. Raises `PluginError` where it is not there."""
    known = {plugin.name: plugin for plugin in active().known}
    plugin = known.get(name) or (load_file(name) if name.endswith(".py") and Path(name).is_file() else None)
    if plugin is None or plugin.blocked or plugin.error:
        said = "is not there" if plugin is None else "is blocked" if plugin.blocked else f"fails: {plugin.error}"
        raise PluginError(
            f"This was pickled with a component of the plugin {shown}, which {said} in this process. Install it "
            "here, or name its module in NIRANK_PLUGINS."
        )
    return plugin


copyreg.pickle(Plugin, _pickled)


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


def _order(one: announced.Announced) -> tuple[bool, str]:
    """The order of loading: those of nirank first, so that their components keep their names; then by name."""
    return one.distribution != "nirank", one.point.name


def _refuse_other_api(module: Any) -> None:
    """Raise `PluginError` where a plugin states, as `nirank_api`, a version of this interface that is another one."""
    stated = getattr(module, "nirank_api", API)
    if stated != API:
        raise PluginError(
            f"it is written for version {stated!r} of nirank's plugin API, and this nirank has version {API}: install "
            "versions of both that match."
        )


def _unknown_hooks(manager: pluggy.PluginManager, module: Any) -> Iterator[str]:
    for name in dir(module):
        if manager.parse_hookimpl_opts(module, name) is not None and not hasattr(hooks, name):
            yield name


def _names(variable: str) -> list[str]:
    return [name.strip() for name in os.environ.get(variable, "").split(",") if name.strip()]
