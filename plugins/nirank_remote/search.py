"""The generator `remote`: a pipeline that `nirank serve` serves on another machine.

The server must serve the same documents: fingerprints are compared when the index is opened, and the version of what is
served with every answer. Documents are joined by their ids.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from nirank.data import Candidates, Corpus, Queries, offsets_of
from nirank.errors import BadInput, ComponentError, StaleIndex
from nirank.kit import Asking, HTTPClient, bounded, note_lost

SERVED = "server.json"
#: Documents of a page, and the deepest rank, that a server gives.
_PAGE, _DEEPEST = 1000, 10_000


class RemoteSearch:
    """Ask a server of nirank. `pipeline` is the name of one that it serves, where it serves several.

    `url` is its address; without one it is that in the environment variable {variable}_URL, and the token, if it wants
    one, that in {variable}_TOKEN. Raises `MissingDependency` without httpx.
    """

    cacheable = False  # the server may change

    def __init__(
        self,
        url: str | None = None,
        pipeline: str | None = None,
        variable: str = "NIRANK_REMOTE",
        asking: Asking = Asking(timeout=30.0),
    ) -> None:
        self.server = HTTPClient(url, variable, asking)
        self.pipeline = pipeline
        self._corpus: Corpus | None = None
        self._version = ""

    @property
    def index_key(self) -> dict[str, object]:
        """The address and the pipeline; nothing else is kept here."""
        return {"index": "remote", "version": 1, "url": self.server.url, "pipeline": self.pipeline}

    def build(self, corpus: Corpus, folder: Path, encode: Any = None) -> None:  # noqa: ARG002 (the server encodes)
        """Look that the server has these documents, and note the version of what it serves."""
        served = self._about(corpus)
        (folder / SERVED).write_text(json.dumps(served), encoding="utf-8")

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Look that the server still has these documents. Raises `StaleIndex` where it has others."""
        try:
            json.loads((folder / SERVED).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise bounded.fault(folder / SERVED, f"it cannot be read ({error})") from error
        self._version, self._corpus = self._about(corpus)["version"], corpus

    def generate(self, queries: Queries, k: int) -> Candidates:
        """At most `k` documents for each query, as the server finds them; one request a query and page.

        Raises `BadInput` for queries that are no texts, and for a server that does not answer or refuses;
        `StaleIndex` where it serves something else meanwhile.
        """
        if self._corpus is None:
            raise BadInput("remote has not looked at its server: search through a pipeline, or call open first.")
        if not 0 <= k <= _DEEPEST:
            raise BadInput(f"k = {k:,}; a server gives from 0 to {_DEEPEST:,} documents for a query.")
        odd = next((content for content in queries.contents if not isinstance(content, str)), None)
        if odd is not None:
            raise BadInput(f"remote asks with texts, and a query is of the type {type(odd).__name__}.")
        lost: list[str] = []
        found = self.server.at_once(lambda text: self._found(str(text), k, lost), list(queries.contents))
        note_lost(lost)
        ids = [name for hits in found for name, _ in hits]
        scores = np.array([score for hits in found for _, score in hits], np.float32)
        offsets = offsets_of([len(hits) for hits in found])
        return Candidates(offsets, self._ordinals(ids), scores).ranked().without(sorted(lost))

    def _found(self, text: str, k: int, lost: list[str]) -> list[tuple[str, float]]:
        """Ids and scores of the best `k`, page by page; the shards that the server searched without go into `lost`."""
        hits: list[tuple[str, float]] = []
        while len(hits) < k:
            count = min(_PAGE, k - len(hits))
            page, more, without = self._page(text, count, len(hits))
            hits += page
            lost += without
            if not more or not page:
                break
        return hits

    def _page(self, text: str, count: int, offset: int) -> tuple[list[tuple[str, float]], bool, list[str]]:
        asked = {"query": text, "k": count, "offset": offset, "snippets": False, "fields": []}
        asked |= {"pipelines": [self.pipeline]} if self.pipeline else {}
        answer = self.server.post("/search", asked)
        try:
            (result,) = answer["results"]
            hits = [(str(hit["id"]), float(hit["score"])) for hit in result["hits"]]
            version, more = answer["version"], bool(result["more"])
            lost = [f"{name} at {self.server.url}" for name in result.get("lost", ())]
        except (LookupError, TypeError, ValueError) as error:
            raise ComponentError(f"{self.server.url} answered what no /search of nirank does ({error!r}).") from error
        if version != self._version:
            raise StaleIndex(
                f"{self.server.url} serves another version than when it was looked at ({version}, and it was "
                f"{self._version}): search again."
            )
        return hits, more, lost

    def _ordinals(self, ids: list[str]) -> Any:
        if self._corpus is None or not ids:
            return np.empty(0, np.int64)
        docs = self._corpus.ids.find(ids)
        if (docs < 0).any():
            missing = ids[int(np.flatnonzero(docs < 0)[0])]
            raise StaleIndex(f"{self.server.url} found {missing!r}, which the corpus searched does not have.")
        return docs

    def _about(self, corpus: Corpus) -> dict[str, Any]:
        """What the server says of itself. Raises `StaleIndex` for other documents, `BadInput` for other pipelines."""
        about = self.server.get("/about")
        try:
            names = [each["name"] for each in about["pipelines"]]
            served = {name: about[name] for name in ("version", "documents", "corpus")}
        except (LookupError, TypeError) as error:
            raise ComponentError(
                f"{self.server.url} is no server of this version of nirank: /about lacks {error}."
            ) from error
        if served["corpus"] != corpus.fingerprint:
            raise StaleIndex(
                f"{self.server.url} serves another corpus: {served['documents']:,} documents, fingerprint "
                f"{str(served['corpus'])[:12]}; the corpus searched has {len(corpus):,}, fingerprint "
                f"{corpus.fingerprint[:12]}. Serve this corpus there, or search that one."
            )
        if (self.pipeline or names[0]) not in names or (self.pipeline is None and len(names) > 1):
            raise BadInput(f"{self.server.url} serves the pipelines {', '.join(names)}: name one as `pipeline`.")
        return served
