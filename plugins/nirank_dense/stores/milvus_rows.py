"""The rows of an index in Milvus: a collection with a key, an id and a vector a row.

The manifest is a property of the collection, which Milvus keeps with its schema. Milvus has no transactions: while rows
are changed the manifest says so, and a search looks at it before and after. Rows are upserted, so that a request that
is repeated writes nothing twice, and read with the consistency level Strong.
"""

from __future__ import annotations

import dataclasses
import functools
import logging
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank.errors import BadInput, MissingDependency, StaleIndex
from nirank_dense.exact.blocks import blocks
from nirank_dense.stores.manifest import UPDATING, Manifest
from nirank_dense.stores.store import Keys, Patience, Structure, first_line, refuse_changed

Result = TypeVar("Result")

#: The property that holds the manifest.
_PROPERTY = "nirank.manifest"
#: Bytes of an id, and rows of a result, that Milvus takes at most.
_LONGEST_ID, _MOST = 65535, 16384
#: Rows that are written or read at a time, and queries that are asked together.
_ROWS, _QUERIES = 4096, 256
#: Codes of Milvus for a collection that is not there.
_NOT_FOUND = (4, 100)
#: Rows that a graph can be asked to keep in sight.
_MOST_EF = 32768
#: Codes of gRPC for a server that is away, starts or ends, and words of Milvus for the same.
_AWAY = ("UNAVAILABLE", "DEADLINE_EXCEEDED", "CANCELLED")
_AWAY_WORDS = (
    "unrecoverable error",  # which it recovers from when it has started
    *("fail connecting", "server unavailable", "connection refused", "not ready", "not fully loaded", "not healthy"),
    *("channel closed", "closed channel", "node offline", "no available", "not loaded", "channel not available"),
    *("node not found", "is not serving", "failed to get timestamp", "connection reset", "retry run out"),
)


class Rows:
    """One collection. `source` gives the address and the token when a connection is made."""

    most: int | None = _MOST

    def __init__(
        self, table: str, source: Callable[[], tuple[str, str]], structure: Structure, patience: Patience
    ) -> None:
        self.table, self.structure, self.patience = table, structure, patience
        self._server = server_of(source, patience)
        self.name = f"the collection {table} of {self._server.name}"
        self._loaded = False

    def manifest(self) -> Manifest | None:
        """The manifest that is there; None without a collection."""

        def read(client: Any) -> Any:
            try:
                return client.describe_collection(self.table)["properties"].get(_PROPERTY, "")
            except pymilvus().MilvusException as error:
                if error.code in _NOT_FOUND:
                    return None
                raise

        text = self._asked(read)
        return None if text is None else Manifest.of_text(text, self.name)

    def create(self, manifest: Manifest) -> None:
        """Make the collection. Its one shard takes all rows of a request or none."""
        from pymilvus import DataType, MilvusClient

        schema = MilvusClient.create_schema(auto_id=False, enable_dynamic_field=False)
        schema.add_field("key", DataType.INT64, is_primary=True)
        schema.add_field("id", DataType.VARCHAR, max_length=_LONGEST_ID)
        schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=manifest.dim)

        def make(client: Any) -> None:
            if not client.has_collection(self.table):
                properties, strong = {_PROPERTY: manifest.text}, "Strong"
                client.create_collection(
                    self.table, schema=schema, num_shards=1, properties=properties, consistency_level=strong
                )
            self._index(client, manifest)

        self._asked(make)

    def keys(self) -> Keys:
        """The keys of all rows."""
        return np.sort(np.array([row["key"] for row in self._all(["key"])], np.int64))

    def put(self, keys: Keys, ids: Any, vectors: Floats, manifest: Manifest) -> None:
        """Write rows; the manifest first, so that what it says of the longest vector holds."""
        self._describe(manifest)
        for start in range(0, len(keys), _ROWS):
            here = slice(start, start + _ROWS)
            rows = [
                {"key": key, "id": name, "embedding": vector}
                for key, name, vector in zip(keys[here].tolist(), ids[here].to_pylist(), vectors[here], strict=True)
            ]
            self._asked(functools.partial(_upsert, table=self.table, rows=rows))

    def finish(self, manifest: Manifest) -> None:
        """Have Milvus write all rows and make the index of them, and say that all is there."""
        self._asked(lambda client: client.flush(self.table))
        self._asked(lambda client: self._index(client, manifest))
        self._asked(_indexed(self.table))
        self._describe(manifest)

    def change(self, manifest: Manifest, gone: Keys, new: tuple[Keys, Any, Floats]) -> None:
        """Take rows out and write new ones; meanwhile the manifest says that this is under way."""
        self.put(*new, dataclasses.replace(manifest, state=UPDATING))
        for some in blocks(gone, _ROWS):
            self._asked(functools.partial(_delete, table=self.table, keys=some))
        if (rows := self.count()) != manifest.rows:
            raise StaleIndex(f"{self.name} has {rows:,} rows after an update, and {manifest.rows:,} are expected.")
        self._asked(lambda client: client.flush(self.table))
        self._describe(manifest)

    def count(self) -> int:
        """The number of rows."""
        found = self._asked(lambda client: client.query(self.table, filter="", output_fields=["count(*)"]), loaded=True)
        return int(found[0]["count(*)"])

    def named(self) -> tuple[Keys, Any]:
        """The key and the id of each row."""
        rows = self._all(["key", "id"])
        return np.array([row["key"] for row in rows], np.int64), [row["id"] for row in rows]

    def vectors(self, keys: Keys) -> Floats:
        """The vectors of some rows, in the order of `keys`, which differ."""
        parts = [self._vectors(some) for some in blocks(keys, _ROWS)]
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def nearest(
        self, queries: Floats, count: int, token: str, among: NDArray[np.bool_] | None, exactly: bool
    ) -> tuple[Keys, Floats]:
        """The best rows for each query. What is found while another process changes the rows is refused."""
        count = min(count, _MOST)
        refuse_changed(self.name, self.manifest(), token)
        found = [self._nearest(part, count, among, exactly) for part in blocks(queries, _QUERIES)]
        refuse_changed(self.name, self.manifest(), token)
        return np.concatenate([keys for keys, _ in found]), np.concatenate([scores for _, scores in found])

    def _nearest(
        self, queries: Floats, count: int, among: NDArray[np.bool_] | None, exactly: bool
    ) -> tuple[Keys, Floats]:
        dials = {"hnsw": {"ef": _MOST_EF if exactly else max(self.structure.ef, count)}}
        dials["ivf_flat"] = {"nprobe": 65536 if exactly else self.structure.probes}
        hits = self._asked(
            lambda client: client.search(
                self.table,
                data=list(queries),
                limit=count,
                filter=_among(among),
                search_params={"metric_type": "IP", "params": dials.get(self.structure.kind, {})},
                consistency_level="Strong",
            ),
            loaded=True,
        )
        keys, scores = np.full((len(queries), count), -1, np.int64), np.full((len(queries), count), -np.inf, np.float32)
        for place, rows in enumerate(hits):
            keys[place, : len(rows)] = rows.ids
            scores[place, : len(rows)] = rows.distances
        return keys, scores

    def _vectors(self, keys: Keys) -> Floats:
        query = f"key in {keys.tolist()}"
        rows = self._asked(
            lambda client: client.query(
                self.table, filter=query, output_fields=["key", "embedding"], consistency_level="Strong"
            ),
            loaded=True,
        )
        if len(rows) != len(keys):
            raise StaleIndex(f"{self.name} returned {len(rows):,} of {len(keys):,} rows: it was changed meanwhile.")
        found = {row["key"]: row["embedding"] for row in rows}
        return np.array([found[key] for key in keys.tolist()], np.float32)

    def _all(self, fields: list[str]) -> list[Any]:
        """These fields of all rows, in the order of their keys; so many at a time as Milvus returns."""

        def read(client: Any, after: int) -> Any:
            query = f"key > {after}"
            return client.query(self.table, filter=query, output_fields=fields, limit=_MOST, consistency_level="Strong")

        # Milvus returns rows of a limited query by rising key.
        rows: list[Any] = []
        while True:
            after = rows[-1]["key"] if rows else -1
            part = self._asked(functools.partial(read, after=after), loaded=True)
            rows += sorted(part, key=lambda row: row["key"])
            if len(part) < _MOST:
                return rows

    def _index(self, client: Any, manifest: Manifest) -> None:
        """Ask for the index; Milvus makes it of what comes."""
        if client.list_indexes(self.table):
            return
        kind, params = {
            "hnsw": ("HNSW", {"M": self.structure.m, "efConstruction": self.structure.construction}),
            "ivf_flat": ("IVF_FLAT", {"nlist": self.structure.lists_for(manifest.rows)}),
            "exact": ("FLAT", {}),
        }[self.structure.kind]
        indexes = client.prepare_index_params()
        indexes.add_index("embedding", index_type=kind, metric_type="IP", params=params)
        client.create_index(self.table, indexes)

    def _describe(self, manifest: Manifest) -> None:
        """Set the manifest, twice: Milvus 2.3, killed and started again, has the property as it was before the last."""
        for _ in range(2):
            self._asked(lambda client: client.alter_collection_properties(self.table, {_PROPERTY: manifest.text}))

    def _asked(self, call: Callable[[Any], Result], loaded: bool = False) -> Result:
        """The result of a request, of the collection in Milvus' memory if it must be `loaded`."""

        def ask(client: Any) -> Result:
            if loaded and not self._loaded:
                client.load_collection(self.table)
                self._loaded = True
            try:
                return call(client)
            except Exception:
                self._loaded = False  # a server that was started again may have forgotten it
                raise

        return self._server.asked(ask)


class Server:
    """A connection to one server, shared by all collections; gRPC sends requests of all threads over it."""

    def __init__(self, source: Callable[[], tuple[str, str]], patience: Patience) -> None:
        self._source, self.patience = source, patience
        self._client: Any = None
        self._lock = threading.Lock()
        self.name = place_of(source()[0])

    def asked(self, call: Callable[[Any], Result]) -> Result:
        """The result of a request, repeated where the server went away. Raises `BadInput` where it does not answer."""
        try:
            return self.patience.asked(lambda: self._called(call), passes, self.name)
        except pymilvus().MilvusException as error:
            raise BadInput(f"{self.name} refuses: {first_line(error)}") from None

    def _called(self, call: Callable[[Any], Result]) -> Result:
        try:
            return call(self._connected())
        except Exception as error:
            if passes(error):
                self._forget()
            raise

    def _connected(self) -> Any:
        with self._lock:
            if self._client is None:
                uri, token = self._source()
                self._client = pymilvus().MilvusClient(uri=uri, token=token, timeout=self.patience.timeout)
            return self._client

    def _forget(self) -> None:
        with self._lock:
            client, self._client = self._client, None
        if client is not None:
            client.close()


@functools.cache
def pymilvus() -> Any:
    """The package. Raises `MissingDependency` where it is not installed."""
    try:
        import pymilvus
    except ModuleNotFoundError as error:
        raise MissingDependency("this index needs the package pymilvus. Run: pip install 'nirank[milvus]'") from error
    logging.getLogger("pymilvus").setLevel(logging.CRITICAL)  # it prints whole tracebacks of what is tried again here
    return pymilvus


_SERVERS: dict[tuple[tuple[str, str], Patience], Server] = {}


def server_of(source: Callable[[], tuple[str, str]], patience: Patience) -> Server:
    """The connection to this address, the same for all who ask."""
    return _SERVERS.setdefault((source(), patience), Server(source, patience))


def place_of(uri: str) -> str:
    """A server as messages call it: without what is written before the host, or after it."""
    return f"Milvus at {uri.partition('://')[2].rpartition('@')[2].partition('/')[0]}"


def passes(error: Exception) -> bool:
    """True for errors of a server that is away, starts or ends."""
    import grpc

    if isinstance(error, grpc.RpcError):
        return getattr(error.code(), "name", "") in _AWAY
    if isinstance(error, pymilvus().MilvusException):
        return any(word in str(error).lower() for word in _AWAY_WORDS)
    return isinstance(error, ConnectionError)


def _among(mask: NDArray[np.bool_] | None) -> str:
    """A filter in Milvus' language of the keys that a mask allows, by those that are fewer."""
    if mask is None:
        return ""
    allowed, others = np.flatnonzero(mask), np.flatnonzero(~mask)
    if not len(others):
        return ""
    return f"key in {allowed.tolist()}" if len(allowed) <= len(others) else f"key not in {others.tolist()}"


def _upsert(client: Any, table: str, rows: list[dict[str, Any]]) -> None:
    client.upsert(table, rows)


def _delete(client: Any, table: str, keys: Keys) -> None:
    client.delete(table, filter=f"key in {keys.tolist()}")


def _indexed(table: str) -> Callable[[Any], None]:
    """A function of a client that waits until the index has been made of all rows."""

    def wait(client: Any) -> None:
        (name,) = client.list_indexes(table)
        while client.describe_index(table, name).get("pending_index_rows", 0):
            time.sleep(0.1)

    return wait
