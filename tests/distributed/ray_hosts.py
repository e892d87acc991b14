"""A Ray cluster of several hosts, and programs that run on them."""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Mapping
from pathlib import Path

from tests.distributed.hosts import Host

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PORT = 6379
_RAY = (sys.executable, "-m", "ray.scripts.scripts")
_PATIENCE = 180.0  # seconds
_BYTES = 100_000_000  # of each node's object store


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment of nodes and drivers: one thread each, no word to anybody outside."""
    paths = [*(path for path in os.environ.get("PYTHONPATH", "").split(os.pathsep) if path), str(HERE)]
    own = {
        "HF_HUB_OFFLINE": "1",
        "NIRANK_PLUGINS": "slow_letters",
        "OMP_NUM_THREADS": "1",
        "PYTHONPATH": os.pathsep.join(paths),
        "RAY_AUTH_MODE": "disabled",
        "RAY_DEDUP_LOGS": "0",
        "RAY_USAGE_STATS_ENABLED": "0",
    }
    return os.environ | own | dict(more or {})


def start_head(host: Host, folder: Path, cpus: int = 1, **more: str) -> None:
    """Start the first node of a cluster; sessions lie in `folder`, whose path must be short (sockets lie there)."""
    _start(
        host,
        folder / "head.log",
        cpus,
        more,
        "--head",
        f"--port={PORT}",
        f"--temp-dir={folder}",
        "--include-dashboard=false",
    )


def join(host: Host, head: Host, folder: Path, cpus: int = 1, **more: str) -> None:
    """Start a node on `host` that joins the cluster of `head`."""
    _start(host, folder / f"{host.name}.log", cpus, more, f"--address={head.address}:{PORT}")


def _start(host: Host, log: Path, cpus: int, more: Mapping[str, str], *options: str) -> None:
    usual = (
        f"--node-ip-address={host.address}",
        f"--num-cpus={cpus}",
        "--num-gpus=0",
        "--object-store-memory=100000000",
    )
    quiet = ("--disable-usage-stats", "--block")
    with log.open("wb") as file:
        process = host.start(*_RAY, "start", *usual, *quiet, *options, env=environment(more), stdout=file, stderr=file)
    until(lambda: "Ray runtime started" in log.read_text(), lambda: process.poll() is not None, log)


def nodes(host: Host, head: Host) -> int:
    """The number of nodes that are alive, as a driver on `host` sees them."""
    count = "import ray, sys; ray.init(sys.argv[1], log_to_driver=False); print(sum(n['Alive'] for n in ray.nodes()))"
    done = host.run(sys.executable, "-c", count, f"{head.address}:{PORT}", env=environment(), capture_output=True)
    return int(done.stdout.split()[-1])


class Driver:
    """A program that uses the cluster, by default one that encodes a corpus, with what it says."""

    def __init__(self, host: Host, log: Path, *arguments: str, program: str = "driver.py", **more: str) -> None:
        self.log = log
        with log.open("wb") as file:
            command = (sys.executable, str(HERE / program), *arguments)
            self.process = host.start(*command, env=environment(more), stdout=file, stderr=file)

    def says(self) -> str:
        """All that it has written so far."""
        return self.log.read_text(errors="replace")

    def ready(self) -> dict[str, list[int]]:
        """The processes of workers that were ready, by address of their node."""
        found: dict[str, list[int]] = {}
        for address, pid in re.findall(r"a worker is ready on ([\d.]+), process (\d+)", self.says()):
            found.setdefault(address, []).append(int(pid))
        return found

    def came(self) -> list[tuple[float, str]]:
        """The time at which each range came, and the range."""
        return [(float(when), one) for when, one in re.findall(r"^came ([\d.]+) (\S+)$", self.says(), re.MULTILINE)]

    def until(self, done) -> None:
        """Wait until a condition holds. Raises `AssertionError` where the program ends, or it takes too long."""
        until(done, lambda: self.process.poll() is not None, self.log)

    def end(self) -> int:
        """Wait for its end; the exit code."""
        return self.process.wait(timeout=_PATIENCE)


def until(done, ended, log: Path) -> None:
    """Wait until `done()`; raises `AssertionError` with the log where `ended()` before that, or it takes too long."""
    last = time.monotonic() + _PATIENCE
    while not done():
        assert not ended(), log.read_text(errors="replace")
        assert time.monotonic() < last, log.read_text(errors="replace")
        time.sleep(0.05)
