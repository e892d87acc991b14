"""Two hosts on one machine: network namespaces joined by a pair of virtual Ethernet devices.

    with two_hosts() as (first, second):
        server = first.start("redis-server", "--bind", first.address)

Each has addresses of its own and a loopback of its own; files and processors are shared. What was started on a host
and its children are killed when the block ends. `permitted()` tells whether this process may make namespaces.
"""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any


@dataclass
class Host:
    """A namespace, its address, and the processes that were started in it."""

    name: str
    address: str
    started: list[subprocess.Popen[Any]] = field(default_factory=list)

    def start(self, *command: str, **options: Any) -> subprocess.Popen[Any]:
        """Start a command on this host, in a session of its own; `options` are those of `subprocess.Popen`."""
        process = subprocess.Popen([*_inside(self.name), *command], start_new_session=True, **options)
        self.started.append(process)
        return process

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[Any]:
        """Run a command on this host to its end; `options` are those of `subprocess.run`."""
        return subprocess.run([*_inside(self.name), *command], check=False, **options)

    def pids(self) -> list[int]:
        """The processes that are in this namespace now."""
        listed = subprocess.run(["ip", "netns", "pids", self.name], capture_output=True, text=True, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def kill(self) -> None:
        """Kill everything on this host with -9, as if its power were cut, and reap what was started."""
        while alive := [pid for pid in self.pids() if not _is_zombie(pid)]:
            for pid in alive:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
        for process in self.started:
            process.wait()
        self.started.clear()

    def unplug(self) -> None:
        """Take the host off the network: its processes live on, and reach nobody."""
        _ip("-n", self.name, "link", "set", _device(self.name), "down")


@functools.cache
def permitted() -> bool:
    """True where this process may make namespaces and devices between them."""
    if not shutil.which("ip") or not shutil.which("nsenter"):
        return False
    try:
        with two_hosts():
            return True
    except (subprocess.CalledProcessError, OSError):
        return False


@contextlib.contextmanager
def two_hosts() -> Iterator[tuple[Host, Host]]:
    """Two hosts that reach one another. Raises `CalledProcessError` where this is not permitted."""
    number = os.getpid() % 250
    hosts = tuple(Host(f"nr{os.getpid()}{letter}", f"10.213.{number}.{last}") for letter, last in (("a", 1), ("b", 2)))
    first, second = hosts
    with contextlib.ExitStack() as stack:
        for host in hosts:
            _ip("netns", "add", host.name)
            stack.callback(_remove, host)
        _ip("link", "add", _device(first.name), "netns", first.name, "type", "veth",
            "peer", _device(second.name), "netns", second.name)  # fmt: skip
        for host in hosts:
            _ip("-n", host.name, "address", "add", f"{host.address}/24", "dev", _device(host.name))
            for device in (_device(host.name), "lo"):
                _ip("-n", host.name, "link", "set", device, "up")
        yield first, second


def _remove(host: Host) -> None:
    host.kill()
    subprocess.run(["ip", "netns", "delete", host.name], capture_output=True, check=False)


def _inside(name: str) -> list[str]:
    return ["nsenter", f"--net=/run/netns/{name}"]


def _device(name: str) -> str:
    return f"v{name}"  # of at most 15 characters


def _is_zombie(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat", encoding="ascii", errors="replace") as file:
            return file.read().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def _ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], capture_output=True, check=True)
