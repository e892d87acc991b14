"""How a corpus grows: documents written to a file, opened in a fresh process, and read by their ids and places."""

# ruff: noqa: D102 (the names of the methods say what they do, and the table what is measured)

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from growth_work import Figures, Work, least
from speed_table import OURS
from speed_worker import Engine, Worker

_WORDS, _LENGTH = 50_000, 26
_AT_ONCE = 65_536
_LOOKED_UP = 1_000


def measure(folder: Path, size: int, threads: int) -> Figures:  # noqa: ARG001 (one thread reads and writes)
    """Write, open and read one corpus."""
    engine = Engine(OURS, "growth_corpus:Nirank", settings={"folder": str(folder), "documents": size})
    worker = Worker(engine)
    worker.call("make")
    found: Figures = {("written, processor time", "s"): worker.time_once("write").cpu}
    found["written, peak memory", "MB"] = worker.peak() / 1e6
    found["on disk", "MB"] = worker.call("size") / 1e6
    worker.close()
    worker = Worker(engine)
    worker.call("load")
    found["opened, processor time", "s"] = worker.time_once("open").cpu
    found["the first id found", "s"] = worker.time_once("find", 1).cpu
    found[f"{_LOOKED_UP:,} ids found", "s"] = least(worker, "find", _LOOKED_UP)
    found[f"{_LOOKED_UP:,} texts read", "s"] = least(worker, "read", _LOOKED_UP)
    found["read, memory of its own", "MB"] = worker.own() / 1e6
    worker.close()
    return found


class Nirank:
    """An `ArrowCorpus`."""

    def __init__(self, folder: str, documents: int) -> None:
        self.path, self.documents = Path(folder) / "documents.arrow", documents

    def make(self) -> None:
        """Have texts at hand, which all batches share, before the clock starts."""
        random = np.random.default_rng(0)
        words = [f"w{number}" for number in range(_WORDS)]
        chosen = random.integers(0, _WORDS, (min(self.documents, _AT_ONCE), _LENGTH)).tolist()
        self.texts = [" ".join([words[number] for number in row]) for row in chosen]

    def write(self) -> None:
        from nirank.data import write_corpus

        write_corpus(self.path, self._batches(), ["text"])

    def _batches(self) -> Iterator[dict[str, list[str]]]:
        for first in range(0, self.documents, _AT_ONCE):
            texts = self.texts[: self.documents - first]
            yield {"id": [_id(row) for row in range(first, first + len(texts))], "text": texts}

    def size(self) -> int:
        return sum(path.stat().st_size for path in self.path.parent.rglob("*") if path.is_file())

    def load(self) -> None:
        import nirank.data.corpus  # noqa: F401 (so that importing it is no part of opening)

    def open(self) -> None:
        from nirank.data import ArrowCorpus

        self.corpus = ArrowCorpus(self.path)
        _ = self.corpus.fingerprint

    def find(self, ids: int) -> None:
        places = self._places(ids)
        if self.corpus.ids.find([_id(place) for place in places.tolist()]).tolist() != places.tolist():
            raise AssertionError("other documents were found")

    def read(self, documents: int) -> None:
        if len(self.corpus[self._places(documents)]) != documents:
            raise AssertionError("texts are missing")

    def _places(self, count: int) -> np.ndarray[tuple[int], np.dtype[np.int64]]:
        return np.random.default_rng(count).integers(0, self.documents, count)


def _id(row: int) -> str:
    return f"doc-{row:09}"


WORK = Work(
    "a corpus in a file",
    f"{_LENGTH} words a document, ids of 13 characters.",
    "To write n documents takes O(n) time, and memory for a batch of them and for a number of each id, by which "
    "repeated ones are found; to open them is O(1) once it was checked that they are whole. To find ids, all of them "
    "are compared with those asked for, O(n), however many these are.",
    (10_000, 100_000, 1_000_000, 10_000_000),
    measure,
)
