"""Answers of language models on disk: a mapping from the hash of a request to the text that came back."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, MutableMapping
from contextlib import contextmanager
from pathlib import Path

from nirank.errors import BadInput, DamagedFile
from nirank.files import cache_folder

_LAYOUT = "CREATE TABLE IF NOT EXISTS answers (request TEXT PRIMARY KEY, answer TEXT NOT NULL) WITHOUT ROWID"
#: For another process that is writing.
_SECONDS_TO_WAIT = 60.0


class Answers(MutableMapping[str, str]):
    """Texts by the hash of what was asked, in one SQLite file that threads and processes may share.

    The file, and the folders above it, are made where they are missing. Raises `DamagedFile` for another kind of file,
    and `BadInput` where it cannot be opened or written.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path).expanduser()
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open() as database:
            database.execute(_LAYOUT)

    @classmethod
    def of_cache(cls) -> Answers:
        """The answers in nirank's cache folder, which all components share that ask a server."""
        return cls(cache_folder() / "answers.sqlite")

    def __getitem__(self, request: str) -> str:
        with self._open() as database:
            found = database.execute("SELECT answer FROM answers WHERE request = ?", (request,)).fetchone()
        if found is None:
            raise KeyError(request)
        return str(found[0])

    def __setitem__(self, request: str, answer: str) -> None:
        with self._open() as database:
            database.execute("INSERT OR REPLACE INTO answers VALUES (?, ?)", (request, answer))

    def __delitem__(self, request: str) -> None:
        with self._open() as database:
            if not database.execute("DELETE FROM answers WHERE request = ?", (request,)).rowcount:
                raise KeyError(request)

    def __iter__(self) -> Iterator[str]:
        with self._open() as database:
            found = database.execute("SELECT request FROM answers ORDER BY request").fetchall()
        return iter([str(request) for (request,) in found])

    def __len__(self) -> int:
        with self._open() as database:
            return int(database.execute("SELECT COUNT(*) FROM answers").fetchone()[0])

    @contextmanager
    def _open(self) -> Iterator[sqlite3.Connection]:
        """One transaction. Connections are not shared among threads; opening one is nothing beside an answer."""
        database = None
        try:
            database = sqlite3.connect(self.path, timeout=_SECONDS_TO_WAIT)
            with database:
                yield database
        except sqlite3.OperationalError as error:
            raise BadInput(f"cannot be used for answers ({error}); name another place.", self.path) from error
        except sqlite3.DatabaseError as error:
            raise DamagedFile(f"holds no answers ({error}); remove it, or name another place.", self.path) from error
        finally:
            if database is not None:
                database.close()


def thoughtless(answer: str) -> str:
    """An answer without what was thought aloud before it; the mark where that begins may stand in the prompt."""
    return answer.rpartition("</think>")[2].partition("<think>")[0].strip()
