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
    return [str(PROGRAM), "--out", str(out), "--weights", str(weights), *more, *named]


def _run(arguments, launcher=()):
    quiet = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, *launcher, *arguments], capture_output=True, text=True, check=False, env=quiet
    )
    assert done.returncode == 0, done.stderr
    return done


def _killed_after(arguments, log, step):
    """Start a training and kill it, without warning, as soon as its log tells of `step`."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
    )
    deadline = time.monotonic() + 120
    while process.poll() is None and time.monotonic() < deadline:
        if log.exists() and log.read_text().count("\n") >= step:
            os.kill(process.pid, signal.SIGKILL)
            break
        time.sleep(0.001)
    output, _ = process.communicate()
    assert process.returncode == -signal.SIGKILL, output


def _weights(path):
    with np.load(path) as stored:
        return dict(stored)


@pytest.mark.parametrize(
    ("loss", "sampler"),
    [("softmax_cross_entropy", "in_batch"), ("nce", "uniform")],
)
def test_killed_at_any_step_and_resumed_it_ends_with_the_same_bits(tmp_path, loss, sampler):
    chosen = ("--dropout", "0.2", "--loss", loss, "--sampler", sampler)
    _run(_arguments(tmp_path / "whole", tmp_path / "whole.npz", *chosen))
    expected = _weights(tmp_path / "whole.npz")
    interrupted = _arguments(tmp_path / "killed", tmp_path / "killed.npz", *chosen)
    step = int(np.random.default_rng().integers(3, 180))
    _killed_after(interrupted, tmp_path / "killed" / "log.jsonl", step)
    assert not (tmp_path / "killed" / "checkpoint").exists(), f"killed after step {step}: it was done already"
    _run(interrupted)
    found = _weights(tmp_path / "killed.npz")
    for name, values in expected.items():
        np.testing.assert_array_equal(found[name], values, err_msg=f"{name}, killed after step {step}")
    lines = [json.loads(line) for line in (tmp_path / "killed" / "log.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == list(range(1, 241))


def test_two_processes_learn_what_one_learns_from_batches_twice_as_large(tmp_path):
    two = _arguments(tmp_path / "two", tmp_path / "two.npz", "--own-start")  # they start as the first does
    _run(two, ("-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"))
    one = [option.replace("batch_size=4", "batch_size=8") for option in OPTIONS]
    _run(_arguments(tmp_path / "one", tmp_path / "one.npz", options=one))
    expected, found = _weights(tmp_path / "one.npz"), _weights(tmp_path / "two.npz")
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], values, rtol=1e-4, atol=1e-5, err_msg=name)
