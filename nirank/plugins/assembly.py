"""From a registered factory and its settings to a component, with the middleware of all plugins round it."""

from __future__ import annotations

import copy
import copyreg
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from nirank.component import Component
from nirank.errors import BadInput, PluginError
from nirank.plugins import settings
from nirank.plugins.loading import active
from nirank.registry import FIELD, STAGES, Entry

#: The setting that decides the chance in a component: first weights, what is drawn.
SEED = "seed"
_SEED: ContextVar[int | None] = ContextVar("seed", default=None)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Inside, `seed` is the setting of that name of every component that is built and does not say its own.

    With 0, the seed of who says none, components keep their defaults.
    """
    token = _SEED.set(seed or None)
    try:
        yield
    finally:
        _SEED.reset(token)


def wrap(component: Component) -> Component:
    """The component, wrapped in the middleware that plugins return from `nirank_wrap`."""
    offered = active().hook.nirank_wrap(component=component)
    component.wrapped = True
    component.middleware = [middleware for middleware in offered if middleware is not None]
    if not all(map(callable, component.middleware)):
        raise PluginError(
            f"{_offering_nonsense(component)} returned from nirank_wrap something that cannot be called; a function or "
            "None is expected."
        )
    return component


def _offering_nonsense(component: Component) -> str:
    """The plugins whose `nirank_wrap` returns neither a function nor None."""
    offers = {implementer.plugin_name: implementer for implementer in active().hook.nirank_wrap.get_hookimpls()}
    given = {"component": component}
    found = {
        name: implementer.function(*(given[argument] for argument in implementer.argnames))
        for name, implementer in offers.items()
    }
    return ", ".join(name for name, offer in found.items() if offer is not None and not callable(offer))


def assemble(
    entry: Entry,
    given: Mapping[str, Any],
    name: str | None = None,
    prepare: Callable[[Any], None] = lambda target: None,
) -> Component:
    """Build what was registered as `entry`, with the given settings and the defaults of the rest.

    Inside `seeded` that is the default of its seed. `name` is what it is called in expressions; `prepare` is called
    with the new object first of all, to load its weights. Raises `UnknownName` for a setting that does not
    exist, `BadInput` for one of the wrong type, `MissingDependency` for a package that is not installed.
    """
    factory = entry.resolve()
    field, own = _field_apart(entry, factory, given)
    if (seed := _SEED.get()) is not None and SEED in settings.declared(factory):
        own = {SEED: seed, **own}
    bound = settings.bind(factory, own, entry.spec)
    with entry.needing():
        target = factory(**bound.arguments)
    prepare(target)
    component = Component(name or entry.name, target, bound.settings | field, entry)
    component.field = _name_of(field.get(FIELD))
    return wrap(component)


def for_encoder(generator: Component, encoder: Component) -> Component:
    """The index for the vectors of `encoder`: the generator itself for the first encoder, then a copy for each.

    An index has the vectors of one encoder open at a time.
    """
    if encoder not in generator.searching:
        generator.searching[encoder] = copied(generator) if generator.searching else generator
    return generator.searching[encoder]


def copied(component: Component) -> Component:
    """The same component with an index of its own to open, wrapped anew; what it has learned is shared."""
    second = Component(component.name, copy.copy(component.target), component.settings, component.entry)
    second.field, second.parts = component.field, component.parts
    second.unopened = dict(component.unopened)
    return wrap(second)


def _pickled(component: Component) -> tuple[Any, ...]:
    """Take apart a component for a pickle, into what it is made of again where that is read.

    An index travels as the folder that it is in, and is opened when it is searched: what opens one may be a process, a
    mapped file, a connection. Middleware comes from the plugins that are there.
    """
    made = component.name, component.closed, component.settings, component.entry
    searching = [(key, None if each is component else each) for key, each in component.searching.items()]
    kept = {name: vars(component)[name] for name in ("field", "parts", "folders")}
    if not component.recognised:  # whose fingerprint would be another one
        kept["fingerprint"] = component.fingerprint
    return _unpickled, (component.entry, made, kept, searching, component.wrapped)


def _unpickled(
    entry: Entry | None,  # noqa: ARG001 (first of all, for it brings the plugin that the object's class is in)
    made: tuple[Any, ...],
    kept: Mapping[str, Any],
    searching: Sequence[tuple[Component, Component | None]],
    wrapped: bool,
) -> Component:
    component = Component(*made)
    vars(component).update(kept)
    component.searching = {key: each or component for key, each in searching}
    return wrap(component) if wrapped else component


copyreg.pickle(Component, _pickled)


def _field_apart(
    entry: Entry, factory: Callable[..., Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """The setting `field` that every stage has, and those of its factory, which may have one of that name itself.

    Raises `BadInput` for what is neither the name of a field nor a list of such names.
    """
    if entry.kind not in STAGES or FIELD not in given or FIELD in settings.declared(factory):
        return {}, dict(given)
    names = given[FIELD]
    if not (isinstance(names, str) or _are_names(names)):
        expected = "a text is expected, or a list of texts, each once"
        raise BadInput(f"{entry.spec}: {FIELD} = {names!r} is not the name of a field; {expected}.")
    read = names if isinstance(names, str) else list(names)
    return {FIELD: read}, {name: value for name, value in given.items() if name != FIELD}


def _are_names(names: Any) -> bool:
    """True for a list of different texts, one at least."""
    listed = isinstance(names, (list, tuple)) and all(isinstance(name, str) for name in names)
    return listed and 0 < len(set(names)) == len(names)


def _name_of(field: str | list[str] | None) -> str | tuple[str, ...] | None:
    return tuple(field) if isinstance(field, list) else field
