"""How one run of the benchmark is made: where it writes, how often it measures, and on what."""

from __future__ import annotations

import functools
import os
from dataclasses import dataclass
from pathlib import Path

import speed_texts

#: The cores of this process, before the benchmark leaves it and its engines a few of them.
CORES = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []


@dataclass(frozen=True)
class Run:
    """`small` makes everything small enough to see in seconds that it works; its figures mean nothing."""

    folder: Path
    threads: int = 1
    rounds: int = 5
    small: bool = False

    @property
    def shares(self) -> bool:
        """Whether two threads on two cores can be held against one."""
        return self.threads == 1 and len(CORES) > 1

    def texts(self) -> speed_texts.Texts:
        """The documents and queries, written when first asked for."""
        return self._prepared[0]

    def described_texts(self) -> str:
        """What the documents and queries are."""
        return self._prepared[1]

    @functools.cached_property
    def _prepared(self) -> tuple[speed_texts.Texts, str]:
        return speed_texts.prepare(self.folder / "texts", self.small)

    def size(self, whole: int, small: int) -> int:
        """One of two numbers."""
        return small if self.small else whole
