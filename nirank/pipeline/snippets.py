"""Snippets: of each document found the passage that answers the query best, as text with its place."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Floats
from nirank.errors import CompositionError
from nirank.kit.text.cutting import Cutting
from nirank.kit.text.matching import Matcher
from nirank.pipeline.algebra import as_scoring, load
from nirank.pipeline.passages import PassagedScoring, passages

if TYPE_CHECKING:
    from nirank.data.passages import PassageCorpus

#: Words of a snippet, unless given.
_WORDS = 30


@dataclass(frozen=True)
class Snippet:
    """A part of a document: its text, where it begins and ends there, and the words of the query that are in it.

    All places are characters of the document's content, or of the field that was cut; `matches` are begin and end of
    each word. `score` is what the passage was chosen by.
    """

    doc: int
    text: str
    start: int
    stop: int
    score: float
    matches: tuple[tuple[int, int], ...] = ()

    def marked(self, before: str = "**", behind: str = "**") -> str:
        """The text with something before and behind each match."""
        edges = [self.start, *(place for match in self.matches for place in match), self.stop]
        parts = [self.text[left - self.start : right - self.start] for left, right in pairwise(edges)]
        return "".join(f"{before}{part}{behind}" if at % 2 else part for at, part in enumerate(parts))


def snippets(
    queries: Queries, candidates: Candidates, by: Any = None, language: str = "english", **cutting: Any
) -> list[list[Snippet]]:
    """The best passage of each document found, a list for each query in the order of `candidates`.

    `by` is a scoring, which a passage is chosen by; without it the passage with the most different words of the query
    is taken, of these the one where they come most often, and of these the first. Words are compared by their stems,
    without stop words, as BM25 compares them in this `language`. `cutting` is as in `passages`, 30 words unless
    given. Raises `BadInput` for documents that are no texts, `CompositionError` for what scores nothing.
    """
    rule = Cutting.of(cutting if {"words", "sentences", "tokens"} & {*cutting} else {"words": _WORDS, **cutting})
    matcher = _matcher(language)
    stage = passages(load(_Lexical(matcher), "lexical") if by is None else by, **rule.settings)
    if not isinstance(stage, PassagedScoring):
        raise CompositionError(f"{by!r} scores no passages: snippets are chosen by a scoring.")
    if not candidates.pairs:
        return [[] for _ in range(len(candidates))]
    best, scores = _best(stage, queries, candidates)
    return _read(queries, candidates.with_scores(scores), best, matcher)


@functools.cache
def _matcher(language: str) -> Matcher:
    """The one of a language, which remembers the stems of words."""
    return Matcher(language)


def _best(stage: PassagedScoring, queries: Queries, candidates: Candidates) -> tuple[Candidates, Floats]:
    """The best passage of each pair, of equal ones the first, and its score, `[pairs]`."""
    spread, offsets = stage.spread(candidates)
    scores = as_scoring(stage.inner).score(queries, spread)
    owners = np.repeat(np.arange(candidates.pairs), np.diff(offsets))
    best = np.lexsort((-scores, owners))[offsets[:-1]]
    chosen = Candidates(candidates.offsets, spread.docs[best], scores[best], spread.corpus)
    return chosen, scores[best]


def _read(queries: Queries, candidates: Candidates, best: Candidates, matcher: Matcher) -> list[list[Snippet]]:
    cut = cast("PassageCorpus", best.corpus)
    starts, stops = cut.extents(best.docs)
    owners = cut.owners(best.docs)
    rows = zip(candidates.rows.tolist(), candidates.docs.tolist(), owners, starts, stops, best.scores, strict=True)
    found: list[list[Snippet]] = [[] for _ in range(len(candidates))]
    for row, doc, owner, start, stop, score in rows:
        text = str(cut.source[int(owner)])[start:stop]
        matches = matcher.matches(queries.contents[row], text)
        moved = tuple((int(start) + left, int(start) + right) for left, right in matches)
        found[row].append(Snippet(doc, text, int(start), int(stop), float(score), moved))
    return found


class _Lexical:
    """Scores a passage by how many different words of the query it has, and behind the point by how many in all."""

    reads = "text"

    def __init__(self, matcher: Matcher) -> None:
        self.matcher = matcher

    def score(self, queries: Queries, candidates: Candidates) -> NDArray[np.float32]:
        """One number a pair: `distinct + all / 1000`, where of all no more than 999 count."""
        texts = candidates.corpus_for("a snippet")[candidates.docs]
        pairs = zip(candidates.rows.tolist(), texts, strict=True)
        return np.array([self._one(queries.contents[row], text) for row, text in pairs], np.float32)

    def _one(self, query: Any, text: Any) -> float:
        found = list(self.matcher.terms(query, text))
        return len({*found}) + min(len(found), 999) / 1000
