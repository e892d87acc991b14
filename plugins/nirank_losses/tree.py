"""Binary trees over documents, for hierarchical softmax."""

from __future__ import annotations

import heapq
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor
from torch.nn import functional as F

from nirank.errors import BadInput

#: The parents of all nodes, and on which side of them (1 the left) each node is; documents come first, the root last.
_Parents = tuple[NDArray[np.int64], NDArray[np.int8]]


@dataclass(frozen=True, eq=False)
class Tree:
    """A binary tree with a leaf for each document, as the path from the root to every leaf.

    `nodes` `[documents, depth]` are the inner nodes along the path (0 .. documents - 2, 0 the root), `branches`
    1 where it goes left and 0 where right, `mask` False beyond the end of the path. All int64, int64 and bool.
    """

    nodes: Tensor
    branches: Tensor
    mask: Tensor

    @classmethod
    def huffman(cls, frequencies: ArrayLike) -> Tree:
        """The tree of least expected depth for documents of these frequencies `[documents]` (Huffman 1952).

        Raises `BadInput` for none, and for frequencies below 0 or not finite.
        """
        counts = np.asarray(frequencies, np.float64)
        if counts.ndim != 1 or not len(counts) or not np.isfinite(counts).all() or (counts < 0).any():
            raise BadInput(
                f"frequencies have the shape {counts.shape}; a Huffman tree needs one finite number from 0 a document."
            )
        heap = [(count, leaf) for leaf, count in enumerate(counts.tolist())]
        heapq.heapify(heap)
        joined = []
        for inner in range(len(counts), 2 * len(counts) - 1):
            (rare, left), (rarer, right) = heapq.heappop(heap), heapq.heappop(heap)
            joined.append((left, right))
            heapq.heappush(heap, (rare + rarer, inner))
        return cls._of(_parents(joined))

    @classmethod
    def clusters(cls, vectors: ArrayLike) -> Tree:
        """A balanced tree that keeps near vectors `[documents, dim]` together.

        Every node halves its documents at the median along the direction in which they vary most. Raises `BadInput`
        for no vectors, or such that are not finite.
        """
        points = np.asarray(vectors, np.float64)
        if points.ndim != 2 or not len(points) or not np.isfinite(points).all():
            raise BadInput(
                f"vectors have the shape {points.shape}; a tree of clusters needs finite vectors [documents, dim]."
            )
        return cls._of(_parents(_halved(points)))

    @classmethod
    def _of(cls, parents: _Parents) -> Tree:
        parent, left = parents
        documents = (len(parent) + 1) // 2
        place, steps = np.arange(documents), []
        while (present := place < len(parent) - 1).any():
            place = np.where(present, place, 0)
            above = parent[place]
            steps.append((len(parent) - 1 - above, left[place], present))
            place = np.where(present, above, len(parent) - 1)
        return cls(*_from_the_root(steps, documents))

    def __len__(self) -> int:
        return len(self.nodes)

    @property
    def inner(self) -> int:
        """The number of inner nodes: one less than that of documents."""
        return len(self) - 1

    def paths(self, documents: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """The nodes, branches and mask `[lists, depth]` of the paths to some documents `[lists]`."""
        return self.nodes[documents], self.branches[documents], self.mask[documents]

    def log_prob(self, scores: Tensor, documents: Tensor | None = None) -> Tensor:
        """The exact log p(d|q) from scores of the inner nodes `[lists, inner]`.

        Of all documents, `[lists, documents]`; with `documents` `[lists]` of one for each list, `[lists]`.
        """
        if documents is not None:
            nodes, branches, mask = self.paths(documents)
            return _decisions(scores.gather(1, nodes), branches, mask).sum(1) if self.inner else scores.sum(1)
        logs = scores.new_zeros(len(scores), len(self))
        for depth in range(self.nodes.shape[1]):
            nodes, branches, mask = self.nodes[:, depth], self.branches[:, depth], self.mask[:, depth]
            logs = logs + _decisions(scores[:, nodes], branches, mask)
        return logs


def _decisions(scores: Tensor, branches: Tensor, mask: Tensor) -> Tensor:
    return F.logsigmoid(torch.where(branches > 0, scores, -scores)).where(mask, 0)


def _parents(joined: Any) -> _Parents:
    """From the two children of each inner node, in the order in which inner nodes are numbered."""
    children = np.asarray(joined, np.int64).reshape(-1, 2)
    documents = len(children) + 1
    parent = np.zeros(2 * documents - 1, np.int64)
    left = np.zeros(2 * documents - 1, np.int8)
    parent[children] = np.arange(documents, 2 * documents - 1)[:, None]
    left[children[:, 0]] = 1
    return parent, left


def _halved(points: NDArray[np.float64]) -> list[tuple[int, int]]:
    """Split from the root down; the children of inner nodes, the last split first, so that the root is last."""
    waiting, splits = [np.arange(len(points))], []
    number = 2 * len(points) - 2  # inner nodes are numbered downwards as they come up
    while waiting and len(points) > 1:
        group = waiting.pop(0)
        names = []
        for half in _split(points, group):
            if len(half) == 1:
                names.append(int(half[0]))
            else:
                number -= 1
                names.append(number)
                waiting.append(half)
        splits.append((names[0], names[1]))
    return splits[::-1]


def _split(points: NDArray[np.float64], group: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    centred = points[group] - points[group].mean(0)
    direction = centred[np.linalg.norm(centred, axis=1).argmax()]
    for _ in range(8):  # power iteration; how well it has converged matters little
        direction = centred.T @ (centred @ direction)
        direction /= np.linalg.norm(direction) or 1.0
    order = group[np.argsort(centred @ direction, kind="stable")]
    return order[: len(order) // 2], order[len(order) // 2 :]


def _from_the_root(steps: list[Any], documents: int) -> tuple[Tensor, Tensor, Tensor]:
    """Columns of the paths, which were walked from the leaves, turned to begin at the root."""
    if not steps:
        empty = np.zeros((documents, 0), np.int64)
        return torch.from_numpy(empty), torch.from_numpy(empty), torch.from_numpy(empty > 0)
    nodes, branches, mask = (np.stack(column, axis=1) for column in zip(*steps, strict=True))
    depth, lengths = mask.shape[1], mask.sum(1)[:, None]
    turned = np.clip(lengths - 1 - np.arange(depth), 0, depth - 1)
    mask = np.arange(depth) < lengths
    nodes, branches = (np.take_along_axis(column, turned, axis=1) * mask for column in (nodes, branches))
    numbers, ways = (torch.from_numpy(column.astype(np.int64)) for column in (nodes, branches))
    return numbers, ways, torch.from_numpy(mask)
