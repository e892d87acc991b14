"""A server with the REST interface of Qdrant before its own engine, which `qdrant-edge-py` has.

No package brings Qdrant's server. Its engine there is the real one: graphs, filters, exact searches, the log that a
killed process is opened again from. The door before it is ours, and has what the generator `qdrant` asks; bodies are
refused unless the official client's models, made from Qdrant's OpenAPI description, take them as they are.

    python -m tests.distributed.qdrant_door PORT FOLDER
"""

from __future__ import annotations

import re
import shutil
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import orjson
import qdrant_edge as edge
from qdrant_client.http import models

_LOCK = threading.Lock()
_SHARDS: dict[str, edge.EdgeShard] = {}


class Refused(Exception):
    def __init__(self, status, error):
        super().__init__(error)
        self.status = status


class Door(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1  # an answer goes in one piece: a second one would wait for the first to be acknowledged
    folder: Path
    key = ""

    def do_GET(self):
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("content-length", 0)))
        try:
            if self.key and self.headers.get("api-key") != self.key:
                raise Refused(401, "Must provide an API key or an Authorization bearer token")
            with _LOCK:
                answer = 200, {"result": self.answer(parts, orjson.loads(body or b"null")), "status": "ok", "time": 0.0}
        except Refused as error:
            answer = error.status, {"status": {"error": str(error)}, "time": 0.0}
        except ValueError as error:
            answer = 400, {"status": {"error": f"Format error in JSON body: {error}"}, "time": 0.0}
        said = orjson.dumps(answer[1], option=orjson.OPT_SERIALIZE_NUMPY)
        self.send_response(answer[0])
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(said)))
        self.end_headers()
        self.wfile.write(said)

    do_POST = do_PUT = do_DELETE = do_GET  # noqa: N815

    def log_message(self, *given):
        pass

    def answer(self, parts, body):
        if parts.path == "/collections" and self.command == "GET":
            return {"collections": [{"name": path.name} for path in self.folder.iterdir() if path.is_dir()]}
        name, rest = re.fullmatch(r"/collections/([^/]+)(/.*)?", parts.path).groups()
        what = ROUTES.get((self.command, rest or ""))
        if what is None:
            raise Refused(404, "")
        return what(self, name, body, parse_qs(parts.query))

    def shard(self, name):
        place = self.folder / name
        if not place.is_dir():
            raise Refused(404, f"Not found: Collection `{name}` doesn't exist!")
        if name not in _SHARDS:
            _SHARDS[name] = edge.EdgeShard.load(str(place))
        return _SHARDS[name]


def create(door, name, body, query):
    wanted = models.CreateCollection.model_validate(body)
    if (door.folder / name).is_dir():
        raise Refused(409, f"Wrong input: Collection `{name}` already exists!")
    vectors = {
        which: edge.EdgeVectorParams(
            size=each.size,
            distance=getattr(edge.Distance, each.distance.value),
            hnsw_config=edge.HnswIndexConfig(
                m=each.hnsw_config.m, ef_construct=each.hnsw_config.ef_construct or 100, full_scan_threshold=10
            ),
        )
        for which, each in wanted.vectors.items()
    }
    few = edge.EdgeOptimizersConfig(indexing_threshold=10)  # kilobytes: a graph also of the rows of a test
    (door.folder / name).mkdir()
    _SHARDS[name] = edge.EdgeShard.create(str(door.folder / name), edge.EdgeConfig(vectors=vectors, optimizers=few))
    return True


def about(door, name, body, query):
    shard = door.shard(name)
    while shard.optimize():
        pass
    held = shard.info()
    counts = {"points_count": held.points_count, "indexed_vectors_count": held.indexed_vectors_count}
    return {"status": "green", "optimizer_status": "ok", "segments_count": held.segments_count, **counts}


def drop(door, name, body, query):
    door.shard(name).close()
    del _SHARDS[name]
    shutil.rmtree(door.folder / name)
    return True


def upsert(door, name, body, query):
    if "batch" in body:
        batch = models.PointsBatch.model_validate(body).batch
        (vectors,), (which,) = batch.vectors.values(), batch.vectors
        rows = zip(batch.ids, vectors, batch.payloads, strict=True)
        points = [edge.Point(id=key, vector={which: vector}, payload=payload) for key, vector, payload in rows]
    else:
        points = [
            edge.Point(id=each.id, vector=each.vector, payload=each.payload)
            for each in models.PointsList.model_validate(body).points
        ]
    return changed(door, name, edge.UpdateOperation.upsert_points(points), query)


def delete(door, name, body, query):
    if "filter" in body:
        found = _filter(models.FilterSelector.model_validate(body).filter)
        return changed(door, name, edge.UpdateOperation.delete_points_by_filter(found), query)
    points = models.PointIdsList.model_validate(body).points
    return changed(door, name, edge.UpdateOperation.delete_points(points), query)


def changed(door, name, operation, query):
    assert query["wait"] == ["true"]
    assert query["ordering"] == ["strong"]
    try:
        door.shard(name).update(operation)
    except Exception as error:
        raise Refused(400, f"Wrong input: {error}") from error
    return {"operation_id": 0, "status": "completed"}


def retrieve(door, name, body, query):
    wanted = models.PointRequest.model_validate(body)
    found = door.shard(name).retrieve(wanted.ids, wanted.with_payload, wanted.with_vector)
    return [_record(each) for each in found]


def scroll(door, name, body, query):
    wanted = models.ScrollRequest.model_validate(body)
    found, following = door.shard(name).scroll(
        edge.ScrollRequest(
            offset=wanted.offset,
            limit=wanted.limit,
            filter=_filter(wanted.filter),
            with_payload=wanted.with_payload,
            with_vector=wanted.with_vector,
        )
    )
    return {"points": [_record(each) for each in found], "next_page_offset": following}


def count(door, name, body, query):
    wanted = models.CountRequest.model_validate(body)
    return {"count": door.shard(name).count(edge.CountRequest(exact=wanted.exact, filter=_filter(wanted.filter)))}


def search(door, name, body, query):
    wanted = models.QueryRequestBatch.model_validate(body)
    asked = [
        edge.QueryRequest(
            query=edge.Query.Nearest(each.query, using=each.using),
            limit=each.limit,
            filter=_filter(each.filter),
            params=edge.SearchParams(hnsw_ef=each.params.hnsw_ef, exact=each.params.exact),
        )
        for each in wanted.searches
    ]
    found = door.shard(name).query_batch(edge.QueryBatchRequest(asked))
    return [
        {"points": [{"id": each.id, "version": each.version, "score": np.float32(each.score)} for each in points]}
        for points in found
    ]


def _filter(wanted):
    if wanted is None:
        return None

    def conditions(of):
        return None if of is None else [edge.HasIdCondition(set(each.has_id)) for each in of]

    return edge.Filter(must=conditions(wanted.must), must_not=conditions(wanted.must_not))


def _record(found):
    vectors = {name: np.array(vector, np.float32) for name, vector in (found.vector or {}).items()}
    key = found.id if isinstance(found.id, int) else str(found.id)
    return {"id": key, "payload": found.payload, "vector": vectors}


ROUTES = {
    ("PUT", ""): create,
    ("GET", ""): about,
    ("DELETE", ""): drop,
    ("PUT", "/points"): upsert,
    ("POST", "/points"): retrieve,
    ("POST", "/points/delete"): delete,
    ("POST", "/points/scroll"): scroll,
    ("POST", "/points/count"): count,
    ("POST", "/points/query/batch"): search,
}

if __name__ == "__main__":
    Door.folder, Door.key = Path(sys.argv[2]), (sys.argv[3:] or [""])[0]
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), Door).serve_forever()
