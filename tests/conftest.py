"""What all tests share: a cache of their own, components without weights, and the real collections where present."""

from __future__ import annotations

import gc
import importlib
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from nirank.data import Candidates, Documents, Queries
from nirank.plugins import active

IS_WORKER = "PYTEST_XDIST_WORKER" in os.environ
if IS_WORKER:  # one thread each, read when torch and numba are imported
    os.environ |= {"OMP_NUM_THREADS": "1"}
# Read when the hub's library is imported, which some tests do while they are collected; it would ask, and wait.
os.environ["HF_HUB_OFFLINE"] = "1"
# The many programs that tests start read what the first of them has compiled.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

pytest_plugins = ["nirank.testing"]  # the contract checks, on every component that is registered

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
# A report takes two seconds; tests/test_reporting.py asks for it.
os.environ.setdefault("NIRANK_REPORT", "0")
SHARED = Path(__file__).parents[2] / "shared" / "data"


def pytest_collection_finish() -> None:
    """Let no collection of garbage look through all modules and tests again, which takes half a second."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True, scope="session")
def _offline_and_apart(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    own = tmp_path_factory.getbasetemp()
    cache = (own.parent if IS_WORKER else own) / "cache"  # of all workers: what one has built or drawn, others find
    cache.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("NIRANK_CACHE", str(cache))
        for variable in ("NIRANK_BLOCK", "NIRANK_PLUGINS", "NIRANK_STRICT", "NIRANK_PROGRESS"):
            patch.delenv(variable, raising=False)
        yield


@pytest.fixture(autouse=True)
def _plugins_of_files_go_with_their_test() -> Iterator[None]:
    """A `nirank_plugin.py` that a test loads would act in all that come after."""
    yield
    plugins = active()
    for plugin in [each for each in plugins.known if each.name.endswith(".py")]:
        if plugin.module is not None and plugins.manager.is_registered(plugin.module):
            plugins.manager.unregister(plugin.module)
        plugins.registry.remove(plugin)
        plugins.known.remove(plugin)


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """Gives a folder of the optional real test data, or skips and says what is missing."""

    def folder(name: str) -> Path:
        path = SHARED / name
        if not path.exists():
            pytest.skip(f"the optional test data ../shared/data/{name} is not there")
        return path

    return folder


@pytest.fixture
def benchmark(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], ModuleType]]:
    """Imports a module of the benchmarks, which are forgotten afterwards: their names are no package's."""
    monkeypatch.syspath_prepend(str(BENCHMARKS))
    before = set(sys.modules)
    yield importlib.import_module
    for name in set(sys.modules) - before:
        if Path(getattr(sys.modules[name], "__file__", None) or "").parent == BENCHMARKS:
            del sys.modules[name]


class Overlap:
    """Finds and scores by how many characters a text shares with the query: simple enough to check by eye."""

    def __init__(self, weight: float = 1.0, note: str = "") -> None:
        self.weight, self.note = weight, note

    def index_texts(self, corpus: Documents) -> Overlap:
        self.corpus = corpus
        return self

    def generate(self, queries: Queries, k: int) -> Candidates:
        everything = np.arange(len(self.corpus))
        found = Candidates.of([everything] * len(queries), corpus=self.corpus)
        found = found.with_scores(self.score(queries, found))
        return found.where(found.scores > 0).top(k)

    def score(self, queries: Queries, candidates: Candidates) -> np.ndarray:
        contents = candidates.corpus[candidates.docs]
        shared = [
            len(set(queries.contents[row]) & set(content))
            for row, content in zip(candidates.rows, contents, strict=True)
        ]
        return self.weight * np.array(shared, np.float32)


@pytest.fixture
def corpus() -> Documents:
    return Documents(["a", "b", "c", "d", "e"], ["abc", "bcd", "cde", "xyz", ""])


@pytest.fixture
def overlap(corpus: Documents) -> Overlap:
    return Overlap().index_texts(corpus)
