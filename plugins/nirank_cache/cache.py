"""The observer that caches results, and the command that shows what is cached."""

from __future__ import annotations

import functools
import shutil
import sys
import tempfile
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

from nirank import hookimpl
from nirank.errors import BadInput
from nirank.kit import cache_folder
from nirank.plugins import Component, Middleware
from nirank_cache import keys, pairs, vectors, whole
from nirank_cache.shelf import Shelf
from nirank_cache.store import FILE, Store

_METHODS = ("score", "encode", "encode_documents")


class Cache:
    """Keeps scores and vectors (dense, sparse, of tokens) on disk, and computes only what is not there.

    A score is found again by the scorer (its settings, model and code), the text of the query and the content of
    the document; a vector by the encoder and the content. What comes back is bit for bit what was computed. Not
    cached is what depends on more: listwise scorers, those with an index over the corpus, encoders that read what was
    found for a query, components that say `cacheable = False`, and objects of the user's own without a `fingerprint`.

    `folder` holds the file (by default `computed` in nirank's cache folder); past `gigabytes` (10**9 bytes) the
    least recently used results are dropped. Several processes may use one folder at once.
    """

    places = ("folder",)  # settings that name what is written

    def __init__(self, folder: str | None = None, gigabytes: float = 10.0) -> None:
        if not gigabytes > 0:
            raise BadInput(
                f"gigabytes = {gigabytes!r} leaves no room for results; a number above 0 is expected (of 10**9 bytes)."
            )
        self.path = _path(folder)
        self.limit = int(gigabytes * 1e9)
        self._store: Store | None = None
        self._shelves: dict[bytes, Shelf] = {}
        self._closed = False

    @hookimpl
    def nirank_wrap(self, component: Component) -> Middleware | None:
        """Stand before every component whose results can be cached."""
        methods = {method for method in _METHODS if _is_cacheable(component, method)}
        return functools.partial(self._answer, component, methods) if methods else None

    def counts(self) -> tuple[int, int]:
        """The number of results that were found, and of those that had to be computed."""
        shelves = self._shelves.values()
        return sum(shelf.found for shelf in shelves), sum(shelf.computed for shelf in shelves)

    def close(self) -> None:
        """Close the file; components that were built meanwhile go on without a cache."""
        self._closed = True
        if self._store:
            self._store.close()
            self._store = None

    @staticmethod
    def command(
        folder: Annotated[Path | None, "Another folder than the default one."] = None,
        clear: Annotated[bool, "Delete all scores and vectors that it holds."] = False,
        sizes: Annotated[bool, "Show what the whole cache folder takes, with indexes and corpora."] = False,
        everything: Annotated[bool, "With --clear, delete indexes and corpora too."] = False,
        limit: Annotated[
            float | None,
            "Gigabytes: delete what killed processes left, then indexes and corpora that were not used for longest, "
            "until the whole folder takes no more.",
        ] = None,
    ) -> None:
        """Show what the cache of scores and vectors holds, by component."""
        if sizes or everything or limit is not None:
            _check_whole(folder, clear, everything, limit)
            _whole(everything, limit)
            return
        store = Store(_path(folder))
        if clear:
            store.clear()
        _show(store)
        store.close()

    def _answer(
        self, component: Component, methods: set[str], call: Callable[..., Any], method: str, *inputs: Any
    ) -> Any:
        if self._closed or method not in methods:
            return call(*inputs)
        return _look_up(component, method)(call, self._shelf(component, method), *inputs)

    def _shelf(self, component: Component, method: str) -> Shelf:
        self._store = self._store or Store(self.path, self.limit)
        key = keys.of_component(component, method)  # computed every time: training makes another model of it
        if key not in self._shelves:
            self._shelves[key] = Shelf(self._store, key, component.spec, (repr(component), method))
        return self._shelves[key]


def tiny() -> Cache:
    """A small cache in a temporary folder."""
    folder = tempfile.mkdtemp(prefix="nirank-cache-")
    cache = Cache(folder, gigabytes=0.001)
    weakref.finalize(cache, shutil.rmtree, folder, ignore_errors=True)
    return cache


def _path(folder: str | Path | None) -> Path:
    return (Path(folder).expanduser() if folder else cache_folder() / "computed") / FILE


def _is_cacheable(component: Component, method: str) -> bool:
    traits = component.traits
    known = component.entry is not None or getattr(component.target, "fingerprint", None) is not None
    if not known or not component.can(method) or not traits.cacheable:
        return False
    if method == "score":
        return not traits.listwise and not traits.searches and not component.can("build")
    return traits.vectors in vectors.KINDS and not traits.feedback


def _look_up(component: Component, method: str) -> Callable[..., Any]:
    if method == "score":
        return pairs.score
    kind = vectors.KINDS[str(component.traits.vectors)]
    return functools.partial(vectors.encode if method == "encode" else vectors.encode_documents, kind)


def _check_whole(folder: Path | None, clear: bool, everything: bool, limit: float | None) -> None:
    """Raise `BadInput` for options that do not go together: nothing is dropped that was not asked for."""
    if folder is not None:
        raise BadInput(
            "--sizes, --everything and --limit are about nirank's whole cache folder, which $NIRANK_CACHE names: "
            "leave --folder out."
        )
    if clear != everything:
        raise BadInput("--clear --everything empties the whole cache, --clear alone the scores and vectors.")
    if limit is not None and not limit >= 0:
        raise BadInput(f"--limit {limit}: a size from 0 on is expected, in 10**9 bytes.")


def _whole(everything: bool, limit: float | None) -> None:
    """Empty or trim the whole cache folder, and show what it takes then."""
    folder = cache_folder()
    if everything:
        whole.clear(folder)
    if limit is not None:
        whole.trim(folder, limit * 1e9)
    _show_sizes(folder)


def _show_sizes(folder: Path) -> None:
    from rich.console import Console
    from rich.table import Table

    found = whole.sizes(folder)
    total = sum(size for _, size in found.values())
    table = Table("part", title=f"{folder}: {total / 1e6:,.1f} MB", title_justify="left")
    for name in ("files", "MB"):
        table.add_column(name, justify="right")
    for name, (files, size) in found.items():
        table.add_row(name, f"{files:,}", f"{size / 1e6:,.1f}")
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _show(store: Store) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table("component", "method", title=f"{store.path}: {store.size() / 1e6:,.1f} MB", title_justify="left")
    for name in ("results", "MB"):
        table.add_column(name, justify="right")
    for usage in store.usage():
        table.add_row(usage.name, usage.method, f"{usage.count:,}", f"{usage.bytes / 1e6:,.1f}")
    Console(width=None if sys.stdout.isatty() else 160).print(table)
