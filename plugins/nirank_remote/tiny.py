"""Small servers in this process, for checks: they count the letters that a text shares with a query."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from nirank.data import Corpus
from nirank.kit import Asking, HTTPClient, import_httpx
from nirank_remote.opensearch import OpenSearch
from nirank_remote.search import RemoteSearch
from nirank_remote.tiny_index import TinyCluster


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


class IndexInProcess(OpenSearch):
    """A search whose cluster has the documents that it is opened with, in the field `text`."""

    def __init__(self, index: str = "letters") -> None:
        super().__init__(index, url="http://localhost")
        transport = import_httpx().MockTransport(self._answer)
        self.server = HTTPClient("http://localhost", "NIRANK_OPENSEARCH", Asking(tries=1), transport=transport)
        self._cluster = TinyCluster(index, {})

    def build(self, corpus: Corpus, folder: Path, encode: Any = None) -> None:
        """Have these documents in the index."""
        self._fill(corpus)
        super().build(corpus, folder, encode)

    def open(self, corpus: Corpus, folder: Path) -> None:
        """Have these documents in the index, whoever has looked at it."""
        self._fill(corpus)
        super().open(corpus, folder)

    def _fill(self, corpus: Corpus) -> None:
        texts = zip(corpus.ids, corpus[:], strict=True)
        self._cluster.documents = {name: {"text": str(text)} for name, text in texts}

    def _answer(self, request: Any) -> Any:
        status, said = self._cluster.answer(request.method, request.url.raw_path.decode(), request.content)
        return import_httpx().Response(status, json=said)


def index() -> IndexInProcess:
    """A search by the cluster in this process."""
    return IndexInProcess()
