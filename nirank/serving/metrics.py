"""Metrics of a server in Prometheus' form: requests and seconds by route, seconds by stage, and what holds now.

A route is named by its template, `/documents/{document}`, and never by an address that somebody asked for: those are
without end, and so would be the series. For the same reason a method that HTTP does not have is `other`.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

from fastapi import FastAPI, Request
from fastapi.responses import Response
from prometheus_client import CollectorRegistry, Counter, Histogram, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily, Metric
from prometheus_client.registry import Collector

from nirank.serving.refusals import documented

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from nirank.serving.searching import Found
    from nirank.serving.served import Served

_METHODS = {"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"}
#: Upper ends of the buckets, in seconds: BM25 answers in the first ones, a cross-encoder in the last.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
_TEXT: dict[int | str, dict[str, Any]] = {200: {"content": {"text/plain": {"schema": {"type": "string"}}}}}
#: The status of a request whose client went away before there was an answer.
_GONE = "gone"


class Metrics:
    """The metrics of one server, in a registry of their own: two servers in a process do not add up."""

    def __init__(self, served: Served) -> None:
        self.registry = registry = CollectorRegistry()
        labels = ("route", "method", "status")
        self._requests = Counter("nirank_requests", "Requests answered.", labels, registry=registry)
        self._seconds = Histogram(
            "nirank_request_seconds",
            "Seconds from the head of a request to the end of its answer.",
            ("route",),
            buckets=_SECONDS,
            registry=registry,
        )
        self._stages = Histogram(
            "nirank_stage_seconds",
            "Seconds of a stage, or of the total, for the queries that were searched together.",
            ("pipeline", "stage"),
            buckets=_SECONDS,
            registry=registry,
        )
        told = "Queries that were answered without some shards of an index."
        self._partial = Counter("nirank_partial", told, ("pipeline",), registry=registry)
        registry.register(_Now(served))
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)

    def answered(self, route: str, method: str, status: str, seconds: float) -> None:
        """Count a request, and the seconds it took."""
        self._requests.labels(route, method if method in _METHODS else "other", status).inc()
        self._seconds.labels(route).observe(seconds)

    def searched(self, pipeline: str, found: Sequence[Found]) -> None:
        """Count the stages of a search, which all its queries share, and queries that not all shards answered."""
        for stage, value in found[0].stages.items():
            self._stages.labels(pipeline, stage).observe(value / 1000)
        self._partial.labels(pipeline).inc(sum(bool(each.lost) for each in found))

    def page(self, accept: str = "") -> tuple[bytes, str]:
        """The metrics as text, and its media type: OpenMetrics where `accept`, the header, asks for it."""
        encode, kind = choose_encoder(accept)
        return encode(self.registry), kind


class _Now(Collector):
    """A collector of what is not counted here but holds when it is asked."""

    def __init__(self, served: Served) -> None:
        self._served = served

    def collect(self) -> Iterator[Metric]:
        """The families of metrics, as prometheus_client asks for them."""
        state, limits = self._served.state, self._served.limits
        labels = {"name": state.name, "version": state.version, "nirank": version("nirank")}
        yield InfoMetricFamily("nirank", "What is served, in which version, by which nirank.", labels)
        yield GaugeMetricFamily("nirank_documents", "Documents that can be found.", len(state.corpus))
        yield GaugeMetricFamily("nirank_waiting", "Searches in the queue, running ones too.", limits.inside)
        yield CounterMetricFamily("nirank_refused", "Searches refused since the queue was full.", limits.refused)
        yield CounterMetricFamily("nirank_late", "Searches given up at the deadline.", limits.late)
        yield CounterMetricFamily("nirank_left", "Searches given up since the client went away.", limits.left)


class Measured:
    """An ASGI application whose requests are counted and timed, whoever answers them."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self.app, self.metrics = app, metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            return await self.app(scope, receive, send)
        status, start = _GONE, time.perf_counter()

        async def watched(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = str(message["status"])
            await send(message)

        try:
            await self.app(scope, receive, watched)
        except Exception:
            status = "500" if status == _GONE else status
            raise
        finally:
            self.metrics.answered(_route(scope), scope["method"], status, time.perf_counter() - start)


def add_to(app: FastAPI, served: Served) -> None:
    """Count what an application answers, and show it at `/metrics`."""
    metrics = Metrics(served)
    served.observers.append(metrics.searched)
    app.add_middleware(Measured, metrics=metrics)

    @app.get("/metrics", response_class=Response, responses=_TEXT | documented())
    def show(request: Request) -> Response:
        """Give the metrics in Prometheus' form."""
        text, kind = metrics.page(request.headers.get("accept", ""))
        return Response(text, media_type=kind)


def _route(scope: Scope) -> str:
    """The template of the route that answered: of a mounted application its place, of no route `none`."""
    mounted = scope.get("root_path", "").removeprefix(scope.get("app_root_path", ""))
    return getattr(scope.get("route"), "path", None) or mounted or "none"
