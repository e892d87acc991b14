"""The threads and processors of this process."""

from __future__ import annotations

import os


def processors() -> int:
    """The number of processors that this process may use; at most `$NIRANK_PROCESSORS`, where that is set."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = os.environ.get("NIRANK_PROCESSORS", "")
    return min(count, int(most)) if most.isdigit() and int(most) else count
