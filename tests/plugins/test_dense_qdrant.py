"""The generator `qdrant` against a small server of ours that speaks as Qdrant's documents have it.

Qdrant's own engine is behind it in tests/distributed, where a killed server is started again.
"""

from __future__ import annotations

import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

import nirank
from nirank.errors import BadInput, ComponentError, StaleIndex
from nirank_dense.stores import qdrant_rows
from nirank_dense.stores.qdrant_rows import MANIFEST
from tests.distributed.documents import Hashed, corpus, queries
from tests.distributed.store_promises import StorePromises, exactly, same

pytest.importorskip("httpx")
pytest.importorskip("orjson")


class Refused(Exception):
    def __init__(self, status, error):
        super().__init__(error)
        self.status = status


class Qdrant:
    """Collections in memory: points by id, each a vector or none, and a payload. `change` may change an answer."""

    def __init__(self):
        self.collections, self.heard, self.change = {}, [], lambda path, status, said: (status, said)

    def answer(self, method, target, body):
        self.heard.append((method, target, body))
        path, _, query = target.partition("?")
        name, what = re.fullmatch(r"/collections/([^/]+)(/.*)?", path).groups()
        points = self.collections.get(name)
        try:
            if (method, what) == ("PUT", None):
                return 200, self.ok(self.create(name, **body))
            if points is None:
                raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
            if what in ("/points", "/points/delete") and method == ("PUT" if what == "/points" else "POST"):
                assert query == "wait=true&ordering=strong"
            return 200, self.ok(self.asked(method, what, points, body or {}))
        except Refused as error:
            return error.status, {"status": {"error": str(error)}, "time": 0.0}

    def ok(self, result):
        return {"result": result, "status": "ok", "time": 0.0}

    def create(self, name, vectors):
        if name in self.collections:
            raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
        assert vectors["embedding"]["distance"] == "Dot"
        self.collections[name] = {}
        return True

    def asked(self, method, what, points, body):
        match method, what, body:
            case "GET", None, {}:
                return {"status": "green", "optimizer_status": "ok", "points_count": len(points)}
            case "PUT", "/points", {"batch": {"ids": ids, "vectors": {"embedding": vectors}, "payloads": payloads}}:
                points |= {key: each for key, *each in zip(ids, np.array(vectors, np.float32), payloads, strict=True)}
            case "PUT", "/points", {"points": [{"id": key, "vector": {}, "payload": payload}]}:
                points[key] = [None, payload]
            case "POST", "/points/delete", {"points": keys}:
                for key in keys:
                    points.pop(key, None)
            case "POST", "/points", {"ids": keys, "with_payload": _, "with_vector": _}:
                return [self.record(key, points) for key in keys if key in points]
            case "POST", "/points/count", {"exact": True}:
                return {"count": len(self.among(points, body.get("filter")))}
            case "POST", "/points/scroll", {"filter": condition, "limit": limit}:
                keys = sorted(key for key in self.among(points, condition) if key >= body.get("offset", 0))
                following = keys[limit] if len(keys) > limit else None
                return {"points": [self.record(key, points) for key in keys[:limit]], "next_page_offset": following}
            case "POST", "/points/query/batch", {"searches": searches}:
                return [self.search(points, **each) for each in searches]
            case _:
                raise Refused(400, f"Format error in JSON body: {sorted(body)}")
        return {"operation_id": 0, "status": "completed"}

    def record(self, key, points):
        vector = {} if points[key][0] is None else {"embedding": np.float32(points[key][0]).tolist()}
        return {"id": key, "payload": points[key][1], "vector": vector}

    def among(self, points, condition):
        (which, [test]), *_ = (condition or {"must_not": [{"has_id": []}]}).items()
        named = set(test["has_id"])
        return [key for key in points if (key in named) == (which == "must")]

    def search(self, points, query, using, limit, params, with_payload, with_vector, filter=None):
        assert using == "embedding"
        assert params.keys() == {"exact", "hnsw_ef", "indexed_only"}
        keys = [key for key in self.among(points, filter) if points[key][0] is not None]
        scores = np.float32([points[key][0] for key in keys]).reshape(len(keys), -1) @ np.float32(query)
        best = np.argsort(-scores)[:limit].tolist()
        return {"points": [{"id": keys[each], "version": 0, "score": float(scores[each])} for each in best]}


@pytest.fixture
def server(monkeypatch, tmp_path):
    qdrant = Qdrant()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"
        wbufsize = -1  # an answer goes in one piece: a second one would wait for the first to be acknowledged

        def do_GET(self):
            content = self.rfile.read(int(self.headers.get("content-length", 0)))
            answer = qdrant.answer(self.command, self.path, json.loads(content or b"null"))
            status, said = qdrant.change(self.path, *answer)
            text = said if isinstance(said, bytes) else json.dumps(said).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        do_POST = do_PUT = do_GET  # noqa: N815

        def log_message(self, *given):
            pass

    http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=http.serve_forever, daemon=True).start()
    monkeypatch.setenv("NIRANK_QDRANT_URL", f"http://127.0.0.1:{http.server_address[1]}")
    monkeypatch.delenv("NIRANK_QDRANT_API_KEY", raising=False)
    monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(qdrant_rows, "_CLIENTS", {})
    yield qdrant
    http.shutdown()
    http.server_close()


class TestQdrant(StorePromises):
    generator = "qdrant"
    test_a_store_killed_while_it_is_searched_is_told_and_never_gives_less_without_a_word = None
    test_a_store_killed_while_it_is_filled_is_told_and_filled_to_the_end = None

    @pytest.mark.parametrize("kind", ["hnsw"])
    def test_approximate_kinds_find_nearly_all_and_score_it_exactly(self, server, kind):
        super().test_approximate_kinds_find_nearly_all_and_score_it_exactly(server, kind)

    def only(self, server):
        (points,) = server.collections.values()
        return points

    def ids(self, server):
        return sorted(payload["id"] for _, payload in self.only(server).values() if "id" in payload)

    def lose(self, server, keys):
        for key in keys:
            del self.only(server)[key]

    def drop(self, server):
        server.collections.clear()

    @pytest.mark.parametrize(("kind", "ef", "sent"), [("hnsw", 300, 300), ("hnsw", 5, 26), ("exact", 128, 128)])
    def test_the_settings_of_a_search_are_sent_with_each_query(self, server, kind, ef, sent):
        ((nirank.load(Hashed()) >> self.store(kind=kind, ef=ef)) % 10).search(queries(3), corpus(400))
        asked = [each for _, path, body in server.heard if "query/batch" in path for each in body["searches"]]
        assert len(asked) == 3
        for each in asked:
            assert each["params"] == {
                "exact": kind == "exact",
                "hnsw_ef": max(ef, sent, each["limit"]),
                "indexed_only": False,
            }

    def test_somebody_elses_collection_is_not_written_to(self, server):
        server.collections["taken"] = {1: [[1.0] * 48, {"city": "Berlin"}]}
        with pytest.raises(StaleIndex, match=r"the collection taken of Qdrant at .* has points and no manifest"):
            (nirank.load(Hashed()) >> self.store(table="taken")).index(corpus(10))
        assert len(server.collections["taken"]) == 1

    def test_a_manifest_that_is_no_more_is_told(self, server):
        ranking = nirank.load(Hashed()) >> self.store()
        ranking.search("text", corpus(100))
        self.only(server)[MANIFEST][1]["manifest"] = "{}"
        with pytest.raises(StaleIndex, match="has a manifest that cannot be read"):
            ranking.search("text", corpus(100))

    def test_rows_that_others_wrote_are_told(self, server):
        ranking, documents = nirank.load(Hashed()) >> self.store(), corpus(300)
        ranking.search("text", documents)
        for key, told in ((7000, "rows that the index does not know"), ("a4f0", "a point of the id 'a4f0'")):
            self.only(server)[key] = [[100.0] * 48, {"id": "foreign"}]
            with pytest.raises(StaleIndex, match=f"has {told}.*others have written to it"):
                (ranking % 300).search(queries(20), documents)
            with pytest.raises(StaleIndex, match="has 301 rows, and 300 were written"):
                (nirank.load(Hashed()) >> self.store()).search("text", corpus(300))
            del self.only(server)[key]

    def test_pages_of_ids_are_read_to_their_end(self, server, monkeypatch, tmp_path):
        monkeypatch.setattr(qdrant_rows, "_ROWS", 7)
        documents, asked = corpus(300), queries(20)
        (nirank.load(Hashed()) >> self.store()).index(documents)
        monkeypatch.setenv("NIRANK_CACHE", str(tmp_path / "another"))
        encoder = Hashed()
        found = ((nirank.load(encoder) >> self.store()) % 10).search(asked, documents)
        assert same(found, exactly(nirank.load(Hashed()), documents, asked)) == 20
        assert not encoder.asked


@pytest.mark.parametrize(
    ("where", "status", "said", "error", "told"),
    [
        ("/points/query/batch", 200, b"<html>", ComponentError, "which is no JSON"),
        ("/points/query/batch", 200, {"result": []}, ComponentError, "gave 0 answers to 1 queries"),
        ("/points/query/batch", 200, {"result": [{"hits": 1}]}, ComponentError, "no Qdrant of version 1.10 or newer"),
        ("/points/query/batch", 200, {"result": [{"points": [{"id": 1}]}]}, ComponentError, "no Qdrant of version"),
        ("/points/query/batch", 200, [], ComponentError, "no Qdrant of version"),
        ("/points/query/batch", 400, {"status": {"error": "strict mode"}}, BadInput, "status 400, .*strict mode"),
        ("/points/query/batch", 429, {"status": {"error": "rate"}}, BadInput, "tried 2 times; at last: .*429.*rate"),
        ("/points/query/batch", 503, b"", BadInput, "does not answer, tried 2 times; at last: .*503"),
        ("/points/query/batch", 401, b"Invalid API key", BadInput, "wants a token .*NIRANK_QDRANT_API_KEY"),
        ("/points", 200, {"result": []}, StaleIndex, "has points and no manifest"),
    ],
)
def test_answers_of_something_else_are_told(server, where, status, said, error, told):
    ranking = nirank.load(Hashed()) >> nirank.load("qdrant", kind="exact", tries=2)
    ranking.index(corpus(50))
    server.change = lambda path, *answer: (status, said) if path.partition("?")[0].endswith(where) else answer
    with pytest.raises(error, match=told):
        ranking.search("text", corpus(50))


def test_a_change_that_is_not_completed_is_not_taken_for_one(server):
    states = iter(["acknowledged", "wait_timeout", "completed"])

    def slow(path, status, said):
        if "/points?wait" not in path:
            return status, said
        return 200, {"result": {"operation_id": 1, "status": next(states, "completed")}}

    server.change = slow
    (nirank.load(Hashed()) >> nirank.load("qdrant", kind="exact", tries=3)).index(corpus(50))
    assert next(states, None) is None
    states = iter(["wait_timeout"] * 50)
    with pytest.raises(BadInput, match=r"tried 2 times; at last: .*a change is 'wait_timeout' and not completed"):
        (nirank.load(Hashed()) >> nirank.load("qdrant", kind="exact", tries=2)).index(corpus(60))


def test_a_collection_that_cannot_be_settled_is_told(server):
    broken = {"result": {"status": "red", "optimizer_status": {"error": "no space left"}}}
    server.change = lambda path, status, said: (status, said) if "points" in path or status > 200 else (200, broken)
    with pytest.raises(ComponentError, match=r"red, .*no space left"):
        (nirank.load(Hashed()) >> nirank.load("qdrant", kind="exact")).index(corpus(50))


def test_lists_of_centroids_and_addresses_with_secrets_are_refused_at_once(server):
    with pytest.raises(BadInput, match="no lists of centroids"):
        nirank.load("qdrant", kind="ivf_flat")
    for url in ("http://root:opensesame@host", "http://host?api-key=opensesame", "host:6333"):
        with pytest.raises(BadInput, match="without a user or a password") as refused:
            nirank.load("qdrant", url=url)
        assert "opensesame" not in str(refused.value)
