"""Results that are kept while a block runs, so that pipelines compute once what they have in common.

Inside of `sharing()` a ranking of the same parts is not searched twice for the same queries over the same corpus, and
a component does not encode, score or describe the same queries and pairs again. "The same" is the very object, not an
equal one: nothing is compared, and what changes by itself is not taken for what it was. Of a generator that says
`prefixes = True`, fewer documents are taken from more that were found before.

Nothing is shared outside of such a block, nor inside of `nothing()`: where times are taken, and where weights change.
"""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Callable, Hashable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeVar

Result = TypeVar("Result")

#: Bytes of results that are kept at most; those that were not asked for the longest go first.
LIMIT = 2**30


@dataclass(frozen=True, eq=False)
class Same:
    """An object as part of a key: equal to itself alone, and kept alive by the key."""

    of: Any

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Same) and self.of is other.of

    def __hash__(self) -> int:
        return id(self.of)


class Kept(NamedTuple):
    """A result, the seconds that it takes to compute it anew, and its size in bytes."""

    value: Any
    seconds: float
    size: int


class Memo:
    """Results by what they follow from; `saved` are the seconds that it would have taken to compute them again."""

    def __init__(self, limit: int = LIMIT) -> None:
        self.limit, self.size, self.saved = limit, 0, 0.0
        self._kept: OrderedDict[Hashable, Kept] = OrderedDict()
        self._asked: set[Hashable] = set()

    def renew(self) -> None:
        """Drop what nobody has asked for since the last call: what is tried next has little in common with that."""
        for key in self._kept.keys() - self._asked:
            self.size -= self._kept.pop(key).size
        self._asked.clear()

    def recall(self, key: Hashable, compute: Callable[[], Result]) -> Result:
        """The result under `key`, computed where there is none."""
        kept = self._kept.get(key)
        self._asked.add(key)
        if kept is not None:
            self._kept.move_to_end(key)
            self.saved += kept.seconds
            known: Result = kept.value
            return known
        start, before = time.perf_counter(), self.saved
        value = compute()
        seconds = time.perf_counter() - start + self.saved - before  # with what its own parts would have taken
        self._keep(key, Kept(value, seconds, _size(value)))
        return value

    def recall_first(self, key: Hashable, k: int, search: Callable[[], Any]) -> Any:
        """The best `k` of what was found under `key`, searched where nothing was, or fewer.

        `search` finds the best `k`, as `Candidates`; with fewer it must find the first of the same ranking.
        """
        for depth in self._depths(key):
            if depth >= k:
                found = self.recall((key, depth), search)
                return found if depth == k else found.top(k)
        return self.recall((key, k), search)

    def _depths(self, key: Hashable) -> list[int]:
        """The depths to which something was searched, the least first."""
        return sorted(each[1] for each in self._kept if isinstance(each, tuple) and len(each) == 2 and each[0] == key)

    def _keep(self, key: Hashable, kept: Kept) -> None:
        if kept.size > self.limit:
            return
        self._kept[key] = kept
        self.size += kept.size
        while self.size > self.limit:
            _, oldest = self._kept.popitem(last=False)
            self.size -= oldest.size


_MEMO: ContextVar[Memo | None] = ContextVar("memo", default=None)


@contextmanager
def sharing(limit: int = LIMIT) -> Iterator[Memo]:
    """Keep results in the block, up to `limit` bytes; within another such block it is that one's."""
    outer = _MEMO.get()
    memo = outer or Memo(limit)
    token = _MEMO.set(memo)
    try:
        yield memo
    finally:
        _MEMO.reset(token)


@contextmanager
def nothing() -> Iterator[None]:
    """Share nothing in the block, whatever is shared around it."""
    token = _MEMO.set(None)
    try:
        yield
    finally:
        _MEMO.reset(token)


#: The memo of the block; None where nothing is shared.
current: Callable[[], Memo | None] = _MEMO.get


def once(method: str, component: Any, inputs: tuple[Any, ...], compute: Callable[[], Result]) -> Result:
    """The result of a component's method for these very inputs: computed, or as it was before."""
    memo = _MEMO.get()
    if memo is None:
        return compute()
    return memo.recall((method, Same(component), *map(Same, inputs)), compute)


def _size(value: Any) -> int:
    """The bytes of the columns that a result holds: of an array, of candidates, of queries with vectors."""
    own = getattr(value, "nbytes", None)
    if own is not None:
        return int(own)
    columns = [getattr(value, name, None) for name in ("offsets", "docs", "scores", "vectors", "values", "features")]
    return sum(_size(column) for column in columns if column is not None)
