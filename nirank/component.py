"""A built component: the plain object that does the work, with its name, settings and origin."""

from __future__ import annotations

import copy
import functools
import json
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus
from nirank.data.vectors import Vectors
from nirank.hashing import digest, weights_digest
from nirank.registry import Entry
from nirank.source import is_ours, source_digest
from nirank.traits import Traits

#: Stands for the value of an attribute that is not there.
ABSENT: Any = object()
#: What `nirank_wrap` returns: called as `middleware(call, method, *inputs)`.
Middleware = Callable[..., Any]


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
    """A built component: the object itself, with its name, settings, origin, traits and middleware.

    The hooks are given this; `target` is the plain object that does the work.
    """

    def __init__(self, name: str, target: Any, given: Mapping[str, Any] | None = None, entry: Entry | None = None):
        self.name = name
        self.target = target
        self.settings = dict(given or {})
        self.entry = entry
        #: The field of documents that is read in the place of their content, or several (`nirank.data.corpus.Field`).
        self.field: str | tuple[str, ...] | None = None
        #: What `target` has open, where it needs an index.
        self.opened: Opened | None = None
        #: What attributes of `target` that are set when it opens an index were before; `ABSENT` where they were not.
        self.unopened: dict[str, Any] = {}
        #: Folders that were named for indexes, by what would write the same files (`nirank.execution.indexes.place`).
        self.folders: dict[str, Path] = {}
        #: The components that it has work done by, where it is made of others.
        self.parts: tuple[Component, ...] = ()
        #: What plugins put round it when it is built (`nirank.plugins.assembly.wrap`), and whether they were asked.
        self.middleware: list[Middleware] = []
        self.wrapped = False
        #: For a generator that searches vectors: itself, or a copy, for each encoder.
        self.searching: dict[Component, Component] = {}
        #: What the object says of itself by its attributes.
        self.traits = Traits.of(target, self.spec)

    def __repr__(self) -> str:
        values = ", ".join(f"{key}={value!r}" for key, value in self.settings.items())
        return f"{self.spec}({values})"

    @property
    def spec(self) -> str:
        """The name that it is registered under (`scorer/monot5`), or its class for an object of the user's own."""
        return self.entry.spec if self.entry else type(self.target).__name__

    @property
    def origin(self) -> str:
        """The plugin it comes from, with its version, for messages and manifests."""
        return str(self.entry.plugin) if self.entry else type(self.target).__module__

    def can(self, method: str) -> bool:
        """True where the object has this method."""
        return self.method(method) is not None

    def method(self, name: str) -> Callable[..., Any] | None:
        """A method that the object may have, or None."""
        found = getattr(self.target, name, None)
        return found if callable(found) else None

    @property
    def recognised(self) -> bool:
        """True where the fingerprint is the same in another process: something is known of what results depend on."""
        own = getattr(self.target, "fingerprint", None) is not None
        return own or self.entry is not None or not isinstance(_plain(self.target), str)

    @functools.cached_property
    def fingerprint(self) -> str:
        """A hash of what results depend on: class, code, and the object's own `fingerprint`, or settings and weights.

        A component that starts from a model elsewhere has that attribute, a hash of the weights and of all else that
        matters, so that a model is the same wherever its folder lies.
        """
        own = getattr(self.target, "fingerprint", None)
        if own is None:
            own = self.settings if self.entry else _plain(self.target)
            if state := self.method("state_dict"):
                own = {"settings": own, "weights": weights_digest(state())}
        made = {"class": _class_name(type(self.target)), "own": own}
        kind = type(self.target)
        return digest(made if is_ours(kind) else made | {"code": source_digest(kind)})

    def changed(self) -> None:
        """Forget the fingerprint of the object and the index made with it: its weights have changed."""
        for cached in (vars(self), vars(self.target)):
            cached.pop("fingerprint", None)
        self.opened = None

    @property
    def closed(self) -> Any:
        """The object as it is without an index: itself if none is open, or else a copy."""
        if not self.unopened:
            return self.target
        closed = copy.copy(self.target)
        attributes = {name: value for name, value in vars(closed).items() if name not in self.unopened}
        before = {name: value for name, value in self.unopened.items() if value is not ABSENT}
        vars(closed).clear()
        vars(closed).update(attributes | before)
        return closed

    def __copy__(self) -> Component:
        """The same with the same object, its index open: other than in a pickle (`nirank.plugins.assembly`)."""
        copied = type(self).__new__(type(self))
        vars(copied).update(vars(self))
        return copied

    def around(self, method: str, call: Callable[..., Any]) -> Callable[..., Any]:
        """`call` with this component's middleware round it; the first plugin's is outermost."""
        for middleware in reversed(self.middleware):
            call = functools.partial(middleware, call, method)
        return call


def _plain(target: Any) -> Any:
    """The attributes of an object of the user's own, or, where they are not plain values, something unique.

    Nothing can be known of such an object, so nothing that was made with it is taken for that of another.
    """
    attributes = getattr(target, "__dict__", {})
    try:
        return json.loads(json.dumps(attributes))
    except (TypeError, ValueError):
        return uuid.uuid4().hex


def _class_name(kind: type) -> str:
    """The name of a class in fingerprints: where it is, or where it was when indexes were first made with it."""
    own: str = vars(kind).get("known_as") or f"{kind.__module__}:{kind.__qualname__}"
    return own


@runtime_checkable
class QueryEncoder(Protocol):
    """Turns queries into vectors of one kind: its attribute `vectors` is "dense", "tokens", "sparse", "terms" or
    "codes".

    With `feedback = True` it gets in `queries.found` the results of the ranking before it.
    """

    def encode(self, queries: Queries) -> Vectors:
        """One entry for each query."""


@runtime_checkable
class DocumentEncoder(Protocol):
    """Turns documents into vectors that can be compared with those of queries."""

    def encode_documents(self, contents: Sequence[Content]) -> Vectors:
        """One entry for each content."""


@runtime_checkable
class Rewriter(Protocol):
    """Rewrites queries before they are searched. With `feedback = True` it gets results in `queries.found`."""

    def rewrite(self, queries: Queries) -> Queries | Sequence[Content]:
        """One content for each query, or `Queries` with the same ids."""


@runtime_checkable
class CandidateGenerator(Protocol):
    """Finds documents for queries.

    One that searches vectors says which kind in its attribute `searches`; one that takes queries as they are, and also
    vectors of some kind, says so in `accepts`.
    """

    def generate(self, queries: Queries, k: int) -> Candidates:
        """At most `k` documents for each query, ranked; fewer where fewer match."""


@runtime_checkable
class Scorer(Protocol):
    """Scores given pairs. `batch_size` (pairs) and `listwise` are optional attributes."""

    def score(self, queries: Queries, candidates: Candidates) -> Any:
        """One score for each pair, in the order of `candidates`."""


@runtime_checkable
class Writer(Protocol):
    """Writes texts for documents, before these are indexed. `batch_size` (documents) is an optional attribute."""

    def write(self, contents: Sequence[Content]) -> Sequence[str] | Sequence[Sequence[str]]:
        """One text for each content, or several."""


@runtime_checkable
class Loss(Protocol):
    """A function that training minimises; all three arguments are `[lists, length]`."""

    def __call__(self, scores: Any, labels: Any, mask: Any) -> Any:
        """A scalar."""
