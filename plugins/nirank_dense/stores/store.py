"""The protocol of a store, and asking a server that may be away for a moment."""

from __future__ import annotations

import logging
import os
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, Protocol, TypeVar

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank.errors import BadInput, StaleIndex
from nirank.kit import AwayForNow
from nirank_dense.stores.manifest import COMPLETE, Manifest

log = logging.getLogger("nirank")

Keys = NDArray[np.int64]
Result = TypeVar("Result")
#: Seconds before the second try; each wait is twice the one before, up to the last.
_FIRST_PAUSE, _LAST_PAUSE = 0.25, 8.0
#: A name that both PostgreSQL and Milvus take without quotation marks; names of indexes are made of it.
_NAME = re.compile(r"[a-z_][a-z0-9_]{0,47}")


@dataclass(frozen=True)
class Structure:
    """Settings of how a store finds the nearest vectors.

    kind           `hnsw`, a graph of neighbours; `ivf_flat`, lists of centroids; `exact`, every row is compared
    m              HNSW: how many neighbours a document has
    construction   HNSW: how many are considered for it while the graph is built (efConstruction)
    ef             HNSW: how many are kept in sight while it is searched; the dial between recall and speed
    lists          IVF: the number of lists; unless given 4 times the root of the number of documents
    probes         IVF: how many lists are read
    """

    kind: Literal["hnsw", "ivf_flat", "exact"] = "hnsw"
    m: int = 16
    construction: int = 100
    ef: int = 128
    lists: int | None = None
    probes: int = 32

    def __post_init__(self) -> None:
        if min(self.m, self.construction, self.ef, self.probes, self.lists or 1) < 1:
            raise BadInput(f"{self}: m, construction, ef, lists and probes are numbers from 1.")

    @property
    def made(self) -> dict[str, object]:
        """The settings that an index depends on; those of searching are not among them."""
        graph: dict[str, object] = {"m": self.m, "construction": self.construction}
        own: dict[str, dict[str, object]] = {"hnsw": graph, "ivf_flat": {"lists": self.lists}}
        return {"kind": self.kind, **own.get(self.kind, {})}

    def lists_for(self, documents: int) -> int:
        """The number of lists for so many documents."""
        return max(1, min(self.lists or int(4 * documents**0.5), documents))


@dataclass(frozen=True)
class Patience:
    """Settings of asking a server.

    connections   how many are open at a time; the queries of a search are shared out among them
    timeout       seconds that the server may take to let one in, and for one answer
    tries         how often a request is sent that fails in a way that may pass: no connection, a server that starts
    """

    connections: int = 4
    timeout: float = 60.0
    tries: int = 6

    def __post_init__(self) -> None:
        if self.connections < 1 or self.tries < 1 or self.timeout <= 0:
            raise BadInput(f"{self}: connections and tries are numbers from 1, and timeout is above 0.")

    def asked(self, call: Callable[[], Result], passes: Callable[[Exception], bool], name: str) -> Result:
        """The result of `call`, which is tried again after errors that pass. Raises `BadInput` after the last one."""
        for failed in range(self.tries):
            if failed:
                time.sleep(min(_FIRST_PAUSE * 2 ** (failed - 1), _LAST_PAUSE))
            try:
                result = call()
            except Exception as error:
                if not passes(error):
                    raise
                last = error
            else:
                if failed:
                    log.warning("%s was away; it answers again.", name)
                return result
        raise BadInput(
            f"{name} does not answer, tried {self.tries} times; at last: {first_line(last)}. Start it, or see that its "
            "address is right, and run this again: what is built already is kept."
        ) from None


class Store(Protocol):
    """The rows of one index in a store: a key, an id and a vector each, and beside them a manifest."""

    #: What messages call it: the kind of server, its place, the table. No user and no password.
    name: str

    @property
    def most(self) -> int | None:
        """The most rows that one search returns; None for any number."""

    def manifest(self) -> Manifest | None:
        """The manifest that the store holds; None where there is no such table."""

    def create(self, manifest: Manifest) -> None:
        """Make the table, without rows, unless it is there."""

    def keys(self) -> Keys:
        """The keys of all rows that are there, rising."""

    def put(self, keys: Keys, ids: Any, vectors: Floats, manifest: Manifest) -> None:
        """Write rows, and the manifest with them; rows with these keys are replaced. `ids` is an array of Arrow."""

    def finish(self, manifest: Manifest) -> None:
        """Make the index of all rows, and have the manifest say that it is complete."""

    def change(self, manifest: Manifest, gone: Keys, new: tuple[Keys, Any, Floats]) -> None:
        """Take some rows out and write new ones (keys, ids, vectors); the store has this manifest then."""

    def count(self) -> int:
        """The number of rows."""

    def named(self) -> tuple[Keys, Any]:
        """The key and the id of each row."""

    def vectors(self, keys: Keys) -> Floats:
        """The vectors of some rows, `[keys, dim]`. Raises `StaleIndex` where one is missing."""

    def nearest(
        self, queries: Floats, count: int, token: str, among: NDArray[np.bool_] | None, exactly: bool
    ) -> tuple[Keys, Floats]:
        """The rows of the highest dot products, `[queries, count]` keys (-1 where there are no more) and scores.

        `among` is a mask of keys that may be found, `[following]`. Raises `StaleIndex` unless the store holds the
        manifest of that token.
        """


def refuse_changed(name: str, held: Manifest | None, token: str) -> None:
    """Raise `StaleIndex` unless the manifest that a store holds is that of the token, and complete."""
    if held is None or held.token != token or held.state != COMPLETE:
        raise StaleIndex(
            f"{name} was dropped, updated or built anew since it was opened: open the index of the corpus that it "
            "holds now."
        )


def checked_name(table: str) -> str:
    """The name of a table. Raises `BadInput` for one that would have to be quoted."""
    if not _NAME.fullmatch(table):
        raise BadInput(f"table = {table!r}: a name of up to 48 small letters, digits and _ is expected.")
    return table


def secret(variable: str) -> str | None:
    """The value of an environment variable. Raises `BadInput` where `variable` is no name of one."""
    if not variable.isidentifier():
        raise BadInput("`variable` is the name of an environment variable with the address, and never the address.")
    return os.environ.get(variable)


def first_line(error: Exception) -> str:
    """An error in short: the first line of its message."""
    lines = str(error).strip().splitlines()
    if isinstance(error, AwayForNow):  # which has the name of another in its message
        return lines[0][:300]
    return f"{type(error).__name__}: {lines[0] if lines else ''}"[:300]
