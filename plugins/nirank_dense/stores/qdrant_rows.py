"""The rows of an index in Qdrant, over REST: a collection with a point a row, whose payload has the id.

    {"id": KEY, "vector": {"embedding": [...]}, "payload": {"id": "d7"}}
    {"id": MANIFEST, "vector": {}, "payload": {"manifest": "..."}}       one point more, which no search finds

Points are upserted, so that a request that is repeated writes nothing twice, and waited for. Qdrant has no
transactions: while rows are changed the manifest says so, and a search looks at it before and after. Requests and
answers are those of Qdrant's OpenAPI description (https://api.qdrant.tech), which are the same since version 1.10.
"""

from __future__ import annotations

import dataclasses
import functools
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from nirank.data import Floats
from nirank.errors import ComponentError, MissingDependency, StaleIndex
from nirank.kit import AwayForNow, HTTPClient, Refusal
from nirank_dense.exact.blocks import blocks
from nirank_dense.stores.manifest import UPDATING, Manifest
from nirank_dense.stores.store import Keys, Patience, Structure, refuse_changed

Result = TypeVar("Result")

#: The id of the point that holds the manifest: ids are whole numbers or UUIDs, and those of rows are numbers.
MANIFEST = "6e697261-6e6b-4d61-8e69-666573740001"
_VECTOR = "embedding"
#: Rows that are written or read at a time, and queries that are asked together.
_ROWS, _QUERIES = 1024, 64
#: Keys of a filter that are sent in one request; it stands in each of its queries.
_KEYS = 1_000_000
_NOT_FOUND, _CONFLICT = 404, 409
#: The replicas that are asked, and the order of writing: what is read is what was written, in a cluster as well.
_READ, _WRITTEN = "?consistency=majority", "?wait=true&ordering=strong"


class Rows:
    """One collection. `source` makes a client, which holds no secrets."""

    most: int | None = None

    def __init__(self, table: str, source: Callable[[], HTTPClient], structure: Structure, patience: Patience) -> None:
        self.table, self.structure, self.patience = table, structure, patience
        self._client = client_of(source, patience)
        self.name = f"the collection {table} of Qdrant at {self._client.url.partition('://')[2]}"

    def manifest(self) -> Manifest | None:
        """The manifest that is there; None without a collection, or with one that is empty.

        Raises `StaleIndex` where the collection has points and no manifest: it is somebody else's.
        """
        try:
            found = self._points([MANIFEST], payload=True)
        except Refusal as error:
            if error.status == _NOT_FOUND:
                return None
            raise
        if found:
            return Manifest.of_text(str(_member(found[0], "payload", "manifest")), self.name)
        if self._counted({}):
            raise StaleIndex(
                f"{self.name} has points and no manifest of nirank: it is somebody else's, or the manifest was "
                "deleted. Nothing was changed there: name another `table`, or drop it if nobody needs it."
            )
        return None

    def create(self, manifest: Manifest) -> None:
        """Make the collection, and the point with the manifest."""
        graph = {"m": 0}  # none, where every row is compared
        if self.structure.kind == "hnsw":
            graph = {"m": self.structure.m, "ef_construct": max(4, self.structure.construction)}
        vector = {"size": manifest.dim, "distance": "Dot", "hnsw_config": graph}
        try:
            self._asked("PUT", "", {"vectors": {_VECTOR: vector}})
        except Refusal as error:
            if error.status != _CONFLICT and "already exists" not in str(error):
                raise
        if self.manifest() is None:  # of a process that made it meanwhile
            self._describe(manifest)

    def keys(self) -> Keys:
        """The keys of all rows."""
        return np.sort(_keys_of(self._all(payload=False), self.name))

    def put(self, keys: Keys, ids: Any, vectors: Floats, manifest: Manifest) -> None:
        """Write rows; the manifest first, so that what it says of the longest vector holds."""
        self._describe(manifest)
        parts = [slice(start, start + _ROWS) for start in range(0, len(keys), _ROWS)]
        self._at_once(lambda here: self._upsert(keys[here], ids[here], vectors[here]), parts)

    def finish(self, manifest: Manifest) -> None:
        """Wait until Qdrant has made the graph of all rows, and say that all is there."""
        self._settled()
        self._describe(manifest)

    def change(self, manifest: Manifest, gone: Keys, new: tuple[Keys, Any, Floats]) -> None:
        """Take rows out and write new ones; meanwhile the manifest says that this is under way."""
        self.put(*new, dataclasses.replace(manifest, state=UPDATING))
        for some in blocks(gone, _ROWS):
            self._written("POST", "/points/delete", {"points": some})
        if (rows := self.count()) != manifest.rows:
            raise StaleIndex(f"{self.name} has {rows:,} rows after an update, and {manifest.rows:,} are expected.")
        self._settled()
        self._describe(manifest)

    def count(self) -> int:
        """The number of rows."""
        return self._counted({"must_not": [{"has_id": [MANIFEST]}]})

    def named(self) -> tuple[Keys, Any]:
        """The key and the id of each row."""
        rows = self._all(payload=True)
        return _keys_of(rows, self.name), [_member(row, "payload", "id") for row in rows]

    def vectors(self, keys: Keys) -> Floats:
        """The vectors of some rows, in the order of `keys`, which differ."""
        parts = self._at_once(self._vectors, list(blocks(keys, _ROWS)))
        return np.concatenate(parts) if parts else np.empty((0, 0), np.float32)

    def nearest(
        self, queries: Floats, count: int, token: str, among: NDArray[np.bool_] | None, exactly: bool
    ) -> tuple[Keys, Floats]:
        """The best rows for each query. What is found while another process changes the rows is refused."""
        condition = _among(among)
        size = max(1, min(_QUERIES, _KEYS // max(1, sum(map(_length, condition.values())))))
        ask = functools.partial(self._nearest, count=count, condition=condition, exactly=exactly)
        refuse_changed(self.name, self.manifest(), token)
        found = self._at_once(ask, list(blocks(queries, size)))
        refuse_changed(self.name, self.manifest(), token)
        return np.concatenate([keys for keys, _ in found]), np.concatenate([scores for _, scores in found])

    def _nearest(self, queries: Floats, count: int, condition: dict[str, Any], exactly: bool) -> tuple[Keys, Floats]:
        """Keys and scores of one batch of queries; how a search goes depends on nothing that the server is set to."""
        exactly = exactly or self.structure.kind == "exact"
        params = {"exact": exactly, "hnsw_ef": max(self.structure.ef, count), "indexed_only": False}
        asked = {"using": _VECTOR, "limit": count, "params": params, "with_payload": False, "with_vector": False}
        asked |= {"filter": condition} if condition else {}
        answers = self._asked(
            "POST", f"/points/query/batch{_READ}", {"searches": [{"query": query, **asked} for query in queries]}
        )
        if len(answers) != len(queries):
            raise ComponentError(f"{self.name} gave {len(answers)} answers to {len(queries)} queries.")
        return _matrices(answers, count, self.name)

    def _vectors(self, keys: Keys) -> Floats:
        rows = self._points(keys, vector=True)
        if len(rows) != len(keys):
            raise StaleIndex(f"{self.name} returned {len(rows):,} of {len(keys):,} rows: it was changed meanwhile.")
        found = {row["id"]: _member(row, "vector", _VECTOR) for row in rows}
        try:
            return np.array([found[key] for key in keys.tolist()], np.float32)
        except (LookupError, TypeError, ValueError) as error:
            raise _no_qdrant(error) from error

    def _points(self, keys: Any, payload: bool = False, vector: bool = False) -> list[Any]:
        """The points of some keys that are there, in any order."""
        asked = {"ids": keys, "with_payload": payload, "with_vector": [_VECTOR] if vector else False}
        points: list[Any] = self._asked("POST", f"/points{_READ}", asked)
        return points

    def _all(self, payload: bool) -> list[Any]:
        """All rows, page by page."""
        rows: list[Any] = []
        asked = {"filter": {"must_not": [{"has_id": [MANIFEST]}]}, "limit": 10 * _ROWS, "with_vector": False}
        following = None
        while True:
            asked |= {"with_payload": payload} | ({} if following is None else {"offset": following})
            answer = self._asked("POST", f"/points/scroll{_READ}", asked)
            rows += _member(answer, "points")
            if (following := answer.get("next_page_offset")) is None:
                return rows

    def _counted(self, condition: dict[str, Any]) -> int:
        asked = {"exact": True} | ({"filter": condition} if condition else {})
        return int(_member(self._asked("POST", "/points/count", asked), "count"))

    def _upsert(self, keys: Keys, ids: Any, vectors: Floats) -> None:
        payloads = [{"id": name} for name in ids.to_pylist()]
        batch = {"ids": keys, "vectors": {_VECTOR: vectors}, "payloads": payloads}
        self._written("PUT", "/points", {"batch": batch})

    def _describe(self, manifest: Manifest) -> None:
        point = {"id": MANIFEST, "vector": {}, "payload": {"manifest": manifest.text}}
        self._written("PUT", "/points", {"points": [point]})

    def _settled(self) -> None:
        """Wait while Qdrant makes its graph. Raises `ComponentError` where it cannot."""
        while True:
            about = self._asked("GET", "", None)
            status, optimizer = _member(about, "status"), _member(about, "optimizer_status")
            if status == "red" or optimizer != "ok":
                raise ComponentError(f"{self.name} cannot be made an index of: {status}, {optimizer}.")
            if status != "yellow":
                return
            time.sleep(0.1)

    def _written(self, method: str, path: str, body: Any) -> None:
        """Write something, and see that it is there: Qdrant may answer before that."""

        def write() -> None:
            status = _member(self._once(method, f"{path}{_WRITTEN}", body), "status")
            if status != "completed":
                raise AwayForNow(f"a change is {status!r} and not completed")

        self._retried(write)

    def _at_once(self, ask: Callable[[Any], Result], parts: list[Any]) -> list[Result]:
        with ThreadPoolExecutor(self.patience.connections) as pool:
            return list(pool.map(ask, parts))

    def _asked(self, method: str, path: str, body: Any) -> Any:
        """The result of a request, repeated where the server went away. Raises `BadInput` where it does not answer."""
        return self._retried(lambda: self._once(method, path, body))

    def _retried(self, call: Callable[[], Result]) -> Result:
        return self.patience.asked(call, lambda error: isinstance(error, AwayForNow), self.name)

    def _once(self, method: str, path: str, body: Any) -> Any:
        content = None if body is None else orjson().dumps(body, option=orjson().OPT_SERIALIZE_NUMPY)
        answer = self._client.once(method, f"/collections/{self.table}{path}", content, read=orjson().loads)
        return _member(answer, "result")


@functools.cache
def orjson() -> Any:
    """The package. Raises `MissingDependency` where it is not installed."""
    try:
        import orjson
    except ModuleNotFoundError as error:
        raise MissingDependency("this index needs the package orjson. Run: pip install 'nirank[qdrant]'") from error
    return orjson


_CLIENTS: dict[tuple[str, str, Patience], HTTPClient] = {}


def client_of(source: Callable[[], HTTPClient], patience: Patience) -> HTTPClient:
    """The client of this address, the same for all who ask: its connections are open already."""
    made = source()
    return _CLIENTS.setdefault((made.url, made.variable, patience), made)


def _member(answer: Any, *names: str) -> Any:
    """A member of an answer, and one of that. Raises `ComponentError` where it has none: something else answers."""
    try:
        for name in names:
            answer = answer[name]
    except (LookupError, TypeError) as error:
        raise _no_qdrant(error) from error
    return answer


def _no_qdrant(error: Exception) -> ComponentError:
    return ComponentError(f"what answers is no Qdrant of version 1.10 or newer: {error!r} in an answer.")


def _keys_of(points: list[Any], name: str) -> Keys:
    """The keys of points. Raises `StaleIndex` for an id that is no key."""
    ids = [point["id"] for point in points]
    if (foreign := next((each for each in ids if not isinstance(each, int)), None)) is not None:
        raise StaleIndex(f"{name} has a point of the id {foreign!r}: others have written to it.")
    return np.array(ids, np.int64)


def _matrices(answers: list[Any], count: int, name: str) -> tuple[Keys, Floats]:
    """Keys and scores of what is found for each query, -1 and minus infinity where there are no more."""
    keys, scores = np.full((len(answers), count), -1, np.int64), np.full((len(answers), count), -np.inf, np.float32)
    try:
        for place, answer in enumerate(answers):
            points = answer["points"]
            keys[place, : len(points)] = _keys_of(points, name)
            scores[place, : len(points)] = [point["score"] for point in points]
    except (LookupError, TypeError, ValueError) as error:
        raise _no_qdrant(error) from error
    return keys, scores


def _among(mask: NDArray[np.bool_] | None) -> dict[str, Any]:
    """A filter of the keys that a mask allows, by those that are fewer."""
    if mask is None:
        return {}
    allowed, others = np.flatnonzero(mask), np.flatnonzero(~mask)
    if not len(others):
        return {}
    fewer, which = (allowed, "must") if len(allowed) <= len(others) else (others, "must_not")
    return {which: [{"has_id": fewer}]}


def _length(conditions: Iterable[Any]) -> int:
    return sum(len(each["has_id"]) for each in conditions)
