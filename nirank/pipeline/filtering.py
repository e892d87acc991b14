"""Filters: a ranking of the documents that fulfil a condition, or that a function lets pass.

    bm25 >> where("year >= 2020")            the best documents among those that pass: a search in these
    (bm25 >> where("year >= 2020")) % 10     the best 10 of those that pass
    bm25 % 10 >> where("year >= 2020")       those of the best 10 that pass
    bm25 >> where(is_short)                  the same by a function of a document

A filter narrows each generator before it that no `% k` cuts, through scorers, unions and `fuse`; what was cut is
filtered as it was found. So no list is short for want of looking further.

A generator with a method `within(mask)`, which returns it for the documents of a mask `[documents]`, searches among
these. Any other, and one before a function, is asked for more documents until enough of them pass or there are no more.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import singledispatch
from typing import Any

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.conditions import Condition
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus, Ints
from nirank.pipeline.algebra import (
    Asked,
    Fused,
    Generated,
    Joined,
    PartialPipeline,
    Pipeline,
    Ranking,
    Rescored,
    SameScores,
)
from nirank.pipeline.drawing import Box, Drawing, flow
from nirank.pipeline.functions import Function, as_function
from nirank.pipeline.parts import operand
from nirank.pipeline.reranking import Others

log = logging.getLogger("nirank")

Mask = NDArray[np.bool_]
#: Times as many documents as before that a generator is asked for, where too few pass.
_FURTHER = 4
#: Times as many documents as are wanted that it may be asked for before that is told.
_TOLD = 64


@dataclass(frozen=True, eq=False, repr=False)
class Where(PartialPipeline):
    """A filter of documents, after a ranking."""

    test: Condition | Function

    def __repr__(self) -> str:
        return f"where({self.test.name if isinstance(self.test, Function) else repr(self.test)})"

    def after(self, ranking: Ranking) -> Ranking:
        """The ranking among the documents that pass."""
        return narrowed(ranking, self) or Filtered(ranking, self)

    def passing(self, corpus: Corpus, docs: Ints) -> Mask:
        """For each document whether it passes, `[docs]`; a function is called once for each."""
        if isinstance(self.test, Condition):
            return self.test.mask(corpus)[docs]
        once, places = np.unique(docs, return_inverse=True)
        passed = np.array([self._passes(self.test, content) for content in (corpus[once] if len(once) else [])], bool)
        return passed[places]

    @staticmethod
    def _passes(test: Function, content: Content) -> bool:
        passed = test(content)
        if not isinstance(passed, (bool, np.bool_)):  # nothing returned is a mistake, and "False" is true
            raise test.fault(passed, "True or False is")
        return bool(passed)

    def _components(self) -> Iterator[Component]:
        if isinstance(self.test, Function):
            yield self.test.component


@dataclass(frozen=True, eq=False, repr=False)
class Filtered(SameScores):
    """The documents of a ranking that pass, with their scores."""

    ranking: Ranking
    where: Where

    def __repr__(self) -> str:
        return f"{operand(self.ranking)} >> {self.where!r}"

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        found = self.ranking._find(queries, corpus)
        return found.where(self.where.passing(corpus, found.docs))

    def _drawn(self) -> Drawing:
        return flow(self.ranking._drawn(), "candidates", Box(repr(self.where)))

    def _parts(self) -> Sequence[Pipeline]:
        return self.ranking, self.where


@dataclass(frozen=True, eq=False, repr=False)
class Narrowed(Asked):
    """A search among the documents that pass some filters."""

    search_: Generated
    filters: tuple[Where, ...]
    k: int | None = None
    alone = True

    def __repr__(self) -> str:
        searching = " >> ".join([operand(self.search_), *map(repr, self.filters)])
        return searching if self.k is None else f"({searching}) % {self.k}"

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where the generator says so of its scores."""
        return self.search_.log_likelihoods

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        searched = self.search_
        if searched.encoder:
            queries = searched._encoded(searched.encoder, queries, corpus)
        searched.open_again(corpus)
        searched = replace(searched, encoder=None, feedback=None)
        mask, rest = self._split(corpus)
        if mask is not None and searched.generator.can("within"):
            searched, mask = replace(searched, generator=_within(searched.generator, mask)), None
        if mask is None and not rest:
            return replace(searched, k=self.depth)._find(queries, corpus)
        most = len(corpus) if mask is None else int(mask.sum())
        if not most:
            return Candidates.empty(len(queries), corpus)
        k = min(self.depth, most)
        deeper = _Deeper(searched, _all_of(mask, rest, corpus), corpus, repr(self))
        return deeper.find(queries, k, max(2 * k, int(np.ceil(1.2 * k * len(corpus) / most)))).over(corpus)

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        return self.search_._explain_found(queries, corpus, doc)

    def _split(self, corpus: Corpus) -> tuple[Mask | None, list[Where]]:
        """The documents that fulfil all conditions, and the filters by functions."""
        masks = [each.test.mask(corpus) for each in self.filters if isinstance(each.test, Condition)]
        functions = [each for each in self.filters if not isinstance(each.test, Condition)]
        return np.logical_and.reduce(masks) if masks else None, functions

    def _drawn(self) -> Drawing:
        cut = "" if self.k is None else f" % {self.k}"
        filters = " >> ".join(map(repr, self.filters))
        return flow(self.search_._drawn(), "candidates", Box(f"{filters}{cut}", "within the search"))

    def _parts(self) -> Sequence[Pipeline]:
        return self.search_, *self.filters


@dataclass
class _Deeper:
    """A generator that is asked for more, until enough of what it finds passes or it finds no more."""

    searched: Generated
    passing: Callable[[Ints], Mask]
    corpus: Corpus
    name: str
    told: bool = False

    def find(self, queries: Queries, k: int, asked: int) -> Candidates:
        """The best `k` that pass for each query, where `asked` are asked for at first."""
        most = len(self.corpus)
        asked = min(asked, most)
        found = replace(self.searched, k=asked)._find(queries, self.corpus)
        passed = found.where(self.passing(found.docs)).top(k)
        rows = np.flatnonzero((passed.lengths < k) & (found.lengths == asked))
        if asked == most or not len(rows):
            return passed
        self._tell(k, asked)
        again = self.find(queries.take(rows), k, _FURTHER * asked)
        order = np.arange(len(queries))
        order[rows] = len(queries) + np.arange(len(rows))
        return Candidates.stack([passed, again]).take(order)

    def _tell(self, k: int, asked: int) -> None:
        if not self.told and asked >= _TOLD * k:
            self.told = True
            log.warning(
                "%s: so few documents pass that %s is asked for more than %d, to find %d. This takes its time.",
                *(self.name, self.searched.generator.name, asked, k),
            )


@singledispatch
def narrowed(ranking: Ranking, where: Where) -> Ranking | None:
    """The ranking with its generators narrowed to the documents that pass; None where it holds a cut."""
    del ranking, where
    return None


@narrowed.register
def _(ranking: Generated, where: Where) -> Ranking | None:
    return Narrowed(ranking, (where,)) if ranking.k is None else None


@narrowed.register
def _(ranking: Narrowed, where: Where) -> Ranking | None:
    return replace(ranking, filters=(*ranking.filters, where)) if ranking.k is None else None


@narrowed.register(Rescored)
@narrowed.register(Others)
def _(ranking: Any, where: Where) -> Ranking | None:
    inner = narrowed(ranking.ranking, where)
    return inner and replace(ranking, ranking=inner)


@narrowed.register
def _(ranking: Joined, where: Where) -> Ranking | None:
    left, right = narrowed(ranking.left, where), narrowed(ranking.right, where)
    return replace(ranking, left=left, right=right) if left and right else None


@narrowed.register
def _(ranking: Fused, where: Where) -> Ranking | None:
    inner = [found for each in ranking.rankings if (found := narrowed(each, where))]
    return replace(ranking, rankings=tuple(inner)) if len(inner) == len(ranking.rankings) else None


def where(test: Any) -> Where:
    """Let only some documents pass.

    `bm25 >> where("year >= 2020 and lang == 'en'")`: a text is a condition on the fields of documents
    (`nirank.data.conditions`). `bm25 >> where(is_short)`: a function is called with a document's content. Raises
    `BadInput` for what is no condition.
    """
    return Where(Condition(test) if isinstance(test, str) else as_function(test, "where"))


def _within(generator: Component, mask: Mask) -> Component:
    """The generator, searching among the documents of a mask."""
    found = copy.copy(generator)
    found.target = generator.target.within(mask)
    return found


def _all_of(mask: Mask | None, rest: Sequence[Where], corpus: Corpus) -> Callable[[Ints], Mask]:
    """A test of documents by a mask, and of those that pass it by the rest."""

    def passing(docs: Ints) -> Mask:
        passed = np.ones(len(docs), bool) if mask is None else mask[docs].copy()
        for each in rest:
            passed[passed] = each.passing(corpus, docs[passed])
        return passed

    return passing
