"""The generator `remote` beside the same pipeline here, and servers that are away, change, or want a token."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import nirank
from nirank.errors import BadInput, ComponentError, StaleIndex
from nirank_remote.search import RemoteSearch
from tests.serving import ROWS, experiment, living, running, small

pytest.importorskip("httpx")


@pytest.fixture(autouse=True)
def _own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    for name in ("URL", "TOKEN"):
        monkeypatch.delenv(f"NIRANK_REMOTE_{name}", raising=False)


@pytest.fixture
def documents(tmp_path):
    experiment(tmp_path)
    return nirank.collection(f"jsonl:{tmp_path / 'documents.jsonl'}").corpus


def asking(address, **settings):
    return nirank.load(RemoteSearch(address, **{"pipeline": "bm25", **settings}))


def same(found, expected):
    assert np.array_equal(found.offsets, expected.offsets)
    assert np.array_equal(found.docs, expected.docs)
    assert np.array_equal(found.scores, expected.scores)


@pytest.fixture
def answering():
    """Starts a server that answers each path by what a function returns: status and JSON."""
    servers = []

    def start(answer):
        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                length = int(self.headers.get("content-length", 0))
                status, said = answer(self.path, json.loads(self.rfile.read(length) or "null"), self.headers)
                self.send_response(status)
                self.end_headers()
                self.wfile.write(said.encode() if isinstance(said, str) else json.dumps(said).encode())

            do_POST = do_GET  # noqa: N815

            def log_message(self, *given):
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.handle_error = lambda *given: None  # of clients that waited long enough
        threading.Thread(target=server.serve_forever, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_address[1]}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


def about(documents, **other):
    said = {
        "version": "1",
        "documents": len(documents),
        "corpus": documents.fingerprint,
        "pipelines": [{"name": "bm25"}],
    }
    return said | other


def page(*hits, more=False, version="1"):
    return {
        "version": version,
        "results": [{"hits": [{"id": name, "score": score} for name, score in hits], "more": more}],
    }


def test_it_finds_what_the_pipeline_finds_here_to_the_bit(tmp_path, documents):
    with running(small(tmp_path)) as address:
        for texts in (["cat", "the sea", "", "nothing of this"], ["dog cat"]):
            for k in (1, 3, 100):
                same((asking(address) % k).search(texts, documents), (nirank.load("bm25") % k).search(texts, documents))


def test_conditions_and_scorers_go_on_from_what_it_finds(tmp_path, documents):
    with running(small(tmp_path)) as address:
        there, here = asking(address), nirank.load("bm25")
        for narrowed in ("year >= 2021", "year == 1900"):
            same(
                (there >> nirank.where(narrowed)).search(["cat"], documents),
                (here >> nirank.where(narrowed)).search(["cat"], documents),
            )
        ql = nirank.load("ql")
        same((there % 10 >> ql).search(["cat"], documents), (here % 10 >> ql).search(["cat"], documents))


def test_a_server_of_another_corpus_or_other_pipelines_is_refused(tmp_path, documents):
    with running(small(tmp_path)) as address:
        with pytest.raises(StaleIndex, match=r"serves another corpus: 4 documents, .* the corpus searched has 1,"):
            asking(address).search("cat", nirank.Documents(["cat"], ["a cat"]))
        with pytest.raises(BadInput, match="serves the pipelines bm25, again: name one"):
            asking(address, pipeline=None).search("cat", documents)
        with pytest.raises(BadInput, match="serves the pipelines bm25, again: name one"):
            asking(address, pipeline="bm26").search("cat", documents)


def test_a_token_is_sent_to_the_host_that_it_belongs_to_and_shown_nowhere(tmp_path, documents, monkeypatch, caplog):
    with running(small(tmp_path, token="opensesame")) as address:
        with pytest.raises(BadInput, match=r"wants a token .*set NIRANK_REMOTE_TOKEN"):
            asking(address).search("cat", documents)
        monkeypatch.setenv("NIRANK_REMOTE_TOKEN", "opensesame")
        with pytest.raises(BadInput, match="wants a token"):  # it is sent nowhere that was not named
            asking(address).search("cat", documents)
        monkeypatch.setenv("NIRANK_REMOTE_URL", address)
        ranking = asking(None)
        same(ranking.search("cat", documents), nirank.load("bm25").search("cat", documents))
        written = [path.read_text(errors="replace") for path in (tmp_path / "cache").rglob("*") if path.is_file()]
        assert not [text for text in [*written, repr(ranking), caplog.text] if "opensesame" in text]
        for odd in ("opensesame\nagain", "opensésame"):
            monkeypatch.setenv("NIRANK_REMOTE_TOKEN", odd)
            with pytest.raises(BadInput, match="NIRANK_REMOTE_TOKEN holds a character") as refused:
                asking(None).search("cat", documents)
            assert "open" not in str(refused.value)
        monkeypatch.setenv("NIRANK_REMOTE_TOKEN", "opensesame\n")  # as a file ends
        same(asking(None).search("cat", documents), nirank.load("bm25").search("cat", documents))
    with pytest.raises(BadInput, match="no address of a server"):
        RemoteSearch("http://[::1", variable="NOTHING")
    for wrong in ("http://me:opensesame@host", "ftp://host", ""):
        with pytest.raises(BadInput, match="without a user or a password") as refused:
            RemoteSearch(wrong, variable="NOTHING")
        assert "opensesame" not in str(refused.value)


def test_a_server_whose_documents_change_is_told_and_never_half_searched(tmp_path):
    with running(living(tmp_path)) as address:
        import httpx

        documents = nirank.collection(f"jsonl:{tmp_path / 'documents.jsonl'}").corpus
        ranking = asking(address, pipeline=None)
        assert len(ranking.search("cat", documents).docs) == 3
        httpx.post(f"{address}/documents?wait=true", json={"documents": [ROWS[0] | {"id": "new"}]}, timeout=30)
        for _ in range(200):
            if httpx.get(f"{address}/about").json()["documents"] == 5:
                break
            threading.Event().wait(0.05)
        with pytest.raises(StaleIndex, match="serves another version than when it was looked at"):
            ranking.search("cat", documents)


def test_what_fails_for_a_moment_is_asked_again_and_no_longer_than_said(documents, answering):
    asked = []

    def flaky(path, body, headers):
        asked.append(path)
        if path == "/about":
            return 200, about(documents)
        return (503, {"detail": "busy"}) if len(asked) % 3 else (200, page(("cat", 1.0)))

    from nirank.kit import Asking

    address = answering(flaky)
    found = asking(address, asking=Asking(tries=4, timeout=5.0)).search("cat", documents)
    assert documents.ids.take(found.docs) == ["cat"]
    with pytest.raises(BadInput, match="does not answer, tried 1 times; at last: status 503"):
        asking(address, asking=Asking(tries=1, timeout=5.0)).search(["cat", "dog", "fish"], documents)
    with pytest.raises(BadInput, match=r"127\.0\.0\.1:1 does not answer, tried 2 times; at last: ConnectError"):
        asking("http://127.0.0.1:1", asking=Asking(tries=2, timeout=5.0)).search("cat", documents)
    answers = threading.Event()
    slow = answering(lambda *given: (answers.wait(20) and 0) or (200, {}))
    with pytest.raises(BadInput, match="at last: ReadTimeout"):
        asking(slow, asking=Asking(tries=1, timeout=0.2)).search("cat", documents)
    answers.set()


@pytest.mark.parametrize(
    ("answer", "error", "told"),
    [
        ("<html>", ComponentError, "is no JSON"),
        ({"version": "1", "results": []}, ComponentError, "what no /search of nirank does"),
        (page(("cat", None)), ComponentError, "what no /search of nirank does"),
        (page(("bird", 1.0)), StaleIndex, "found 'bird', which the corpus searched does not have"),
        (page(("cat", 1.0), version="2"), StaleIndex, "serves another version"),
    ],
)
def test_answers_of_something_else_are_refused(documents, answering, answer, error, told):
    address = answering(lambda path, body, headers: (200, about(documents) if path == "/about" else answer))
    with pytest.raises(error, match=told):
        asking(address).search("cat", documents)


def test_a_refusal_is_told_with_what_the_server_said(documents, answering):
    address = answering(
        lambda path, *given: (200, about(documents)) if path == "/about" else (422, {"detail": "too long"})
    )
    with pytest.raises(BadInput, match=r"refuses /search: status 422, .*too long"):
        asking(address).search("cat", documents)


def test_deep_lists_come_page_by_page(answering):
    many = nirank.Documents([f"d{n}" for n in range(10_100)], ["text"] * 10_100)

    def answer(path, body, headers):
        if path == "/about":
            return 200, about(many)
        first, last = body["offset"], min(2500, body["offset"] + body["k"])
        return 200, page(*((f"d{n}", float(3000 - n)) for n in range(first, last)), more=last < 2500)

    address = answering(answer)
    for k in (999, 1000, 1001, 2200, 5000):
        found = (asking(address) % k).search("text", many)
        assert found.docs.tolist() == list(range(min(k, 2500)))
    with pytest.raises(BadInput, match="from 0 to 10,000"):
        (asking(address) % 10_001).search("text", many)
