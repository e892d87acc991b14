"""The subject of a check: a component built small, and the ways to call it."""

from __future__ import annotations

import functools
import shutil
import tempfile
import weakref
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.arrays import to_numpy
from nirank.data.batches import Batch, ContentBatch, Pairs, QueryBatch
from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.terms import TermWeights
from nirank.data.types import Content
from nirank.data.vectors import Vectors
from nirank.execution import indexes, stages
from nirank.pipeline.algebra import reads_features
from nirank.plugins.loading import active
from nirank.registry import Entry
from nirank.testing import samples
from nirank.testing.promises import Broken, expect
from nirank.traits import Traits


class Subject:
    """An object under check. `target` is the object itself; for plugins it is their `nirank.registry.Plugin`.

    The object is called as nirank calls it on one batch, with its index over the sample corpus open, but
    without hooks and middleware: a cache would hide what is checked.
    """

    def __init__(self, kind: str, target: Any, entry: Entry | None = None) -> None:
        self.kind, self.target, self.entry = kind, target, entry

    def anew(self) -> Any:
        """The object built once more by its `tiny`, for a check that uses it up; itself where it has none."""
        factory = self.entry.resolve_tiny() if self.entry else None
        return factory() if factory else self.target

    @property
    def reads(self) -> str:
        """The kind of contents that it states: nothing, "text" or "features" (of texts), "images" or "either"."""
        return self.traits.reads or ""

    @functools.cached_property
    def traits(self) -> Traits:
        """The traits of the object."""
        return Traits.of(self.target, self.entry.spec if self.entry else type(self.target).__name__)

    @functools.cached_property
    def component(self) -> Component:
        """The object as a component, its index built and open where it needs one."""
        component = Component(
            self.entry.name if self.entry else type(self.target).__name__, self.target, {}, self.entry
        )
        if component.can("build"):
            folder = Path(tempfile.mkdtemp(prefix="nirank-check-"))
            weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
            indexes.prepare(component, samples.corpus(self.reads), self.encoder, folder / "index")
        return component

    @functools.cached_property
    def encoder(self) -> Component | None:
        """The encoder of the vectors that a generator searches; None for one that takes queries as they are.

        Dense ones and codes come from a stand-in, others from the `tiny` encoder of the same plugin that makes them.
        """
        searched = self.traits.searches if self.kind == "generator" else None
        if searched is None:
            return None
        if searched in samples.STAND_INS:
            return Component("letters", samples.STAND_INS[searched]())
        return Component("encoder", _encoder_of(self.entry, searched))

    def score(self, pairs: Pairs) -> NDArray[Any]:
        """The scores of pairs, one each; of an extractor its features, a row each."""
        extracts = self.kind == "extractor"
        scores = to_numpy(self._forward("extract" if extracts else "score", self.given(pairs)))
        expected = (len(pairs), len(self.target.names)) if extracts else (len(pairs),)
        expect(
            scores.shape == expected, f"for {len(pairs)} pairs it returned the shape {scores.shape}, not {expected}."
        )
        return scores

    def given(self, pairs: Pairs) -> Pairs:
        """The pairs as the object is given them: with features, where it reads features."""
        if not reads_features(self.component):
            return pairs
        described = samples.features(pairs, getattr(self.target, "names", None) or samples.FEATURES)
        return Pairs(pairs.queries, pairs.candidates.with_features(described))

    def generate(self, texts: Sequence[Content], k: int, by: Any = None) -> Candidates:
        """Search for these queries, or let an object `by` do it: one list each, of documents that exist."""
        target, queries = by or self.component.target, self.searched(texts)
        found: Candidates = target.generate(queries, k)
        expect(isinstance(found, Candidates), f"generate returned {type(found).__name__}, not Candidates.")
        expect(len(found) == len(texts), f"{len(texts)} queries have {len(found)} lists.")
        inside = (found.docs >= 0) & (found.docs < len(samples.corpus()))
        expect(inside.all(), f"documents {found.docs[~inside][:5]} are not among 0..{len(samples.corpus()) - 1}.")
        return found

    def score_found(self, texts: Sequence[Content], found: Candidates) -> NDArray[Any]:
        """The scores that a generator gives to pairs, as `generate` is given the queries."""
        pairs = found.over(samples.corpus(self.reads))
        return to_numpy(self.component.target.score(self.searched(texts), pairs))

    def kept(self, docs: NDArray[np.int64]) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """The vectors that an index has kept of documents, and those that the encoder makes of them, one array each."""
        corpus, encoder = samples.corpus(self.reads), self.encoder
        made: Any = encoder.target.encode_documents(corpus[docs]) if encoder else np.empty((0, 0))
        return _entries(self.component.target.vectors_of(docs)), _entries(made)

    def encode(self, contents: Sequence[Content]) -> list[NDArray[Any]]:
        """The vectors of the given queries, one array each."""
        return _entries(self._forward("encode", QueryBatch(self._asked(contents))))

    def encode_documents(self, contents: Sequence[Content]) -> list[NDArray[Any]]:
        """The vectors of the given documents, one array each."""
        return _entries(self._forward("encode_documents", ContentBatch(contents)))

    def write(self, contents: Sequence[Content]) -> list[tuple[Any, ...]]:
        """The texts that are written for each of some documents."""
        written = self._forward("write", ContentBatch(contents))
        expect(hasattr(written, "__len__"), f"write returned {written!r:.80}; one entry for each document is expected.")
        return [
            (entry,) if isinstance(entry, str) or not hasattr(entry, "__iter__") else (*entry,) for entry in written
        ]

    def _forward(self, method: str, batch: Batch) -> Any:
        return stages.nirank_forward(self.component, method, batch)

    def searched(self, texts: Sequence[Content]) -> Queries:
        """Queries as a generator gets them, with vectors where it searches these."""
        queries = self._asked(texts)
        return queries.with_vectors(self.encoder.target.encode(queries)) if self.encoder else queries

    def _asked(self, contents: Sequence[Content]) -> Queries:
        """Queries, with results for them where the encoder needs these."""
        return Queries.of(contents).with_found(samples.found(len(contents), self.reads))


def _encoder_of(entry: Entry | None, kind: str) -> Any:
    own = active().registry.of(entry.plugin) if entry else []
    for other in own:
        factory = other.resolve_tiny() if other.kind == "encoder" else None
        if factory and Traits.of(encoder := factory(), other.spec).vectors == kind:
            return encoder
    raise Broken(f"it searches {kind!r} vectors, but its plugin has no encoder with a `tiny` that makes them.")


def _entries(vectors: Vectors) -> list[NDArray[Any]]:
    count = vectors.shape[0] if hasattr(vectors, "shape") else len(vectors)
    return [_dense(vectors[place]) for place in range(count)]


def _dense(vector: Any) -> NDArray[Any]:
    if isinstance(vector, TermWeights):  # of terms there is no end: they are hashed into few places
        places = [zlib.crc32(term.encode("utf-8", "surrogatepass")) % 4096 for term in vector.terms]
        return np.bincount(np.array(places, np.int64), vector.weights, 4096)
    return np.asarray(vector.toarray()[0] if hasattr(vector, "toarray") else to_numpy(vector))
