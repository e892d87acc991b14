"""Measures of novelty and diversity, on columns: which subtopics of a query a ranking covers, and how early.

alpha_nDCG@20   Clarke et al., Novelty and Diversity in Information Retrieval Evaluation, SIGIR 2008; alpha_DCG@20
                is the same, normalised by a ranking in which each document is relevant to every subtopic
ERR_IA@20       Chapelle et al., Expected Reciprocal Rank for Graded Relevance, CIKM 2009, and Intent-based
                Diversification of Web Search Results, IRJ 2011; nERR_IA@20 is normalised by the ideal ranking
NRBP, nNRBP     novelty- and rank-biased precision; Clarke et al., An Effectiveness Measure for Ambiguous and
                Underspecified Queries, ICTIR 2009
P_IA@20, AP_IA  precision, and average precision, averaged over subtopics; Agrawal et al., WSDM 2009
StRecall@20     the part of the subtopics that is covered; Zhai et al., SIGIR 2003

Values are those of ndeval 4.5, NIST's program for its Web tracks. Relevance to a subtopic is yes or no: the grade is
`rel` (1) or more. A subtopic for which no document is relevant counts nowhere. The ideal ranking is made greedily, the
next document being that with the largest gain, and of equal ones that with the highest id. As in ndeval, `alpha_DCG@1`
and `ERR_IA@1` are not divided by the number of subtopics, unlike those at all other cutoffs.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.errors import BadInput
from nirank.evaluation.kinds import Kind, check_cutoff, check_settings
from nirank.evaluation.measures import Measure, Values, is_rank, ratio, within_cutoff
from nirank.formats.subtopics import Entries

Numbers: TypeAlias = NDArray[np.int64]

_ALPHA = _BETA = 0.5  # ndeval's


@dataclass(frozen=True, eq=False)
class Diversity:
    """A ranking with judgments of subtopics over its rows and ordinals: the input of every measure here."""

    ranked: Candidates
    entries: Entries
    _known: dict[int, tuple[Relevance, Cover]] = field(default_factory=dict)

    def at(self, level: int) -> tuple[Relevance, Cover]:
        """All that is relevant from this grade on, and what the ranking covers of it."""
        if level not in self._known:
            relevance = Relevance.of(self.entries, len(self.ranked), level)
            self._known[level] = relevance, relevance.found(self.ranked)
        return self._known[level]


@dataclass(frozen=True, eq=False)
class Relevance:
    """Which document is relevant to which aspect, an aspect being a subtopic of one query with a relevant document.

    `rows` and `docs`, both `[documents]`, are of the relevant documents of each query, by falling id; `documents` and
    `aspects`, both `[entries]`, say which of these is relevant to which aspect, document by document. `aspect_rows`
    `[aspects]` are the queries of the aspects.
    """

    queries: int
    rows: Numbers
    docs: Numbers
    documents: Numbers
    aspects: Numbers
    aspect_rows: Numbers

    @classmethod
    def of(cls, entries: Entries, queries: int, level: int) -> Relevance:
        """From judgments whose grade is `level` or more."""
        kept = np.flatnonzero(entries.grades >= level)
        kept = kept[np.lexsort((entries.subtopics[kept], entries.places[kept], entries.rows[kept]))]
        rows, places, subtopics = entries.rows[kept], entries.places[kept], entries.subtopics[kept]
        new = np.diff(rows, prepend=-1).astype(bool) | np.diff(places, prepend=-1).astype(bool)
        width = 1 + subtopics.max(initial=0)
        keys, aspects = np.unique(rows * width + subtopics, return_inverse=True)
        return cls(queries, rows[new], entries.docs[kept][new], np.cumsum(new) - 1, aspects, keys // width)

    @property
    def counts(self) -> Values:
        """The number of aspects of each query, `[queries]`."""
        return np.bincount(self.aspect_rows, minlength=self.queries).astype(np.float64)

    def found(self, ranked: Candidates) -> Cover:
        """The entries that a ranking covers."""
        wanted = Candidates.of(np.split(self.docs, np.searchsorted(self.rows, np.arange(1, self.queries))))
        places = wanted.places(ranked)
        return self._cover(np.where(places < 0, 0, places - ranked.offsets[self.rows] + 1))

    def ideal(self, alpha: float, depth: int | None = None) -> Cover:
        """The entries of the ideal ranking, to a `depth`: at each rank stands the document that gains most there."""
        ranks, gains = np.zeros(len(self.rows), np.int64), np.ones(len(self.aspect_rows))
        deepest = int(np.bincount(self.rows).max(initial=0))
        for rank in range(1, 1 + min(deepest, depth or deepest)):
            ranks[self._best(gains, ranks > 0)] = rank
            gains[self.aspects[ranks[self.documents] == rank]] *= 1 - alpha
        return self._cover(ranks)

    def _best(self, gains: Values, placed: NDArray[np.bool_]) -> Numbers:
        """The document of each query that gains most and is not yet placed; of equal ones the first, `[queries]`."""
        gained = np.bincount(self.documents, gains[self.aspects], len(self.rows))
        gained[placed] = -1
        most = np.maximum.reduceat(gained, np.flatnonzero(self._first))
        best = np.flatnonzero((gained == most[np.cumsum(self._first) - 1]) & ~placed)
        return best[np.diff(self.rows[best], prepend=-1) > 0]

    @cached_property
    def _first(self) -> NDArray[np.bool_]:
        """True for the first document of each query, `[documents]`."""
        return np.diff(self.rows, prepend=-1) > 0

    def _cover(self, ranks: Numbers) -> Cover:
        ranked = ranks[self.documents] > 0
        return Cover(self, ranks[self.documents][ranked], self.aspects[ranked])


@dataclass(frozen=True, eq=False)
class Cover:
    """The entries that a ranking covers: the rank (from 1) and the aspect of each, both `[entries]`."""

    of: Relevance
    ranks: Numbers
    aspects: Numbers

    @cached_property
    def seen(self) -> Numbers:
        """The number of documents above that of each entry that are relevant to its aspect, `[entries]`."""
        order = np.lexsort((self.ranks, self.aspects))
        aspects = self.aspects[order]
        seen = np.empty(len(order), np.int64)
        seen[order] = np.arange(len(order)) - np.searchsorted(aspects, aspects)
        return seen

    def gain(self, alpha: float, discounts: Callable[[Any], Values], cutoff: int | None) -> Values:
        """The discounted gain of each query: an aspect counts `1 - alpha` times as much whenever it comes again."""
        return self.sums((1 - alpha) ** self.seen * discounts(self.ranks), cutoff)

    def sums(self, weights: Values, cutoff: int | None = None) -> Values:
        """The sum of `weights` `[entries]` over the first `cutoff` ranks of each query, `[queries]`."""
        within = within_cutoff(self.ranks, cutoff)
        rows = self.of.aspect_rows[self.aspects[within]]
        return np.bincount(rows, weights[within], self.of.queries).astype(np.float64)


def _logarithmic(ranks: Any) -> Values:
    return np.asarray(1 / np.log2(ranks + 1.0))


def _reciprocal(ranks: Any) -> Values:
    return np.asarray(1 / ranks)


def novel_gain(diversity: Diversity, discounts: Callable[[Any], Values], cutoff: int, rel: int, alpha: float) -> Values:
    """Discounted gain over that of documents which are all relevant to every aspect, `[queries]`."""
    (relevance, found), ranks = diversity.at(rel), np.arange(1, cutoff + 1)
    gained = found.gain(alpha, discounts, cutoff)
    most = relevance.counts * np.sum((1 - alpha) ** (ranks - 1) * discounts(ranks))
    return gained if cutoff == 1 else ratio(gained, most)


def normalised_gain(
    diversity: Diversity, discounts: Callable[[Any], Values], cutoff: int | None, rel: int, alpha: float
) -> Values:
    """Discounted gain over that of the ideal ranking, `[queries]`."""
    relevance, found = diversity.at(rel)
    ideal = relevance.ideal(alpha, cutoff)
    return ratio(found.gain(alpha, discounts, cutoff), ideal.gain(alpha, discounts, cutoff))


def novelty_biased_precision(diversity: Diversity, _: None, rel: int, alpha: float, beta: float) -> Values:
    """NRBP: the gain of a reader who goes on to the next rank with the probability `beta`, `[queries]`."""
    relevance, found = diversity.at(rel)
    return ratio(found.gain(alpha, _patient(beta), None) * (1 - (1 - alpha) * beta), relevance.counts)


def subtopic_precision(diversity: Diversity, cutoff: int, rel: int) -> Values:
    """The precision of the first `cutoff` ranks, filled or not, averaged over aspects. `[queries]`"""
    relevance, found = diversity.at(rel)
    return ratio(found.sums(np.ones(len(found.ranks)), cutoff), cutoff * relevance.counts)


def subtopic_average_precision(diversity: Diversity, _: None, rel: int) -> Values:
    """Average precision, averaged over aspects. `[queries]`"""
    relevance, found = diversity.at(rel)
    relevant = np.bincount(relevance.aspects, minlength=len(relevance.aspect_rows))
    return ratio(found.sums((found.seen + 1) / found.ranks / relevant[found.aspects]), relevance.counts)


def subtopic_recall(diversity: Diversity, cutoff: int, rel: int) -> Values:
    """The part of the aspects that the first `cutoff` ranks cover. `[queries]`"""
    relevance, found = diversity.at(rel)
    return ratio(found.sums((found.seen == 0).astype(np.float64), cutoff), relevance.counts)


def _patient(beta: float) -> Callable[[Any], Values]:
    return lambda ranks: np.asarray(beta ** (ranks - 1.0))


# Names and settings


def _novel(discounts: Callable[[Any], Values]) -> Kind:
    return Kind(lambda diversity, *settings, **more: novel_gain(diversity, discounts, *settings, **more), _NOVEL)


def _normalised(discounts: Callable[[Any], Values]) -> Kind:
    return Kind(lambda diversity, *settings, **more: normalised_gain(diversity, discounts, *settings, **more), _NOVEL)


def _normalised_biased(diversity: Diversity, _: None, rel: int, alpha: float, beta: float) -> Values:
    return normalised_gain(diversity, _patient(beta), None, rel, alpha)


_NOVEL = ("rel", "alpha")
_LETTER = "\N{GREEK SMALL LETTER ALPHA}"
_KINDS = {
    **dict.fromkeys(["alpha_DCG", f"{_LETTER}_DCG"], _novel(_logarithmic)),
    **dict.fromkeys(["alpha_nDCG", f"{_LETTER}_nDCG"], _normalised(_logarithmic)),
    "ERR_IA": _novel(_reciprocal),
    "nERR_IA": _normalised(_reciprocal),
    "NRBP": Kind(novelty_biased_precision, (*_NOVEL, "beta"), cut=False),
    "nNRBP": Kind(_normalised_biased, (*_NOVEL, "beta"), cut=False),
    "P_IA": Kind(subtopic_precision),
    **dict.fromkeys(["AP_IA", "MAP_IA"], Kind(subtopic_average_precision, cut=False)),
    **dict.fromkeys(["StRecall", "strec"], Kind(subtopic_recall)),
}
_LOWER = {name.lower(): name for name in _KINDS}
_DEFAULTS = {"alpha": _ALPHA, "beta": _BETA}
_SETTINGS: dict[str, Callable[[Any], bool]] = {
    "rel": is_rank,
    "alpha": lambda value: _is_number(value) and 0 <= value <= 1,
    "beta": lambda value: _is_number(value) and 0 <= value <= 1,
}


def diversity_measure(measure: Measure, level: int = 1) -> Callable[[Diversity], Values] | None:
    """A function that computes this measure, or None where it is none of subtopics.

    `level` is the least grade that counts as relevant. Raises `BadInput` or `UnknownName` for a cutoff or settings
    that the measure cannot have.
    """
    kind = _KINDS.get(_LOWER.get(measure.name.lower(), ""))
    if kind is None:
        return None
    settings = dict(measure.settings)
    cutoff = settings.pop("cutoff", measure.cutoff)
    check_settings(measure.name, settings, [*kind.settings, *(["cutoff"] if kind.cut else [])], _SETTINGS)
    if kind.cut and cutoff is None:
        raise BadInput(f"{measure.name} needs a cutoff: {measure.name}@10.")
    check_cutoff(measure.name, cutoff, kind.cut)
    chosen = {name: _DEFAULTS.get(name, level) for name in kind.settings} | settings
    return lambda diversity: kind.compute(diversity, cutoff, **chosen)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
