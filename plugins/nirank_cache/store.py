"""Bytes on disk by component and key, in one SQLite file that several processes may use at once.

SQLite, because it comes with Python and keeps its promises when processes write at the same time or die: every
batch is one transaction, readers go on while one writes (write-ahead log), and a second writer waits. An entry is
never changed, only added or dropped, so nothing that another process stored is lost; what two stored under one
key is there twice, and is answered in the order in which it came. The file must lie on a disk of this machine:
the write-ahead log does not work over a network.
"""

from __future__ import annotations

import logging
import sqlite3
import time
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import xxhash

from nirank.errors import BadInput

log = logging.getLogger("nirank")

#: The file is named after its layout, so that another version of nirank has a file of its own.
FILE = "computed-2.sqlite"
_LAYOUT = """
CREATE TABLE IF NOT EXISTS components (component BLOB PRIMARY KEY, name TEXT, method TEXT) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS entries (
    id INTEGER PRIMARY KEY, component BLOB, key BLOB, value BLOB, count INTEGER, used INTEGER
);
CREATE INDEX IF NOT EXISTS by_key ON entries (component, key);
"""
_GET = "SELECT id, key, value, used FROM entries WHERE component = ? AND key IN ({marks}) ORDER BY id"
_PUT = "INSERT INTO entries (component, key, value, count, used) VALUES (?, ?, ?, ?, ?)"
_DROP = """
DELETE FROM entries WHERE id IN (
    SELECT id FROM (SELECT id, SUM(LENGTH(value)) OVER (ORDER BY used DESC, id DESC) AS newer FROM entries)
    WHERE newer > ?
)
"""
_USAGE = """
SELECT name, method, SUM(count), SUM(LENGTH(value)) AS bytes FROM entries JOIN components USING (component)
GROUP BY component ORDER BY bytes DESC, name, method
"""
#: SQLite before 3.32 allows 999 variables in a statement.
_KEYS_AT_ONCE = 900
_SUM_BYTES = 16
#: Between two notes that an entry was used, so that reading seldom has to write.
_SECONDS_BETWEEN_NOTES = 3600
#: Of the limit, kept when it was passed, so that not every store has to drop something.
_KEPT_SHARE = 0.8
#: For another process that is writing.
_SECONDS_TO_WAIT = 60.0


@dataclass(frozen=True)
class Usage:
    """The scores or vectors stored for one method of one component: their number, and their bytes."""

    name: str
    method: str
    count: int
    bytes: int


class Store:
    """Values by component and key; past `limit` bytes (None: never) those not used for longest are dropped.

    `path` and the folders above it are made where they are missing. Raises `BadInput` for a file that is no store.
    """

    def __init__(self, path: Path, limit: int | None = None) -> None:
        self.path, self.limit = path, limit
        self._full = self._damaged = False
        with _naming_damage(path):
            self._database = _connect(path)

    def get(self, component: bytes, keys: Sequence[bytes]) -> Iterator[tuple[bytes, bytes]]:
        """Key and value of every entry under one of the `keys`; those of one key in the order they were stored."""
        now, stale = int(time.time()), []
        with _naming_damage(self.path):
            for start in range(0, len(keys), _KEYS_AT_ONCE):
                some = keys[start : start + _KEYS_AT_ONCE]
                statement = _GET.format(marks=", ".join("?" * len(some)))
                for entry, key, value, used in self._database.execute(statement, (component, *some)):
                    whole = _unsealed(component, key, value)
                    if whole is None:
                        self.tell_of_damage()
                        continue
                    yield key, whole
                    if not isinstance(used, int) or now - used >= _SECONDS_BETWEEN_NOTES:
                        stale.append((now, entry))
        self._note_uses(stale)

    def put(self, component: bytes, label: tuple[str, str], entries: Iterable[tuple[bytes, bytes, int]]) -> None:
        """Add entries, each a key, a value and how many results it holds; `label` is the component's name and method.

        All are added or none. Where that fails (a full disk) a warning says so once, and the work goes on.
        """
        now = int(time.time())
        rows = ((component, key, _sealed(component, key, value), count, now) for key, value, count in entries)
        try:
            with self._writing() as database:
                database.execute("INSERT OR REPLACE INTO components VALUES (?, ?, ?)", (component, *label))
                database.executemany(_PUT, rows)
                self._drop_oldest(database)
        except sqlite3.OperationalError as error:
            if not self._full:
                log.warning(
                    "the cache %s cannot be written: %s. Nothing is kept: free some space, or set another folder.",
                    self.path,
                    error,
                )
            self._full = True

    def usage(self) -> list[Usage]:
        """The use of the store by component and method, the largest first."""
        with _naming_damage(self.path):
            return [Usage(*row) for row in self._database.execute(_USAGE)]

    def size(self) -> int:
        """The bytes in use, without those that are free to be written again."""
        pages, free, page = (
            self._database.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * page)

    def clear(self) -> None:
        """Drop everything, and give the space back."""
        with self._writing() as database:
            database.execute("DELETE FROM entries")
            database.execute("DELETE FROM components")
        self._database.execute("VACUUM")
        self._database.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    def close(self) -> None:
        """Close the file; the last process that does so removes the log beside it."""
        self._database.close()

    def _note_uses(self, stale: list[tuple[int, int]]) -> None:
        try:
            if stale:
                with self._writing() as database:
                    database.executemany("UPDATE entries SET used = ? WHERE id = ?", stale)
        except sqlite3.OperationalError as error:  # they may be dropped too early, and no more than that
            log.info("%s: the last use of entries cannot be saved, so they may be dropped early: %s", self.path, error)

    def tell_of_damage(self) -> None:
        """Say once that entries are not what can have been written."""
        if not self._damaged:
            log.warning("the cache %s holds damaged entries; their results are computed again.", self.path)
        self._damaged = True

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction; one process at a time has one."""
        self._database.execute("BEGIN IMMEDIATE")
        with self._database:
            yield self._database

    def _drop_oldest(self, database: sqlite3.Connection) -> None:
        while self.limit is not None and (size := self.size()) > self.limit:
            (total,) = database.execute("SELECT TOTAL(LENGTH(value)) FROM entries").fetchone()
            if not database.execute(_DROP, (total * _KEPT_SHARE * self.limit / size,)).rowcount:
                return


def _sealed(component: bytes, key: bytes, value: bytes) -> bytes:
    """A value behind its hash, which also says under which key of which component it belongs."""
    return xxhash.xxh3_128_digest(component + key + value) + value


def _unsealed(component: bytes, key: bytes, stored: bytes) -> bytes | None:
    """The value of what `_sealed` made; None where it is not what was written."""
    if not isinstance(stored, bytes):
        return None
    value = stored[_SUM_BYTES:]
    return value if _sealed(component, key, value) == stored else None


def _connect(path: Path) -> sqlite3.Connection:
    from filelock import FileLock

    path.parent.mkdir(parents=True, exist_ok=True)
    # Switching to the write-ahead log does not wait for another process that does the same: hence a lock.
    with FileLock(f"{path}.lock"):
        database = sqlite3.connect(path, timeout=_SECONDS_TO_WAIT, isolation_level=None)
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("PRAGMA trusted_schema = OFF")  # a file of others may come with views and triggers
        database.execute("PRAGMA synchronous = NORMAL")  # a power cut may cost the last results, never the file
        database.execute(f"PRAGMA journal_size_limit = {2**26}")
        database.executescript(_LAYOUT)
    return database


@contextmanager
def _naming_damage(path: Path) -> Iterator[None]:
    try:
        yield
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        raise BadInput(f"is not a cache, or is damaged ({error}). Remove it: a new one will be made.", path) from error
