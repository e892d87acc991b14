"""The queries of a report on which systems differ most: what each found first, with marks, words and pictures."""

from __future__ import annotations

import logging
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.data import images
from nirank.data.candidates import Candidates
from nirank.data.listings import names_of
from nirank.data.thumbnails import thumbnail
from nirank.data.types import Content
from nirank.errors import NirankError
from nirank.experiments import report
from nirank.pipeline.snippets import snippets
from nirank.showing.terminal import beginning

if TYPE_CHECKING:
    from nirank.data.explanation import Explanation

log = logging.getLogger("nirank")

_QUERIES, _DOCUMENTS, _LETTERS = 6, 5, 180
#: Seconds after which no more documents of a system are explained: where a model is asked again and again, it is slow.
_SECONDS = 2.0

#: Parts of a text, each with whether it is a word of the query.
Parts = Sequence[tuple[str, bool]]


@dataclass(frozen=True)
class Shown:
    """A text in parts, or the number of a picture."""

    parts: Parts = ()
    picture: int | None = None


@dataclass(frozen=True)
class Found:
    """A document that a system found: `kind` is right, wrong or open (not judged)."""

    rank: int
    name: str
    score: float
    kind: str
    content: Shown
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Column:
    """The first documents of one system for a query, and its value of the measure."""

    system: str
    value: float
    documents: list[Found]


@dataclass(frozen=True)
class Telling:
    """A query with what each system found."""

    id: str
    content: Shown
    relevant: int
    columns: list[Column]


@dataclass
class Album:
    """Small copies of pictures, each once however often it is shown."""

    pictures: list[str] = field(default_factory=list)
    _numbers: dict[Any, int] = field(default_factory=dict)

    def number(self, key: Any, content: Content) -> int:
        """The number of a picture that is known by `key`."""
        if key not in self._numbers:
            self._numbers[key] = len(self.pictures)
            self.pictures.append(thumbnail(content))
        return self._numbers[key]


@dataclass(frozen=True)
class _Teller:
    """All that describing queries needs: the results, the pictures, and the seconds that explanations have taken."""

    results: Any
    album: Album
    spent: dict[str, float] = field(default_factory=lambda: defaultdict(float))

    def query(self, row: int) -> Telling:
        """A query with what each system found."""
        collection = self.results.collection
        graded = dict(zip(*(column.tolist() for column in collection.judgments[row]), strict=True))
        content = self._shown(("query", row), collection.queries.contents[row])
        columns = [self._column(name, row, graded) for name in self.results.systems]
        return Telling(collection.queries.ids[row], content, sum(grade > 0 for grade in graded.values()), columns)

    def _column(self, name: str, row: int, graded: dict[int, float]) -> Column:
        system, corpus = self.results.systems[name], self.results.collection.corpus
        docs, scores = (column[:_DOCUMENTS] for column in system.run[row])
        contents = [self._shown(("document", doc), corpus[[doc]][0]) for doc in docs.tolist()]
        marked = self._marked(row, docs)
        documents = [
            Found(rank, called, score, _kind(doc, graded), Shown(marked[doc]) if doc in marked else content)
            for rank, (doc, score, called, content) in enumerate(
                zip(docs.tolist(), scores.tolist(), names_of(corpus, docs), contents, strict=True), 1
            )
        ]
        if documents:
            documents[0] = self._explained(documents[0], system, row, corpus.ids[int(docs[0])])
        return Column(name, self._value(system, row), documents)

    def _value(self, system: Any, row: int) -> float:
        place = int(np.flatnonzero(system.evaluation.queries == row)[0])
        return float(system.evaluation.values[self.results.measured[0]][place])

    def _shown(self, key: tuple[str, int], content: Content) -> Shown:
        if images.is_image(content):
            return Shown(picture=self.album.number(key, content))
        return Shown([(beginning(str(content), _LETTERS), False)])

    def _marked(self, row: int, docs: Any) -> dict[int, Parts]:
        """The best part of each document with the words of the query; none where contents are no texts."""
        collection = self.results.collection
        try:
            found = Candidates.of([docs], corpus=collection.corpus)
            best = snippets(collection.queries.take(slice(row, row + 1)), found)[0]
        except NirankError as error:
            log.debug("the report shows beginnings of texts: %s", error)
            return {}
        return {snippet.doc: _parts(snippet) for snippet in best if snippet.matches}

    def _explained(self, document: Found, system: Any, row: int, name: str) -> Found:
        """The document with its explanation, where the ranking has one, there is time, and it is of the run's score.

        Of an experiment in folds the ranking is that of one fold, and what others found has other scores.
        """
        explain = getattr(system.ranking, "explain", None)
        if explain is None or self.spent[system.name] > _SECONDS:
            return document
        collection, start = self.results.collection, time.monotonic()
        try:
            explanation = explain(collection.queries.take(slice(row, row + 1)), name, collection.corpus)
        except Exception as error:  # of whatever component: a report without it is better than none
            log.debug("no explanation of %s in the report: %s", name, error)
            return document
        finally:
            self.spent[system.name] += time.monotonic() - start
        return replace(document, explanation=explanation) if explanation.is_of(document.score) else document


def telling(results: Any, album: Album) -> list[Telling]:
    """The queries on which systems differ most in the first measure; of one system alone, the first ones."""
    rows = report.telling_queries(results, results.measured[0], _QUERIES)
    teller = _Teller(results, album)
    return [teller.query(row) for row in rows]


def _kind(doc: int, graded: dict[int, float]) -> str:
    if graded.get(doc, 0) > 0:
        return "right"
    return "wrong" if doc in graded else "open"


def _parts(snippet: Any) -> Parts:
    """The text of a snippet cut at its matches."""
    edges = [snippet.start, *(place for match in snippet.matches for place in match), snippet.stop]
    pieces = [snippet.text[left - snippet.start : right - snippet.start] for left, right in pairwise(edges)]
    return [(piece, bool(number % 2)) for number, piece in enumerate(pieces) if piece]
