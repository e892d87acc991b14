"""The score of a document by the terms of the query: what each is worth, and where it stands in both texts."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nirank.data import Candidates, Content, Explanation, Mark, Queries, TermWeights
from nirank.kit.text import Analyzer, QueryTerms, term_places
from nirank_lexical.weighted import WeightedPostings

#: Where terms stand in a text, each as begin and end.
Places = Mapping[str, Sequence[tuple[int, int]]]


@dataclass(frozen=True, eq=False)
class Terms:
    """A query as an index knows it, against one document."""

    searched: WeightedPostings
    asked: QueryTerms
    row: int
    doc: int

    def worth(self) -> Iterator[tuple[str, float, int, float]]:
        """Each term of the query by its name, with its weight there, its count in the document, and its worth."""
        searched, index = self.searched, self.searched.index
        searched.require(self.asked.terms)
        for term, weight in zip(*self.asked.of(self.row), strict=True):
            docs, counts = index.of(slice(term, term + 1))
            place = int(np.searchsorted(docs, self.doc))
            has = place < len(docs) and docs[place] == self.doc
            worth = weight * searched.impacts[index.starts[term] + place] if has else np.float32(0)
            count = int(counts[place].sum()) if has else 0
            yield index.vocabulary[term], float(weight), count, float(worth)

    def prior(self) -> Iterator[Explanation]:
        """What the length of the document is worth, where the weighting has a prior."""
        if len(self.searched.prior) and self.doc < self.searched.documents:
            worth = self.asked.tokens[self.row] * self.searched.prior[self.doc]
            yield Explanation("length of the document", float(worth), note="worth of every token of the query")


@dataclass(frozen=True, eq=False)
class Texts:
    """Where terms stand in a query and a document; of vectors of terms, `own` are those that the query's text has."""

    query: Places
    document: Places
    weighted: bool

    @classmethod
    def of(cls, analyzer: Analyzer, queries: Queries, row: int, document: Content) -> Texts:
        """The terms of a query of some, and of a document; of what is no text there are none."""
        weighted = isinstance(queries.vectors, TermWeights)
        return cls(_places(analyzer, queries.contents[row]), _places(analyzer, document), weighted)

    def part(self, term: str, weight: float, count: int, worth: float) -> Explanation:
        """The part of one term: labelled as the query writes it, with marks wherever it stands."""
        asked, found = self.query.get(term, ()), self.document.get(term, ())
        told = [f"{count} in the document" if count else "not in the document"]
        if weight != 1 or self.weighted:
            told.append(f"weight {weight:.4g} in the query")
        if self.weighted and not asked:
            told.append("added by the expansion")
        marks = _marks(asked, worth), _marks(found, worth)
        return Explanation(term, worth, note=", ".join(told), query_marks=marks[0], document_marks=marks[1])


def explained(ranker: Any, queries: Queries, candidates: Candidates, asked: QueryTerms) -> list[Explanation]:
    """One explanation for each pair; `ranker` has an index open, which knows the queries as `asked`."""
    scores, searched = ranker.score(queries, candidates), ranker._searched
    corpus = ranker._opened()
    found = []
    for row, doc, score in zip(candidates.rows.tolist(), candidates.docs.tolist(), scores.tolist(), strict=True):
        terms, texts = Terms(searched, asked, row, doc), Texts.of(ranker.analyzer, queries, row, corpus[doc])
        parts = [*(texts.part(*each) for each in terms.worth()), *terms.prior()]
        found.append(Explanation.summed(repr(ranker), score, tuple(parts)))
    return found


def _places(analyzer: Analyzer, content: Content) -> Places:
    found: dict[str, list[tuple[int, int]]] = defaultdict(list)
    for start, end, term in term_places(analyzer, content) if isinstance(content, str) else ():
        found[term].append((start, end))
    return found


def _marks(places: Sequence[tuple[int, int]], worth: float) -> tuple[Mark, ...]:
    """The places with an equal share of what they are worth together."""
    return tuple(Mark(start, end, worth / len(places)) for start, end in places)
