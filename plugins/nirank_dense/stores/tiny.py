"""A store in memory, for checks without a server: it keeps every promise of one, in the same steps."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank_dense.stores.manifest import Manifest
from nirank_dense.stores.search import StoreSearch
from nirank_dense.stores.store import Keys, Structure, refuse_changed

_TABLES: dict[str, _Table] = {}


class _Table:
    """The rows of a table, by key, and its manifest."""

    def __init__(self, manifest: Manifest) -> None:
        self.manifest, self.rows = manifest, dict[int, tuple[str, Floats]]()


class Rows:
    """A table in the memory of this process."""

    most: int | None = None

    def __init__(self, table: str) -> None:
        self.table, self.name = table, f"the table {table} in memory"

    @property
    def _there(self) -> _Table:
        return _TABLES[self.table]

    def manifest(self) -> Manifest | None:
        """The manifest that is there."""
        return self._there.manifest if self.table in _TABLES else None

    def create(self, manifest: Manifest) -> None:
        """Make the table."""
        _TABLES.setdefault(self.table, _Table(manifest))

    def keys(self) -> Keys:
        """The keys of all rows."""
        return np.array(sorted(self._there.rows), np.int64)

    def put(self, keys: Keys, ids: Any, vectors: Floats, manifest: Manifest) -> None:
        """Write rows."""
        self._there.rows |= dict(zip(keys.tolist(), zip(ids.to_pylist(), vectors, strict=True), strict=True))
        self._there.manifest = manifest

    def finish(self, manifest: Manifest) -> None:
        """Say that all is there."""
        self._there.manifest = manifest

    def change(self, manifest: Manifest, gone: Keys, new: tuple[Keys, Any, Floats]) -> None:
        """Take rows out and write new ones."""
        for key in gone.tolist():
            self._there.rows.pop(key, None)
        self.put(*new, manifest)

    def count(self) -> int:
        """The number of rows."""
        return len(self._there.rows)

    def named(self) -> tuple[Keys, Any]:
        """The key and the id of each row."""
        keys = self.keys()
        return keys, [self._there.rows[key][0] for key in keys.tolist()]

    def vectors(self, keys: Keys) -> Floats:
        """The vectors of some rows."""
        if not len(keys):
            return np.empty((0, self._there.manifest.dim), np.float32)
        return np.stack([self._there.rows[key][1] for key in keys.tolist()])

    def nearest(
        self, queries: Floats, count: int, token: str, among: NDArray[np.bool_] | None, exactly: bool
    ) -> tuple[Keys, Floats]:
        """The rows of the highest products."""
        del exactly
        refuse_changed(self.name, self.manifest(), token)
        keys = self.keys()
        keys = keys if among is None else keys[among[keys]]
        scores = queries @ self.vectors(keys).T
        order = np.argsort(-scores, axis=1)[:, :count]
        return keys[order], np.take_along_axis(scores, order, axis=1)


class InMemory(StoreSearch):
    """Search in a store that is this process."""

    kind = "memory"

    def __init__(self, structure: Structure = Structure(), chunk: int = 4, table: str | None = None) -> None:
        super().__init__(structure, chunk, table)

    def store_of(self, table: str) -> Rows:
        """The table of this name."""
        return Rows(table)


def graph() -> InMemory:
    """A search with all settings of a graph."""
    return InMemory(Structure("hnsw", m=4, construction=16, ef=16))
