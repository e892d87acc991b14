"""Shards that hang: told from shards that work, begun again, named, or left out and marked."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

pytest.importorskip("Stemmer")
pytest.importorskip("regex")

import nirank
from nirank.data import Candidates, Documents, Queries
from nirank.errors import BadInput
from nirank.execution.shards import group, waiting
from nirank.execution.shards.group import LostShard

DOCUMENTS = Documents([f"d{number}" for number in range(40)], ["a cat", "cats and dogs", "a bridge", "the cat"] * 10)
QUERIES = Queries.of(["cat", "bridge", "dog"])
SECONDS = 3.0


@pytest.fixture(autouse=True)
def _cache_of_its_own(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def open_shards():
    """Makes `bm25` in two shards that have been searched, and closes them."""
    made = []

    def of(generator="bm25", **settings):
        shards = nirank.sharded(nirank.load(generator), shards=2, **settings)
        shards.index(DOCUMENTS)
        made.append(shards.component.target)
        return shards

    yield of
    for target in made:
        target.close()


def _pid(shards, number):
    (pid,) = shards.component.target.group.hosts[number].pids
    return pid


def _stop(pid):
    os.kill(pid, signal.SIGSTOP)
    while _state(pid) != "T":
        time.sleep(0.01)


def _state(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except FileNotFoundError:
        return "X"


def _ends(pid):
    last = time.monotonic() + 20
    while _state(pid) not in "ZX":
        assert time.monotonic() < last, f"process {pid} runs on: {_state(pid)}"
        time.sleep(0.05)


def _same(left, right):
    columns = ("offsets", "docs", "scores")
    return bool(left.pairs) and all(getattr(left, name).tobytes() == getattr(right, name).tobytes() for name in columns)


def test_a_shard_that_hangs_is_killed_and_begun_again(open_shards, caplog):
    expected, shards = nirank.load("bm25").search(QUERIES, DOCUMENTS), open_shards(timeout=SECONDS)
    hanging = _pid(shards, 1)
    _stop(hanging)
    began = time.monotonic()
    found = shards.search(QUERIES, DOCUMENTS)
    assert time.monotonic() - began >= SECONDS * 0.9
    assert _same(expected, found)
    assert found.lost == ()
    assert "did not answer within 3 seconds; it is begun again, and asked once more" in caplog.text
    _ends(hanging)
    assert _pid(shards, 1) != hanging


def test_a_shard_that_hangs_and_may_not_be_begun_again_is_named(open_shards):
    shards = open_shards(timeout=0.5, restarts=0)
    expected = nirank.load("bm25").search(QUERIES, DOCUMENTS)
    _stop(_pid(shards, 0))
    told = r"Shard 1 \(.*shard-0000\) did not answer within 0.5 seconds. .* set timeout higher"
    with pytest.raises(LostShard, match=told):
        shards.search(QUERIES, DOCUMENTS)
    assert _same(expected, shards.search(QUERIES, DOCUMENTS))


def test_shards_that_all_hang_are_waited_for_together_and_no_longer(open_shards):
    shards = open_shards(timeout=2.0, restarts=0, partial=True)
    for number in range(2):
        _stop(_pid(shards, number))
    began = time.monotonic()
    with pytest.raises(LostShard, match="No shard of the index answered"):
        shards.search(QUERIES, DOCUMENTS)
    assert time.monotonic() - began < 3.5  # and not 4


def test_where_that_is_allowed_the_rest_is_found_and_marked(open_shards):
    shards = open_shards(timeout=0.5, restarts=0, partial=True)
    _stop(_pid(shards, 1))
    found = (shards % 40).search(QUERIES, DOCUMENTS)
    assert found.lost == ("shard 2 of bm25",)
    assert found.pairs
    assert found.docs.max() < 20


class Opening:
    """Finds all documents; it opens only while there is a file beside its index."""

    separable, index_key = True, property(lambda self: {"index": "opening"})

    def build(self, corpus, folder, encode=None):
        (folder / "size").write_text(str(len(corpus)))

    def open(self, corpus, folder):
        self.size = int((folder / "size").read_text())
        while (folder.parent.parent / f"{folder.name} hangs").exists():
            time.sleep(0.05)

    def generate(self, queries, k):
        for _ in range(sum("slow" in text for text in queries.contents)):
            time.sleep(0.8)
        return Candidates.of([range(self.size)[:k]] * len(queries))


@pytest.fixture
def opening(monkeypatch, open_shards):
    monkeypatch.syspath_prepend(os.path.dirname(__file__))
    from test_shards_hanging import Opening as Importable

    return lambda **settings: open_shards(Importable(), **settings)


def test_where_others_may_do_a_shard_that_is_being_opened_holds_nobody_up(opening, tmp_path, monkeypatch):
    shards = opening(timeout=0.5, restarts=0, partial=True)
    hangs = tmp_path / "cache" / "indexes" / "shard-0001 hangs"
    hangs.touch()
    os.kill(_pid(shards, 1), signal.SIGKILL)
    for _ in range(2):
        began = time.monotonic()
        assert shards.search(QUERIES, DOCUMENTS).lost == (f"shard 2 of {shards.component.parts[0].name}",)
        assert time.monotonic() - began < 3
    opened = _pid(shards, 1)
    assert shards.search(QUERIES, DOCUMENTS).lost
    assert _pid(shards, 1) == opened  # not begun again and again
    with monkeypatch.context() as soon:
        soon.setattr(group, "_LEAST_TO_OPEN", 0.0)
        soon.setattr(group, "_TIMES_TO_OPEN", 1.0)
        assert shards.search(QUERIES, DOCUMENTS).lost
    _ends(opened)  # it took too long
    hangs.unlink()
    last = time.monotonic() + 30
    while shards.search(QUERIES, DOCUMENTS).lost:
        assert time.monotonic() < last


def test_a_shard_that_is_at_the_questions_of_others_is_not_silent(opening, caplog):
    shards = opening(timeout=1.5)
    before = [_pid(shards, number) for number in range(2)]
    with ThreadPoolExecutor(6) as pool:
        found = [*pool.map(lambda _: (shards % 40).search(["slow"], DOCUMENTS), range(6))]
    assert [one.pairs for one in found] == [40] * 6
    assert [_pid(shards, number) for number in range(2)] == before
    assert "did not answer" not in caplog.text


def test_without_a_limit_a_silence_is_told_and_waited_for(open_shards, monkeypatch, caplog):
    monkeypatch.setattr(waiting, "_TOLD", 0.3)
    shards = open_shards()
    expected, stopped = nirank.load("bm25").search(QUERIES, DOCUMENTS), _pid(shards, 1)
    _stop(stopped)
    with caplog.at_level(logging.WARNING), ThreadPoolExecutor(1) as pool:
        searched = pool.submit(shards.search, QUERIES, DOCUMENTS)
        while caplog.text.count("has not answered for") < 2:
            time.sleep(0.05)
        os.kill(stopped, signal.SIGCONT)
        assert _same(expected, searched.result())
    assert _pid(shards, 1) == stopped


def test_a_program_ends_where_a_shard_hung(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import nirank, os, signal\n"
        "documents = nirank.Documents([*'abcd'], ['cat', 'dog', 'cat cat', 'mat'])\n"
        "many = nirank.sharded(nirank.load('bm25'), shards=2, restarts=0, partial=True, timeout=1)\n"
        "many.index(documents)\n"
        "(pid,) = many.component.target.group.hosts[1].pids\n"
        "os.kill(pid, signal.SIGSTOP)\n"
        "print(*many.search(['cat'], documents).lost)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stdout) == (0, "shard 2 of bm25\n"), done.stderr


def test_a_program_that_is_interrupted_while_a_shard_hangs_ends(tmp_path):
    program = tmp_path / "program.py"
    program.write_text(
        "import nirank, os, signal\n"
        "documents = nirank.Documents([*'abcd'], ['cat', 'dog', 'cat cat', 'mat'])\n"
        "many = nirank.sharded(nirank.load('bm25'), shards=2)\n"
        "many.index(documents)\n"
        "(pid,) = many.component.target.group.hosts[1].pids\n"
        "os.kill(pid, signal.SIGSTOP)\n"
        "signal.signal(signal.SIGALRM, signal.getsignal(signal.SIGINT))\n"
        "signal.alarm(1)\n"
        "try:\n"
        "    many.search(['cat'], documents)\n"
        "except KeyboardInterrupt:\n"
        "    print(many.search(['cat'], documents).docs.tolist(), flush=True)\n"
    )
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
    done = subprocess.run([sys.executable, program], capture_output=True, text=True, timeout=60, env=environment)
    assert (done.returncode, done.stdout) == (0, "[2, 0]\n"), done.stderr


@pytest.mark.parametrize("wrong", [0, -1, True, "5", float("nan")])
def test_a_limit_that_is_no_time_is_refused(wrong):
    with pytest.raises(BadInput, match=r"timeout = .*seconds above 0"):
        nirank.sharded(nirank.load("bm25"), timeout=wrong)


def test_a_limit_for_shards_of_this_process_is_refused():
    with pytest.raises(BadInput, match='timeout = 5 with on = "here": a shard that hangs in this process'):
        nirank.sharded(nirank.load("bm25"), on="here", timeout=5)


def test_the_limit_is_written_in_the_pipeline():
    text = "sharded(bm25, shards=2, timeout=2.5)"
    assert repr(nirank.parse(text)) == text
