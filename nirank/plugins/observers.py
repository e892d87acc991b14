"""Observers: plugins that watch, cache or split the work of a run, and act only while they are switched on.

An observer is an object with hook implementations; its plugin names it, as it names components:

    registry.add("observer", "trace", "nirank_trace.trace:Trace", tiny="nirank_trace.trace:tiny")

A table `[plugin.trace]` of an experiment, or `--with trace` on the command line, switches it on: it is built
from those settings before any component is, so that its `nirank_wrap` is asked for each, and its hooks are called
until the run ends. Settings that name a place to write to are listed in its attribute `places`: an experiment file
may name one inside `./runs` or the cache alone, for it may be somebody else's. Those that name another machine are
listed in `addresses`: such a file may name none. Three methods are called where it has them:

    finished(results, folder)   an experiment is done; its results lie in `folder`, unless that is None
    close()                     it has been switched off, also where the run failed
    command(...)                a static method: the command `nirank trace`, to look at what it keeps
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from nirank.errors import BadInput, UnknownName
from nirank.files import cache_folder
from nirank.plugins import settings
from nirank.plugins.loading import active

#: Addresses that an experiment file may name: what this machine belongs to already, and this machine.
_HERE = ("auto", "local")


def build(name: str, given: Mapping[str, Any] | None = None, confined: Collection[str] = ()) -> Any:
    """Build the observer called `name` with the given settings; it does nothing until it is switched on.

    Those `confined` come from a file that may be somebody else's: where they name a place to write to (the observer
    lists them in `places`), it has to lie within the folder `runs` or the cache, else `BadInput` is raised; as it is
    where they name another machine (`addresses`).

    Raises `UnknownName` for an observer or a setting that does not exist, `BadInput` for a setting of the wrong
    type, `MissingDependency` for a package that it lacks.
    """
    entry = active().registry.find(name, ("observer",))
    factory = entry.resolve()
    for place in set(confined).intersection(getattr(factory, "places", ())):
        _refuse_outside(name, place, (given or {}).get(place))
    for address in set(confined).intersection(getattr(factory, "addresses", ())):
        _refuse_machine(name, address, (given or {}).get(address))
    arguments = settings.bind(factory, given or {}, entry.spec).arguments
    with entry.needing():
        return factory(**arguments)


def _refuse_outside(name: str, setting: str, value: Any) -> None:
    """A file that is run could else have anything written over the user's own files."""
    if not isinstance(value, str):
        return
    place = Path(value).expanduser().resolve()
    if not any(place.is_relative_to(home.resolve()) for home in (Path("runs"), cache_folder())):
        raise BadInput(
            f"{setting} = {value!r} is outside of ./runs and of the cache folder, the only places to which an "
            f"experiment file may write. To write there, say so yourself: --with {name}.{setting}=PLACE."
        )


def _refuse_machine(name: str, setting: str, value: Any) -> None:
    """A file that is run could else send the user's corpora to a machine of somebody else, and trust its answers."""
    if isinstance(value, str) and value not in _HERE:
        raise BadInput(
            f"{setting} = {value!r} names another machine, which an experiment file may not: {' or '.join(_HERE)} is "
            f"expected. To use it, say so yourself: --with {name}.{setting}={value}."
        )


@contextmanager
def switched_on(observers: Iterable[Any]) -> Iterator[None]:
    """Call the hooks of the given observers inside the block; afterwards close them, the last one first.

    Components that are built inside are wrapped by them. Raises `PluginError` for an observer that implements
    a hook which does not exist.
    """
    with ExitStack() as stack:
        for observer in observers:
            stack.enter_context(_one(observer))
        yield


@contextmanager
def _one(observer: Any) -> Iterator[None]:
    plugins = active()
    try:
        plugins.listen(observer, type(observer).__qualname__)
        yield
    finally:
        if plugins.manager.is_registered(observer):
            plugins.manager.unregister(observer)
        if callable(close := getattr(observer, "close", None)):
            close()


def command(name: str) -> Callable[..., None] | None:
    """The command that an observer or a collection brings to the command line; None where there is no such one."""
    for kind in ("observer", "collection"):
        try:
            target = active().registry.find(name, (kind,)).resolve()
        except UnknownName:
            continue
        found: Callable[..., None] | None = getattr(target, "command", None)
        if found is not None:
            return found
    return None
