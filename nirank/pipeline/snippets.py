"""Snippets: of each document found the passage that answers the query best, as text with its place."""

from __future__ import annotations

import functools
from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, cast

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.corpus import Some
from nirank.data.passages import PassageCorpus
from nirank.data.queries import Queries
from nirank.data.types import Floats
from nirank.errors import CompositionError
from nirank.execution import stages
from nirank.kit.text.cutting import Cutting
from nirank.kit.text.matching import Matcher
from nirank.pipeline.algebra import as_scoring
from nirank.pipeline.passages import PassagedScoring, passages

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
    if by is not None:
        return _chosen(by, rule, queries, candidates, matcher)
    stages.refuse_strangers("a snippet", candidates)
    return _fullest(rule, queries, candidates, matcher) if candidates.pairs else [[] for _ in range(len(candidates))]


@functools.cache
def _matcher(language: str) -> Matcher:
    """The one of a language, which remembers the stems of words."""
    return Matcher(language)


def _fullest(rule: Cutting, queries: Queries, candidates: Candidates, matcher: Matcher) -> list[list[Snippet]]:
    """The passages with most words of the query: each document is read once, however its passages overlap."""
    docs, places = np.unique(candidates.docs, return_inverse=True)
    cut = PassageCorpus(Some(candidates.corpus_for("a snippet"), docs), rule)
    texts, offsets = [str(text) for text in cut.source[:]], cut.offsets.tolist()
    extents = list(zip(*(column.tolist() for column in cut.extents(np.arange(len(cut)))), strict=True))
    found: list[list[Snippet]] = [[] for _ in range(len(candidates))]
    for row, doc, place in zip(candidates.rows.tolist(), candidates.docs.tolist(), places.tolist(), strict=True):
        passages = extents[offsets[place] : offsets[place + 1]]
        matches = matcher.found(queries.contents[row], texts[place])
        found[row].append(_fullest_of(doc, texts[place], passages, matches))
    return found


def _fullest_of(
    doc: int, text: str, extents: Sequence[tuple[int, int]], matches: Sequence[tuple[int, int, str]]
) -> Snippet:
    """The passage with most different terms, of these with most in all, of these the first.

    Its score is `distinct + all / 1000`, where of all no more than 999 count.
    """
    starts, stops = [match[0] for match in matches], [match[1] for match in matches]

    def inside(extent: tuple[int, int]) -> slice:
        return slice(bisect_left(starts, extent[0]), bisect_right(stops, extent[1]))

    def score(extent: tuple[int, int]) -> float:
        terms = [term for _, _, term in matches[inside(extent)]]
        return len({*terms}) + min(len(terms), 999) / 1000

    best = max(extents, key=score)
    here = tuple((start, stop) for start, stop, _ in matches[inside(best)])
    return Snippet(doc, text[best[0] : best[1]], *best, float(np.float32(score(best))), here)


def _chosen(by: Any, rule: Cutting, queries: Queries, candidates: Candidates, matcher: Matcher) -> list[list[Snippet]]:
    stage = passages(by, **rule.settings)
    if not isinstance(stage, PassagedScoring):
        raise CompositionError(f"{by!r} scores no passages: snippets are chosen by a scoring.")
    if not candidates.pairs:
        return [[] for _ in range(len(candidates))]
    best, scores = _best(stage, queries, candidates)
    return _read(queries, candidates.with_scores(scores), best, matcher)


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
