"""What works where nirank alone is installed, without any extra: a name and a function for each promise.

Run by `benchmarks/extras.py`, as the extra `none`.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

_QRELS = "q1 0 d1 1\nq2 0 d2 1\n"
_RUN = "q1 Q0 d1 1 2.0 t\nq1 Q0 d2 2 1.0 t\nq2 Q0 d2 1 3.0 t\n"
_OTHER = "q1 Q0 d2 1 2.0 t\nq2 Q0 d2 1 3.0 t\n"
_DOCUMENTS = [{"id": "d1", "text": "a red fox"}, {"id": "d2", "text": "a dog"}]


def promises() -> Iterator[tuple[str, Callable[[], Any]]]:
    """All of them, each to be called in an environment without extras."""
    yield "no heavy package", _nothing_heavy
    yield "nirank --version", lambda: _prints("nirank 0.", "--version")
    yield "nirank evaluate", lambda: _prints("1.0000", "evaluate", "run", "qrels", "-m", "AP")
    yield "nirank compare", lambda: _prints("other", "compare", "run", "other", "qrels", "-m", "AP")
    yield "nirank plugins", lambda: _prints("nirank[lexical]", "plugins")
    yield "nirank datasets", lambda: _prints("beir:FOLDER", "datasets")
    yield "nirank datasets, what emoji lacks", lambda: _prints("nirank[emoji]", "datasets")
    yield "read_run, write_run", _trec_files
    yield "collection", _reads_a_collection
    yield "fuse", _fuses
    for name, extra in (("bm25", "lexical"), ("exact", "dense"), ("minilm", "dense"), ("rm3", "lexical")):
        yield f"load({name!r}) names {extra}", lambda name=name, extra=extra: _names(extra, lambda: _load(name))
    for name, extra in (("flat", "faiss"), ("knrm", "interaction"), ("ranknet", "losses"), ("clip", "clip")):
        yield f"load({name!r}) names {extra}", lambda name=name, extra=extra: _names(extra, lambda: _load(name))
    for name, extra in (("images:.", "images"), ("emoji", "emoji"), ("irds:vaswani", "irds")):
        yield f"collection({name!r}) names {extra}", lambda name=name, extra=extra: _names(extra, lambda: _open(name))
    yield "fit names train", lambda: _names("train", lambda: _public("fit"))


def _nothing_heavy() -> None:
    there = [name for name in ("torch", "numba", "transformers", "PIL", "pytest") if importlib.util.find_spec(name)]
    assert not there, f"{there} came with nirank"


@contextlib.contextmanager
def _files() -> Iterator[Path]:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for file, text in (("qrels", _QRELS), ("run", _RUN), ("other", _OTHER)):
            (folder / file).write_text(text)
        (folder / "docs.jsonl").write_text("".join(json.dumps(each) + "\n" for each in _DOCUMENTS))
        yield folder


def _prints(expected: str, *arguments: str) -> None:
    with _files() as folder:
        command = [sys.executable, "-m", "nirank", *arguments]
        done = subprocess.run(command, capture_output=True, text=True, cwd=folder, check=False)
    assert done.returncode == 0, done.stderr.strip()
    assert expected in done.stdout, f"{expected!r} is not in what it prints: {done.stdout}"


def _trec_files() -> None:
    import nirank

    with _files() as folder:
        run = nirank.read_run(folder / "run")
        nirank.write_run(folder / "again", nirank.Queries(run.query_ids, run.query_ids), run.candidates, ids=run.ids)
        again = nirank.read_run(folder / "again")
    assert again.candidates.scores.tolist() == run.candidates.scores.tolist()


def _reads_a_collection() -> None:
    import nirank

    with _files() as folder:
        opened = nirank.collection(f"jsonl:{folder / 'docs.jsonl'}")
        assert list(opened.corpus[:]) == [each["text"] for each in _DOCUMENTS]


def _fuses() -> None:
    import nirank

    class Everything:
        """Finds all documents, in an order."""

        def __init__(self, scores: list[float]) -> None:
            self.scores = scores

        def generate(self, queries: Any, k: int) -> Any:
            return nirank.Candidates.of([[0, 1]] * len(queries), [self.scores] * len(queries)).ranked().top(k)

    corpus = nirank.Documents(["d1", "d2"], ["a red fox", "a dog"])
    both = nirank.fuse(nirank.load(Everything([1.0, 2.0])), nirank.load(Everything([1.0, 3.0])))
    docs, _ = both.search(nirank.Queries(["q1"], ["fox"]), corpus)[0]
    assert docs.tolist() == [1, 0], docs


def _names(extra: str, attempt: Callable[[], Any]) -> None:
    from nirank.errors import MissingDependency

    try:
        attempt()
    except MissingDependency as error:
        told = str(error)
    else:
        told = "nothing that is missing"
    assert f"nirank[{extra}]" in told, f"it tells {told}"


def _load(name: str) -> Any:
    import nirank

    return nirank.load(name)


def _open(name: str) -> Any:
    import nirank

    return nirank.collection(name)


def _public(name: str) -> Any:
    import nirank

    return getattr(nirank, name)
