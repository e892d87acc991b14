"""Indexes on disk: found again, refused when they are of something else, never half."""

from __future__ import annotations

import json
import multiprocessing
import os
import random
import signal
import sys

import numpy as np
import pytest

from nirank.data import Documents
from nirank.errors import BadInput, StaleIndex
from nirank.execution import indexes
from nirank.plugins import Component
from nirank_dense.exact.search import ExactSearch


class Lengths:
    """A component whose index is the length of each document, counted in chunks of two."""

    def __init__(self, fail_after=None, resumes=False, version=1):
        self.fail_after, self.resumes, self.version, self.built = fail_after, resumes, version, []

    @property
    def index_key(self):
        return {"index": "lengths", "version": self.version}

    def build(self, corpus, folder, encode=None):
        for start in range(0, len(corpus), 2):
            part = folder / f"{start}.npy"
            if part.exists():
                continue
            if self.fail_after is not None and len(self.built) >= self.fail_after:
                raise OSError(28, "No space left on device")
            np.save(part, [len(text) for text in corpus[start : start + 2]])
            self.built.append(start)

    def open(self, corpus, folder):
        parts = sorted(folder.glob("*.npy"), key=lambda path: int(path.stem))
        self.lengths = np.concatenate([np.load(part) for part in parts])

    def score(self, queries, candidates):
        return self.lengths[candidates.docs]


@pytest.fixture
def texts():
    return Documents(list("abcde"), ["x" * length for length in (3, 1, 4, 1, 5)])


def _component(**settings):
    return Component("lengths", Lengths(**settings))


def test_an_index_is_built_once_and_opened_again(texts, tmp_path):
    first, second = _component(), _component()
    for component in (first, second, second):
        indexes.prepare(component, texts, folder=tmp_path / "index")
        assert component.target.lengths.tolist() == [3, 1, 4, 1, 5]
    assert first.target.built == [0, 2, 4]
    assert second.target.built == []


def test_by_default_it_lies_in_the_cache_under_its_key_and_corpus(texts):
    place = indexes.prepare(_component(), texts)
    assert indexes.prepare(_component(), Documents(list("abcde"), list(texts))) == place
    assert indexes.prepare(_component(version=2), texts) != place
    assert indexes.prepare(_component(), Documents(list("abcdf"), list(texts))) != place


def test_components_with_one_key_share_an_index(texts):
    first, second = _component(), Component("other", Lengths())
    assert indexes.prepare(first, texts) == indexes.prepare(second, texts)
    assert second.target.built == []


def test_an_index_of_another_corpus_or_version_is_refused(texts, tmp_path):
    indexes.prepare(_component(), texts, folder=tmp_path / "index")
    with pytest.raises(StaleIndex, match="index of another corpus: it has 5 documents"):
        indexes.prepare(_component(), Documents(["z"], ["other"]), folder=tmp_path / "index")
    with pytest.raises(StaleIndex, match="version differ"):
        indexes.prepare(_component(version=2), texts, folder=tmp_path / "index")


def _break_manifest(folder):
    (folder / indexes.MANIFEST).write_text("{")


def _truncate_a_file(folder):
    (folder / "2.npy").write_bytes(b"short")


def _lose_a_file(folder):
    (folder / "4.npy").unlink()


def _lose_a_key(folder):
    manifest = json.loads((folder / indexes.MANIFEST).read_text())
    del manifest["corpus"]
    (folder / indexes.MANIFEST).write_text(json.dumps(manifest))


@pytest.mark.parametrize("damage", [_break_manifest, _truncate_a_file, _lose_a_file, _lose_a_key])
def test_a_damaged_index_is_refused(texts, tmp_path, damage):
    indexes.prepare(_component(), texts, folder=tmp_path / "index")
    damage(tmp_path / "index")
    with pytest.raises(StaleIndex, match="damaged"):
        indexes.prepare(_component(), texts, folder=tmp_path / "index")


def test_an_interrupted_build_leaves_no_index_and_resumes(texts, tmp_path):
    folder = tmp_path / "index"
    with pytest.raises(OSError, match="No space left") as caught:
        indexes.prepare(_component(fail_after=2, resumes=True), texts, folder=folder)
    assert "nothing was replaced" in caught.value.__notes__[0]
    assert not folder.exists()
    again = _component(resumes=True)
    indexes.prepare(again, texts, folder=folder)
    assert again.target.built == [4]
    assert again.target.lengths.tolist() == [3, 1, 4, 1, 5]
    assert [path.name for path in tmp_path.iterdir()].count("index.building.json") == 0


def _fail(*args):
    raise OSError(5, "Input/output error")


def test_a_build_that_stopped_before_it_was_moved_into_place_resumes(texts, tmp_path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(indexes.os, "replace", _fail)
        with pytest.raises(OSError, match="Input/output"):
            indexes.prepare(_component(resumes=True), texts, folder=tmp_path / "index")
    assert (tmp_path / "index.partial" / indexes.MANIFEST).exists()
    again = _component(resumes=True)
    indexes.prepare(again, texts, folder=tmp_path / "index")
    assert again.target.built == []
    assert again.target.lengths.tolist() == [3, 1, 4, 1, 5]


def test_all_files_are_on_the_disk_before_the_index_is_moved_into_place(texts, tmp_path, monkeypatch):
    done, replace, fsync = [], os.replace, os.fsync
    monkeypatch.setattr(indexes.os, "fsync", lambda file: (done.append(os.fstat(file).st_ino), fsync(file)))
    monkeypatch.setattr(indexes.os, "replace", lambda *names: (done.append("replaced"), replace(*names)))
    folder = indexes.prepare(_component(), texts, folder=tmp_path / "index")
    kept = done[: done.index("replaced")]
    assert sorted(kept) == sorted(path.stat().st_ino for path in folder.iterdir())


class Numbers:
    """An encoder of numbers written as text."""

    vectors, fingerprint = "dense", "numbers"

    def encode_documents(self, contents):
        return np.array([[float(content), 1.0] for content in contents], np.float32)


def _build_vectors(folder):
    names = [str(number) for number in range(23)]
    exact = Component("exact", ExactSearch(device="cpu", chunk=4))
    indexes.prepare(exact, Documents(names, names), Component("numbers", Numbers()), folder)


def _build_and_count(folder):
    """How many calls of compiled functions begin or end in a build: each is a moment to be killed at."""
    events = []
    sys.setprofile(lambda frame, event, argument: events.append(event) if event.startswith("c_") else None)
    _build_vectors(folder)
    sys.setprofile(None)
    return len(events)


def _build_until(moment, folder):
    left = iter(range(moment))

    def count(frame, event, argument):
        if event.startswith("c_") and next(left, None) is None:
            os.kill(os.getpid(), signal.SIGKILL)

    sys.setprofile(count)
    _build_vectors(folder)
    os._exit(0)


def _die_often(root, queue):
    """In a process of its own, without threads, that may fork: builds that are killed, each in its own folder."""
    _build_vectors(root / "first")  # imports what is needed
    calls = _build_and_count(root / "undisturbed")
    moments = sorted(random.Random(1).sample(range(calls), 60))
    killed = 0
    for moment in moments:
        child = os.fork()
        if not child:
            _build_until(moment, root / str(moment) / "index")
        killed += os.WIFSIGNALED(os.waitpid(child, 0)[1])
    queue.put((moments, killed))


def _contents(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork and SIGKILL")
def test_a_build_that_is_killed_leaves_no_index_or_a_whole_one_and_can_be_done_again(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    worker = context.Process(target=_die_often, args=(tmp_path, queue))
    worker.start()
    moments, killed = queue.get(timeout=100)
    worker.join()
    assert killed > 50
    undisturbed = _contents(tmp_path / "undisturbed")
    for moment in moments:
        folder = tmp_path / str(moment) / "index"
        assert not folder.exists() or _contents(folder) == undisturbed
        _build_vectors(folder)
        assert _contents(folder) == undisturbed


def test_what_a_build_left_that_was_killed_when_all_was_done_is_removed(texts, tmp_path):
    indexes.prepare(_component(), texts, folder=tmp_path / "index")
    (tmp_path / "index.building.json").write_text("{}")
    indexes.prepare(_component(), texts, folder=tmp_path / "index")
    assert not (tmp_path / "index.building.json").exists()


def test_what_an_interrupted_build_of_something_else_left_is_not_used(texts, tmp_path):
    with pytest.raises(OSError, match="No space"):
        indexes.prepare(_component(fail_after=2, resumes=True), texts, folder=tmp_path / "index")
    other = Documents(list("abcde"), ["y" * length for length in (9, 9, 9, 9, 9)])
    again = _component(resumes=True)
    indexes.prepare(again, other, folder=tmp_path / "index")
    assert again.target.lengths.tolist() == [9] * 5


def test_one_that_does_not_resume_starts_from_an_empty_folder(texts, tmp_path):
    with pytest.raises(OSError, match="No space"):
        indexes.prepare(_component(fail_after=2), texts, folder=tmp_path / "index")
    again = _component()
    indexes.prepare(again, texts, folder=tmp_path / "index")
    assert again.target.built == [0, 2, 4]


def test_a_folder_with_something_else_in_it_is_left_alone(texts, tmp_path):
    (tmp_path / "precious.txt").write_text("do not lose")
    with pytest.raises(FileExistsError, match="not empty and is not an index"):
        indexes.prepare(_component(), texts, folder=tmp_path)
    assert (tmp_path / "precious.txt").read_text() == "do not lose"


def test_an_empty_corpus_is_refused(tmp_path):
    with pytest.raises(BadInput, match="cannot index an empty corpus"):
        indexes.prepare(_component(), Documents([], []), folder=tmp_path / "index")


def _prepare(folder, queue):
    component = _component()
    indexes.prepare(component, Documents(list("abcde"), ["x", "", "xx", "xxx", "x"]), folder=folder)
    queue.put((component.target.built, component.target.lengths.tolist()))


def test_two_processes_that_build_at_once_build_one_index(tmp_path):
    context = multiprocessing.get_context("spawn")
    queue = context.Queue()
    workers = [context.Process(target=_prepare, args=(tmp_path / "index", queue)) for _ in range(2)]
    for worker in workers:
        worker.start()
    results = [queue.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join()
    assert sorted(built for built, _ in results) == [[], [0, 2, 4]]
    assert all(lengths == [1, 0, 2, 3, 1] for _, lengths in results)
