"""A ledger: records in a file of JSON lines that only grows, each of them on disk before it is acknowledged.

The first line names the kind of the file. Each line ends with a hash of its record. Several threads and several
processes may write to one ledger: a line is written under a lock, behind all that others have written. What is not a
whole line was left by a process that was killed, or by a full disk; nobody was told that it is kept, and the next
record takes its place.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import Any, BinaryIO

from nirank.errors import BadInput, DamagedFile, NirankError
from nirank.files import refuse_special

log = logging.getLogger("nirank")

Record = dict[str, Any]

#: Seconds until one gives up waiting for another process that writes, and from one try to the next.
_PATIENCE, _PAUSE = 10.0, 0.002
_WRITTEN = re.compile(rb'(.+), "check": "([0-9a-f]{32})"\}', re.DOTALL)


class NotSaved(NirankError, OSError):
    """A record that could not be written, to a full disk for instance; all that was there before still is."""


class Ledger:
    """Records in a file that grows. `take` is called with each, in the order of the file, also with those of others.

    `kind`, such as "nirank judgments 1", stands in the first line. The folder is made; one that is not `writable` is
    only read. Raises `BadInput` where nothing can be written there, and `DamagedFile`, with the line, where the file is
    not as it was written.
    """

    def __init__(self, path: Path, kind: str, take: Callable[[Record], None], writable: bool = True) -> None:
        from filelock import FileLock

        self.path = path
        self._head, self._take, self._writable = {"kind": kind}, take, writable
        self._end, self._lines = 0, 0  # of what was read: bytes, always whole lines
        self._threads = threading.RLock()
        self._processes = FileLock(path.with_name(f".{path.name}.lock"), timeout=_PATIENCE, poll_interval=_PAUSE)
        if writable:
            self._make()
        self.read()

    def append(self, record: Mapping[str, Any]) -> None:
        """Keep a record: when this returns, it is on disk. Raises `NotSaved` where it is not; nothing else is lost."""
        if not self._writable:
            raise NotSaved("it is only read here: nothing can be added.")
        with self._alone(), self._explained(), self.path.open("r+b", buffering=0) as file:
            self._read(file)
            self._repair(file)
            self._write(file, _line(record) if self._end else _line(self._head) + _line(record))
            self._read(file)

    def read(self) -> None:
        """Take in what was written since, by whomever."""
        with self._threads:
            if self._size() > self._end:
                with self._alone(), self.path.open("rb") as file:
                    self._read(file)

    def _make(self) -> None:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            refuse_special(self.path)
            if not self.path.exists():
                self.path.touch()
                _flush_folder(self.path.parent)
            self.path.open("r+b").close()
        except OSError as error:
            raise BadInput(f"cannot be written ({error.strerror}); name another folder.", self.path) from error

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Keep other threads and other processes away."""
        from filelock import Timeout

        with self._threads, ExitStack() as stack:
            try:
                if self._writable:
                    stack.enter_context(self._processes)
            except Timeout:
                raise self._not_saved(f"another process has kept it locked for {_PATIENCE:g} seconds") from None
            except OSError as error:
                raise self._not_saved(error.strerror) from error
            yield

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except NirankError:
            raise
        except OSError as error:
            raise self._not_saved(error.strerror) from error

    def _not_saved(self, why: str | None) -> NotSaved:
        """The error for one who wanted to save; where the file lies is for the log."""
        log.error("%s: nothing can be saved (%s).", self.path, why)
        return NotSaved(f"this could not be saved ({why}); all before it is. Save it again when that is mended.")

    def _write(self, file: BinaryIO, lines: bytes) -> None:
        """Write behind what is known to be whole; where that fails, leave nothing of it."""
        try:
            file.seek(self._end)
            while lines:  # on a full disk less is written than was given, before the next call raises
                lines = lines[file.write(lines) :]
            os.fsync(file.fileno())
        except OSError:
            with suppress(OSError):  # else the next one to write repairs it
                file.truncate(self._end)
            raise

    def _repair(self, file: BinaryIO) -> None:
        left = file.seek(0, os.SEEK_END) - self._end
        if left:
            log.warning("%s: %d bytes of a line that was never finished are removed.", self.path, left)
            file.truncate(self._end)

    def _size(self) -> int:
        """The size of the file. Raises `DamagedFile` where it was removed, or is shorter than what was read of it."""
        there = self.path.exists()
        size = self.path.stat().st_size if there else 0
        if size < self._end or (self._writable and not there):
            raise DamagedFile("was removed or shortened while it was in use; put it back, or start anew.", self.path)
        return size

    def _read(self, file: BinaryIO) -> None:
        """Take in the whole lines behind those that are known."""
        self._size()
        file.seek(self._end)
        new = file.read()
        for line in new[: new.rfind(b"\n") + 1].split(b"\n")[:-1]:
            record = self._record(line, self._lines + 1)
            if self._lines:
                self._take(record)
            elif record != self._head:
                raise DamagedFile(f"is of another kind than {self._head['kind']!r}: name another folder.", self.path)
            self._lines += 1
            self._end += len(line) + 1

    def _record(self, line: bytes, number: int) -> Record:
        """The record of a line. Raises `DamagedFile` where a byte of it is another than was written."""
        written = _WRITTEN.fullmatch(line)
        if written is None or _hash(written[1]) != written[2]:
            message = "this line is not as nirank wrote it; all lines before are. Move it to another file to go on."
            raise DamagedFile(message, self.path, number)
        record: Record = json.loads(written[1] + b"}")
        return record


def _line(record: Mapping[str, Any]) -> bytes:
    """A line of JSON, behind whose other keys stands the hash of all bytes before it; a record has some key."""
    text = json.dumps(record, ensure_ascii=False).encode()[:-1]
    return b'%s, "check": "%s"}\n' % (text, _hash(text))


def _hash(text: bytes) -> bytes:
    return hashlib.blake2b(text, digest_size=16).hexdigest().encode()


def _flush_folder(folder: Path) -> None:
    """Flush a folder, so that a file that was made in it is still there after a power cut."""
    with suppress(OSError):  # some systems cannot open one
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
