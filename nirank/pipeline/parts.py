"""Pipelines as trees: their parts, their components, and how they are written."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, ClassVar

from nirank.component import Component
from nirank.data.types import Corpus
from nirank.errors import CompositionError
from nirank.execution import indexes
from nirank.pipeline.drawing import Box, Branches, Diagram, Drawing


class Pipeline:
    """The base of rankings and scorings, which are made of parts and finally of components."""

    #: True where `repr` needs no brackets among operators: of names and calls.
    closed: ClassVar[bool] = False
    #: What a diagram says goes in and comes out.
    given: ClassVar[str] = "queries"
    made: ClassVar[str] = "candidates"

    def diagram(self) -> Diagram:
        """A diagram, with what flows from stage to stage; it prints as text, and shows itself in a notebook."""
        return Diagram(self.given, self._drawn(), self.made)

    def _repr_html_(self) -> str:
        return self.diagram()._repr_html_()

    def _drawn(self) -> Drawing:
        """The shapes of the diagram: unless a class says more, its name with its parts below."""
        parts = [part._drawn() for part in self._parts()]
        return Branches(type(self).__name__.lower(), tuple(parts)) if parts else Box(repr(self))

    def components(self) -> list[Component]:
        """The components of the pipeline, each once, in the order of the expression."""
        return list(dict.fromkeys(self._components()))

    def _parts(self) -> Sequence[Pipeline]:
        return ()

    def _components(self) -> Iterator[Component]:
        for part in self._parts():
            yield from part._components()

    def _indexed(self) -> Iterator[tuple[Component, Component | None]]:
        """The components with the encoder (or None) that an index of theirs would be built with."""
        for part in self._parts():
            yield from part._indexed()

    def _views(self) -> Iterator[tuple[Pipeline, Callable[[Corpus], Corpus]]]:
        """The parts that work on another corpus, with what makes that of the corpus searched."""
        for part in self._parts():
            yield from part._views()

    def _index(self, corpus: Corpus, folder: Path | None, since: Corpus | None) -> None:
        for component, encoder in self._indexed():
            place = folder and folder / indexes.place(component, corpus, encoder)
            indexes.prepare(component, corpus, encoder, place, since)
        for part, view in self._views():
            part._index(view(corpus), folder, since and view(since))


class PartialPipeline(Pipeline):
    """A stage after a ranking that makes a ranking only together with the next stage."""

    def after(self, ranking: Any) -> Pipeline:
        """Itself, for the documents of `ranking`."""
        raise NotImplementedError

    def __rshift__(self, other: Any) -> Any:
        raise CompositionError(f"{self!r} stands behind a ranking: write `ranking >> {self!r} >> ...`.")

    def __mod__(self, k: int) -> Any:
        raise CompositionError(f"`%` binds before `>>`: write `(ranking >> {self!r}) % {k!r}`.")


def operand(node: Pipeline) -> str:
    """A part as it is written among operators: in brackets where it has operators of its own."""
    text = repr(node)
    return text if node.closed or " " not in text else f"({text})"
