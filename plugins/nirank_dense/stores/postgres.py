"""The rows of an index in PostgreSQL with pgvector: a table with a key, an id and a vector a row.

    nirank_indexes(name, manifest)               one row for each table of nirank
    TABLE(key bigint, id text, embedding vector(dim))

Rows come by COPY in its binary format, a chunk in one transaction with the manifest; an update is one transaction. A
search reads the manifest and the rows in one snapshot, so that it never sees a half of each.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank.errors import BadInput, MissingDependency, StaleIndex
from nirank_dense.exact.blocks import blocks
from nirank_dense.stores.manifest import COMPLETE, Manifest
from nirank_dense.stores.store import Keys, Patience, Structure, first_line, refuse_changed

Result = TypeVar("Result")

MANIFESTS = "nirank_indexes"
#: Rows that are written or read at a time.
_ROWS = 4096
#: Numbers of a vector that an index, and a row, can have.
_MOST_INDEXED, _MOST_NUMBERS = 2000, 16000
#: Rows that a graph can be asked to keep in sight; for more it is walked on from there.
_MOST_EF = 1000
#: Rows that a walk may look at before it ends.
_MOST_SCANNED = 2**31 - 1
#: The first bytes of what COPY reads, and the last.
_SIGNATURE, _END = b"PGCOPY\n\xff\r\n\0" + bytes(8), b"\xff\xff"


class Rows:
    """One table. `source` gives the address with its secrets when a connection is made, and nobody keeps it."""

    most: int | None = None

    def __init__(self, table: str, source: Callable[[], str], structure: Structure, patience: Patience) -> None:
        self.table, self.structure, self.patience = table, structure, patience
        self._server = server_of(source, patience)
        self.name = f"the table {table} of {self._server.name}"

    def manifest(self) -> Manifest | None:
        """The manifest that is there; None without a table."""
        with_table = f"SELECT manifest FROM {MANIFESTS} WHERE name = %s AND to_regclass(%s) IS NOT NULL"  # noqa: S608

        def read(connection: Any) -> Any:
            if connection.execute("SELECT to_regclass(%s)", [MANIFESTS]).fetchone()[0] is None:
                return None
            return connection.execute(with_table, [self.table, self.table]).fetchone()

        row = self._server.within(read)
        return None if row is None else Manifest.of_text(row[0], self.name)

    def create(self, manifest: Manifest) -> None:
        """Make the table, and a row for its manifest. Raises `BadInput` for more numbers than pgvector indexes."""
        most = _MOST_NUMBERS if self.structure.kind == "exact" else _MOST_INDEXED
        if manifest.dim > most:
            raise BadInput(
                f"pgvector takes vectors of up to {most:,} numbers here, not {manifest.dim:,}: use kind = 'exact', or "
                "an encoder of fewer."
            )

        def make(connection: Any) -> None:
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {self.table} "
                f"(key bigint PRIMARY KEY, id text NOT NULL, embedding vector({manifest.dim}) NOT NULL)"
            )
            connection.execute(
                f"CREATE TABLE IF NOT EXISTS {MANIFESTS} (name text PRIMARY KEY, manifest text NOT NULL)"
            )
            connection.execute(
                f"INSERT INTO {MANIFESTS} VALUES (%s, %s) ON CONFLICT DO NOTHING",  # noqa: S608
                [self.table, manifest.text],
            )

        self._server.within(make)

    def keys(self) -> Keys:
        """The keys of all rows."""
        query = f"SELECT array_agg(key ORDER BY key) FROM {self.table}"  # noqa: S608
        return np.array(self._server.within(lambda at: at.execute(query).fetchone()[0] or []), np.int64)

    def put(self, keys: Keys, ids: Any, vectors: Floats, manifest: Manifest) -> None:
        """Write rows in one transaction; one that was cut off is repeated, and finds what it wrote.

        What another process has finished meanwhile stays finished: its rows are the same.
        """

        def write(connection: Any) -> None:
            self._copy(connection, keys, ids, vectors)
            self._describe(connection, manifest, unless=COMPLETE)

        self._server.within(write)

    def finish(self, manifest: Manifest) -> None:
        """Make the index, and say that all is there."""

        def index(connection: Any) -> None:
            if (made := self._index_of(manifest)) is not None:
                connection.execute(f"CREATE INDEX IF NOT EXISTS {self.table}_nearest ON {self.table} USING {made}")
            self._describe(connection, manifest)

        self._server.within(index, bounded=False)
        self._server.within(lambda at: at.execute(f"ANALYZE {self.table}"), bounded=False)

    def change(self, manifest: Manifest, gone: Keys, new: tuple[Keys, Any, Floats]) -> None:
        """Take rows out and write new ones in one transaction."""

        def write(connection: Any) -> None:
            for some in blocks(gone, _ROWS):
                connection.execute(f"DELETE FROM {self.table} WHERE key = ANY(%s)", [some.tolist()])  # noqa: S608
            keys, ids, vectors = new
            for start in range(0, len(keys), _ROWS):
                here = slice(start, start + _ROWS)
                self._copy(connection, keys[here], ids[here], vectors[here])
            self._describe(connection, manifest)

        self._server.within(write, bounded=False)

    def count(self) -> int:
        """The number of rows."""
        query = f"SELECT count(*) FROM {self.table}"  # noqa: S608
        return int(self._server.within(lambda at: at.execute(query).fetchone()[0], bounded=False))

    def named(self) -> tuple[Keys, Any]:
        """The key and the id of each row."""
        query = f"SELECT array_agg(key ORDER BY key), array_agg(id ORDER BY key) FROM {self.table}"  # noqa: S608
        keys, ids = self._server.within(lambda at: at.execute(query).fetchone(), bounded=False)
        return np.array(keys or [], np.int64), ids or []

    def vectors(self, keys: Keys) -> Floats:
        """The vectors of some rows, in the order of `keys`, which differ."""
        parts = [self._vectors(some) for some in blocks(keys, _ROWS)]
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def nearest(
        self, queries: Floats, count: int, token: str, among: NDArray[np.bool_] | None, exactly: bool
    ) -> tuple[Keys, Floats]:
        """The best rows for each query; the queries are shared out among the connections."""
        size = -(-len(queries) // self.patience.connections)
        ask = functools.partial(self._nearest, count=count, token=token, among=among, exactly=exactly)
        with ThreadPoolExecutor(self.patience.connections) as pool:
            found = list(pool.map(ask, blocks(queries, size)))
        return np.concatenate([keys for keys, _ in found]), np.concatenate([scores for _, scores in found])

    def _nearest(
        self, queries: Floats, count: int, token: str, among: NDArray[np.bool_] | None, exactly: bool
    ) -> tuple[Keys, Floats]:
        settings = self._settings(count, exactly)
        mask = [] if among is None else [np.packbits(among, bitorder="little").tobytes()]
        allowed = "WHERE get_bit(%b, key) = 1 " if mask else ""
        query = (
            f"SELECT key, -(embedding <#> %b) FROM {self.table} {allowed}"  # noqa: S608
            "ORDER BY embedding <#> %b LIMIT %s"
        )

        def search(connection: Any) -> list[list[tuple[int, float]]]:
            connection.execute("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
            self._refuse_others(connection, token)
            with connection.pipeline():
                for name, value in settings.items():
                    connection.execute("SELECT set_config(%s, %s, true)", [name, value])
                cursors = [connection.cursor(binary=True) for _ in queries]
                for cursor, vector in zip(cursors, map(Vector, queries), strict=True):
                    cursor.execute(query, [vector, *mask, vector, count], prepare=False)
                return [cursor.fetchall() for cursor in cursors]

        return _matrices(self._server.within(search), count)

    def _refuse_others(self, connection: Any, token: str) -> None:
        """Raise `StaleIndex` unless the manifest in the snapshot of this connection is that of the token."""
        query = f"SELECT manifest FROM {MANIFESTS} WHERE name = %s"  # noqa: S608
        row = connection.execute(query, [self.table]).fetchone()
        refuse_changed(self.name, None if row is None else Manifest.of_text(row[0], self.name), token)

    def _settings(self, count: int, exactly: bool) -> dict[str, str]:
        """All that decides how a search goes, so that nothing depends on how the server is set."""
        exactly = exactly or self.structure.kind == "exact"
        scans = dict.fromkeys(("enable_seqscan", "enable_sort"), "on" if exactly else "off")
        scans |= dict.fromkeys(("enable_indexscan", "enable_bitmapscan"), "off" if exactly else "on")
        if exactly:
            return {**scans, "jit": "off"}
        if self.structure.kind == "ivf_flat":
            own = {"ivfflat.probes": self.structure.probes, "ivfflat.iterative_scan": "relaxed_order"}
        else:
            ef = min(max(self.structure.ef, count), _MOST_EF)
            own = {"hnsw.ef_search": ef, "hnsw.iterative_scan": "relaxed_order", "hnsw.max_scan_tuples": _MOST_SCANNED}
        return {**scans, "jit": "off", **{name: str(value) for name, value in own.items()}}

    def _index_of(self, manifest: Manifest) -> str | None:
        """The index in SQL, after USING; None where every row is compared."""
        settings = {
            "hnsw": {"m": self.structure.m, "ef_construction": self.structure.construction},
            "ivf_flat": {"lists": self.structure.lists_for(manifest.rows)},
        }
        if self.structure.kind not in settings:
            return None
        written = ", ".join(f"{name} = {value}" for name, value in settings[self.structure.kind].items())
        return f"{self.structure.kind.replace('_', '')} (embedding vector_ip_ops) WITH ({written})"

    def _describe(self, connection: Any, manifest: Manifest, unless: str = "") -> None:
        """Write the manifest, unless the one that is there says that this is its state."""
        query = f"UPDATE {MANIFESTS} SET manifest = %s WHERE name = %s AND manifest::json ->> 'state' <> %s"  # noqa: S608
        connection.execute(query, [manifest.text, self.table, unless])

    def _copy(self, connection: Any, keys: Keys, ids: Any, vectors: Floats) -> None:
        """Put rows in the place of those with their keys."""
        connection.execute(f"DELETE FROM {self.table} WHERE key = ANY(%s)", [keys.tolist()])  # noqa: S608
        statement = f"COPY {self.table} (key, id, embedding) FROM STDIN (FORMAT binary)"
        with connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.write(_SIGNATURE)
            copy.write(rows_in_binary(keys, ids, vectors))
            copy.write(_END)

    def _vectors(self, keys: Keys) -> Floats:
        query = f"SELECT key, embedding FROM {self.table} WHERE key = ANY(%s)"  # noqa: S608

        def read(connection: Any) -> Any:
            with connection.cursor(binary=True) as cursor:
                return cursor.execute(query, [keys.tolist()]).fetchall()

        rows = self._server.within(read)
        if len(rows) != len(keys):
            raise StaleIndex(
                f"{self.name} lacks {len(keys) - len(rows):,} of {len(keys):,} rows that were found in it: it was "
                "changed meanwhile. Open the index of the corpus that it holds now."
            )
        found, places = np.array([key for key, _ in rows], np.int64), np.argsort(keys)
        vectors = as_vectors(b"".join([vector for _, vector in rows]), len(rows))
        made = np.empty_like(vectors)
        made[places[np.searchsorted(keys, found, sorter=places)]] = vectors
        return made


class Server:
    """Connections to one database, shared by all tables in it. It knows its address only while it connects."""

    def __init__(self, source: Callable[[], str], patience: Patience) -> None:
        self._source, self.patience = source, patience
        self._pool: Any = None
        self._lock = threading.Lock()
        self.name = place_of(source())

    def within(self, work: Callable[[Any], Result], bounded: bool = True) -> Result:
        """The result of `work` in a transaction, repeated as a whole where the server went away.

        Each statement in it may take as long as the settings say, unless it is not `bounded`. Raises `BadInput` for a
        server that does not answer or refuses.
        """
        milliseconds = round(1000 * self.patience.timeout) if bounded else 0

        def call() -> Result:
            pool = self._opened()
            try:
                with pool.connection() as connection, connection.transaction():
                    connection.execute(f"SET LOCAL statement_timeout = {milliseconds}")
                    return work(connection)
            except Exception as error:
                if passes(error):
                    self._forget(pool)
                raise

        try:
            return self.patience.asked(call, passes, self.name)
        except psycopg().Error as error:
            raise BadInput(f"{self.name} refuses: {first_line(error)}") from None

    def _opened(self) -> Any:
        with self._lock:
            if self._pool is None:
                self._pool = self._made()
            return self._pool

    def _made(self) -> Any:
        """A new pool, of a server that lets us in: a pool itself would only say that it waited."""
        from psycopg_pool import ConnectionPool

        seconds, address = self.patience.timeout, self._source()
        psycopg().connect(address, connect_timeout=max(2, round(seconds))).close()
        most = self.patience.connections
        return ConnectionPool(address, min_size=0, max_size=most, timeout=seconds, configure=configure, open=True)

    def _forget(self, pool: Any) -> None:
        """Have new connections made, for the old ones may lead to a server that is no more."""
        with self._lock:
            if self._pool is pool:
                self._pool = None
        pool.close(timeout=0)


@functools.cache
def psycopg() -> Any:
    """The package. Raises `MissingDependency` where it is not installed."""
    try:
        import psycopg
        import psycopg_pool  # noqa: F401 - now, not when the corpus has been encoded
    except ModuleNotFoundError as error:
        raise MissingDependency(
            "this index needs the packages psycopg and psycopg_pool. Run: pip install 'nirank[pgvector]'"
        ) from error
    return psycopg


_SERVERS: dict[tuple[str, Patience], Server] = {}


def server_of(source: Callable[[], str], patience: Patience) -> Server:
    """The connections to this address, the same for all who ask."""
    address = source()
    return _SERVERS.setdefault((address, patience), Server(source, patience))


def place_of(address: str) -> str:
    """A server as messages call it: without user, password or options. Raises `BadInput` for no address."""
    parts = parsed(address)
    host = parts.get("host") or parts.get("hostaddr") or "localhost"
    return f"PostgreSQL at {host}:{parts.get('port') or 5432}/{parts.get('dbname') or ''}"


def parsed(address: str) -> dict[str, Any]:
    """The parts of an address of PostgreSQL (libpq's). Raises `BadInput`, which does not repeat it, for none."""
    try:
        parts: dict[str, Any] = psycopg().conninfo.conninfo_to_dict(address)
    except psycopg().ProgrammingError:
        raise BadInput("the address of PostgreSQL is none: write 'postgresql://user@host:5432/database'.") from None
    return parts


def passes(error: Exception) -> bool:
    """True for errors of a server that is away, starts or ends, and of two processes that write the same rows.

    A statement that takes too long is none of them.
    """
    from psycopg_pool import PoolTimeout

    away = psycopg().OperationalError, psycopg().InterfaceError, PoolTimeout, psycopg().errors.UniqueViolation
    lasting = psycopg().errors.QueryCanceled, psycopg().errors.InsufficientResources
    return isinstance(error, away) and not isinstance(error, lasting)


class Vector:
    """A vector as a parameter of a statement."""

    def __init__(self, numbers: Floats) -> None:
        self.numbers = numbers


def configure(connection: Any) -> None:
    """Make a new connection know pgvector's type. Raises `BadInput` where the extension is not there."""
    types = psycopg().types
    connection.autocommit = True
    if (info := types.TypeInfo.fetch(connection, "vector")) is None:
        try:
            connection.execute("CREATE EXTENSION IF NOT EXISTS vector")
        except psycopg().Error as error:
            raise BadInput(f"this PostgreSQL has no pgvector: {first_line(error)}") from None
        info = types.TypeInfo.fetch(connection, "vector")
    connection.autocommit = False
    connection.adapters.register_dumper(Vector, _dumper(info.oid))


def _dumper(number: int) -> Any:
    """A class that writes vectors in the binary format of the type of this number."""

    class VectorDumper(psycopg().adapt.Dumper):  # type: ignore[misc]
        format = psycopg().pq.Format.BINARY
        oid = number

        def dump(self, obj: Vector) -> bytes:
            return _in_binary(obj.numbers[None]).tobytes()

    return VectorDumper


def rows_in_binary(keys: Keys, ids: Any, vectors: Floats) -> bytes:
    """Rows as COPY reads them: of each the number of its fields, and of each field its length and its bytes.

    Raises `BadInput` for an id with a zero byte, which PostgreSQL does not take.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    ids = ids.cast(pa.large_binary())
    if pc.any(pc.match_substring(ids, b"\0")).as_py():
        raise BadInput("an id has a character of the code 0, which PostgreSQL does not take: give another id.")
    heads = np.zeros(len(keys), [("fields", ">i2"), ("size", ">i4"), ("key", ">i8"), ("length", ">i4")])
    heads["fields"], heads["size"], heads["key"] = 3, 8, keys
    heads["length"] = pc.binary_length(ids).to_numpy(zero_copy_only=False)
    tails = np.zeros(len(keys), [("size", ">i4"), ("vector", f"V{4 + 4 * vectors.shape[1]}")])
    tails["size"], tails["vector"] = 4 + 4 * vectors.shape[1], _in_binary(vectors).view(tails["vector"].dtype)
    nothing = pa.scalar(b"", pa.large_binary())
    return b"".join(pc.binary_join_element_wise(_binary(heads), ids, _binary(tails), nothing).to_pylist())


def as_vectors(data: bytes, count: int) -> Floats:
    """Vectors in pgvector's binary format, as numpy has them."""
    dim = len(data) // max(count, 1) // 4 - 1
    return np.frombuffer(data, [("head", ">i2", 2), ("numbers", ">f4", dim)])["numbers"].astype(np.float32)


def _in_binary(vectors: Floats) -> NDArray[Any]:
    """Vectors in pgvector's binary format: how many numbers, nothing, and the numbers."""
    dim = vectors.shape[1]
    made = np.zeros(len(vectors), [("dim", ">i2"), ("nothing", ">i2"), ("numbers", ">f4", dim)])
    made["dim"], made["numbers"] = dim, vectors
    return made


def _binary(records: NDArray[Any]) -> Any:
    """Records as an array of Arrow."""
    import pyarrow as pa

    kind = pa.binary(records.dtype.itemsize)
    return pa.Array.from_buffers(kind, len(records), [None, pa.py_buffer(records)]).cast(pa.large_binary())


def _matrices(rows: list[list[tuple[int, float]]], count: int) -> tuple[Keys, Floats]:
    """Keys and scores as matrices by falling score, -1 and minus infinity where there are no more."""
    keys, scores = np.full((len(rows), count), -1, np.int64), np.full((len(rows), count), -np.inf, np.float32)
    for place, found in enumerate(rows):
        if found:
            keys[place, : len(found)], scores[place, : len(found)] = zip(*found, strict=True)
    order = np.argsort(-scores, axis=1, kind="stable")  # a walk that goes on finds nearer ones later
    return np.take_along_axis(keys, order, axis=1), np.take_along_axis(scores, order, axis=1)
