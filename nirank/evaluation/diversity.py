"""Measures of diversity: how soon and how evenly a ranking covers the subtopics of its queries.

alpha_nDCG@10, alpha_DCG@10   Clarke et al., Novelty and Diversity in Information Retrieval Evaluation, SIGIR 2008
ERR_IA@10, nERR_IA@10         Chapelle et al., Intent-Based Diversification of Web Search Results, IR 14, 2011
NRBP, nNRBP                   Clarke, Kolla and Vechtomova, An Effectiveness Measure for Ambiguous Queries, ICTIR 2009
P_IA@10, AP_IA                Agrawal et al., Diversifying Search Results, WSDM 2009
StRecall@10                   the part of the subtopics that is covered (Zhai, Cohen and Lafferty, SIGIR 2003)

Values are those of the Web track's ndeval: relevance is binary, subtopics without a relevant document do not count,
the ideal ranking is made greedily, and measures without "n" are divided by what a ranking would have of which each
document is relevant to every subtopic. At a cutoff of 1 ndeval leaves that division out, and here it is made.
"""

from __future__ import annotations

import itertools
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.data.candidates import Candidates
from nirank.data.columns import integers_to_numpy, to_array
from nirank.errors import BadInput, UnknownName
from nirank.evaluation.joining import Docnos
from nirank.evaluation.measures import Measure, Values, is_rank
from nirank.formats.subtopics import Subtopics

Ints = NDArray[np.int64]
Discount = Callable[[Values], Values]

_ALPHA = "\N{GREEK SMALL LETTER ALPHA}"
_HYPHEN = re.compile(rf"^\s*([A-Za-z{_ALPHA}]+)-(?=[A-Za-z])")  # of ndeval's own names
_SPELLINGS = {
    **dict.fromkeys(["alpha_ndcg", f"{_ALPHA}_ndcg"], "alpha_nDCG"),
    **dict.fromkeys(["alpha_dcg", f"{_ALPHA}_dcg"], "alpha_DCG"),
    **dict.fromkeys(["map_ia", "ap_ia"], "AP_IA"),
    **dict.fromkeys(["strec", "strecall"], "StRecall"),
    **{name.lower(): name for name in ("ERR_IA", "nERR_IA", "NRBP", "nNRBP", "P_IA")},
}
_SETTINGS = {name: {"rel"} for name in _SPELLINGS.values()}
_SETTINGS |= {name: {"rel", "alpha"} for name in ("alpha_nDCG", "alpha_DCG")}
_SETTINGS |= {name: {"rel", "alpha", "beta"} for name in ("NRBP", "nNRBP")}
_UNCUT = {"NRBP", "nNRBP", "AP_IA"}


@dataclass(frozen=True)
class Diverse:
    """One measure with its settings."""

    name: str
    cutoff: int | None
    rel: int
    alpha: float = 0.5
    beta: float = 0.5

    @classmethod
    def parse(cls, text: str, level: int) -> Diverse | None:
        """Read a name such as `alpha_nDCG(alpha=0.3)@10`, or `alpha-nDCG@10`; None for one of another measure.

        Raises `BadInput` or `UnknownName` for settings that the measure cannot have.
        """
        measure = Measure.parse(_HYPHEN.sub(r"\1_", text))
        name = None if measure is None else _SPELLINGS.get(measure.name.lower())
        if measure is None or name is None:
            return None
        settings = {"rel": level, "cutoff": measure.cutoff, **measure.settings}
        for setting, value in settings.items():
            if setting != "cutoff" and setting not in _SETTINGS[name]:
                raise UnknownName(f"setting of {name}", setting, [*_SETTINGS[name], "cutoff"])
            if not _fits(setting, value, name in _UNCUT):
                raise BadInput(f"{name} cannot have {setting}={value!r}.")
        return cls(name, **settings)

    def values(self, hits: Hits) -> Values:
        """The value of each query, `[queries]`."""
        if self.name in ("P_IA", "AP_IA", "StRecall"):
            return _ratio(self._covered(hits), hits.counts)
        gained = self._gained(hits)
        if self.name.startswith("n") or self.name == "alpha_nDCG":
            return _ratio(gained, self._gained(hits.ideal(self.alpha)))
        if self.cutoff is None:
            return _ratio(gained * (1 - (1 - self.alpha) * self.beta), hits.counts)
        ranks = np.arange(1, self.cutoff + 1, dtype=np.float64)
        most = float(np.sum((1 - self.alpha) ** (ranks - 1) * self._discount(ranks)))
        return _ratio(gained, hits.counts * most)

    def _covered(self, hits: Hits) -> Values:
        """A number for each subtopic, summed over the subtopics of a query."""
        if self.name == "AP_IA":
            return hits.sums((hits.earlier + 1) / hits.ranks / hits.relevant[hits.pairs])
        within = hits.ranks <= (self.cutoff or 0)
        if self.name == "P_IA":
            return hits.sums(within / (self.cutoff or 1))
        return hits.sums(within & (hits.earlier == 0))

    def _gained(self, hits: Hits) -> Values:
        """The discounted gain, of which a subtopic has less each time that it is covered again."""
        gains = (1 - self.alpha) ** hits.earlier * self._discount(hits.ranks.astype(np.float64))
        return hits.sums(gains if self.cutoff is None else gains * (hits.ranks <= self.cutoff))

    def _discount(self, ranks: Values) -> Values:
        if self.cutoff is None:
            return np.asarray(self.beta ** (ranks - 1), np.float64)
        return 1 / ranks if "ERR" in self.name else 1 / np.log2(ranks + 1)


def _fits(setting: str, value: Any, uncut: bool) -> bool:
    if setting in ("alpha", "beta"):
        return isinstance(value, float) and 0 <= value < 1
    return (value is None) == uncut and (uncut or is_rank(value)) if setting == "cutoff" else is_rank(value)


@dataclass(frozen=True, eq=False)
class Hits:
    """The relevant documents of rankings, once for each subtopic that they are relevant to, by rising rank.

    `queries`, `ranks` (from 1), `pairs` (ordinals of pairs of a query and a subtopic) and `earlier` (how many relevant
    to the same subtopic stand before it) are `[hits]`; `relevant` `[pairs]` counts the documents judged relevant to a
    subtopic, `counts` `[queries]` the subtopics that have any. `judged` are the same columns of all that is relevant.
    """

    queries: Ints
    ranks: Ints
    pairs: Ints
    relevant: Ints
    counts: Ints
    judged: tuple[Ints, Ints, Ints]

    @classmethod
    def of(cls, ranked: Candidates, ids: Docnos, query_ids: Sequence[str], subtopics: Subtopics, level: int) -> Hits:
        """From rankings in the order of their ranks, whose rows are the queries `query_ids`."""
        row = {query: number for number, query in enumerate(query_ids)}
        queries = np.array([row.get(query, -1) for query in subtopics.queries], np.int64)
        names = to_array(subtopics.documents).dictionary_encode()
        docs, keys = integers_to_numpy(names.indices).astype(np.int64), subtopics.subtopics
        kept = (queries >= 0) & (subtopics.grades >= level)
        queries, docs, keys = queries[kept], docs[kept], keys[kept]
        codes, pairs = np.unique(queries * (1 + keys.max(initial=0)) + keys, return_inverse=True)
        counts = np.bincount(codes // (1 + keys.max(initial=0)), minlength=len(query_ids))
        order = np.lexsort((docs, queries))  # of equal gains the document of the highest id goes first
        judged = queries[order], _by_name(names.dictionary)[docs[order]], pairs[order]
        found = _places(ranked, ids, names.dictionary)
        hit, at = _matched(ranked.rows, found, queries[order], docs[order], len(names.dictionary))
        ranks = np.arange(ranked.pairs) - np.repeat(ranked.offsets[:-1], ranked.lengths) + 1
        relevant = np.bincount(pairs, minlength=len(codes))
        return cls(ranked.rows[hit], ranks[hit], judged[2][at], relevant, counts, judged)

    @property
    def earlier(self) -> Ints:
        """The number of hits of the same subtopic before each, `[hits]`."""
        order = np.argsort(self.pairs, kind="stable")
        sorted_pairs = self.pairs[order]
        before = np.empty(len(order), np.int64)
        before[order] = np.arange(len(order)) - np.searchsorted(sorted_pairs, sorted_pairs)
        return before

    def sums(self, weights: NDArray[Any]) -> Values:
        """The sum of weights `[hits]` over each query, `[queries]`."""
        return np.bincount(self.queries, weights, len(self.counts)).astype(np.float64)

    def ideal(self, alpha: float) -> Hits:
        """The hits of the ranking that takes the document of the highest gain each time, as ndeval does."""
        queries, docs, pairs = self.judged
        cuts = np.searchsorted(queries, np.arange(len(self.counts) + 1))
        parts = [_greedy(docs[start:end], pairs[start:end], alpha) for start, end in itertools.pairwise(cuts)]
        ranks, ordered = (np.concatenate([*each, np.empty(0, np.int64)]) for each in zip(*parts, strict=True))
        rows = np.repeat(np.arange(len(parts)), [len(part[0]) for part in parts])
        return Hits(rows, ranks.astype(np.int64), ordered.astype(np.int64), self.relevant, self.counts, self.judged)


def measure_all(measures: Mapping[str, Diverse], hits: Callable[[int], Hits]) -> dict[str, Values]:
    """The values of each measure, `[queries]`; `hits` gives those of a least relevant grade."""
    known = {level: hits(level) for level in {measure.rel for measure in measures.values()}}
    return {name: measure.values(known[measure.rel]) for name, measure in measures.items()}


def _greedy(docs: Ints, pairs: Ints, alpha: float) -> tuple[Ints, Ints]:
    """The ranks and pairs of the relevant documents of one query, ranked greedily."""
    names, rows = np.unique(docs, return_inverse=True)
    kinds, columns = np.unique(pairs, return_inverse=True)
    covers = np.zeros((len(names), len(kinds)), bool)
    covers[rows, columns] = True
    gains, left = np.ones(len(kinds)), np.ones(len(names), bool)
    ranks, ordered = [], []
    for rank in range(1, len(names) + 1):
        worth = np.where(left, covers @ gains, -1.0)
        best = len(worth) - 1 - int(np.argmax(worth[::-1]))
        left[best] = False
        gains[covers[best]] *= 1 - alpha
        ordered.append(kinds[covers[best]])
        ranks.append(np.full(int(covers[best].sum()), rank))
    empty = np.empty(0, np.int64)
    return np.concatenate([*ranks, empty]), np.concatenate([*ordered, empty])


def _by_name(dictionary: Any) -> Ints:
    """The place of each name in the order of all, byte by byte."""
    names = [name.encode() for name in dictionary.to_pylist()]
    places = np.empty(len(names), np.int64)
    places[sorted(range(len(names)), key=names.__getitem__)] = np.arange(len(names))
    return places


def _places(ranked: Candidates, ids: Docnos, dictionary: Any) -> Ints:
    """The place among the judged names of each document of a ranking, or -1."""
    import pyarrow.compute as pc

    distinct, which = np.unique(ranked.docs, return_inverse=True)
    found = integers_to_numpy(pc.index_in(to_array(ids.take(distinct)), value_set=dictionary))
    return np.asarray(found.astype(np.int64)[which], np.int64)


def _matched(rows: Ints, found: Ints, queries: Ints, docs: Ints, names: int) -> tuple[Ints, Ints]:
    """The pairs of places in a ranking and among judgments that are of one query and one document."""
    known, wanted = queries * names + docs, np.where(found >= 0, rows * names + found, -1)
    first, last = np.searchsorted(known, wanted), np.searchsorted(known, wanted, side="right")
    hit = np.repeat(np.arange(len(wanted)), last - first)
    starts = np.cumsum(last - first) - (last - first)
    return hit, np.arange(len(hit)) - np.repeat(starts, last - first) + np.repeat(first, last - first)


def _ratio(numerator: Values, denominator: NDArray[Any]) -> Values:
    return np.divide(numerator, denominator, out=np.zeros(len(numerator)), where=denominator != 0)
