"""Cross-batch memory: vectors of documents of earlier batches stand in the lists of a loss."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import nirank
from nirank.data import Collection
from nirank.errors import BadInput
from nirank.pipeline import own_documents
from nirank_losses.lists import Reduction, complete, repeated

#: What a loss may be called with for documents of the memory, of which nothing else is known.
_KNOWN = {"scores", "labels", "mask", "documents"}


class CrossBatchMemory(nn.Module):
    """The value of another loss for lists to which the documents of earlier batches are added.

    Wang et al., Cross-Batch Memory for Embedding Learning, CVPR 2020: an encoder changes slowly, so the vectors of some
    batches ago are nearly those that it would make now. The memory holds the last `size` vectors of documents, without
    gradients; each list gets them with the scores `q . d`, and with the labels that the judgments of the training
    collection give. A document that is in the list, or is the query itself (has its id), is left out. The first `after`
    batches are remembered and not yet used. In the paper, and in pytorch-metric-learning, the batch itself stands in
    the memory and has no gradient as a document; here it stands in its lists, with gradients.

    `loss` is the name of a loss of scores, or a table with `use` and its settings. The memory goes with the state of a
    training and is no part of a checkpoint. Raises `BadInput` for a loss that needs more than scores, labels, mask and
    documents.
    """

    in_checkpoint = False
    vectors: Tensor
    ordinals: Tensor  # -1 where nothing is remembered yet
    batches: Tensor

    def __init__(self, loss: str | Mapping[str, Any] = "multi_similarity", size: int = 1024, after: int = 0) -> None:
        super().__init__()
        if size < 1 or after < 0:
            raise BadInput(f"xbm: size = {size}, after = {after}; a size from 1 and batches from 0 are expected.")
        self.loss, self.size, self.after = _loss(loss), size, after
        self._takes_documents = _checked(self.loss)

    @property
    def reduction(self) -> Reduction:
        """How the loss within makes one number of the costs of lists."""
        return getattr(self.loss, "reduction", "mean")

    @reduction.setter
    def reduction(self, value: Reduction) -> None:
        """Set it for the loss within."""
        self.loss.reduction = value  # type: ignore[attr-defined]

    @property
    def skipped(self) -> int:
        """The number of lists of the last call that did not count in the loss within."""
        return int(getattr(self.loss, "skipped", 0))

    def begin(self, collection: Collection, dim: int | None) -> None:
        """Learn what is relevant, and empty the memory.

        Raises `BadInput` where there are no vectors to remember.
        """
        if dim is None:
            raise BadInput("xbm remembers vectors: train an encoder of dense or sparse vectors with it.")
        judged = collection.judgments.over(collection.corpus)
        known = judged.where((judged.scores > 0) & (judged.docs < len(collection.corpus)))
        keys = known.rows * np.int64(len(collection.corpus)) + known.docs
        order = np.argsort(keys)
        self._keys, self._grades = torch.from_numpy(keys[order]), torch.from_numpy(known.scores[order])
        self._own = torch.from_numpy(own_documents(collection.queries, collection.corpus).astype(np.int64))
        self._documents = len(collection.corpus)
        self.register_buffer("vectors", torch.zeros(self.size, dim))
        self.register_buffer("ordinals", torch.full((self.size,), -1))
        self.register_buffer("batches", torch.tensor(0))

    def forward(
        self,
        scores: Tensor,
        labels: Tensor,
        mask: Tensor,
        documents: Tensor | None = None,
        queries: Tensor | None = None,
        query_vectors: Tensor | None = None,
        distinct_documents: Tensor | None = None,
        document_vectors: Tensor | None = None,
    ) -> Tensor:
        """The loss within, for lists `[lists, length + remembered]`; the batch is remembered afterwards.

        The arguments are those of `nirank.fit`: `documents` `[lists, length]`, `queries` `[lists]`, `query_vectors`
        `[lists, dim]`, `distinct_documents` `[distinct]`, `document_vectors` `[distinct, dim]`. Raises `BadInput` where
        one is missing, where nothing has begun, and for vectors of another length.
        """
        given = documents, queries, query_vectors, distinct_documents, document_vectors
        documents, queries, wanted, shown, read = self._complete(*given)
        documents = documents.expand_as(mask)
        if self.batches >= self.after:
            scores, labels, mask, documents = self._with_memory(scores, labels, mask, documents, queries, wanted)
        value: Tensor = self.loss(scores, labels, mask, **({"documents": documents} if self._takes_documents else {}))
        self._remember(shown, read)
        return value

    def _with_memory(
        self, scores: Tensor, labels: Tensor, mask: Tensor, documents: Tensor, queries: Tensor, wanted: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """The four columns with what is remembered behind them."""
        there = self.ordinals >= 0
        ordinals = self.ordinals[there]
        more = wanted @ self.vectors[there].to(wanted.dtype).T
        grades = self._labels(queries, ordinals).to(labels.dtype)
        fresh = ordinals[None] != self._own.to(queries.device)[queries][:, None]
        ids = torch.cat([documents, ordinals.expand(len(scores), -1)], 1)
        marked = torch.cat([mask.bool(), fresh], 1)
        newest_first = torch.zeros_like(marked, dtype=torch.int8)
        marked = marked & ~repeated(ids, newest_first, marked)
        return torch.cat([scores, more], 1), torch.cat([labels, grades], 1), marked, ids

    def _labels(self, queries: Tensor, ordinals: Tensor) -> Tensor:
        """The grades of remembered documents, `[lists, remembered]`; 0 where none is above 0."""
        keys, grades = self._keys.to(queries.device), self._grades.to(queries.device)
        asked = queries[:, None] * self._documents + ordinals
        place = torch.searchsorted(keys, asked).clamp(max=max(len(keys) - 1, 0))
        return grades[place].where(keys[place] == asked, 0) if len(keys) else torch.zeros_like(asked)

    def _remember(self, ordinals: Tensor, vectors: Tensor) -> None:
        """Put the newest vectors first; of one document only the newest stays."""
        old = ~torch.isin(self.ordinals, ordinals)
        kept = torch.cat([ordinals, self.ordinals[old]])[: self.size]
        self.vectors = torch.cat([vectors.detach().to(self.vectors.dtype), self.vectors[old]])[: self.size]
        missing = self.size - len(kept)
        self.ordinals = F.pad(kept, (0, missing), value=-1)
        self.vectors = F.pad(self.vectors, (0, 0, 0, missing))
        self.batches = self.batches + 1

    def _complete(self, *given: Tensor | None) -> list[Tensor]:
        if not hasattr(self, "vectors"):
            raise BadInput("xbm has not begun: call begin(collection, dim), as nirank.fit does.")
        needed = "documents, queries, query_vectors, distinct_documents and document_vectors"
        tensors = complete(given, f"xbm needs {needed}")
        if tensors[-1].shape[1] != self.vectors.shape[1]:
            raise BadInput(
                f"xbm remembers vectors of {self.vectors.shape[1]} dimensions, and was given {tensors[-1].shape[1]}: "
                "train without shorter vectors (`nested`)."
            )
        return tensors


def _loss(given: str | Mapping[str, Any]) -> Callable[..., Tensor]:
    table = {"use": given} if isinstance(given, str) else dict(given)
    if not isinstance(table.get("use"), str):
        raise BadInput(f'xbm: loss = {given!r}; a name, or a table with `use = "NAME"`, is expected.')
    target: Callable[..., Tensor] = nirank.load(
        f"loss/{table.pop('use').removeprefix('loss/')}", **table
    ).component.target
    return target


def _checked(loss: Callable[..., Tensor]) -> bool:
    """True for a loss that takes documents. Raises `BadInput` for one that needs what the memory does not have."""
    call = loss.forward if isinstance(loss, nn.Module) else loss
    named = set(inspect.signature(call).parameters)
    if named - _KNOWN or getattr(loss, "classes", 0) != 0:
        more = ", ".join(sorted(named - _KNOWN)) or "a score for each class"
        raise BadInput(f"xbm: {type(loss).__name__} takes {more}, which the memory does not have; take another loss.")
    return "documents" in named
