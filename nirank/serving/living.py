"""Living collections: documents of a folder are added, changed and taken out while it is searched.

What comes is on disk, in a folder beside the index, before it is acknowledged: one file for each request, which is
removed when the index has it. One thread makes a new version of the folder of all that waits, in the order in which it
came, and has it opened; searches go on in the version before. What waited when a process ended is done by the next one.
"""

from __future__ import annotations

import json
import logging
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from nirank.data.changing import Checker, Document
from nirank.data.corpus import ArrowCorpus
from nirank.errors import BadInput
from nirank.experiments import workspace
from nirank.experiments.workspace import Workspace
from nirank.files import InUse
from nirank.hashing import digest
from nirank.serving.ledger import NotSaved

log = logging.getLogger("nirank")

Changes = Mapping[str, Document | None]
#: What a task is: kept and not begun, being done, in the index, or given up.
Status = Literal["waiting", "running", "done", "failed"]

_WAITING, _FAILED = ".json", ".failed"
#: Requests that may wait, those that one new version has at most, and those whose end is remembered.
_MOST_WAITING, _TOGETHER, _REMEMBERED = 1000, 500, 10_000
#: Seconds until a version is tried again that could not be written.
_PAUSE = 2.0


class TooMany(BadInput):
    """More changes than may wait."""


@dataclass(eq=False)
class Task:
    """The changes of one request, and how far they are: `detail` says what went wrong, `version` what has them."""

    name: str
    changes: Changes
    status: Status = "waiting"
    version: str | None = None
    detail: str | None = None
    ended: threading.Event = field(default_factory=threading.Event)


class Living:
    """The documents of a folder of `nirank index`, as they change. `opened` is given each new version, and names it.

    Raises `BadInput` where another server changes the folder, or where its documents are not texts.
    """

    def __init__(self, folder: Path, corpus: ArrowCorpus, opened: Callable[[Workspace], str]) -> None:
        self.folder, self.kept = folder, folder.with_name(f"{folder.name}-changes")
        self._opened, self._checker = opened, Checker(corpus)
        self._tasks: dict[str, Task] = {}
        self._waiting: list[Task] = []
        self._change, self._ends, self._last = threading.Condition(), threading.Event(), 0
        self._ids = corpus.ids
        try:
            self.kept.mkdir(exist_ok=True)
        except OSError as error:
            raise BadInput(f"cannot be made ({error.strerror}); start the server --read-only.", self.kept) from error

    def put(self, documents: Sequence[object]) -> Task:
        """Take documents, each with id and text, to be added or to take the place of those of their ids.

        When it returns they are on disk. Raises `BadInput` for all of them where one is wrong, `TooMany`, and
        `NotSaved`.
        """
        with self._change:
            return self._take(self._checker.changes(documents))

    def remove(self, document: str) -> Task | None:
        """Have a document taken out; None where there is none of this id, and none waits."""
        with self._change:
            last = next((task.changes[document] for task in self._waiting[::-1] if document in task.changes), ...)
            there = last is not None if last is not ... else self._ids.find([document])[0] >= 0
            return self._take({document: None}) if there else None

    def task(self, name: str) -> Task | None:
        """A task by its name; None where it is not known, or no more."""
        return self._tasks.get(name)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Do what waits, and what comes, in the block; what is begun at its end is finished, and the rest is kept."""
        from filelock import FileLock, Timeout

        try:
            with FileLock(self.kept / ".lock", timeout=0):
                self._load()
                thread = threading.Thread(target=self._work, name="living", daemon=True)
                thread.start()
                try:
                    yield
                finally:
                    self._ends.set()
                    with self._change:
                        self._change.notify_all()
                    thread.join()
        except Timeout:
            raise BadInput("another server takes changes of these documents; start this one --read-only.") from None

    def _take(self, changes: Changes) -> Task:
        if len(self._waiting) >= _MOST_WAITING:
            raise TooMany(f"{len(self._waiting):,} changes wait to be indexed, and no more are taken. Send it later.")
        self._last = max(self._last + 1, time.time_ns())
        task = Task(f"{self._last:020d}", changes)
        _keep(self.kept / f"{task.name}{_WAITING}", changes)
        self._add(task)
        self._change.notify_all()
        return task

    def _add(self, task: Task) -> None:
        self._tasks[task.name] = task
        self._waiting.append(task)
        for name in list(self._tasks)[:-_REMEMBERED]:
            del self._tasks[name]

    def _load(self) -> None:
        """Take up what an earlier process has acknowledged and not done."""
        for path in sorted(self.kept.glob(f"[0-9]*{_WAITING}")):
            if path.stem.isdecimal() and path.stem not in self._tasks:
                self._last = max(self._last, int(path.stem))
                self._add(Task(path.stem, _read(path)))

    def _work(self) -> None:
        while not self._ends.is_set():
            with self._change:
                while not self._waiting and not self._ends.is_set():
                    self._change.wait()
                tasks = self._together()
            if tasks and not self._ends.is_set():
                self._do(tasks)

    def _together(self) -> list[Task]:
        """The first of what waits; what comes back after it was taken out waits for the next version: it comes last."""
        gone: set[str] = set()
        tasks = []
        for task in self._waiting[:_TOGETHER]:
            if any(task.changes[name] is not None for name in gone & task.changes.keys()):
                break
            gone |= {name for name, document in task.changes.items() if document is None}
            tasks.append(task)
        return tasks

    def _do(self, tasks: Sequence[Task]) -> None:
        """Make one version of some tasks; where that fails, one for each, so that only what is wrong is given up."""
        for task in tasks:
            task.status = "running"
        try:
            self._make(tasks)
        except (OSError, MemoryError, InUse) as error:  # of a full disk, of another process: the changes are not wrong
            self._put_off(tasks, error)
        except Exception as error:
            if len(tasks) > 1:
                for task in tasks:
                    self._do([task])
            else:
                self._give_up(tasks[0], error)

    def _make(self, tasks: Sequence[Task]) -> None:
        changes: dict[str, Document | None] = {}
        for task in tasks:
            changes |= task.changes
        made, _ = workspace.change(self.folder, changes)
        version = self._opened(made)
        with self._change:
            self._ids = made.corpus.ids
        for task in tasks:
            (self.kept / f"{task.name}{_WAITING}").unlink(missing_ok=True)
            self._end(task, "done", version=version)

    def _put_off(self, tasks: Sequence[Task], error: BaseException) -> None:
        log.warning("%s: %d changes wait, for they cannot be indexed now: %s", self.folder, len(tasks), error)
        for task in tasks:
            task.status, task.detail = "waiting", f"it is tried again: {error}"
        self._ends.wait(_PAUSE)

    def _give_up(self, task: Task, error: Exception) -> None:
        kept = self.kept / f"{task.name}{_FAILED}"
        log.error("%s: a change cannot be indexed, and is kept in %s: %s", self.folder, kept, error, exc_info=error)
        with suppress(OSError):
            os.replace(kept.with_suffix(_WAITING), kept)
        self._end(task, "failed", detail=f"{type(error).__name__}: {error}")

    def _end(self, task: Task, status: Status, version: str | None = None, detail: str | None = None) -> None:
        task.status, task.version, task.detail = status, version, detail
        with self._change:
            self._waiting.remove(task)
        task.ended.set()


def _keep(path: Path, changes: Changes) -> None:
    """Write changes to disk. Raises `NotSaved` where they are not there when this returns."""
    unfinished, record = path.with_suffix(".unfinished"), {"changes": dict(changes)}
    try:
        with unfinished.open("w", encoding="utf-8") as file:
            json.dump({**record, "check": digest(record)}, file, ensure_ascii=False)
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
        _flush(path.parent)
    except OSError as error:
        with suppress(OSError):
            unfinished.unlink(missing_ok=True)
        raise NotSaved(
            f"the change could not be kept ({error.strerror}). Send it again when that is mended."
        ) from error


def _flush(folder: Path) -> None:
    """Have the names in a folder on disk."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read(path: Path) -> Changes:
    """The changes that were kept. Raises `DamagedFile` where they are not as they were written."""
    from nirank.errors import DamagedFile

    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        whole = record.pop("check") == digest(record)
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
        whole = False
    if not whole:
        raise DamagedFile("is not as it was written: remove it to go on without these changes.", path)
    changes: Changes = record["changes"]
    return changes
