"""The observer that measures every stage and every batch."""

from __future__ import annotations

import contextlib
import functools
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from nirank import hookimpl
from nirank.data import Batch, Candidates, Content, Queries
from nirank.plugins import Component, Middleware
from nirank_trace import spans
from nirank_trace.gauge import Gauge
from nirank_trace.spans import Mark, Span

if TYPE_CHECKING:
    from nirank import Evaluation, Results

FILE = "trace.json"


class Trace:
    """Measures every stage call: its time, queries, pairs and batches, and the peak of memory in use.

    At the end a table is printed (to standard error; not with `table = false`), and a trace is written that
    chrome://tracing and Perfetto show: to `file`, or else as `trace.json` into the folder of an experiment's results.
    """

    places = ("file",)  # settings that name what is written

    def __init__(self, file: str | None = None, table: bool = True) -> None:
        self.file, self.table = Path(file) if file else None, table
        self.spans: list[Span] = []
        self.marks: list[Mark] = []
        self._origin = time.perf_counter_ns()
        self._gauge = Gauge()
        self._open: list[Span] = []
        self._closed = False

    @hookimpl(tryfirst=True)
    def nirank_wrap(self, component: Component) -> Middleware | None:
        """Stand round the encoding of documents, which has no hook of its own."""
        return functools.partial(self._around, component) if component.can("encode_documents") else None

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_rewrite(self, rewriter: Component, queries: Queries) -> Generator[None, Any, Any]:
        """Measure the rewriting of queries."""
        with self._stage("rewrite", rewriter, queries=len(queries)):
            return (yield)

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_write(self, writer: Component, contents: Sequence[Content]) -> Generator[None, Any, Any]:
        """Measure the writing of texts for documents."""
        with self._stage("write", writer, documents=len(contents)):
            return (yield)

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_encode(self, encoder: Component, queries: Queries) -> Generator[None, Any, Any]:
        """Measure the encoding of queries."""
        with self._stage("encode", encoder, queries=len(queries)):
            return (yield)

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_generate(self, generator: Component, queries: Queries) -> Generator[None, Candidates, Candidates]:
        """Measure the search for candidates; the pairs are those found."""
        with self._stage("generate", generator, queries=len(queries)) as span:
            found = yield
            span.sizes["pairs"] = found.pairs
            return found

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_score(self, scorer: Component, queries: Queries, candidates: Candidates) -> Generator[None, Any, Any]:
        """Measure the scoring."""
        with self._stage("score", scorer, queries=len(queries), pairs=candidates.pairs):
            return (yield)

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_forward(self, component: Component, batch: Batch) -> Generator[None, Any, Any]:
        """Measure one batch, as part of the stage that it belongs to."""
        with self._measured(Span("batch", component.name, {"entries": len(batch)})) as span:
            result = yield
        for stage in self._open[-1:]:
            stage.batches += 1
            stage.in_batches += span.stop - span.start
        return result

    @hookimpl(wrapper=True, tryfirst=True)
    def nirank_loss(self, loss: Component, scores: Any) -> Generator[None, Any, Any]:
        """Measure one loss; its queries are the lists of the batch."""
        with self._stage("loss", loss, queries=len(scores)):
            return (yield)

    @hookimpl
    def nirank_evaluated(self, system: str, evaluation: Evaluation) -> None:
        """Mark where one system ends and the next begins."""
        self.marks.append(Mark(f"measured {system}", dict(evaluation.mean)))

    def finished(self, results: Results, folder: Path | None) -> None:  # noqa: ARG002 (how observers are called)
        """Write the trace into the folder of the results, unless it has a place of its own."""
        if folder and not self.file:
            spans.write(folder / FILE, self.spans, self.marks, self._origin)

    def close(self) -> None:
        """Write the trace to its own place and print the table, also of a run that failed."""
        self._closed = True
        if self.file:
            spans.write(self.file, self.spans, self.marks, self._origin)
        if self.table and self.spans:
            from rich.console import Console

            # A file or a pipe has no width: a table written there is not folded to that of a terminal.
            Console(stderr=True, width=None if sys.stderr.isatty() else 160).print(spans.table(self.spans))

    def _around(self, component: Component, call: Callable[..., Any], method: str, *inputs: Any) -> Any:
        if self._closed or method != "encode_documents":
            return call(*inputs)
        with self._stage(method, component, documents=len(inputs[0])):
            return call(*inputs)

    @contextlib.contextmanager
    def _stage(self, stage: str, component: Component, **sizes: int) -> Iterator[Span]:
        with self._gauge.watch() as peak, self._measured(Span(stage, component.name, sizes, peak=peak)) as span:
            self._open.append(span)
            try:
                yield span
            finally:
                self._open.pop()

    @contextlib.contextmanager
    def _measured(self, span: Span) -> Iterator[Span]:
        try:
            yield span
        except BaseException as error:
            span.error = type(error).__name__
            raise
        finally:
            span.stop = time.perf_counter_ns()
            self.spans.append(span)


def tiny() -> Trace:
    """One that prints nothing."""
    return Trace(table=False)
