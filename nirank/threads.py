"""The threads and processors of this process."""

from __future__ import annotations

import os

#: What libraries read when they are imported; the last is nirank's own.
_BOUNDS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "NIRANK_PROCESSORS")


def processors() -> int:
    """The number of processors that this process may use; at most `$NIRANK_PROCESSORS`, where that is set."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    most = os.environ.get("NIRANK_PROCESSORS", "")
    return min(count, int(most)) if most.isdigit() and int(most) else count


def bound_threads(threads: int) -> None:
    """Have libraries that are imported from now on use so many threads at most, in this process and those it starts."""
    for name in _BOUNDS:
        known = os.environ.get(name, "")
        os.environ[name] = str(min(threads, int(known)) if known.isdigit() and int(known) else threads)
