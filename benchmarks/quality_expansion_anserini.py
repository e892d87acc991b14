"""BM25, RM3 and Rocchio of Anserini, through pyserini, on a collection of nirank's."""

from __future__ import annotations

import json
from functools import cached_property
from pathlib import Path
from typing import Any

from speed_bm25_engines import Lucene

from nirank.data import Candidates, Collection

DEPTH = 1000
#: What is called on a searcher before it searches.
SYSTEMS = {"BM25": None, "RM3": "set_rm3", "Rocchio": "set_rocchio"}


class Anserini:
    """An index of Lucene's over a corpus, with the terms of documents, made in `folder`.

    All settings are Anserini's own: k1 = .9 and b = .4; ten documents and ten terms for feedback, the query with a
    weight of .5 in RM3, and in Rocchio with one of 1 beside .75.
    """

    def __init__(self, collection: Collection, folder: Path) -> None:
        self.collection, self.folder = collection, folder
        self.places = {name: place for place, name in enumerate(collection.corpus.ids)}

    def search(self, system: str) -> Candidates:
        """The best 1,000 documents of each query."""
        searcher, expanding = self._searcher, SYSTEMS[system]
        searcher.unset_rm3()
        searcher.unset_rocchio()
        if expanding:
            getattr(searcher, expanding)()
        hits = [searcher.search(text, k=DEPTH) for text in self.collection.queries.contents]
        docs = [[self.places[hit.docid] for hit in found] for found in hits]
        return Candidates.of(docs, [[hit.score for hit in found] for found in hits], self.collection.corpus)

    @cached_property
    def _searcher(self) -> Any:
        java = Lucene.start()
        java.autoclass("io.anserini.index.IndexCollection").main(self._options())
        from pyserini.search.lucene import LuceneSearcher

        searcher = LuceneSearcher(str(self.folder / "index"))
        searcher.set_bm25(0.9, 0.4)
        return searcher

    def _options(self) -> list[str]:
        written = self.folder / "json"
        written.mkdir(parents=True)
        corpus = self.collection.corpus
        with (written / "documents.jsonl").open("w", encoding="utf-8") as file:
            for name, text in zip(corpus.ids, corpus[:], strict=True):
                file.write(json.dumps({"id": name, "contents": text}) + "\n")
        options = {"collection": "JsonCollection", "input": written, "index": self.folder / "index"}
        options |= {"generator": "DefaultLuceneDocumentGenerator", "threads": 1}
        told = [part for name, value in options.items() for part in (f"-{name}", str(value))]
        return [*told, "-storeDocvectors"]
