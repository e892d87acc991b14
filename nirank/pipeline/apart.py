"""Pipelines with indexes of their own: of passages, or of documents with texts that were written for them.

A component has the index of one corpus open at a time. Where a part of a pipeline works on another corpus than the
rest, its components that have an index are copied, so that neither part ever searches the other's.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from typing import Any, TypeVar

from nirank.component import Component
from nirank.errors import CompositionError
from nirank.pipeline.algebra import Pipeline
from nirank.plugins.assembly import copied

P = TypeVar("P", bound=Pipeline)


def apart(pipeline: P) -> P:
    """The same pipeline, its components that have an index copied, each once."""
    copy: P = _Copier().of(pipeline)
    return copy


def parts_of(pipeline: Pipeline) -> Iterator[Pipeline]:
    """A pipeline and all that it is made of."""
    yield pipeline
    for part in pipeline._parts():
        yield from parts_of(part)


class _Copier:
    def __init__(self) -> None:
        self._copies: dict[Component, Component] = {}

    def of(self, value: Any) -> Any:
        """A value of a pipeline's: a part, a component, several of them, or a setting."""
        if isinstance(value, Component):
            return self._component(value)
        if isinstance(value, tuple):
            return tuple(map(self.of, value))
        if not dataclasses.is_dataclass(value) or isinstance(value, type):
            if isinstance(value, Pipeline):
                raise CompositionError(f"{value!r} cannot work on another corpus than the rest of a pipeline.")
            return value
        fields = (field.name for field in dataclasses.fields(value) if field.init)  # settings may hold pipelines too
        return dataclasses.replace(value, **{name: self.of(getattr(value, name)) for name in fields})

    def _component(self, component: Component) -> Component:
        if not component.can("build"):
            return component
        if component not in self._copies:
            self._copies[component] = copied(component)
        return self._copies[component]
