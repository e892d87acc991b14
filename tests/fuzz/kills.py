"""Work that is killed, done by two at once, or has no room on the disk: done again it must come to the same.

    python -m tests.fuzz.kills --cases 400              # of every kind of work, in every way
    python -m tests.fuzz.kills --cases 400 train        # of one
    python -m tests.fuzz.kills --cases 400 --log FILE   # each case is noted, and one that is noted not tried again

A kind of work is done in a child that is forked when all is imported. It is ended by SIGKILL, in turn at one of the
calls of compiled functions that it makes, within some calls of where it opens, moves or removes a file, and at any
time, from outside; or another child does the same work beside it, and one of them may be refused; or the files that it
writes may not become longer than some size (RLIMIT_FSIZE), as if the disk were full. Then it is done again,
undisturbed.
What comes of it: equal (to what was found undisturbed, and the same files), lost (refused, or another result), stuck
(no end in a minute), left (files that no undisturbed work leaves), died (no error where the disk was full).
"""

from __future__ import annotations

import argparse
import functools
import gc
import importlib
import itertools
import json
import os
import resource
import shutil
import signal
import sys
import tempfile
import time
import traceback
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import numpy as np

import nirank
from nirank import environment, source
from nirank.data import Documents, Queries
from nirank.errors import BadInput, NirankError
from nirank.execution import indexes
from nirank.experiments import workspace
from nirank.plugins import Component, active
from nirank.testing import samples
from nirank.testing.subject import Subject
from nirank.training import resume_plan
from tests.fuzz import damage
from tests.training_toys import Weighed, numbers, registered

OUTCOMES = ("equal", "lost", "stuck", "left", "died")
WAYS = ("kill", "pair", "full")
_SECONDS = 60
#: What libraries say of a full disk in errors of their own.
_NO_ROOM = ("File too large", "No space left", "disk is full", "disk I/O error")
_DONE, _REFUSED, _FULL, _FAULT = 0, 3, 4, 5
#: What Python tells of when it changes what lies on disk; a file that is opened, too, where that is to write.
_DOORS = ("os.", "shutil.", "sqlite3.connect", "fcntl.flock", "tempfile.")
_NO_DOORS = ("os.listdir", "os.scandir", "os.putenv", "os.fork")
_TO_WRITE = os.O_WRONLY | os.O_RDWR | os.O_CREAT
#: So many calls after such a change at most; most changes have that many before the next.
_AFTER = 400

_TOML = """
collection = "numbers"
pipeline = "everything >> weighed"
[evaluate]
measures = ["nDCG@3", "P@5"]
"""


def _source(folder: Path, documents: int) -> str:
    """A collection of JSON lines, of which the first are the same whatever their number."""
    path = folder.with_name(f"{documents}.jsonl")
    if not path.exists():
        lines = (json.dumps({"id": f"d{number}", "text": f"cat word{number % 7}"}) for number in range(documents))
        path.write_text("\n".join(lines) + "\n")
    return f"jsonl:{path}"


def _index(folder: Path) -> Any:
    """A folder that is searched, made of a collection."""
    with suppress(FileExistsError):
        if not (folder / "index").exists():
            workspace.create(folder / "index", _source(folder, 40), "bm25")
    docs, scores = workspace.open_folder(folder / "index").search("cat word3", 9)
    return np.concatenate([docs, scores])


def _update(folder: Path) -> Any:
    """The same, brought to another state of the collection."""
    opened, _ = workspace.update(folder / "index", _source(folder, 60))
    docs, scores = opened.search("cat word3", 9)
    return np.concatenate([docs, scores])


def _vectors(folder: Path) -> Any:
    """Indexes of vectors and weights in the cache, of two states of a corpus, the second made of the first."""
    found, queries = [], Queries.of(["small cat", "zebra"])
    texts = list(samples.corpus("")[np.arange(len(samples.corpus("")))])
    former, now = (Documents([f"d{n}" for n in range(end)], texts[:end]) for end in (len(texts) - 2, len(texts)))
    for name in ("exact", "impact"):
        component, encoder = _encoded(name)
        indexes.prepare(component, former, encoder)
        indexes.prepare(component, now, encoder, since=former)
        some = component.target.generate(queries.with_vectors(encoder.target.encode(queries)), 5)
        found += [some.docs, some.scores]
    return np.concatenate(found)


@functools.cache  # an encoder takes longer to make than an index
def _encoded(name: str) -> tuple[Component, Component]:
    entry = active().registry.find(f"generator/{name}")
    subject = Subject("generator", entry.resolve_tiny()(), entry)
    return Component(name, entry.resolve_tiny()(), {}, entry), subject.encoder


def _run(folder: Path) -> Any:
    """An experiment, whose results are written."""
    path = folder.with_name("numbers.toml")
    path.write_text(_TOML)
    with registered(), suppress(BadInput) if (folder / "results").exists() else nullcontext():  # it exists already
        nirank.run(path, folder / "results")
    return np.array([(folder / "results" / f"numbers.{end}").read_text() for end in ("run", "queries.tsv")])


def _cache(folder: Path) -> Any:
    """Vectors and scores in the cache."""
    return damage.cache_outcome(folder / "scores")


def _train(folder: Path) -> Any:
    """A training, with states that it goes on from."""
    options = {"steps": 8, "batch_size": 4, "log_every": 1, "save_every": 2, "evaluate_every": 2}
    out = folder / "trained"
    if resume_plan.is_finished(out):  # another training would be refused
        from safetensors.numpy import load_file

        (path,) = (out / "checkpoint").glob("*.safetensors")
        return np.concatenate([value.ravel() for _, value in sorted(load_file(path).items(), reverse=True)])
    fitted = nirank.fit(Weighed(), "ranknet", numbers(), dev=numbers(8, seed=1), out=out, **options)
    learned = fitted.stage.component.target.state_dict()
    return np.concatenate([value.numpy().ravel() for value in learned.values()])


#: Each kind of work, and what is done before it, undisturbed.
WORK: dict[str, tuple[Callable[[Path], Any], Callable[[Path], Any]]] = {
    "index": (_index, Path.mkdir),
    "update": (_update, lambda folder: (folder.mkdir(), _index(folder))),
    "vectors": (_vectors, Path.mkdir),
    "run": (_run, Path.mkdir),
    "cache": (_cache, Path.mkdir),
    "train": (_train, Path.mkdir),
}


class Disturbed:
    """One kind of work in `home`, disturbed in one way after another."""

    def __init__(self, kind: str, home: Path) -> None:
        self.work, self.before = WORK[kind]
        self.home, self.folder, self.whole = home, home / "work", home / "whole"
        os.environ["NIRANK_CACHE"] = str(self.folder / "cache")
        if self.work is _vectors:
            _encoded("exact"), _encoded("impact")
        self._child(self._prepare)
        shutil.copytree(self.folder, self.whole)
        self._load()
        self._again()
        self.calls, self.doors, self.seconds = self._counts()
        self.expected, self.files = self._found(), self._names()
        self.longest = max(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def case(self, way: str, number: int) -> tuple[str, str]:
        """Disturb the work in the way, and by the number, and say what came of it when it was done again."""
        random = np.random.default_rng(number)
        self._again()
        told = getattr(self, f"_{way}")(random)
        if told:
            return told
        self._age()
        code = self._done()
        if code is None:
            return "stuck", "again"
        if code != _DONE or not damage._is_same(self._found(), self.expected):
            return "lost", self._said() if code else "another result"
        extra = self._names() - self.files
        return ("left", " ".join(sorted(extra))) if extra else ("equal", "")

    def _kill(self, random: np.random.Generator) -> tuple[str, str] | None:
        how = (self._at_call, self._at_door, self._at_time)[random.integers(3)]
        return None if _waited(how(random)) is not None else ("stuck", "killed")

    def _at_call(self, random: np.random.Generator) -> int:
        moment = int(random.integers(self.calls))
        return self._fork(lambda: _counted(self._write, moment))

    def _at_door(self, random: np.random.Generator) -> int:
        door, after = int(random.integers(self.doors)), int(_AFTER ** random.random()) - 1
        left = iter(range(door))

        def event() -> None:
            if next(left, None) is None:
                _counting(after)

        def work() -> None:
            _heard(event)
            self._write()

        return self._fork(work)

    def _at_time(self, random: np.random.Generator) -> int:
        pid = self._fork(self._write)
        time.sleep(self.seconds * random.random())
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        return pid

    def _pair(self, random: np.random.Generator) -> tuple[str, str] | None:
        first = self._fork(self._write)
        time.sleep(random.uniform(0, 0.05))
        codes = [_waited(pid) for pid in (first, self._fork(self._write))]
        if None in codes:
            return "stuck", "two at once"
        wrong = [code for code in codes if code not in (_DONE, _REFUSED)]
        return ("lost", f"two at once: {self._said()}") if wrong or _DONE not in codes else None

    def _full(self, random: np.random.Generator) -> tuple[str, str] | None:
        room = int(self.longest * random.random() ** 2)

        def limited() -> None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (room, room))
            self._write()

        code = _waited(self._fork(limited))
        if code is None:
            return "stuck", f"files of {room} bytes"
        return None if code in (_DONE, _REFUSED, _FULL) else ("died", f"files of {room} bytes: {code} {self._said()}")

    def _prepare(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.before(self.folder)

    def _again(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        shutil.copytree(self.whole, self.folder)

    def _load(self) -> None:
        """Import in this process what the work imports, and do it once, so that it is quicker in children."""

        def work() -> None:
            self._write()
            (self.home / "modules").write_text("\n".join(sys.modules))

        self._child(work)
        for name in (self.home / "modules").read_text().split():
            with suppress(Exception):
                importlib.import_module(name)
        self._again()
        self._write()  # what is looked up once in a process, such as types of settings, need not be in each child
        gc.collect()
        gc.freeze()  # so that children share this memory for good

    def _child(self, work: Callable[[], None]) -> None:
        if _waited(self._fork(work)):
            raise RuntimeError(self._said())

    def _age(self) -> None:
        """Have two minutes pass: an empty folder may be one that somebody has just made to write in."""
        for path in self.folder.rglob(".*"):
            if path.is_dir():
                os.utime(path, (time.time() - 120,) * 2)

    def _done(self) -> int | None:
        return _waited(self._fork(self._keep))

    def _keep(self) -> None:
        np.save(self.home / "found.npy", self.work(self.folder))

    def _write(self) -> None:
        self.work(self.folder)

    def _counts(self) -> tuple[int, int, float]:
        """How many calls the work makes, how often it changes what is on disk, and the seconds that it takes."""
        doors, calls, noted = itertools.count(), itertools.count(), self.home / "counts"

        def heard() -> None:
            _heard(lambda: next(doors))
            begun = time.monotonic()
            self._write()
            noted.write_text(f"{next(doors)} {time.monotonic() - begun}")

        def work() -> None:
            _profiled(self._keep, lambda: next(calls))
            noted.write_text(f"{next(calls)} {noted.read_text()}")

        self._child(heard)
        self._again()
        self._child(work)
        found = noted.read_text().split()
        return int(found[0]), int(found[1]), float(found[2])

    def _found(self) -> Any:
        return np.load(self.home / "found.npy")

    def _said(self) -> str:
        path = self.home / "said"
        return path.read_text()[-300:] if path.exists() else ""

    def _names(self) -> set[str]:
        """The files there are but for locks, and the names that differ each time."""
        return {
            path.relative_to(self.folder).as_posix()
            for path in self.folder.rglob("*")
            if not path.name.endswith((".lock", "-wal", "-shm")) and path.parent.name != "verified"
        }

    def _fork(self, work: Callable[[], None]) -> int:
        sys.stdout.flush()
        pid = os.fork()
        if pid:
            return pid
        os._exit(_code(work, self.home / "said"))


def _code(work: Callable[[], None], said: Path) -> int:
    """Do the work in a child, quietly; how it ended."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    try:
        work()
    except NirankError as error:
        _tell(said, error)
        return _REFUSED
    except OSError as error:
        _tell(said, error)
        return _FULL
    except BaseException as error:
        _tell(said, error)
        return _FULL if any(said in str(error) for said in _NO_ROOM) else _FAULT
    return _DONE


def _tell(said: Path, error: BaseException) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (resource.getrlimit(resource.RLIMIT_FSIZE)[1],) * 2)
    with suppress(OSError):
        said.write_text("".join(traceback.format_exception(error)[-2:]))


def _profiled(work: Callable[[], None], event: Callable[[], object]) -> None:
    """Do the work, and something at each call of a compiled function."""
    sys.setprofile(lambda frame, kind, argument: event() if kind.startswith("c_") else None)
    try:
        work()
    finally:
        sys.setprofile(None)


def _counted(work: Callable[[], None], moment: int) -> None:
    _counting(moment)
    work()
    sys.setprofile(None)


def _counting(moment: int) -> None:
    """End this process after so many calls of compiled functions."""
    left = iter(range(moment))

    def count(frame: Any, kind: str, argument: Any) -> None:
        if kind.startswith("c_") and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)


def _heard(event: Callable[[], object]) -> None:
    """Do something, from now on in this process, at each change of what lies on disk."""

    def hear(name: str, arguments: tuple[Any, ...]) -> None:
        if (name == "open" and _is_to_write(*arguments[1:3])) or (name.startswith(_DOORS) and name not in _NO_DOORS):
            event()

    sys.addaudithook(hear)


def _is_to_write(mode: str | None, flags: int) -> bool:
    return bool(flags & _TO_WRITE) or bool(set(mode or "") & set("wax+"))


def _waited(pid: int) -> int | None:
    """How a child ended: its code, or less than 0 for a signal; None for one that does not end, and is ended."""
    end, pause = time.monotonic() + _SECONDS, 0.002
    while time.monotonic() < end:
        ended, status = os.waitpid(pid, os.WNOHANG)
        if ended:
            return os.waitstatus_to_exitcode(status)
        time.sleep(pause)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return None


def _tried(kind: str, cases: Mapping[str, int], log: Path | None) -> Iterator[tuple[str, list[Any]]]:
    """For each way, the results of the cases: outcome, where, number. Those in the log are taken from it."""
    lines = [json.loads(line) for line in log.read_text().splitlines()] if log and log.exists() else []
    known = {(line[0], line[1], line[2]): line[3:] for line in lines}
    with tempfile.TemporaryDirectory(prefix="nirank-fuzz-") as home:
        disturbed = functools.cache(lambda: Disturbed(kind, Path(home)))
        for way, numbers in cases.items():
            results = []
            for number in range(numbers):
                if (found := known.get((kind, way, number))) is None:
                    found = disturbed().case(way, number)
                    if log:
                        with log.open("a") as file:
                            file.write(json.dumps([kind, way, number, *found]) + "\n")
                results.append([*found, number])
            yield way, results


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=f"of {', '.join(WORK)}")
    parser.add_argument("--cases", type=int, default=20, help="of each kind of work, in each way")
    parser.add_argument("--ways", nargs="*", default=WAYS, help=f"of {', '.join(WAYS)}; or kill=300")
    parser.add_argument("--log", type=Path, help="a file of JSON lines: kind, way, number, outcome, where")
    given = parser.parse_args()
    asked = [way.partition("=") for way in given.ways]
    cases = {way: int(number or given.cases) for way, _, number in asked}
    for what, names, known in (("kind", given.kinds, WORK), ("way", cases, WAYS)):
        if other := [name for name in names if name not in known]:
            parser.error(f"{other[0]!r} is no {what}; kinds stand before the options")
    warnings.simplefilter("ignore")
    active()  # once, and not in each child
    source.is_ours(Disturbed), environment.versions()
    totals: Counter[str] = Counter()
    print(f"{'work':20}" + "".join(f"{name:>10}" for name in OUTCOMES), flush=True)
    for kind in given.kinds or WORK:
        for way, results in _tried(kind, cases, given.log):
            counts = Counter(outcome for outcome, _, _ in results)
            totals += counts
            print(f"{kind + ' ' + way:20}" + "".join(f"{counts[name]:10,}" for name in OUTCOMES), flush=True)
            for outcome, where, number in results:
                if outcome != "equal":
                    print(f"    {outcome}: {number} {' '.join(where.split())}", flush=True)
    print(f"{'all':20}" + "".join(f"{totals[name]:10,}" for name in OUTCOMES))


if __name__ == "__main__":
    main()
