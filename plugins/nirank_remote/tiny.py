"""A small server in this process, for checks: it counts the letters that a text shares with a query."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nirank.data import Corpus
from nirank.kit import Asking, HTTPClient, import_httpx
from nirank_remote.search import RemoteSearch


class InProcess(RemoteSearch):
    """A search whose server has the documents that it is opened with."""

    def __init__(self, url: str = "http://localhost", pipeline: str = "letters") -> None:
        super().__init__(url, pipeline)
        self.server = HTTPClient(
            url, "NIRANK_REMOTE", Asking(tries=1), transport=import_httpx().MockTransport(self._answer)
        )
        self._served: Any = None

    def build(self, corpus: Corpus, folder: Path, encode: Any = None) -> None:
        """Serve these documents."""
        self._served = corpus
        super().build(corpus, folder, encode)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Serve these documents, whoever has made the index of them."""
        self._served = corpus
        super().open(corpus, folder)

    def _answer(self, request: Any) -> Any:
        if request.url.path == "/about":
            corpus, names = self._served, [{"name": self.pipeline}]
            said = {"version": "1", "documents": len(corpus), "corpus": corpus.fingerprint, "pipelines": names}
            return import_httpx().Response(200, json=said)
        asked = json.loads(request.content)
        hits = self._hits(set(asked["query"]))
        shown = hits[asked["offset"] : asked["offset"] + asked["k"]]
        more = len(hits) > asked["offset"] + asked["k"]
        return import_httpx().Response(200, json={"version": "1", "results": [{"hits": shown, "more": more}]})

    def _hits(self, letters: set[str]) -> list[dict[str, Any]]:
        scores = [len(letters & set(text)) for text in self._served[:]]
        order = sorted(range(len(scores)), key=lambda doc: (-scores[doc], doc))
        return [{"id": self._served.ids[doc], "score": float(scores[doc])} for doc in order if scores[doc]]


def remote() -> InProcess:
    """A search by the server in this process."""
    return InProcess()
