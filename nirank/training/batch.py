"""From lists to scores that carry gradients, in pieces: what a component computes at once is one piece.

A bi-encoder encodes each distinct query and document of a batch once, so negatives that lists share cost nothing
more; a scorer scores pairs. Either way the outputs of the pieces are put together into scores `[lists, length]`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence, Set
from typing import Protocol

import numpy as np
import torch
from torch import Tensor

from nirank.component import Component
from nirank.data.batches import Batch, ContentBatch, Pairs, QueryBatch, cuts
from nirank.data.candidates import Candidates
from nirank.data.corpus import field_of
from nirank.data.queries import Queries
from nirank.data.types import Corpus
from nirank.errors import BadInput, ComponentError
from nirank.execution import stages
from nirank.training import processes
from nirank.training.padding import Padding
from nirank.training.sampling import Sample

#: The kinds of vectors that are `[n, dim]` in training.
_TRAINED = ("dense", "sparse")
#: A method of a component and what it is called with.
Piece = tuple[str, Batch]


class Forward(Protocol):
    """The forward pass of a component over the lists of a sample."""

    pieces: Sequence[Piece]

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """Scores `[lists, length]` (one more axis for classes) from the outputs of the pieces; 0 in the padding."""

    def extras(self, outputs: Sequence[Tensor], named: Set[str]) -> dict[str, Tensor]:
        """Columns that a loss has `named`, beside those of the sample."""


class PairForward:
    """A scorer; its pieces are `chunk` pairs each, or all."""

    def __init__(self, component: Component, queries: Queries, sample: Sample, padding: Padding, chunk: int | None):
        self.padding = padding
        pairs = Pairs(queries, sample.candidates)
        whole = component.traits.listwise
        self.pieces: Sequence[Piece] = [("score", part) for part in cuts(pairs, chunk, whole)] if len(pairs) else []

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """The scores of the pairs, padded."""
        if not outputs:
            return torch.zeros(self.padding.shape, device=self.padding.device)
        return self.padding.matrix(torch.cat(list(outputs)))

    def extras(self, outputs: Sequence[Tensor], named: Set[str]) -> dict[str, Tensor]:  # noqa: ARG002 (the protocol's)
        """Nothing."""
        return {}


class VectorForward:
    """An encoder of vectors `[n, dim]`; its pieces are `chunk` queries or documents each, or all of them.

    With `everywhere`, the lists of all processes, each process encodes a part of their documents, and its queries
    meet all.
    """

    def __init__(
        self, queries: Queries, sample: Sample, padding: Padding, chunk: int | None, everywhere: Candidates | None
    ) -> None:
        self.candidates, self.shared, self.padding = sample.candidates, sample.shared, padding
        docs = np.unique((everywhere or self.candidates).docs)
        self.columns = torch.from_numpy(np.searchsorted(docs, self.candidates.docs)).to(padding.device)
        self._docs = docs
        self.parts = processes.parts(len(docs)) if everywhere else None
        own = docs[self.parts[processes.number()]] if self.parts else docs
        contents = ContentBatch(self._corpus[own])
        #: What was encoded: the queries, and the documents of this process, each once.
        self.contents = {"query_contents": queries.contents, "document_contents": contents.contents}
        self._queries: list[Piece] = [("encode", part) for part in cuts(QueryBatch(queries), chunk)]
        self.pieces: Sequence[Piece] = [*self._queries, *(("encode_documents", part) for part in cuts(contents, chunk))]

    def scores(self, outputs: Sequence[Tensor]) -> Tensor:
        """Dot products."""
        queries, documents = self._meeting(outputs)
        lists, length = self.padding.shape
        if self.shared:
            return queries @ documents[self.columns[:length]].T
        rows = torch.from_numpy(self.candidates.rows).to(self.columns.device)
        if lists * len(documents) <= len(rows) * queries.shape[1]:  # whichever is smaller is written to memory
            return self.padding.matrix((queries @ documents.T)[rows, self.columns])
        return self.padding.matrix((queries[rows] * documents[self.columns]).sum(1))

    def extras(self, outputs: Sequence[Tensor], named: Set[str]) -> dict[str, Tensor]:
        """The vectors of the queries, `[lists, dim]`, and of the distinct documents, `[distinct, dim]`, by ordinal."""
        found = {}
        if "query_vectors" in named:
            found["query_vectors"] = torch.cat(list(outputs[: len(self._queries)]))
        if "document_vectors" in named:
            found["document_vectors"] = self._meeting(outputs)[1]
        if "distinct_documents" in named:
            found["distinct_documents"] = torch.from_numpy(self._docs.astype(np.int64)).to(self.padding.device)
        return found

    @property
    def places(self) -> Tensor:
        """The place of each document of the lists among the distinct ones, `[lists, length]`; 0 in the padding."""
        return self.padding.matrix(self.columns)

    def vectors(self, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The vectors of the queries, `[lists, dim]`, and of the documents that this process encodes, each once."""
        first = len(self._queries)
        return torch.cat(list(outputs[:first])), torch.cat(list(outputs[first:]))

    def _meeting(self, outputs: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """The vectors of the queries and of all documents that these meet, those of other processes too."""
        queries, documents = self.vectors(outputs)
        return queries, processes.gather_rows(documents, self.parts) if self.parts else documents

    @property
    def _corpus(self) -> Corpus:
        return self.candidates.corpus_for("an encoder in training")


def of(
    component: Component,
    queries: Queries,
    sample: Sample,
    chunk: int | None = None,
    everywhere: Candidates | None = None,
) -> tuple[Forward, Padding]:
    """The forward pass of `component` over the lists of a sample, and their padding.

    The component does not see the labels: where there would be scores of a first stage, there are zeros.
    """
    sample = dataclasses.replace(sample, candidates=stages.as_read(component, unlabelled(sample.candidates)))
    device = next(component.target.parameters()).device
    padding = Padding(sample.candidates, device)
    if component.can("score"):
        return PairForward(component, queries, sample, padding, chunk), padding
    return VectorForward(queries, sample, padding, chunk, everywhere), padding


def unlabelled(candidates: Candidates) -> Candidates:
    """The same pairs with zeros for scores."""
    return candidates.with_scores(np.zeros(candidates.pairs, np.float32))


def check(component: Component) -> None:
    """Raise `BadInput` for a component that makes no scores to train."""
    if component.can("score"):
        return
    if not (component.can("encode") and component.can("encode_documents")):
        raise BadInput(f"{component.spec} cannot be trained: it neither scores nor encodes both queries and documents.")
    kind = component.traits.vectors or "dense"
    if kind not in _TRAINED:
        kinds = " or ".join(_TRAINED)
        raise BadInput(f"{component.spec} makes {kind} vectors; only encoders of {kinds} vectors can be trained.")


def dimensions(component: Component, corpus: Corpus) -> int | None:
    """The number of dimensions of the vectors `[n, dim]` that an encoder makes; None for what makes none."""
    kind = component.traits.vectors or "dense"
    if component.can("score") or not component.can("encode_documents") or kind not in _TRAINED or not len(corpus):
        return None
    contents = ContentBatch(field_of(corpus, component.field)[:1])
    with torch.no_grad():
        return run(component, ("encode_documents", contents)).shape[1]


def run(component: Component, piece: Piece) -> Tensor:
    """The output of one piece, float32 with gradients where they are wanted; one row an entry."""
    method, batch = piece
    with stages.training():
        output = stages.forward(component, method, batch)
    if not isinstance(output, Tensor) or len(output) != len(batch):
        shown = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
        raise ComponentError(
            f"{component.spec}: {method} returned {shown}; in training a tensor of {len(batch)} rows is expected."
        )
    return output.float()
