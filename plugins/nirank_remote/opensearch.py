"""The generators `opensearch` and `elasticsearch`: BM25 of an index that is there already, asked over REST.

nirank neither makes nor changes the index. A document is joined by its `_id`, which must be its id in the corpus: when
the index is first used here, all ids are looked for in it, and their number is compared with every search. Whether the
texts are the same, no one can see from here.

Queries are sent in batches to `_msearch`, as `match` or `multi_match`, whose texts are in no query language. An answer
of some shards alone, or one that is not whole, is asked for again, and then an error: never a shorter list.
"""

from __future__ import annotations

import copy
import json
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np
from numpy.typing import ArrayLike, NDArray

from nirank.data import Candidates, Corpus, Queries, offsets_of
from nirank.errors import BadInput, ComponentError, StaleIndex
from nirank.kit import KEY_OR_BASIC, PASSING, Asking, AwayForNow, HTTPClient, bounded, in_lines

log = logging.getLogger("nirank")

SEEN = "index.json"
#: Signs that no name of an index has.
_NOT_IN_NAMES = '\\/*?"<>| ,#:'
#: Queries of a request, documents that are asked for beyond those wanted (for ties with the last), and times as many.
_QUERIES, _MORE, _FURTHER = 32, 16, 4
#: Ids in one query, and bytes of a request, about.
_IDS, _BYTES = 10_000, 2**22

#: A document's id and its score.
Hit = tuple[str, float]


@dataclass(frozen=True)
class Match:
    """Settings of a query.

    combine      of several fields, how their scores come together: the type of `multi_match`
    operator     whether one term of the query must be there, or all
    statistics   `global`: the frequencies of terms are those of all shards (dfs_query_then_fetch); `shard`: those of
                 the shard that a document is in, as is usual there; a little faster
    window       the most documents of a query, the setting index.max_result_window of the index
    """

    combine: Literal["best_fields", "most_fields", "cross_fields"] = "best_fields"
    operator: Literal["or", "and"] = "or"
    statistics: Literal["global", "shard"] = "global"
    window: int = 10_000

    def __post_init__(self) -> None:
        if self.window < 1:
            raise BadInput(f"window = {self.window}; it is a number from 1.")

    def query(self, text: str, fields: Sequence[str]) -> dict[str, Any]:
        """The query for a text."""
        (first, *others), asked = fields, {"query": text, "operator": self.operator}
        if not others and "^" not in first:
            return {"match": {first: asked}}
        return {"multi_match": {**asked, "fields": list(fields), "type": self.combine}}


class OpenSearch:
    """Search an index of OpenSearch, or of Elasticsearch 7 or newer, with BM25 or what else its fields are set to.

    `index` is its name, or that of an alias; `fields` are those searched, "title^2" one that counts twice. `url` is the
    address; without one it is that in the environment variable {variable}_URL, and to this host alone
    {variable}_API_KEY is sent, or {variable}_USER and {variable}_PASSWORD. Raises `MissingDependency` without httpx.
    """

    cacheable = False  # the index may change

    def __init__(
        self,
        index: str,
        fields: tuple[str, ...] = ("text",),
        match: Match = Match(),
        url: str | None = None,
        variable: str = "NIRANK_OPENSEARCH",
        asking: Asking = Asking(timeout=30.0),
    ) -> None:
        if not index or index[0] in "-_+" or set(index) & set(_NOT_IN_NAMES) or not index.isprintable():
            raise BadInput(f"index = {index!r}: the name of one index or alias is expected, without {_NOT_IN_NAMES}")
        if not fields or any(not name.partition("^")[0] or "*" in name for name in fields):
            raise BadInput(f"fields = {list(fields)}: names of fields are expected, as in ['title^2', 'text'].")
        self.index, self.fields, self.match = index, tuple(fields), match
        self.server = HTTPClient(url, variable, asking, KEY_OR_BASIC)
        self.name = f"the index {index} of {self.server.url}"
        self._corpus: Corpus | None = None
        self._allowed: NDArray[np.bool_] | None = None
        self._told = False

    @property
    def index_key(self) -> dict[str, object]:
        """The address and the name; nothing else is kept here."""
        return {"index": "opensearch", "version": 1, "url": self.server.url, "name": self.index}

    def build(self, corpus: Corpus, folder: Path, encode: Any = None) -> None:  # noqa: ARG002 (the index is there)
        """Look that the index has the documents of the corpus, each, and no others."""
        self._look(corpus)
        self._look_for(corpus.ids)
        (folder / SEEN).write_text(json.dumps({"documents": len(corpus)}), encoding="utf-8")

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Look that the index still has as many documents, 10,000 of these among them, and the fields.

        Raises `StaleIndex` where it has other documents, `BadInput` where it has not the fields.
        """
        try:
            json.loads((folder / SEEN).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise bounded.fault(folder / SEEN, f"it cannot be read ({error})") from error
        self._look(corpus)
        some = np.arange(0, len(corpus), -(-len(corpus) // _IDS))
        self._look_for(corpus.ids.take(some))
        self._corpus = corpus

    def within(self, allowed: ArrayLike) -> OpenSearch:
        """The same search among some documents: a mask `[documents]`, or ordinals.

        Up to 10,000 ids, of those allowed or of the others, are sent with each query. Otherwise the best documents are
        asked for until enough of them are allowed; where the best `window` have too few, that is an error.
        """
        corpus, copied = self._opened(), copy.copy(self)
        mask = np.zeros(len(corpus), bool)
        mask[np.asarray(allowed)] = True
        copied._allowed = mask if self._allowed is None else mask & self._allowed
        return copied

    def generate(self, queries: Queries, k: int) -> Candidates:
        """At most `k` documents for each query, by the score that the index gives; equal ones by ordinal.

        Raises `BadInput` for queries that are no texts, a `k` beyond `window`, and a server that does not answer or
        refuses; `StaleIndex` where the index has other documents than the corpus.
        """
        corpus, window = self._opened(), self.match.window
        if k < 0:
            raise BadInput(f"k = {k}; it must be 0 or more.")
        k = min(k, len(corpus) if self._allowed is None else int(self._allowed.sum()))
        if k > window:
            raise BadInput(
                f"k = {k:,}; {self.name} gives at most {window:,} documents for a query. Take fewer, % {window}, or "
                "raise index.max_result_window there and `window` here."
            )
        odd = next((content for content in queries.contents if not isinstance(content, str)), None)
        if odd is not None:
            raise BadInput(f"{type(self).__name__} asks with texts, and a query is of the type {type(odd).__name__}.")
        if not k or not len(queries):
            return Candidates.empty(len(queries))
        return self._best([str(text) for text in queries.contents], k, min(k + _MORE, window)).top(k)

    # Searching

    def _opened(self) -> Corpus:
        if self._corpus is None:
            raise BadInput(
                f"{type(self).__name__} has not looked at its index: search through a pipeline, or call open first."
            )
        return self._corpus

    def _best(self, texts: list[str], k: int, size: int) -> Candidates:
        """The best `k` and more, of `size` hits at first: as many as are needed for ties, and for those not allowed."""
        found = self._hits(texts, size)
        allowed = self._among(found)
        open_ = np.flatnonzero((found.lengths == size) & ~(_scores_at(allowed, k) > _scores_at(found, size)))
        if not len(open_):
            return allowed
        if size == self.match.window:
            self._tell(allowed, open_, k)
            return allowed
        again = self._best([texts[row] for row in open_], k, min(_FURTHER * size, self.match.window))
        order = np.arange(len(texts))
        order[open_] = len(texts) + np.arange(len(open_))
        return Candidates.stack([allowed, again]).take(order)

    def _tell(self, allowed: Candidates, rows: NDArray[np.int64], k: int) -> None:
        """Tell of lists that go on beyond the window: refuse where too few documents pass a filter."""
        least = int(allowed.lengths[rows].min())
        if least < k:
            raise BadInput(
                f"of the best {self.match.window:,} documents for a query, as many as {self.name} gives, {least:,} "
                f"pass the filter, and {k:,} are wanted. Ask for fewer, or with a filter that at most {_IDS:,} pass."
            )
        if not self._told:
            log.warning("%s: beyond %d documents more score the same; which are found, it chooses.", self.name, k)
        self._told = True

    def _among(self, found: Candidates) -> Candidates:
        return found if self._allowed is None else found.where(self._allowed[found.docs])

    def _hits(self, texts: list[str], size: int) -> Candidates:
        """The best `size` documents for each text, by falling score."""
        condition = self._condition()
        bodies = [self._body(self.match.query(text, self.fields), condition, size) for text in texts]
        step = max(1, min(_QUERIES, _BYTES // max(1, sum(map(len, condition.get("ids", []))))))
        parts = [bodies[start : start + step] for start in range(0, len(bodies), step)]
        found = [hits for part in self.server.at_once(self._searched, parts) for hits in part]
        ids, scores = [name for hits in found for name, _ in hits], [score for hits in found for _, score in hits]
        docs = self._ordinals(ids)
        made = Candidates(offsets_of([len(hits) for hits in found]), docs, np.array(scores, np.float32))
        if len(np.unique(made.rows * len(self._opened()) + docs)) < len(docs):
            raise StaleIndex(f"{self.name} has two documents of the same _id: it finds one twice for a query.")
        return made.ranked()

    def _condition(self) -> dict[str, Any]:
        """The ids that may be found or may not, whichever are fewer; none where both are too many to send."""
        if self._allowed is None or self._allowed.all():
            return {}
        some, occurs = np.flatnonzero(self._allowed), "filter"
        if len(some) > len(self._allowed) / 2:
            some, occurs = np.flatnonzero(~self._allowed), "must_not"
        return {"ids": self._opened().ids.take(some), "occurs": occurs} if len(some) <= _IDS else {}

    def _body(self, query: dict[str, Any], condition: dict[str, Any], size: int) -> dict[str, Any]:
        if condition:
            query = {"bool": {"must": [query], condition["occurs"]: [{"ids": {"values": condition["ids"]}}]}}
        return {"query": query, "size": size, "_source": False, "track_total_hits": size}

    def _searched(self, bodies: list[dict[str, Any]]) -> list[list[Hit]]:
        """The hits of some queries. Raises `StaleIndex` where the index has not as many documents as the corpus."""
        every = {"query": {"match_all": {}}, "size": 0, "track_total_hits": True}
        answers = self._asked([every, *bodies])
        self._refuse_number(self._read(answers[0], _total), self._opened())
        return [
            self._read(answer, lambda answer, size=body["size"]: _hits_of(answer, size))
            for answer, body in zip(answers[1:], bodies, strict=True)
        ]

    def _asked(self, bodies: list[dict[str, Any]]) -> list[Any]:
        """The answer to each search, every one of them whole."""
        kind = "dfs_query_then_fetch" if self.match.statistics == "global" else "query_then_fetch"
        # Replicas count deleted documents apart, so that the same one is to be asked each time.
        head = {"search_type": kind, "preference": "nirank", "allow_partial_search_results": False}
        content = in_lines([line for body in bodies for line in (head, body)])

        def ask() -> list[Any]:
            answer = self.server.once("POST", f"{self._path}/_msearch", content, "application/x-ndjson")
            answers: list[Any] = self._read(answer, lambda answer: list(answer["responses"]))
            if len(answers) != len(bodies):
                raise ComponentError(f"{self.name} gave {len(answers)} answers to {len(bodies)} searches.")
            for each in answers:
                self._read(each, self._refuse_part)
            return answers

        return self.server.retried(ask)

    def _refuse_part(self, answer: Any) -> None:
        """Raise `BadInput` for a search that is refused, `AwayForNow` for an answer that is not of all documents."""
        if "error" in answer:
            fault = _reason(answer["error"])
            if answer.get("status") in PASSING:
                raise AwayForNow(f"status {answer['status']}, {fault}")
            raise BadInput(f"{self.name} refuses a search: {fault}.")
        shards, clusters = answer["_shards"], answer.get("_clusters", {})
        if shards["failed"] or shards["successful"] < shards["total"]:
            fault = next((_reason(each.get("reason")) for each in shards.get("failures", [])), "no reason given")
            raise AwayForNow(f"{shards['successful']} of {shards['total']} shards answered ({fault})")
        if answer["timed_out"] or answer.get("terminated_early"):
            raise AwayForNow("a search ended before all documents were looked at (timed_out)")
        if clusters.get("skipped") or clusters.get("failed") or clusters.get("partial"):
            raise AwayForNow(f"not all clusters answered ({clusters})")

    def _read(self, answer: Any, read: Any) -> Any:
        """What a function makes of an answer. Raises `ComponentError` where it is none of such a server."""
        try:
            return read(answer)
        except (LookupError, TypeError, ValueError, AttributeError) as error:
            if isinstance(error, BadInput):
                raise
            raise ComponentError(
                f"{self.server.url} answered what no OpenSearch or Elasticsearch does ({error!r})."
            ) from error

    # Looking at the index

    @property
    def _path(self) -> str:
        return f"/{quote(self.index, safe='')}"

    def _look(self, corpus: Corpus) -> None:
        """Raise unless the index has the fields, and as many documents as the corpus."""
        names = [name.partition("^")[0] for name in self.fields]
        answer = self.server.get(f"{self._path}/_field_caps?fields={quote(','.join(names))}")
        known = self._read(answer, lambda answer: dict(answer["fields"]))
        for name in names:
            if not any(each.get("searchable") for each in known.get(name, {}).values()):
                raise BadInput(f"{self.name} has no field {name!r} that can be searched: set `fields`.")
        self._refuse_number(self._number({"match_all": {}}), corpus)

    def _look_for(self, names: Sequence[str]) -> None:
        """Raise `StaleIndex` unless the index has documents of all these ids."""
        parts = list(_in_parts(names))
        counts = self.server.at_once(lambda ids: self._number({"ids": {"values": ids}}), parts)
        for ids, count in zip(parts, counts, strict=True):
            if count != len(ids):
                raise StaleIndex(
                    f"{self.name} lacks {len(names) - sum(counts):,} of {len(names):,} documents of the corpus, "
                    f"{self._missing(ids)!r} among them. A document's _id there must be its id here."
                )

    def _refuse_number(self, number: int, corpus: Corpus) -> None:
        if number != len(corpus):
            raise StaleIndex(
                f"{self.name} has {number:,} documents, and the corpus searched {len(corpus):,}: these are not the "
                "same. Search the corpus that was indexed there, or name an alias that shows its documents alone."
            )

    def _number(self, query: dict[str, Any]) -> int:
        """The number of documents that a query finds."""
        (answer,) = self._asked([{"query": query, "size": 0, "track_total_hits": True}])
        number: int = self._read(answer, _total)
        return number

    def _missing(self, ids: list[str]) -> str:
        """The first of some ids that the index lacks."""
        (answer,) = self._asked([{"query": {"ids": {"values": ids}}, "size": len(ids), "_source": False}])
        there = self._read(answer, lambda answer: {hit["_id"] for hit in answer["hits"]["hits"]})
        return next((name for name in ids if name not in there), ids[0])

    def _ordinals(self, ids: list[str]) -> NDArray[np.int64]:
        docs = self._opened().ids.find(ids) if ids else np.empty(0, np.int64)
        if (docs < 0).any():
            missing = ids[int(np.flatnonzero(docs < 0)[0])]
            raise StaleIndex(f"{self.name} found {missing!r}, which the corpus searched does not have.")
        return docs


class Elasticsearch(OpenSearch):
    """Search an index of Elasticsearch: as `OpenSearch`, with variables of another name."""

    def __init__(
        self,
        index: str,
        fields: tuple[str, ...] = ("text",),
        match: Match = Match(),
        url: str | None = None,
        variable: str = "NIRANK_ELASTICSEARCH",
        asking: Asking = Asking(timeout=30.0),
    ) -> None:
        super().__init__(index, fields, match, url, variable, asking)


def _in_parts(names: Sequence[str]) -> Iterator[list[str]]:
    """Ids, some thousands at a time, and no more than make a request of some megabytes."""
    part: list[str] = []
    size = 0
    for name in names:
        if len(part) == _IDS or (part and size + len(name) > _BYTES // 4):
            yield part
            part, size = [], 0
        part.append(name)
        size += len(name)
    if part:
        yield part


def _total(answer: Any) -> int:
    """The number of documents found, which was asked for exactly."""
    total = answer["hits"]["total"]
    if total["relation"] != "eq":
        raise ValueError(f"a number that is not exact: {total}")
    return int(total["value"])


def _hits_of(answer: Any, size: int) -> list[Hit]:
    """Ids and scores. Raises `ValueError` for fewer than there are, of the first `size`."""
    total, hits = answer["hits"]["total"], answer["hits"]["hits"]
    there = min(size, int(total["value"])) if total["relation"] == "eq" else size
    if len(hits) != there:
        raise ValueError(f"{len(hits)} hits of {there}")
    scored = [(str(hit["_id"]), float(hit["_score"])) for hit in hits]
    if not np.isfinite(np.array([score for _, score in scored], np.float32)).all():
        raise ValueError("a score that is not finite")
    return scored


def _reason(error: Any) -> str:
    """An error of the server in short."""
    if not isinstance(error, dict):
        return str(error)[:300]
    causes = error.get("root_cause") or []
    inner = error.get("caused_by") or (causes[0] if causes else {})
    said = [error.get("type"), error.get("reason"), inner.get("reason") if isinstance(inner, dict) else None]
    return ": ".join(dict.fromkeys(str(each) for each in said if each))[:300]


def _scores_at(found: Candidates, rank: int) -> NDArray[Any]:
    """The score at a rank of each list; NaN for one that is shorter."""
    scores, long = np.full(len(found), np.nan, np.float32), found.lengths >= rank
    scores[long] = found.scores[found.offsets[:-1][long] + rank - 1]
    return scores
