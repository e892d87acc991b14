"""The state of a server: a version of documents and pipelines, and the holder in which one takes another's place."""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nirank.data import attributes, images
from nirank.data.candidates import Candidates
from nirank.data.corpus import values_of
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus
from nirank.errors import BadInput, UnknownName
from nirank.hashing import digest
from nirank.pipeline.algebra import Ranking

if TYPE_CHECKING:
    import pyarrow as pa


@dataclass(frozen=True, eq=False)
class State:
    """One version of what is searched: documents, the pipelines over them, and a collection's queries and judgments.

    A request takes the state once, and works with it to its end. Components work on one corpus at a time, so another
    version has components of its own.
    """

    name: str
    corpus: Corpus
    pipelines: Mapping[str, Ranking]
    topics: Queries | None = None
    judgments: Candidates | None = None

    def __post_init__(self) -> None:
        for name, ranking in self.pipelines.items():
            if not ranking.scored:
                raise BadInput(
                    f"the pipeline {name} = {ranking!r} finds documents but does not order them: add scores."
                )

    @functools.cached_property
    def version(self) -> str:
        """A short hash of documents, their fields and pipelines: a state with the same one gives the same answers."""
        built = {
            name: [repr(ranking), [each.fingerprint for each in ranking.components()]]
            for name, ranking in self.pipelines.items()
        }
        values = {name: attributes.values_digest(values_of(self.corpus, name)) for name in self.shown}
        return digest([self.corpus.fingerprint, values, built])[:12]

    @functools.cached_property
    def fields(self) -> tuple[str, ...]:
        """The names of what documents have beside their ids: the parts of their texts, and what is kept beside."""
        named = (*getattr(self.corpus, "fields", ()), *getattr(self.corpus, "attributes", ()))
        return tuple(dict.fromkeys(named))

    @property
    def shown(self) -> tuple[str, ...]:
        """The fields that are shown of what was found, unless some are named: all but the text, which has a snippet."""
        return tuple(name for name in self.fields if name != "text")

    @functools.cached_property
    def images(self) -> bool:
        """True where documents are images."""
        return len(self.corpus) > 0 and images.is_image(self.content(0))

    def ranking(self, name: str) -> Ranking:
        """A pipeline by its name. Raises `UnknownName`."""
        if name not in self.pipelines:
            raise UnknownName("pipeline", name, self.pipelines)
        return self.pipelines[name]

    def ordinal(self, document: str) -> int | None:
        """The ordinal of the document with this id; None where there is none."""
        found = int(self.corpus.ids.find([document])[0])
        return None if found < 0 else found

    def content(self, doc: int) -> Content:
        """The content of a document: its text, or its image."""
        content: Content = self.corpus[[doc]][0]
        return content

    def values(self, doc: int, fields: Sequence[str]) -> dict[str, Any]:
        """The values of these fields of a document. Raises `UnknownName` for a field that there is not."""
        for name in fields:
            if name not in self.fields:
                raise UnknownName("field", name, self.fields)
        return {name: self._column(name)[doc].as_py() for name in fields}

    def _column(self, name: str) -> pa.Array | pa.ChunkedArray:
        """The values of a field, read once: a corpus in memory makes them anew each time."""
        if name not in self._columns:
            self._columns[name] = values_of(self.corpus, name)
        return self._columns[name]

    @functools.cached_property
    def _columns(self) -> dict[str, Any]:
        return {}


class Holder:
    """The state that is served now. To put another one in its place is one assignment: no reader sees a half of each.

    An old state is let go when the last request that took it is done.
    """

    def __init__(self, state: State) -> None:
        self._state = state

    @property
    def state(self) -> State:
        """The state that is served now."""
        return self._state

    def swap(self, state: State) -> State:
        """Serve another state from now on; the old one."""
        old, self._state = self._state, state
        return old
