"""Why a document has its score: what pipelines and their parts have in common when they explain.

`Ranking.explain` and `Scoring.explain` begin here. Each part of a pipeline explains what it does itself, and asks its
own parts for the rest: sums give their terms, fusions what each list brought, a scorer what its component says.
"""

from __future__ import annotations

import copy
import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.corpus import Documents
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus
from nirank.errors import BadInput, CompositionError
from nirank.execution import sharing, stages
from nirank.pipeline import misplaced
from nirank.pipeline.occlusion import occluded

if TYPE_CHECKING:
    from nirank.data.types import Floats

#: What scores a query and the documents of its list, `[documents]`.
Score = Callable[[Queries, Candidates], "Floats"]


@dataclass(frozen=True, eq=False)
class Pair:
    """A query and one of the documents of its list: `queries` and `candidates` are of one query, `place` is in it."""

    queries: Queries
    candidates: Candidates
    place: int = 0

    @classmethod
    def of(cls, queries: Queries, corpus: Corpus, doc: int) -> Pair:
        """A pair whose list holds the document alone."""
        return cls(queries, Candidates(np.array([0, 1]), np.array([doc]), np.zeros(1, np.float32), corpus))

    @property
    def doc(self) -> int:
        """The ordinal of the document."""
        return int(self.candidates.docs[self.place])

    @property
    def corpus(self) -> Corpus:
        """The corpus of the document."""
        return self.candidates.corpus_for("an explanation")

    def alone(self) -> Pair:
        """The same without the other documents."""
        if self.candidates.pairs == 1:
            return self
        return Pair(self.queries, self.candidates.where(np.arange(self.candidates.pairs) == self.place))

    def asked(self, queries: Queries) -> Pair:
        """The same for another query."""
        return replace(self, queries=queries)

    def score(self, score: Score) -> float:
        """The number that something gives it."""
        return float(score(self.queries, self.candidates)[self.place])


def explained(part: Any, query: Any, document: str, corpus: Corpus) -> Explanation:
    """The explanation of a document's score, with both texts; `part` is a ranking or a scoring.

    Raises `BadInput` for more than one query, a document that the corpus lacks, and one that was not found and has no
    score.
    """
    if isinstance(corpus, misplaced.NO_CORPORA):
        raise CompositionError(misplaced.no_corpus(corpus))
    queries, doc = _one(query), _ordinal(document, corpus)
    with sharing.sharing():
        explanation = part._explain(queries, corpus, doc)
    if explanation is None:
        raise BadInput(f"{document!r} has no score to explain: it is not among the documents that {part!r} found.")
    read = queries.contents[0], corpus[np.array([doc])][0]
    return replace(explanation, **dict(zip(("query", "document"), map(_text, read), strict=True)))


def of_ranking(ranking: Any, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
    """The explanation of a document as a whole ranking has it: it says at which rank it was found, or that it was not.

    Raises `CompositionError` for a union, which orders nothing.
    """
    if not ranking.scored:
        raise CompositionError(f"{ranking!r} finds documents but does not order them. Add `>> scorer`, or use fuse.")
    ranking.index(corpus)
    with ranking._searching():
        explanation: Explanation | None = ranking._explain_found(queries, corpus, doc)
        return explanation and explanation.noted(standing(ranking, queries, corpus, doc))


def as_found(ranking: Any, queries: Queries, corpus: Corpus, doc: int, note: str = "") -> Explanation | None:
    """The score with which a ranking found a document, without parts; None where it did not find it."""
    docs, scores = ranking._find(queries, corpus)[0]
    places = np.flatnonzero(docs == doc)
    if not len(places):
        return None
    return Explanation(repr(ranking), float(scores[places[0]]), note=note)


def standing(ranking: Any, queries: Queries, corpus: Corpus, doc: int) -> str:
    """The rank at which a ranking has a document, in words."""
    found = ranking._find(queries, corpus)
    docs, _ = (found.ranked() if ranking.scored else found)[0]
    places = np.flatnonzero(docs == doc)
    if not len(places):
        return f"not among the {len(docs)} documents that {ranking!r} found"
    at = f"rank {places[0] + 1} of {len(docs)}" if ranking.scored else f"one of {len(docs)}"
    return f"{at} from {ranking!r}"


def by_component(component: Component, label: str, pair: Pair, score: Score) -> Explanation:
    """Explain a pair by what its component says, or by leaving out parts of the document; else give the score alone."""
    if component.traits.listwise:
        return of_list(label, pair, score)
    pair = pair.alone()
    if component.can("explain"):
        return replace(stages.explain(component, pair.queries, pair.candidates)[0], label=label)
    if component.traits.reads in ("text", "images", "either", "images by text"):
        return left_out(component, label, pair, pair.score(score))
    return Explanation(label, pair.score(score), note=f"{component.name} does not say what its scores are made of")


def of_list(label: str, pair: Pair, score: Score) -> Explanation:
    """The score that a document has in its list, without parts."""
    note = f"a score by comparison with the {pair.candidates.pairs} documents of its list has no parts"
    return Explanation(label, pair.score(score), note=note)


def left_out(component: Component, label: str, pair: Pair, score: float) -> Explanation:
    """The explanation by what a component's score loses where a part of the document is left out."""
    bare = copy.copy(component)
    bare.field = None
    document = stages.as_read(component, pair.candidates).corpus_for(label)[np.array([pair.doc])][0]
    explanation = occluded(label, score, pair.queries.contents[0], document, functools.partial(_scores, bare))
    return explanation if component.field is None else explanation.without_document_marks()


def in_list(found: Candidates, queries: Queries, doc: int, listwise: bool) -> Pair | None:
    """A pair in the list that was found for the query; a pair alone, where the others do not matter.

    None for a document that is not in a list that matters.
    """
    if not listwise:
        return Pair.of(queries, found.corpus_for("an explanation"), doc)
    places = np.flatnonzero(found[0][0] == doc)
    return Pair(queries, found, int(places[0])) if len(places) else None


def of_sum(label: str, terms: Sequence[Explanation]) -> Explanation:
    """The explanation of a sum of float32 numbers, by its terms."""
    score = np.float32(0)
    for term in terms:
        score += np.float32(term.score)
    return Explanation.summed(label, float(score), tuple(terms))


def by_encoder(encoder: Component, label: str, pair: Pair, score: float) -> Explanation:
    """Explain the score that an index of vectors gives a pair by what its encoder says, or by leaving out.

    An index may keep vectors less exactly than the encoder makes them: that is a part of its own.
    """
    if not encoder.can("explain"):
        reads = encoder.traits.reads and encoder.can("encode_documents")
        note = f"{encoder.name} does not say what its vectors are made of"
        return left_out(encoder, label, pair, score) if reads else Explanation(label, score, note=note)
    explanation = replace(stages.explain(encoder, pair.queries, pair.candidates)[0], label=label)
    kept = Explanation("as the index keeps it", score - explanation.score)
    if abs(kept.score) <= explanation.rounding:
        return explanation
    return replace(explanation, score=score, parts=(*(explanation.parts or (explanation,)), kept))


def named_by(encoder: Component, pair: Pair, explanation: Explanation) -> Explanation:
    """The explanation of an index of vectors, its parts named by what made the query's vectors (`label_parts`).

    Of an encoder that reads a field, the parts are those of the field, and there are no marks in the document.
    """
    label = encoder.method("label_parts")
    if label is None or not explanation.parts:
        return explanation
    content = stages.as_read(encoder, pair.candidates).corpus_for("an explanation")[np.array([pair.doc])][0]
    named: Explanation = label(explanation, pair.queries.contents[0], content)
    return named if encoder.field is None else named.without_document_marks()


def rank_in(found: Candidates, doc: int) -> str:
    """The rank of a document in the list of a query, in words."""
    docs, _ = found.ranked()[0]
    places = np.flatnonzero(docs == doc)
    return f"rank {places[0] + 1} of {len(docs)}" if len(places) else f"not among the {len(docs)} documents found"


def rewritten(explanation: Explanation, before: Queries, asked: Queries) -> Explanation:
    """The explanation for a query that was rewritten: its words are no longer those of the query's text."""
    if asked.contents[0] == before.contents[0]:
        return explanation
    return explanation.without_query_marks().noted(f"for the query {asked.contents[0]!r:.200}")


def of_original(explanation: Explanation, corpus: Corpus, doc: int) -> Explanation:
    """The explanation of a document with text written behind it: with the marks in its own text alone."""
    content = corpus[np.array([doc])][0]
    length = len(content) if isinstance(content, str) else 0
    return explanation.cut(length).noted("with texts that were written for the document")


def _scores(component: Component, pairs: Sequence[tuple[Content, Content]]) -> Floats:
    """The scores of queries, each with its own document, `[pairs]`."""
    names = [str(number) for number in range(len(pairs))]
    contents = [query for query, _ in pairs]
    corpus = Documents(names, [document for _, document in pairs])
    each = np.arange(len(pairs))
    candidates = Candidates(np.arange(len(pairs) + 1), each, np.zeros(len(pairs), np.float32), corpus)
    return stages.score(component, Queries(names, contents), candidates)


def _one(query: Any) -> Queries:
    queries = misplaced.asked(query)
    if len(queries) != 1:
        raise BadInput(f"one query is explained at a time, and here are {len(queries)}: give one text.")
    return queries


def _ordinal(document: Any, corpus: Corpus) -> int:
    if not isinstance(document, str):
        raise BadInput(f"explain takes the id of a document, a text, and got {document!r:.80}.")
    found = int(corpus.ids.find([document])[0])
    if found < 0:
        raise BadInput(f"there is no document {document!r:.80} in {corpus!r}.")
    return found


def _text(content: Content) -> str | None:
    return content if isinstance(content, str) else None
