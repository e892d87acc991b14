"""What a killed process leaves is removed and in nobody's way; two writers are told apart; places are tried first."""

from __future__ import annotations

import os
import subprocess
import sys
import time

import pytest

import nirank
from nirank import files
from nirank.errors import BadInput
from nirank.experiments import train
from tests.training_toys import Weighed, numbers, registered

TOML = """
collection = "numbers"
pipeline = "everything >> weighed"
[train.weighed]
collection = "numbers"
loss = "ranknet"
steps = 3
[evaluate]
measures = ["nDCG@3"]
"""

_WRITER = """
import sys, time
from pathlib import Path
from nirank import files
with files.{how} as place:
    (place or Path(sys.argv[1] + ".begun")).write_text("half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.fixture
def writer():
    """Starts a process that has begun to write, and ends it afterwards."""
    begun = []

    def start(path, how="beside(Path(sys.argv[1]))"):
        code = _WRITER.format(how=how)
        process = subprocess.Popen([sys.executable, "-c", code, str(path)], stdout=subprocess.PIPE, text=True)
        begun.append(process)
        assert process.stdout.readline() == "writing\n"
        return process

    yield start
    for process in begun:
        process.kill()
        process.wait()
        process.stdout.close()


def _hidden(folder):
    return [path.name for path in folder.iterdir() if path.name.startswith(".")]


def test_what_a_killed_process_left_is_removed_and_what_is_being_written_stays(tmp_path, writer):
    path = tmp_path / "a[1].txt"
    process = writer(path)
    with files.beside(path) as unfinished:
        unfinished.write_text("whole")
    assert path.read_text() == "whole"
    assert len(_hidden(tmp_path)) == 1  # of the other, who still writes
    process.kill()
    process.wait()
    with files.beside(path) as unfinished:
        unfinished.write_text("again")
    assert (path.read_text(), _hidden(tmp_path)) == ("again", [])


def test_what_an_older_version_left_is_removed_after_a_day(tmp_path):
    for name in (".a.txt.old_old0", ".a.txt.new_new0"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.txt").write_text("half")
    os.utime(tmp_path / ".a.txt.old_old0", (time.time() - 90_000,) * 2)
    files.remove_leftovers(tmp_path / "a.txt")
    assert _hidden(tmp_path) == [".a.txt.new_new0"]


@pytest.mark.parametrize("name", [".index.old", ".index.original", ".index.backup_1", ".index.manual00.d"])
def test_a_hidden_folder_of_the_users_stays_however_old_it_is(tmp_path, name):
    (tmp_path / name).mkdir()
    (tmp_path / name / "notes").write_text("mine")
    os.utime(tmp_path / name, (time.time() - 900_000,) * 2)
    with files.beside(tmp_path / "index") as unfinished:
        unfinished.write_text("whole")
    assert (tmp_path / name / "notes").read_text() == "mine"


def test_a_lock_that_cannot_be_removed_does_no_harm(tmp_path, monkeypatch):
    def refused(*_, **__):
        raise PermissionError

    with files.alone(tmp_path / "out", "training"):
        monkeypatch.setattr("pathlib.Path.unlink", refused)  # as on Windows, where the file is open


def test_a_training_goes_on_where_it_was_killed_while_it_noted_its_experiment(tmp_path, writer):
    (tmp_path / "numbers.toml").write_text(TOML)
    process = writer(tmp_path / "trained" / "experiment.toml")
    process.kill()
    process.wait()
    assert _hidden(tmp_path / "trained")
    with registered():
        train.train(tmp_path / "numbers.toml", tmp_path / "trained")
    assert (_hidden(tmp_path / "trained"), _hidden(tmp_path)) == ([], [])


def test_a_second_training_into_one_folder_is_refused(tmp_path, writer):
    writer(tmp_path / "out", 'alone(Path(sys.argv[1]), "training")')
    (tmp_path / "out").mkdir()
    with pytest.raises(BadInput, match=r"out: another training is writing to it"):
        nirank.fit(Weighed(), "ranknet", numbers(), steps=3, out=tmp_path / "out")
    (tmp_path / "numbers.toml").write_text(TOML)
    with registered(), pytest.raises(BadInput, match="another nirank train is writing"):
        train.train(tmp_path / "numbers.toml", tmp_path / "out")


@pytest.mark.parametrize("name", ["x" * 250, "file/within"])
def test_a_place_that_cannot_be_written_is_told_before_the_work(tmp_path, monkeypatch, name):
    (tmp_path / "file").write_text("")
    (tmp_path / "run.toml").write_text(TOML.partition("[train")[0])
    monkeypatch.setattr("nirank.experiments.run._results", None)
    with registered(), pytest.raises(BadInput, match="cannot be written"):
        nirank.run(tmp_path / "run.toml", tmp_path / name)


def test_what_a_kill_left_when_the_results_were_there_goes_when_they_are_named_again(tmp_path):
    results = tmp_path / "results"
    results.mkdir()
    (results / "a.run").write_text("whole")
    left, working = tmp_path / ".results.8ens4pxq", tmp_path / ".results.0123abcd"
    for folder in (left, working):
        folder.mkdir()
        (folder / ".at-work").touch()
    from filelock import FileLock

    with FileLock(working / ".at-work"), pytest.raises(BadInput, match="never overwritten"):
        files.refuse_existing(results)
    assert not left.exists()
    assert working.exists()
    assert (results / "a.run").read_text() == "whole"
