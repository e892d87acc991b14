"""The part of a store that belongs to one method of one component."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from nirank_cache.store import Store

#: Results that are computed between two writes, so that an interruption costs no more.
BLOCK = 16384


class Shelf:
    """Looks up and stores the results of one method; `found` and `computed` count them.

    `key` is that of the component and the method, `owner` what errors call it, `label` its name and its method.
    """

    def __init__(self, store: Store, key: bytes, owner: str, label: tuple[str, str]) -> None:
        self.owner = owner
        self.found = self.computed = 0
        self._store, self._key, self._label = store, key, label

    def get(self, hashes: Sequence[bytes]) -> list[tuple[bytes, bytes]]:
        """Hash and value of all that is stored under one of these hashes, the earliest first."""
        return list(self._store.get(self._key, hashes))

    def put(self, entries: Iterable[tuple[bytes, bytes, int]]) -> None:
        """Store entries: the hash, the value, and how many results it holds."""
        self._store.put(self._key, self._label, entries)

    def tell_of_damage(self) -> None:
        """Say once that the store has values that nothing can be made of."""
        self._store.tell_of_damage()

    def count(self, found: int = 0, computed: int = 0) -> None:
        """Count the results that were there, and those that had to be computed."""
        self.found += found
        self.computed += computed
