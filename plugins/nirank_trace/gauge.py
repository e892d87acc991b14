"""The most memory that was in use during a piece of work, also where one piece lies inside another.

The system and torch each keep one high-water mark. It is set back when a piece begins, after all pieces that are
open have taken note of it.
"""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_STATUS, _SET_BACK = Path("/proc/self/status"), Path("/proc/self/clear_refs")


@dataclass
class Peak:
    """The most bytes in use: of the process (resident), and of all CUDA devices by torch's tensors."""

    resident: int = 0
    cuda: int = 0

    def rise(self, resident: int, cuda: int) -> None:
        """Take note of a reading."""
        self.resident, self.cuda = max(self.resident, resident), max(self.cuda, cuda)


class Gauge:
    """Measures the peak of each piece of work; where the system cannot set its mark back, that of the process."""

    def __init__(self) -> None:
        self._open: list[Peak] = []

    @contextlib.contextmanager
    def watch(self) -> Iterator[Peak]:
        """The peak inside the block, complete when the block ends."""
        self._read()
        _set_back()
        peak = Peak()
        self._open.append(peak)
        try:
            yield peak
        finally:
            self._read()
            self._open.pop()

    def _read(self) -> None:
        resident, cuda = _resident(), _cuda()
        for peak in self._open:
            peak.rise(resident, cuda)


def _resident() -> int:
    with contextlib.suppress(OSError, StopIteration):
        lines = _STATUS.read_text(encoding="ascii", errors="replace").splitlines()
        return 1024 * int(next(line for line in lines if line.startswith("VmHWM")).split()[1])
    with contextlib.suppress(ImportError):  # not on Windows
        import resource

        highest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return highest if sys.platform == "darwin" else 1024 * highest
    return 0


def _cuda() -> int:
    torch = _torch_with_cuda()
    return sum(map(torch.cuda.max_memory_allocated, range(torch.cuda.device_count()))) if torch else 0


def _set_back() -> None:
    with contextlib.suppress(OSError):
        _SET_BACK.write_text("5", encoding="ascii")  # Linux: the high-water mark becomes what is in use now
    if torch := _torch_with_cuda():
        for device in range(torch.cuda.device_count()):
            torch.cuda.reset_peak_memory_stats(device)


def _torch_with_cuda() -> Any:
    torch = sys.modules.get("torch")
    return torch if torch and torch.cuda.is_available() and torch.cuda.is_initialized() else None
