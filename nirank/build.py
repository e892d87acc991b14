"""From the name of a component, or of a collection, to the object."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank.checkpoints import checkpoint
from nirank.component import Component
from nirank.errors import BadInput
from nirank.plugins import settings
from nirank.plugins.assembly import assemble
from nirank.plugins.loading import active
from nirank.registry import FUNCTION, STAGES, TRAINED, TRAINING, Entry

if TYPE_CHECKING:
    from nirank.data.collection import Collection

    #: Opens the collection that a table describes.
    Open = Callable[[Mapping[str, Any]], Collection]


def build(
    spec: str,
    given: Mapping[str, Any] | None = None,
    name: str | None = None,
    kinds: tuple[str, ...] = (*STAGES, *TRAINING, FUNCTION),
) -> Component:
    """Build the component called `spec`, of one of the given `kinds`, with the given settings.

    `name` is what it is called in expressions (the registered name by default); `trained:FOLDER` is the component of
    a checkpoint. Raises `UnknownName` for a component or a setting that does not exist, `BadInput` for a setting of
    the wrong type.
    """
    if spec.startswith(TRAINED):
        return checkpoint.load(Path(spec.removeprefix(TRAINED)), given, name)
    entry = active().registry.find(spec, kinds)
    return _function(entry, given, name) if entry.kind == FUNCTION else assemble(entry, given or {}, name)


def _function(entry: Entry, given: Mapping[str, Any] | None, name: str | None) -> Component:
    """A registered function as it is: it is a part of a stage, such as `score_by(...)`."""
    if given:
        raise BadInput(f"{entry.spec} is a function, and has no settings: {', '.join(given)}.")
    return Component(name or entry.name, entry.resolve(), {}, entry)


def _is_path(name: str) -> bool:
    """True for what is no name of a collection but the path of a file or folder."""
    plain = name.removeprefix("collection/")
    return "/" in plain or "\\" in plain or ("." in plain and Path(plain).exists())


def collection(spec: str, **given: Any) -> Collection:
    """Open a test collection by name: `collection("emoji")`, `collection("beir:FOLDER", split="dev")`.

    What follows the colon is the collection's first setting. Raises `UnknownName` for a collection or a
    setting that does not exist, `MissingDependency` for a package that is not installed; other errors are the
    collection's own.
    """
    if not isinstance(spec, str):
        raise BadInput(f"a collection is opened by its name, such as 'beir:FOLDER', not by {spec!r:.80}.")
    name, colon, argument = spec.partition(":")
    if _is_path(name):
        raise BadInput(
            f"a path says not what it holds: write beir:{name}, jsonl:{name} or another of `nirank datasets`."
        )
    entry = active().registry.find(name, ("collection",))
    factory = entry.resolve()
    if colon:
        given = {next(iter(inspect.signature(factory).parameters)): argument, **given}
    arguments = settings.bind(factory, given, entry.spec).arguments
    with entry.needing():
        opened: Collection = factory(**arguments)
    return opened


def opened_of(table: Mapping[str, Any]) -> Collection:
    """The collection that a table describes: its name is `use`, the rest are settings. Raises as `collection` does."""
    return collection(table["use"], **{key: value for key, value in table.items() if key != "use"})


def table_of(given: Any, key: str) -> dict[str, Any]:
    """A part of an experiment, by its name or as a table with `use` and settings, as a table.

    Raises `BadInput`, which names the `key`, for anything else.
    """
    if isinstance(given, str):
        return {"use": given}
    if not isinstance(given, Mapping) or not isinstance(given.get("use"), str):
        raise BadInput(f'{key} = "NAME", or a table with `use = "NAME"` and its settings, is expected.')
    return dict(given)
