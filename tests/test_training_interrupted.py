"""A killed training goes on to the very weights that it would have had; two processes learn what one does."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

PROGRAM = Path(__file__).with_name("small_training.py")
OPTIONS = ["epochs=12", "batch_size=4", "learning_rate=0.05", "save_every=7", "log_every=1"]  # 240 steps


def _arguments(out, weights, *more, options=OPTIONS):
    named = [argument for option in options for argument in ("--option", option)]
    return ["--out", str(out), "--weights", str(weights), *more, *named]


class Trainings:
    """Trains in one child after the other of a process that has everything imported (`small_training.py`)."""

    def __init__(self, errors) -> None:
        self.errors = errors
        command = [sys.executable, str(PROGRAM), "--each-line"]
        quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
        pipe = subprocess.PIPE
        with errors.open("w") as told:
            self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=told, text=True, env=quiet)

    def start(self, arguments):
        """The number of the process that trains."""
        self.process.stdin.write(json.dumps(arguments) + "\n")
        self.process.stdin.flush()
        return int(self.process.stdout.readline())

    def end(self):
        """The exit code of the training, or minus the signal that killed it."""
        return int(self.process.stdout.readline())

    def run(self, arguments):
        self.start(arguments)
        assert self.end() == 0, self.errors.read_text()

    def killed_after(self, arguments, log, step):
        """Start a training and kill it, without warning, as soon as its log tells of `step`."""
        child = self.start(arguments)
        deadline = time.monotonic() + 120
        while not (log.exists() and log.read_text().count("\n") >= step):
            assert time.monotonic() < deadline, self.errors.read_text()
            time.sleep(0.001)
        os.kill(child, signal.SIGKILL)
        assert self.end() == -signal.SIGKILL, self.errors.read_text()


@pytest.fixture(scope="module")
def trainings(tmp_path_factory):
    started = Trainings(tmp_path_factory.mktemp("trainings") / "errors")
    yield started
    started.process.communicate()


def _launched(arguments, *launcher):
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, *launcher, str(PROGRAM), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=quiet)
    assert done.returncode == 0, done.stderr


def _weights(path):
    with np.load(path) as stored:
        return dict(stored)


@pytest.mark.parametrize(
    ("loss", "sampler"),
    [("softmax_cross_entropy", "in_batch"), ("nce", "uniform")],
)
def test_killed_at_any_step_and_resumed_it_ends_with_the_same_bits(trainings, tmp_path, loss, sampler):
    chosen = ("--dropout", "0.2", "--loss", loss, "--sampler", sampler)
    trainings.run(_arguments(tmp_path / "whole", tmp_path / "whole.npz", *chosen))
    expected = _weights(tmp_path / "whole.npz")
    interrupted = _arguments(tmp_path / "killed", tmp_path / "killed.npz", *chosen)
    step = int(np.random.default_rng().integers(3, 180))
    trainings.killed_after(interrupted, tmp_path / "killed" / "log.jsonl", step)
    assert not (tmp_path / "killed" / "checkpoint").exists(), f"killed after step {step}: it was done already"
    trainings.run(interrupted)
    found = _weights(tmp_path / "killed.npz")
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=f"{name}, killed after step {step}")
    lines = [json.loads(line) for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 241))


def test_two_processes_learn_what_one_learns_from_batches_twice_as_large(trainings, tmp_path):
    two = _arguments(tmp_path / "two", tmp_path / "two.npz", "--own-start")  # they start as the first does
    _launched(two, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
    one = [option.replace("batch_size=4", "batch_size=8") for option in OPTIONS]
    trainings.run(_arguments(tmp_path / "one", tmp_path / "one.npz", options=one))
    expected, found = _weights(tmp_path / "one.npz"), _weights(tmp_path / "two.npz")
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
