"""The metrics of a server, read by prometheus_client's own parser."""

from __future__ import annotations

from types import SimpleNamespace

import anyio
import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from nirank.serving.metrics import Measured, Metrics
from tests.serving import running, small


def _served(name="emoji", documents=1870):
    limits = SimpleNamespace(inside=3, refused=5, late=1, left=2)
    return SimpleNamespace(state=SimpleNamespace(name=name, version="a1b2", corpus=range(documents)), limits=limits)


def _found(stages, *lost):
    return SimpleNamespace(stages=stages, lost=lost)


@pytest.fixture
def metrics():
    return Metrics(_served())


def _read(metrics):
    """The value of each series, by name and labels."""
    text, kind = metrics.page()
    assert kind.startswith("text/plain")
    return _parsed(text.decode())


def _parsed(text):
    families = text_string_to_metric_families(text)
    return {(one.name, *sorted(one.labels.items())): one.value for family in families for one in family.samples}


def _asked(app, scope):
    """Ask an application once, as a server would."""

    async def receive():
        return {"type": "http.disconnect"}

    async def send(message):
        pass

    anyio.run(app, scope, receive, send)


def _answering(status, path=None):
    async def app(scope, receive, send):
        if path:
            scope["route"] = SimpleNamespace(path=path)
        if status:
            await send({"type": "http.response.start", "status": status, "headers": []})

    return app


def _scope(method="GET"):
    return {"type": "http", "method": method, "path": "/documents/any"}


def test_requests_are_counted_by_the_template_of_their_route_and_by_status(metrics):
    for status in (200, 200, 404):
        _asked(Measured(_answering(status, "/documents/{document}"), metrics), _scope())
    read = _read(metrics)
    labels = ("method", "GET"), ("route", "/documents/{document}")
    assert read["nirank_requests_total", *labels, ("status", "200")] == 2
    assert read["nirank_requests_total", *labels, ("status", "404")] == 1
    assert read["nirank_request_seconds_count", labels[1]] == 3
    assert 0 < read["nirank_request_seconds_sum", labels[1]] < 10


def test_a_method_that_does_not_exist_makes_no_series_of_its_own(metrics):
    for method in ("BREW", "WHEN"):
        _asked(Measured(_answering(404), metrics), _scope(method))
    assert _read(metrics)["nirank_requests_total", ("method", "other"), ("route", "none"), ("status", "404")] == 2


def test_a_client_that_went_away_and_an_application_that_failed_are_counted(metrics):
    async def failing(scope, receive, send):
        raise OSError("a disk")

    _asked(Measured(_answering(None), metrics), _scope())
    with pytest.raises(OSError, match="a disk"):
        _asked(Measured(failing, metrics), _scope())
    read = _read(metrics)
    for status in ("gone", "500"):
        assert read["nirank_requests_total", ("method", "GET"), ("route", "none"), ("status", status)] == 1


def test_the_seconds_of_stages_are_counted(metrics):
    metrics.searched("mixed", [_found({"generate bm25": 4, "score minilm": 200}), _found({}, "shard 1 of bm25")])
    metrics.searched("mixed", [_found({"generate bm25": 2})])
    read = _read(metrics)
    labels = ("pipeline", "mixed"), ("stage", "generate bm25")
    assert read["nirank_stage_seconds_sum", *labels] == pytest.approx(0.006)
    assert read["nirank_stage_seconds_bucket", ("le", "0.0025"), *labels] == 1
    assert read["nirank_partial_total", ("pipeline", "mixed")] == 1


def test_what_holds_now_is_read_when_it_is_asked_for():
    served = _served()
    metrics = Metrics(served)
    assert _read(metrics)["nirank_documents",] == 1870
    served.state.corpus = range(1871)
    read = _read(metrics)
    assert (read["nirank_documents",], read["nirank_waiting",]) == (1871, 3)
    assert [read[f"nirank_{what}_total",] for what in ("refused", "late", "left")] == [5, 1, 2]
    (about,) = [dict(labels) for name, *labels in read if name == "nirank_info"]
    assert (about["name"], about["version"]) == ("emoji", "a1b2")
    assert read["process_resident_memory_bytes",] > 1e6


def test_two_servers_of_a_process_do_not_add_up(metrics):
    metrics.searched("bm25", [_found({"total": 1})])
    assert not any("bm25" in dict(labels).values() for _, *labels in _read(Metrics(_served("other"))))


def test_who_asks_for_openmetrics_gets_it(metrics):
    text, kind = metrics.page("application/openmetrics-text; version=1.0.0")
    assert kind.startswith("application/openmetrics-text")
    assert text.endswith(b"# EOF\n")


def test_a_name_with_quotes_and_lines_can_be_read_back():
    name = 'two\nlines "and" \\ a quote'
    assert any(("name", name) in labels for labels in _read(Metrics(_served(name))))


def test_a_server_counts_what_it_answered_and_refused(tmp_path):
    with running(small(tmp_path, token="secret")) as address, httpx.Client(base_url=address) as client:
        client.get("/search", params={"q": "cat"})
        client.headers["Authorization"] = "Bearer secret"
        for path in ("/search?q=cat", "/documents/cat", "/documents/cow", "/nothing/of/the/kind", "/page/none.js"):
            client.get(path)
        answer = client.get("/metrics")
    read = _parsed(answer.text)
    counted = {
        (dict(labels)["route"], dict(labels)["status"]): value
        for (name, *labels), value in read.items()
        if name == "nirank_requests_total"
    }
    assert counted == {
        ("none", "401"): 1,
        ("/search", "200"): 1,
        ("/documents/{id:path}", "200"): 1,
        ("/documents/{id:path}", "404"): 1,
        ("none", "404"): 1,
        ("/page", "404"): 1,
    }
    assert read["nirank_stage_seconds_count", ("pipeline", "bm25"), ("stage", "total")] == 1
    assert read["nirank_waiting",] == 0
