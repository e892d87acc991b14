"""Measurements of each piece of work, and their two forms: a table and a Chrome trace."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank.kit import beside
from nirank_trace.gauge import Peak

if TYPE_CHECKING:
    from rich.table import Table

SIZES = ("queries", "documents", "pairs")


@dataclass
class Span:
    """One call of a stage, or one batch of it (`stage` is "batch"): when, for how long, on how much.

    `start` and `stop` are nanoseconds of `time.perf_counter_ns`. `batches` and `in_batches` (nanoseconds) count
    what ran directly inside a stage.
    """

    stage: str
    component: str
    sizes: dict[str, int]
    start: int = field(default_factory=time.perf_counter_ns)
    stop: int = 0
    batches: int = 0
    in_batches: int = 0
    peak: Peak | None = None
    error: str | None = None

    def event(self, origin: int) -> dict[str, Any]:
        """As a complete event of the trace event format; times are microseconds since `origin`."""
        details: dict[str, Any] = {**self.sizes}
        if self.peak:
            details |= {"batches": self.batches, "resident MB": _mb(self.peak.resident), "CUDA MB": _mb(self.peak.cuda)}
        if self.error:
            details["error"] = self.error
        return {
            "ph": "X",
            "name": f"{self.stage} {self.component}",
            "cat": "stage" if self.peak else "batch",
            "ts": (self.start - origin) / 1000,
            "dur": (self.stop - self.start) / 1000,
            "pid": os.getpid(),
            "tid": 1,
            "args": details,
        }


@dataclass(frozen=True)
class Mark:
    """A moment: the measures of a system were known."""

    name: str
    values: dict[str, float]
    at: int = field(default_factory=time.perf_counter_ns)

    def event(self, origin: int) -> dict[str, Any]:
        """As an instant event of the trace event format."""
        place = {"ts": (self.at - origin) / 1000, "pid": os.getpid(), "tid": 1}
        return {"ph": "i", "s": "p", "name": self.name, "cat": "measures", "args": self.values} | place


def write(path: Path, spans: Iterable[Span], marks: Iterable[Mark], origin: int) -> None:
    """Write a trace for chrome://tracing or Perfetto, beside and then into place."""
    named = {"ph": "M", "name": "process_name", "pid": os.getpid(), "tid": 1, "args": {"name": "nirank"}}
    events = [named, *(span.event(origin) for span in spans), *(mark.event(origin) for mark in marks)]
    with beside(path) as unfinished:
        unfinished.write_text(json.dumps({"traceEvents": events, "displayTimeUnit": "ms"}) + "\n", encoding="utf-8")


def table(spans: Iterable[Span]) -> Table:
    """One row for each stage of each component, in the order in which they first ran."""
    from rich.table import Table

    shown = Table(title="Trace", title_justify="left")
    shown.add_column("stage", style="bold")
    shown.add_column("component")
    for name in ("calls", *SIZES, "batches", "seconds", "in batches", "peak MB", "CUDA MB"):
        shown.add_column(name, justify="right")
    for (stage, component), calls in _grouped(spans).items():
        shown.add_row(stage, component, *_cells(calls))
    return shown


def _grouped(spans: Iterable[Span]) -> dict[tuple[str, str], list[Span]]:
    groups: dict[tuple[str, str], list[Span]] = {}
    for span in sorted(spans, key=lambda span: span.start):
        if span.peak:
            groups.setdefault((span.stage, span.component), []).append(span)
    return groups


def _cells(calls: list[Span]) -> Iterator[str]:
    yield f"{len(calls):,}"
    for name in SIZES:
        total = sum(call.sizes.get(name, 0) for call in calls)
        yield f"{total:,}" if total else ""
    batches = sum(call.batches for call in calls)
    yield f"{batches:,}" if batches else ""
    yield f"{sum(call.stop - call.start for call in calls) / 1e9:.3f}"
    yield f"{sum(call.in_batches for call in calls) / 1e9:.3f}" if batches else ""
    peaks = [call.peak for call in calls if call.peak]
    for most in (max(peak.resident for peak in peaks), max(peak.cuda for peak in peaks)):
        yield f"{_mb(most):,.0f}" if most else ""


def _mb(size: int) -> float:
    return round(size / 1e6, 1)
