"""Checks of an index that faiss has read: faiss follows the numbers of a file without looking where they lead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.errors import DamagedFile
from nirank.kit import bounded

#: The columns of a graph: each node's level, where its neighbours begin, these, and the room of each level.
_GRAPH = ("levels", "offsets", "neighbors", "cum_nneighbor_per_level")


def check(faiss: Any, index: Any, dim: int, path: Path) -> None:
    """Raise `DamagedFile` where an index read from `path` is not of `dim` dimensions, or names what it does not have.

    `faiss` is the package.
    """
    _same(path, "dimensions, training and metric", _shape(index), (dim, True, faiss.METRIC_INNER_PRODUCT))
    if isinstance(index, faiss.IndexIDMap):
        _same(path, "keys", index.id_map.size(), index.ntotal)
        inner = faiss.downcast_index(index.index)
        _same(path, "documents", inner.ntotal, index.ntotal)
        _inner(faiss, inner, dim, path)
    else:
        _lists(faiss, index, dim, path)


def ordinals(keys: NDArray[np.int64], following: Any, folder: Path) -> NDArray[np.int64]:
    """The document of each key below `following`, -1 for a key that has gone; `keys` are those of the documents.

    Raises `DamagedFile` where a key has two documents, or lies outside.
    """
    path, documents = folder / "keys.npy", len(keys)
    most = max(1 << 20, documents << 10)  # the table is to fit into memory, whatever the files say
    if type(following) is not int or not documents <= following <= most:
        raise bounded.fault(folder / "state.json", f"the next key is {following}, of {documents:,} documents")
    bounded.within(path, keys, following)
    found = np.full(following, -1)
    found[keys] = np.arange(documents)
    if not (found[keys] == np.arange(documents)).all():
        raise bounded.fault(path, "two documents have the same key")
    return found


def _inner(faiss: Any, index: Any, dim: int, path: Path) -> None:
    _same(path, "dimensions, training and metric", _shape(index), (dim, True, faiss.METRIC_INNER_PRODUCT))
    if isinstance(index, faiss.IndexHNSW):
        _graph(faiss, index.hnsw, index.ntotal, path)
        storage = faiss.downcast_index(index.storage)
        _same(path, "vectors", storage.ntotal, index.ntotal)
        _inner(faiss, storage, dim, path)
        return
    if isinstance(index, faiss.IndexScalarQuantizer):
        _same(path, "bytes of a code", (index.sq.d, index.sq.code_size, index.code_size), (dim, dim, dim))
        _same(path, "ranges", index.sq.trained.size(), 2 * dim)
    else:
        _same(path, "bytes of a vector", index.code_size, 4 * dim)
    _same(path, "bytes", index.codes.size(), index.ntotal * index.code_size)


def _lists(faiss: Any, index: Any, dim: int, path: Path) -> None:
    lists, quantizer = index.invlists, faiss.downcast_index(index.quantizer)
    _inner(faiss, quantizer, dim, path)
    _same(path, "lists", (quantizer.ntotal, lists.nlist), (index.nlist, index.nlist))
    _same(path, "documents", sum(lists.list_size(number) for number in range(index.nlist)), index.ntotal)
    if isinstance(index, faiss.IndexIVFFlat):
        _same(path, "bytes of a vector", (index.code_size, lists.code_size), (4 * dim, 4 * dim))
    elif hasattr(index, "pq"):
        _same(path, "numbers of centroids", index.pq.centroids.size(), dim * 2**index.pq.nbits)
        _same(path, "dimensions of parts", (index.pq.d, index.pq.M * index.pq.dsub), (dim, dim))


def _graph(faiss: Any, graph: Any, nodes: int, path: Path) -> None:
    """Check that a walk through a graph stays inside of it, on every level."""
    _same(path, "nodes", (graph.levels.size(), graph.offsets.size()), (nodes, nodes + 1))
    levels, offsets, neighbours, rooms = (
        np.array(faiss.vector_to_array(getattr(graph, name)), np.int64) for name in _GRAPH
    )
    bounded.within(path, levels, len(rooms), 1)
    bounded.within(path, np.diff(rooms), 1 << 16)
    _same(path, "room of the nodes", bool((np.diff(offsets) == rooms[levels]).all()), True)
    bounded.rising(path, offsets, len(neighbours))
    bounded.within(path, neighbours, nodes, -1)
    if nodes:
        bounded.within(path, np.array([graph.entry_point]), nodes)
        _same(path, "levels", graph.max_level, levels[graph.entry_point] - 1)
    for level in range(1, int(levels.max(initial=0))):
        here = offsets[:-1][levels > level] + rooms[level]
        near = neighbours[here[:, None] + np.arange(rooms[level + 1] - rooms[level])]
        _same(path, "levels", bool((levels[near[near >= 0]] > level).all()), True)


def _shape(index: Any) -> tuple[int, bool, int]:
    return index.d, bool(index.is_trained), index.metric_type


def _same(path: Path, what: str, found: Any, expected: Any) -> None:
    if found != expected:
        raise bounded.fault(path, f"its {what} are {found}, and {expected} fits the rest")


def unreadable(path: Path, error: Exception) -> DamagedFile:
    """The error for what faiss cannot read or search."""
    reason = " ".join(str(error).split())[:200]
    return bounded.fault(path, f"faiss cannot use it ({reason})")
