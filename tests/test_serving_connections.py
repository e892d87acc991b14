"""Clients that are slow on purpose, never stop, go away, or ask for what is not theirs, on a real connection."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time

import httpx
import pytest

pytest.importorskip("fastapi")

from nirank.serving import connections, guard
from tests.serving import ROWS, running, small

HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


@pytest.fixture(scope="module")
def patience():
    """Servers wait for tenths of seconds, and not for half a minute."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(connections, "SECONDS", 0.4)
        patch.setattr(connections, "UNREAD", 0.4)
        patch.setattr(guard, "LONGEST_WAIT", 0.4)
        yield


@pytest.fixture(scope="module")
def address(patience, tmp_path_factory):
    folder = tmp_path_factory.mktemp("slow")
    with running(small(folder)) as address:
        yield address


@pytest.fixture
def connect(address):
    """Open connections to the server, closed after the test."""
    opened = []

    def connected():
        host, port = address.removeprefix("http://").split(":")
        opened.append(socket.create_connection((host, int(port)), timeout=20))
        return opened[-1]

    yield connected
    for each in opened:
        each.close()


def _answer(connection):
    """All that comes until the server closes: the status, and the whole text."""
    text = b""
    while part := connection.recv(65536):
        text += part
    return int(text.split()[1]), text.decode()


def test_a_head_that_does_not_come_ends_the_connection(connect):
    nothing, half, dripping, kept = (connect() for _ in range(4))
    half.sendall(HEAD)
    kept.sendall(HEAD + b"\r\n")
    assert b"200 OK" in kept.recv(65536)
    kept.sendall(b"GET /hea")
    dripped = threading.Thread(target=_drip, args=(dripping,), daemon=True)
    dripped.start()
    for slow in (nothing, half, kept):
        status, text = _answer(slow)
        assert status == 408, text
        assert "did not come within" in text
    dripped.join(20)
    assert not dripped.is_alive()


def _drip(connection):
    with contextlib.suppress(OSError):  # the connection is closed
        while True:
            connection.sendall(b"X-Slow: 1\r\n")
            time.sleep(0.05)


def test_a_head_without_end_is_refused_before_it_fills_the_memory(connect, monkeypatch):
    monkeypatch.setattr(connections, "SECONDS", 20)
    endless = connect()
    endless.sendall(HEAD)
    with pytest.raises(OSError, match=r"Broken pipe|reset"):
        endless.sendall(b"X-Long: xxxxxxxxxxxxxxxxxx\r\n" * 1_000_000)
    with contextlib.suppress(ConnectionResetError):  # where what was sent behind is thrown away
        assert b" 431 " in endless.recv(4096)


def test_an_address_that_is_too_long_and_what_is_no_http_are_refused_with_a_sentence(address, connect):
    asked = connect()
    asked.sendall(b"GET /search?q=" + b"%F0%9F%90%88" * 9_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n")
    status, text = _answer(asked)
    assert (status, "by POST" in text) == (431, True), text
    nonsense = connect()
    nonsense.sendall(b"\x16\x03\x01\x02\x00 is how TLS begins\r\n\r\n")
    assert _answer(nonsense)[0] == 400
    long = httpx.post(f"{address}/search", json={"query": "\N{CAT}" * 9_000}, timeout=20)
    assert long.status_code == 200


def test_a_body_that_does_not_come_is_refused(connect):
    slow = connect()
    slow.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
    slow.settimeout(20)
    assert b" 408 " in slow.recv(65536)


def test_a_body_in_parts_that_says_no_length_is_refused_when_it_is_too_long(connect):
    huge = connect()
    huge.sendall(b"POST /search HTTP/1.1\r\nHost: localhost\r\nTransfer-Encoding: chunked\r\n\r\n")
    part = b"%x\r\n" % 2**20 + b" " * 2**20 + b"\r\n"
    received = b""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(guard, "LONGEST_WAIT", 20)
        try:
            for _ in range(12):
                huge.sendall(part)
        except OSError:
            pass  # closed while it was sent
        huge.settimeout(20)
        received = huge.recv(65536)
    assert b" 413 " in received


def test_an_answer_that_nobody_reads_is_dropped(patience, tmp_path):
    from fastapi import Response

    app = small(tmp_path)
    app.add_api_route("/large", lambda: Response(b"x" * 30_000_000))
    with running(app) as address:
        host, port = address.removeprefix("http://").split(":")
        with socket.create_connection((host, int(port)), timeout=20) as connection:
            connection.sendall(b"GET /large HTTP/1.1\r\nHost: localhost\r\n\r\n")
            time.sleep(1.5)
            received = 0
            with contextlib.suppress(ConnectionResetError):
                while part := connection.recv(2**20):
                    received += len(part)
            assert received < 30_000_000


def test_others_are_answered_while_hundreds_do_nothing(address, connect):
    for _ in range(300):
        connect().sendall(HEAD)
    assert httpx.get(f"{address}/search", params={"q": "cat"}, timeout=20).status_code == 200


def test_a_client_that_goes_away_leaves_nothing_behind(patience, tmp_path):
    app = small(tmp_path)
    with running(app) as address:
        host, port = address.removeprefix("http://").split(":")
        for _ in range(50):
            with socket.create_connection((host, int(port))) as gone:
                gone.sendall(b"GET /search?q=cat HTTP/1.1\r\nHost: localhost\r\n\r\n")
        deadline = time.monotonic() + 20
        while app.state.served.limits.inside and time.monotonic() < deadline:
            time.sleep(0.01)
        assert app.state.served.limits.inside == 0
        assert httpx.get(f"{address}/health").status_code == 200


@pytest.mark.parametrize(
    "path",
    [
        "/page/../app.py",
        "/page/%2e%2e/app.py",
        "/page/..%2fapp.py",
        "/page/%2e%2e%2f%2e%2e%2fcli.py",
        "/page//etc/passwd",
        "/page/..%5capp.py",
        "/page/%00",
        "/images/../../etc/passwd",
        "/images/%2e%2e%2f%2e%2e%2fetc%2fpasswd",
        "/images//etc/passwd",
        "/documents/%2e%2e%2fetc%2fpasswd",
        "/documents/%00",
    ],
)
def test_no_path_leads_to_a_file(connect, path):
    asked = connect()
    asked.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
    status, text = _answer(asked)
    assert status in (400, 404), text
    assert "import" not in text
    assert "root:" not in text


@pytest.mark.parametrize(
    "host",
    [
        "attacker.example",
        "localhost.attacker.example",
        "127.0.0.1.attacker.example",
        "localhost@attacker.example",
        "[::1",
        "",
        "localhost\tattacker.example",
    ],
)
def test_a_host_of_the_web_is_not_answered(connect, host):
    asked = connect()
    asked.sendall(f"GET /about HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n".encode())
    status, text = _answer(asked)
    assert status in (400, 403), text
    assert "pipelines" not in text


def test_two_hosts_and_two_lengths_do_not_get_past_the_guard(connect):
    for more in (b"Host: attacker.example\r\n", b"Content-Length: 4\r\nContent-Length: 5\r\n"):
        asked = connect()
        asked.sendall(b"GET /about HTTP/1.1\r\n" + more + b"Host: localhost\r\nConnection: close\r\n\r\n")
        assert _answer(asked)[0] in (400, 403)


def test_a_document_whose_id_has_a_slash_or_markup_is_found(address):
    for row in ROWS:
        path = httpx.URL(address).copy_with(path=f"/documents/{row['id']}")
        answer = httpx.get(path)
        assert answer.status_code == 200, answer.text
        assert answer.json()["text"] == f"{row['title']} {row['text']}"
        assert answer.headers["content-type"] == "application/json"


def test_a_wrong_token_is_refused_however_it_looks(patience, tmp_path):
    with running(small(tmp_path, token="sécret")) as address:
        for shown in ("Bearer wrong", "Bearer", "Basic c2VjcmV0", "Bearer s\xe9cre", "Bearer " + "x" * 9000):
            answer = httpx.get(f"{address}/about", headers=[(b"Authorization", shown.encode("latin-1"))])
            assert answer.status_code == 401
        right = httpx.get(f"{address}/about", headers=[(b"Authorization", "Bearer sécret".encode())])
        assert right.status_code == 200, json.dumps(right.json())


def test_an_image_that_is_none_is_told_without_an_address_of_memory(address):
    answer = httpx.post(f"{address}/search", json={"image": "data:image/png;base64,AAAA"}, timeout=20)
    assert answer.status_code == 422
    assert "cannot identify image file." in answer.json()["detail"]
