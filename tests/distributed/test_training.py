"""One training on two hosts, by torchrun on each: killed and started again, it comes to the very same weights."""

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

from tests.distributed import hosts

pytestmark = [
    pytest.mark.distributed,
    pytest.mark.skipif(not hosts.permitted(), reason="this process may not make network namespaces"),
]

PROGRAM = Path(__file__).parents[1] / "small_training.py"
PORT = "29511"
EPOCHS, STEPS = 30, 300  # 10 an epoch, of 80 examples, 4 of them in each of two processes
OPTIONS = [f"epochs={EPOCHS}", "batch_size=4", "learning_rate=0.05", "save_every=7", "log_every=1"]
#: Longer than any of these trainings takes; a process that waits for one that is gone would wait for ever.
SECONDS = 240


def _start(host, rank, master, out, weights):
    """Torchrun on one host, as the page on many machines says it; both hosts see the same files."""
    launcher = [sys.executable, "-m", "torch.distributed.run", "--nnodes=2", "--nproc-per-node=1"]
    launcher += [f"--node-rank={rank}", f"--master-addr={master}", f"--master-port={PORT}"]
    options = [argument for option in OPTIONS for argument in ("--option", option)]
    arguments = [str(PROGRAM), "--out", str(out), "--weights", str(weights), "--dropout=0.2", "--own-start", *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": f"v{host.name}"}
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    return host.start(*launcher, *arguments, env=environment, **pipes)


def _trained(pair, out, weights, meanwhile=lambda: None):
    """Train on both hosts, do something `meanwhile`; the codes that they end with, and what they write."""
    started = [_start(host, rank, pair[0].address, out, weights) for rank, host in enumerate(pair)]
    meanwhile()
    printed = [process.communicate(timeout=SECONDS)[0] for process in started]
    return [process.returncode for process in started], "\n".join(printed)


def _kill_the_worker_of(host, log, step):
    """Kill -9 the process that trains on a host, not the launcher, as soon as the log tells of a step."""
    _wait_for(log, step)
    (worker,) = [pid for pid in host.pids() if _trains(pid)]
    os.kill(worker, signal.SIGKILL)


def _wait_for(log, step):
    deadline = time.monotonic() + SECONDS
    while not (log.exists() and log.read_text().count("\n") >= step):
        assert time.monotonic() < deadline, "it did not get so far"
        time.sleep(0.001)


def _trains(pid):
    words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    return os.fsencode(PROGRAM) in words and b"torch.distributed.run" not in words


def _weights(path):
    with np.load(path) as stored:
        return dict(stored)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """The weights of a training that nothing disturbed."""
    folder = tmp_path_factory.mktemp("whole")
    with hosts.two_hosts() as pair:
        codes, printed = _trained(pair, folder / "out", folder / "weights.npz")
    assert codes == [0, 0], printed
    return _weights(folder / "weights.npz")


@pytest.mark.parametrize("killed", [0, 1], ids=["the first", "the second"])
def test_killed_on_one_host_both_end_and_started_again_the_weights_are_the_same(whole, tmp_path, killed):
    out, weights = tmp_path / "out", tmp_path / "weights.npz"
    log, step = out / "log.jsonl", int(np.random.default_rng().integers(20, 120))
    with hosts.two_hosts() as pair:
        codes, printed = _trained(pair, out, weights, lambda: _kill_the_worker_of(pair[killed], log, step))
        assert 0 not in codes, printed
        assert not weights.exists(), f"killed after step {step}: it was done already"
        codes, printed = _trained(pair, out, weights)
    assert codes == [0, 0], printed
    found = _weights(weights)
    assert found.keys() == whole.keys()
    for name, values in whole.items():
        np.testing.assert_array_equal(found[name], values, err_msg=f"{name}, killed after step {step}")
    assert [json.loads(line)["step"] for line in log.read_text().splitlines()] == list(range(1, STEPS + 1))


def test_a_host_that_loses_its_power_ends_the_training_of_the_other(tmp_path):
    out, weights = tmp_path / "out", tmp_path / "weights.npz"
    with hosts.two_hosts() as pair:
        first, second = [_start(host, rank, pair[0].address, out, weights) for rank, host in enumerate(pair)]
        _wait_for(out / "log.jsonl", 20)
        pair[1].kill()
        second.stdout.close()
        printed, _ = first.communicate(timeout=SECONDS)
    assert first.returncode != 0, printed
    assert not weights.exists()
