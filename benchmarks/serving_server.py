"""`nirank serve` as a process of its own: started, asked whether it is ready, measured, killed."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

#: Seconds that a server may take to index, open and answer.
_PATIENCE = 900


class Server:
    """A server on a free port of this machine; `core` is the processor that it runs on, if any.

    `command` are the arguments for Python; a `PORT` among them stands for the port.
    """

    def __init__(
        self, command: Sequence[str], log: Path, core: int | None = None, python: str = sys.executable
    ) -> None:
        self.port, self.log, self.core = _free_port(), log, core
        self._command = [python, *(str(self.port) if part == "PORT" else part for part in command)]
        self.start()

    def start(self) -> None:
        """Start the process, and wait until it answers."""
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(self._command, stdout=log, stderr=log)
        if self.core is not None and hasattr(os, "sched_setaffinity"):
            os.sched_setaffinity(self.process.pid, {self.core})
        deadline = time.monotonic() + _PATIENCE
        while not self._ready():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"the server did not start:\n{self.log.read_text(encoding='utf-8')[-3000:]}")
            time.sleep(0.05)

    def _ready(self) -> bool:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            connection.request("GET", "/ready")
            return connection.getresponse().status == 200
        return False

    def kill(self) -> None:
        """End it at once, as a crash would: signal 9."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> float:
        """End it by the signal that systems and containers send; the seconds that took."""
        start = time.perf_counter()
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.kill()
        return time.perf_counter() - start

    def counted(self, word: str) -> int:
        """How many lines of its output are this word."""
        return self.log.read_text(encoding="utf-8").splitlines().count(word)

    def processor(self) -> float:
        """Seconds of processor time so far."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def memory(self) -> tuple[float, float]:
        """Megabytes resident now, and at most so far."""
        lines = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8").splitlines()
        kilobytes = {line.split(":")[0]: int(line.split()[1]) for line in lines if line.startswith("Vm")}
        return kilobytes["VmRSS"] / 1000, kilobytes["VmHWM"] / 1000


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
