"""Answers of language models on disk, so that what was asked once is not asked again, by whatever process."""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path

log = logging.getLogger("nirank")

_LAYOUT = "CREATE TABLE IF NOT EXISTS answers (key TEXT PRIMARY KEY, answer TEXT) WITHOUT ROWID"
_SECONDS_TO_WAIT = 60.0


class Answers:
    """Answers by key in one SQLite file; one that is there stays as it is. The folder is made when one is stored."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def get(self, keys: Sequence[str]) -> dict[str, str]:
        """The answers that are there, by key; none where the file cannot be read."""
        if not self.path.exists():
            return {}
        try:
            with self._open() as database:
                found = (database.execute("SELECT key, answer FROM answers WHERE key = ?", (key,)) for key in keys)
                return {key: answer for rows in found for key, answer in rows}
        except sqlite3.Error as error:
            log.warning("%s cannot be read, and everything is asked anew: %s. Remove it.", self.path, error)
            return {}

    def put(self, key: str, answer: str) -> None:
        """Store an answer; where that fails it is told, and asked again the next time."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._open() as database:
                database.execute("INSERT OR IGNORE INTO answers VALUES (?, ?)", (key, answer))
        except (OSError, sqlite3.Error) as error:
            log.warning("an answer cannot be kept in %s: %s.", self.path, error)

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        with closing(sqlite3.connect(self.path, timeout=_SECONDS_TO_WAIT)) as database, database:
            database.execute(_LAYOUT)
            yield database
