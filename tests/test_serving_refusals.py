"""What the server refuses: bad input with a clear answer, and whoever may not ask."""

from __future__ import annotations

import json
import socket

import pytest

import nirank
from nirank.errors import BadInput

pytest.importorskip("fastapi")

from fastapi.testclient import TestClient

from nirank.serving import guard, running
from nirank.serving.app import application
from nirank.serving.opening import source
from nirank.serving.options import Options
from nirank.serving.state import Holder, State

FIELDS = {"year": [2001, 2002], "name": ["x", "y"], "new": [True, False]}


@pytest.fixture(scope="module")
def state():
    corpus = nirank.Documents(["1", "2"], ["a small cat", "the dog"], FIELDS)
    return State("toy", corpus, {"bm25": nirank.parse("bm25"), "either": nirank.parse("bm25 ^ ql")})


@pytest.fixture(scope="module")
def ask(state):
    """Sends a request, and checks the form of what refuses it: its status, and a detail without a traceback."""
    with TestClient(application(Holder(state), Options()), "http://localhost") as client:

        def asked(method, path, status, *said, **given):
            response = client.request(method, path, **given)
            assert response.status_code == status, response.text
            if status >= 400:
                assert list(response.json()) == ["detail"]
                assert all(each in response.json()["detail"] for each in said), response.text
                assert "Traceback" not in response.text
                assert len(response.text) < 5000
            return response

        yield asked


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ({}, "one of query, image and document"),
        ({"query": "cat", "document": "1"}, "one of query, image and document"),
        ({"query": None}, "one of query, image and document"),
        ({"query": 7}, "query"),
        ({"query": ["cat"]}, "query"),
        ({"query": "c" * 10_001}, "query: String should have at most 10000"),
        ({"query": "cat", "pipelines": ["bm26"]}, "There is no pipeline 'bm26'. Did you mean 'bm25'?"),
        ({"query": "cat", "pipelines": "bm25"}, "pipelines"),
        ({"query": "cat", "pipelines": [""]}, "pipelines"),
        ({"query": "cat", "pipelines": ["<script>alert(1)</script>"]}, "There is no pipeline"),
        ({"query": "cat", "pipelines": ["bm25"] * 101}, "pipelines"),
        ({"query": "cat", "k": 0}, "k: Input should be greater than or equal to 1"),
        ({"query": "cat", "k": 1001}, "k: Input should be less than or equal to 1000"),
        ({"query": "cat", "k": 10**30}, "k"),
        ({"query": "cat", "k": 1.5}, "k"),
        ({"query": "cat", "k": True}, "k"),
        ({"query": "cat", "k": "ten"}, "k"),
        ({"query": "cat", "k": "10"}, "k"),
        ({"query": "cat", "offset": -1}, "offset: Input should be greater"),
        ({"query": "cat", "offset": 10**9}, "offset"),
        ({"query": "cat", "offset": 9_999, "k": 1000}, "offset = 9999"),
        ({"query": "cat", "where": "year >="}, "is not a condition"),
        ({"query": "cat", "where": "yeer > 2000"}, "there is no field 'yeer'"),
        ({"query": "cat", "where": "name > 2000"}, "the field 'name' holds texts"),
        ({"query": "cat", "where": "__import__('os').system('true')"}, "is refused"),
        ({"query": "cat", "where": "not " * 400 + "year"}, ""),
        ({"query": "cat", "where": "(" * 900 + "year > 1" + ")" * 900}, "is not a condition"),
        ({"query": "cat", "where": "new or(" * 240 + "new" + ")" * 240}, "is not a condition"),
        ({"query": "cat", "where": "year > 2000 \0"}, "is not a condition"),
        ({"query": "cat", "where": "y" * 2001}, "where"),
        ({"query": "cat", "fields": ["colour"]}, "There is no field 'colour'"),
        ({"query": "cat", "unknown": 1}, "unknown"),
        ({"query": "\ud800"}, "query"),
        ({"query": "cat", "where": "name == '\udfff'"}, "where"),
        ({"query": "cat", "pipelines": ["\ud800"]}, "pipelines"),
        ([], "valid dictionary"),
        ("text", "valid dictionary"),
        (None, ""),
    ],
    ids=lambda value: json.dumps(value)[:60] if not isinstance(value, str) else "",
)
def test_a_search_that_cannot_be_answered_is_refused(ask, asked, said):
    content = json.dumps(asked).encode()
    ask("POST", "/search", 422, said, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize(
    "query", ["k=0", "k=1001", "k=x", "offset=-1", "where=1", "pipeline=bm26", "field=colour", "snippets=perhaps"]
)
def test_the_same_in_an_address_is_refused(ask, query):
    ask("GET", f"/search?q=cat&{query}", 422)


@pytest.mark.parametrize("query", ["were=year>2000", "fields=name", "pipelines=bm25", "\u00fc=1"])
def test_a_parameter_that_there_is_not_is_refused_with_those_that_there_are(ask, query):
    ask("GET", f"/search?q=cat&{query}", 422, "Known: q, pipeline, k, offset, where, field, snippets.")


def test_a_condition_may_be_as_deep_as_it_may_be_long(ask):
    deep = {"query": "cat", "where": "not " * 498 + "new", "pipelines": ["bm25"]}
    ask("POST", "/search", 200, json=deep)


@pytest.mark.parametrize(
    "content",
    [b"", b"{", b"{]", b"\xff\xfe", b"{'query': 'cat'}", b'{"query": "cat"', b"[" * 100_000, b'{"query": NaN}'],
)
def test_what_is_no_json_is_refused(ask, content):
    response = ask(
        "POST",
        "/search",
        400 if content not in (b"", b'{"query": NaN}') else 422,
        content=content,
        headers={"content-type": "application/json"},
    )
    assert response.json()["detail"]


def test_a_body_of_another_kind_is_refused(ask):
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data"):
        ask("POST", "/search", 422, content=b'{"query": "cat"}', headers={"content-type": kind})


def test_a_body_that_is_too_long_is_refused_unread(ask):
    long = b'{"query": "' + b"c" * guard.LONGEST_BODY + b'"}'
    ask("POST", "/search", 413, "8,388,608", content=long)
    ask(
        "POST",
        "/search",
        413,
        "8,388,608",
        content=(long[start : start + 2**20] for start in range(0, len(long), 2**20)),
    )
    ask(
        "POST",
        "/search",
        422,
        "query",
        content=b'{"query": "' + b"c" * 2**20 + b'"}',
        headers={"content-type": "application/json"},
    )


@pytest.mark.parametrize(
    ("asked", "status", "said"),
    [
        ({"query": "cat", "pipeline": "bm25", "document": "3"}, 404, "There is no document '3'"),
        ({"query": "cat", "pipeline": "bm25", "document": "<script>"}, 404, "There is no document '<script>'"),
        ({"query": "cat", "pipeline": "bm26", "document": "1"}, 422, "There is no pipeline"),
        ({"query": "cat", "pipeline": "either", "document": "2"}, 422, "has no score to explain"),
        ({"query": "cat", "pipeline": "bm25"}, 422, "document"),
        ({"query": "cat", "pipeline": "bm25", "document": "\ud83d"}, 422, "document"),
        ({"query": "cat", "pipeline": "bm25", "document": ""}, 422, "document"),
    ],
)
def test_an_explanation_of_nothing_is_refused(ask, asked, status, said):
    content = json.dumps(asked).encode()
    ask("POST", "/explain", status, said, content=content, headers={"content-type": "application/json"})


@pytest.mark.parametrize("name", ["3", "%00", "%ff%fe", "..%2F..%2Fetc%2Fpasswd", "%F0%9F%98", "a" * 3000, "%ed%a0%80"])
def test_a_document_that_there_is_not_is_not_found(ask, name):
    ask("GET", f"/documents/{name}", 404, "There is no document")
    ask("GET", f"/images/{name}", 404, "There is no document")


def test_a_path_that_there_is_not_is_not_found(ask):
    for path in ("/nothing", "/page/../../../etc/passwd", "/page/%2e%2e/%2e%2e/app.py", "/page/nothing.js", "/page/"):
        ask("GET", path, 404)
    ask("DELETE", "/search", 405)


def test_every_answer_keeps_scripts_of_others_out(ask):
    for path, status in {"/": 200, "/about": 200, "/documents/3": 404, "/search?k=0": 422}.items():
        headers = ask("GET", path, status).headers
        assert "default-src 'self'" in headers["content-security-policy"]
        assert "unsafe" not in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"
        assert "access-control-allow-origin" not in headers


# Who may ask


def test_a_name_that_somebody_has_lead_here_is_refused(ask):
    for host in ("evil.example", "evil.example:80", "127.0.0.1.evil.example", "[", ""):
        ask("GET", "/about", 403, "hosts of this machine", headers={"host": host})
    for host in ("localhost", "LOCALHOST:8000", "127.0.0.1:8000", "[::1]:8000"):
        ask("GET", "/about", 200, headers={"host": host})


def test_a_page_of_another_origin_changes_nothing(ask):
    asked = {"json": {"query": "cat"}}
    ask("POST", "/search", 403, "origin", **asked, headers={"origin": "http://evil.example"})
    ask("POST", "/search", 403, "origin", **asked, headers={"origin": "null"})
    ask("POST", "/search", 403, "origin", **asked, headers={"sec-fetch-site": "cross-site"})
    ask("POST", "/search", 200, **asked, headers={"origin": "http://localhost", "sec-fetch-site": "same-origin"})


def test_a_server_with_a_token_answers_who_shows_it(state):
    with TestClient(application(Holder(state), Options(token="sécret"))) as client:  # whatever its host is called
        for path in ("/about", "/search?q=cat", "/documents/1", "/openapi.json"):
            for shown in (None, "Bearer", "Bearer wrong", "Basic sécret", "sécret", "Bearer sécret2"):
                headers = {} if shown is None else {"authorization": shown.encode()}
                response = client.get(path, headers=headers)
                assert (response.status_code, response.headers["www-authenticate"]) == (401, "Bearer")
                assert list(response.json()) == ["detail"]
            assert client.get(path, headers={"authorization": "bearer sécret".encode()}).status_code == 200
        for path in ("/", "/health", "/ready"):
            assert client.get(path).status_code == 200


def test_no_door_is_open_to_other_machines_without_a_token():
    for host in ("0.0.0.0", "192.168.1.5", "example.org", "::", ""):
        with pytest.raises(BadInput, match="token"):
            running.refuse_open_door(Options(host=host))
        running.refuse_open_door(Options(host=host, token="t"))
    for host in ("127.0.0.1", "127.1.2.3", "::1", "localhost"):
        running.refuse_open_door(Options(host=host))


def test_an_address_that_is_taken_is_told_before_anything_is_opened(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(BadInput, match=f"port {port} cannot be listened at: Address already in use"):
            running.serve(source("no such collection"), Options(port=port))


def test_a_token_is_read_from_a_file_or_the_environment(tmp_path, monkeypatch):
    monkeypatch.delenv("NIRANK_TOKEN", raising=False)
    assert running.token(None) is None
    monkeypatch.setenv("NIRANK_TOKEN", "from outside")
    assert running.token(None) == "from outside"
    (tmp_path / "token").write_text("from a file\n")
    assert running.token(tmp_path / "token") == "from a file"
    (tmp_path / "empty").write_text(" \n")
    (tmp_path / "bytes").write_bytes(b"\xff\xfe")
    for name in ("empty", "bytes", "nothing"):
        with pytest.raises(BadInput, match=name):
            running.token(tmp_path / name)
