"""A cluster with one index in this process, for checks: it speaks as much REST as the generator `opensearch` asks.

Requests and answers are those of the documents of OpenSearch and Elasticsearch; a request with anything else in it is
refused. A document's score is the number of letters that it shares with the query.
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

_HEADS = {"search_type", "preference", "allow_partial_search_results"}
_BODIES = {"query", "size", "_source", "track_total_hits"}
_SHARDS = {"total": 2, "successful": 2, "skipped": 0, "failed": 0}

#: Ids of documents and their scores.
Scores = dict[str, float]


class Refused(Exception):
    """A request that the cluster refuses, with a status and a type of error."""

    def __init__(self, status: int, kind: str, reason: str) -> None:
        super().__init__(reason)
        self.status, self.error = status, {"type": kind, "reason": reason, "root_cause": []}

    @property
    def answer(self) -> dict[str, Any]:
        """The error, as the cluster answers it."""
        return {"error": self.error, "status": self.status}


class TinyCluster:
    """An index `name` of documents by id, each the texts of its fields."""

    window = 10_000

    def __init__(self, name: str, documents: dict[str, dict[str, str]]) -> None:
        self.name, self.documents = name, documents

    def answer(self, method: str, target: str, content: bytes) -> tuple[int, Any]:
        """The status and the body of the answer to a request."""
        path, _, query = target.partition("?")
        index, _, what = path.strip("/").partition("/")
        try:
            if unquote(index) != self.name:
                raise Refused(404, "index_not_found_exception", f"no such index [{unquote(index)}]")
            if (method, what) == ("GET", "_field_caps"):
                return 200, self._field_caps(unquote(query).removeprefix("fields=").split(","))
            if (method, what) == ("POST", "_msearch"):
                return 200, {"took": 1, "responses": self._responses(content)}
            raise Refused(405, "method_not_allowed", f"no handler for {method} {target}")
        except Refused as error:
            return error.status, error.answer

    def search(self, body: dict[str, Any]) -> dict[str, Any]:
        """The answer to one search."""
        _refuse_others(body, _BODIES)
        size, track = body["size"], body.get("track_total_hits", self.window)
        if size > self.window:
            raise Refused(
                400, "illegal_argument_exception", f"Result window is too large: [{self.window}], but [{size}]"
            )
        scores = self._scores(body["query"])
        order = sorted(scores, key=lambda name: (-scores[name], name))[:size]  # ties in an order of its own
        total = {"value": len(scores), "relation": "eq"}
        if track is not True and len(scores) > track:
            total = {"value": track, "relation": "gte"}
        hits = [{"_index": self.name, "_id": name, "_score": scores[name]} for name in order]
        max_score = hits[0]["_score"] if hits else None
        found = {"total": total, "max_score": max_score, "hits": hits}
        return {"took": 1, "timed_out": False, "_shards": dict(_SHARDS), "hits": found, "status": 200}

    def _responses(self, content: bytes) -> list[Any]:
        if not content.endswith(b"\n"):
            raise Refused(400, "illegal_argument_exception", "The msearch request must be terminated by a newline")
        lines = [json.loads(line) for line in content.splitlines()]
        for head in lines[::2]:
            _refuse_others(head, _HEADS)
        return [self._response(body) for body in lines[1::2]]

    def _response(self, body: dict[str, Any]) -> Any:
        try:
            return self.search(body)
        except Refused as error:
            return error.answer

    def _field_caps(self, names: list[str]) -> dict[str, Any]:
        known = {name for fields in self.documents.values() for name in fields} & set(names)
        text = {"text": {"type": "text", "metadata_field": False, "searchable": True, "aggregatable": False}}
        return {"indices": [self.name], "fields": dict.fromkeys(sorted(known), text)}

    def _scores(self, query: dict[str, Any]) -> Scores:
        ((kind, asked),) = query.items()
        match kind:
            case "match_all":
                return dict.fromkeys(self.documents, 1.0)
            case "ids":
                return {name: 1.0 for name in asked["values"] if name in self.documents}
            case "match":
                ((field, asked),) = asked.items()
                return self._matched(asked["query"], [field])
            case "multi_match":
                return self._matched(asked["query"], asked["fields"])
            case "bool":
                return self._narrowed(asked)
        raise Refused(400, "parsing_exception", f"unknown query [{kind}]")

    def _matched(self, text: str, fields: list[str]) -> Scores:
        letters, scores = set(text), Scores()
        for name, texts in self.documents.items():
            best = 0.0
            for field in fields:
                field, _, boost = field.partition("^")
                best = max(best, len(letters & set(texts.get(field, ""))) * float(boost or 1))
            scores |= {name: best} if best else {}
        return scores

    def _narrowed(self, asked: dict[str, Any]) -> Scores:
        _refuse_others(asked, {"must", "filter", "must_not"})
        (must,) = asked["must"]
        scores = self._scores(must)
        for condition in asked.get("filter", []):
            scores = {name: scores[name] for name in self._scores(condition) if name in scores}
        for condition in asked.get("must_not", []):
            scores = {name: score for name, score in scores.items() if name not in self._scores(condition)}
        return scores


def _refuse_others(body: dict[str, Any], known: set[str]) -> None:
    if others := sorted(body.keys() - known):
        raise Refused(400, "parsing_exception", f"unknown key [{others[0]}]")
