"""Queries rewritten before a search, and queries sent to one ranking or another.

    rewrite(f) >> bm25                       a ranking; only what stands after it, as far as the brackets go, reads
                                             what was rewritten: in `rewrite(f) >> bm25 >> minilm` that is `bm25`
    rewrite(f) >> (bm25 >> minilm)           here it is both
    bm25 >> (rewrite(f) >> minilm)           the scorer alone
    rewrite(a) >> rewrite(b) >> bm25         one after the other
    bm25 % 10 >> rewrite(f, feedback=True) >> bm25      f(query, documents) is also given what was found
    variants(f) >> bm25                      f(query) is a list of queries: each is searched, and the results are fused
    route(f, {"short": bm25, "long": ql})    f(query) says which ranking searches

A rewriter is a component with `rewrite(queries)`, which returns as many contents, or `Queries` of the same ids; or a
function of a query's content. Ids stay, and with them judgments.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus, Floats
from nirank.errors import BadInput, CompositionError
from nirank.execution import indexes, stages
from nirank.pipeline import fusion
from nirank.pipeline.algebra import (
    PartialPipeline,
    Pipeline,
    Ranking,
    SameScores,
    Scoring,
    Stage,
    as_ranking,
    as_scoring,
    as_stage,
)
from nirank.pipeline.drawing import Box, Drawing, branches, flow
from nirank.pipeline.explaining import Pair, rank_in, rewritten
from nirank.pipeline.filtering import Where, narrowed
from nirank.pipeline.functions import Function, as_function
from nirank.pipeline.parts import operand
from nirank.pipeline.shares import Shares
from nirank.plugins.assembly import wrap


class FunctionRewriter:
    """A rewriter by a function of a query, or of a query and the documents that were found for it."""

    def __init__(self, function: Function, feedback: bool) -> None:
        self.function, self.feedback = function, feedback

    @property
    def fingerprint(self) -> str:
        """The function's."""
        return f"{self.function.fingerprint} {self.feedback}"

    def rewrite(self, queries: Queries) -> list[Content]:
        """The content of each query, rewritten."""
        if queries.found is None or not self.feedback:
            return [self.function(content) for content in queries.contents]
        found, corpus = queries.found, queries.found.corpus_for(self.function.name)
        lists = [corpus[found[row][0]] for row in range(len(queries))]
        return [self.function(content, list(docs)) for content, docs in zip(queries.contents, lists, strict=True)]


@dataclass(frozen=True, eq=False, repr=False)
class Rewrite(PartialPipeline):
    """Rewriters, one after the other, for the ranking or scoring that follows; `found` is the ranking before them."""

    rewriters: tuple[Component, ...]
    found: Ranking | None = None

    def __repr__(self) -> str:
        before = [operand(self.found)] if self.found else []
        return " >> ".join([*before, *map(_written, self.rewriters)])

    def after(self, ranking: Ranking) -> Rewrite:
        """The same, given what the ranking finds. Raises `CompositionError` where the first rewriter reads none."""
        if not self.rewriters[0].traits.feedback:
            raise CompositionError(
                f"{self!r} does not read what a ranking found: write `{self!r} >> {operand(ranking)}`, or "
                "`rewrite(f, feedback=True)` for a function of a query and its documents."
            )
        if not ranking.scored:
            raise CompositionError(f"{ranking!r} has no order before it is scored: add `>> scorer` first.")
        return replace(self, found=ranking)

    def __rshift__(self, other: Any) -> Any:
        if isinstance(other, Rewrite):
            return replace(self, rewriters=(*self.rewriters, *other.rewriters))
        self._refuse_feedback()
        if isinstance(other, Variants):
            raise CompositionError(f"{other!r} comes first: a rewriting after it is of each variant.")
        stage = as_stage(other)
        component = stage.component if isinstance(stage, Stage) else None
        if component and component.can("encode") and not component.can("generate"):
            return RewrittenEncoder(self, stage)
        if component and component.can("generate") and component.can("score"):
            return RewrittenStage(self, as_ranking(stage), component)
        if isinstance(stage, Ranking) and not (component and not component.can("generate")):
            return Rewritten(self, as_ranking(stage))
        return RewrittenScoring(self, as_scoring(stage))

    def of(self, queries: Queries, corpus: Corpus | None) -> Queries:
        """The queries, rewritten, with the results that they came with."""
        came_with = queries.found
        if self.found is not None and corpus is not None:
            queries = queries.with_found(self.found._find(queries, corpus))
        for component in self.rewriters:
            if corpus is not None:
                indexes.prepare(component, corpus)
            queries = stages.rewrite(component, queries)
        return queries.with_found(came_with)

    def _refuse_feedback(self) -> None:
        for place, component in enumerate(self.rewriters):
            if component.traits.feedback and not (self.found and place == 0):
                raise CompositionError(f"{component.name} needs the results of a ranking: write `ranking >> {self!r}`.")

    def _drawn(self) -> Drawing:
        rewriters = Box(" >> ".join(map(_written, self.rewriters)))
        return flow(self.found._drawn(), "candidates", rewriters) if self.found else rewriters

    def _parts(self) -> Sequence[Pipeline]:
        return (self.found,) if self.found else ()

    def _components(self) -> Iterator[Component]:
        yield from super()._components()
        yield from self.rewriters

    def _indexed(self) -> Iterator[tuple[Component, Component | None]]:
        yield from super()._indexed()
        yield from ((component, None) for component in self.rewriters)


@dataclass(frozen=True, eq=False, repr=False)
class Rewritten(SameScores):
    """A ranking for queries that are rewritten first."""

    rewriting: Rewrite
    ranking: Ranking

    def __repr__(self) -> str:
        return f"{self.rewriting!r} >> {operand(self.ranking)}"

    def __mod__(self, k: int) -> Ranking:
        return Rewritten(self.rewriting, self.ranking % k)

    @property
    def alone(self) -> bool:  # type: ignore[override]
        """True where the ranking is a search by one generator."""
        return self.ranking.alone

    def scores(self) -> Scoring:
        """The scoring of any pair that the ranking has, for the rewritten query."""
        return RewrittenScoring(self.rewriting, self.ranking.scores())

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        return self.ranking._find(self.rewriting.of(queries, corpus), corpus)

    def _drawn(self) -> Drawing:
        return flow(self.rewriting._drawn(), "queries", self.ranking._drawn())

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        asked = self.rewriting.of(queries, corpus)
        explanation = self.ranking._explain_found(asked, corpus, doc)
        return explanation and rewritten(explanation, queries, asked)

    def _parts(self) -> Sequence[Pipeline]:
        return self.rewriting, self.ranking


@dataclass(frozen=True, eq=False, repr=False)
class RewrittenStage(Rewritten, Scoring):
    """A stage that finds and scores, such as `bm25`, for queries that are rewritten first: it does both."""

    component: Component

    @property
    def listwise(self) -> bool:
        """True where the component says so."""
        return self.component.traits.listwise

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The scores of each pair of a rewritten query and a document."""
        return Stage(self.component).score(self.rewriting.of(queries, candidates.corpus), candidates)

    def _explain_pair(self, pair: Pair) -> Explanation:
        asked = self.rewriting.of(pair.queries, pair.corpus)
        return rewritten(Stage(self.component)._explain_pair(pair.asked(asked)), pair.queries, asked)


@dataclass(frozen=True, eq=False, repr=False)
class RewrittenScoring(Scoring):
    """A scoring that reads rewritten queries."""

    rewriting: Rewrite
    scoring: Any

    def __repr__(self) -> str:
        return f"{self.rewriting!r} >> {operand(self.scoring)}"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The scores of each pair of a rewritten query and a document."""
        return as_scoring(self.scoring).score(self.rewriting.of(queries, candidates.corpus), candidates)

    def _drawn(self) -> Drawing:
        return flow(self.rewriting._drawn(), "queries", self.scoring._drawn())

    def _explain_pair(self, pair: Pair) -> Explanation:
        asked = self.rewriting.of(pair.queries, pair.corpus)
        return rewritten(as_scoring(self.scoring)._explain_pair(pair.asked(asked)), pair.queries, asked)

    def _parts(self) -> Sequence[Pipeline]:
        return self.rewriting, self.scoring


@dataclass(frozen=True, eq=False, repr=False)
class RewrittenEncoder(RewrittenScoring):
    """An encoder that reads rewritten queries: it scores, or an index follows."""

    def __rshift__(self, index: Any) -> Any:
        return self.rewriting >> (self.scoring >> index)


@dataclass(frozen=True, eq=False, repr=False)
class Variants(PartialPipeline):
    """Several queries made of one, for the ranking that follows."""

    function: Function
    method: str
    settings: tuple[tuple[str, Any], ...]

    def __repr__(self) -> str:
        named = {"method": self.method, **dict(self.settings)}
        return f"variants({', '.join([self.function.name, *(f'{name}={value!r}' for name, value in named.items())])})"

    def after(self, ranking: Ranking) -> Pipeline:
        """Refuse: it comes first. Raises `CompositionError`."""
        raise CompositionError(f"{self!r} comes before a search: write `{self!r} >> {operand(ranking)}`.")

    def __rshift__(self, other: Any) -> Any:
        stage = as_stage(other)
        if isinstance(stage, Stage) and stage.component.can("encode") and not stage.component.can("generate"):
            raise CompositionError(f"{stage!r} only encodes queries: write `{self!r} >> ({stage!r} >> index)`.")
        ranking = as_ranking(stage)
        if not ranking.scored:
            raise CompositionError(f"{ranking!r} cannot be fused: it has no order before it is scored.")
        return Varied(self, ranking)

    def of(self, queries: Queries) -> tuple[Queries, NDArray[np.int64]]:
        """All variants one after the other, with the id of their query, and how many each query has."""
        lists = [self._of_one(content) for content in queries.contents]
        lengths = np.array(list(map(len, lists)), np.int64)
        taken = queries.take(np.repeat(np.arange(len(queries)), lengths))
        return replace(taken, contents=[text for texts in lists for text in texts], vectors=None), lengths

    def _of_one(self, content: Content) -> list[Content]:
        texts = self.function(content)
        if not isinstance(texts, (list, tuple)) or not texts or not all(map(stages.is_content, texts)):
            raise self.function.fault(texts, "a list with at least one query is")
        return list(texts)

    def _components(self) -> Iterator[Component]:
        yield self.function.component


@dataclass(frozen=True, eq=False, repr=False)
class Varied(Ranking):
    """The results of all variants of a query, fused."""

    variants: Variants
    ranking: Ranking

    def __repr__(self) -> str:
        return f"{self.variants!r} >> {operand(self.ranking)}"

    def at_depth(self, k: int) -> Ranking:
        """The same of the ranking at that depth."""
        return replace(self, ranking=self.ranking.at_depth(k))

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        asked, lengths = self.variants.of(queries)
        found = self.ranking._find(asked, corpus)
        rows = [np.flatnonzero(lengths == count) for count in np.unique(lengths)]
        if not rows:
            return Candidates.empty(0, corpus)
        fused = [self._fused(found, (np.cumsum(lengths) - lengths)[some], int(lengths[some[0]])) for some in rows]
        return Candidates.stack(fused).over(corpus).take(np.argsort(np.concatenate(rows)))

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        asked, _ = self.variants.of(queries)
        found = self.ranking._find(asked, corpus)
        lists = [(str(content), found.take(slice(row, row + 1))) for row, content in enumerate(asked.contents)]
        shares = Shares(self.variants.method, (1.0,) * len(lists), dict(self.variants.settings))
        return shares.explained(repr(self), [(name, rank_in(each, doc), each) for name, each in lists], doc)

    def _fused(self, found: Candidates, firsts: NDArray[np.int64], count: int) -> Candidates:
        """The results of queries with `count` variants each, the first of which are at `firsts`.

        None of these is an empty list in the place of a variant that there is not: to some methods that is a vote.
        """
        each = [found.take(firsts + place) for place in range(count)]
        return fusion.METHODS[self.variants.method](each, np.ones(count), **dict(self.variants.settings))

    def _drawn(self) -> Drawing:
        return flow(self.variants._drawn(), "queries", self.ranking._drawn())

    def _parts(self) -> Sequence[Pipeline]:
        return self.variants, self.ranking


@dataclass(frozen=True, eq=False, repr=False)
class Routed(Ranking):
    """Several rankings, one of which searches for each query."""

    function: Function
    rankings: tuple[tuple[str, Ranking], ...]

    def __repr__(self) -> str:
        written = ", ".join(f"{name!r}: {ranking!r}" for name, ranking in self.rankings)
        return f"route({self.function.name}, {{{written}}})"

    @property
    def depth(self) -> int | None:  # type: ignore[override]
        """The largest depth of the rankings, where all are known."""
        depths = [ranking.depth for _, ranking in self.rankings]
        return None if None in depths else max(cast("list[int]", depths))

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where it is known of all rankings."""
        return all(ranking.log_likelihoods for _, ranking in self.rankings)

    def at_depth(self, k: int) -> Ranking:
        """The same of all rankings at that depth."""
        return replace(self, rankings=tuple((name, ranking.at_depth(k)) for name, ranking in self.rankings))

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        names = [name for name, _ in self.rankings]
        chosen = np.array([self._chosen(content, names) for content in queries.contents], np.int64)
        rows = [np.flatnonzero(chosen == place) for place in range(len(names))]
        found = [
            ranking._find(queries.take(some), corpus)
            for some, (_, ranking) in zip(rows, self.rankings, strict=True)
            if len(some)
        ]
        order = np.argsort(np.concatenate(rows))
        return Candidates.stack(found).take(order).over(corpus) if found else Candidates.empty(0, corpus)

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        name, ranking = self.rankings[self._chosen(queries.contents[0], [name for name, _ in self.rankings])]
        explanation = ranking._explain_found(queries, corpus, doc)
        return explanation and explanation.noted(f"sent to {name!r}")

    def _chosen(self, content: Content, names: list[str]) -> int:
        name = self.function(content)
        if name not in names:
            raise self.function.fault(name, f"one of {', '.join(map(repr, names))} is")
        return names.index(name)

    def _drawn(self) -> Drawing:
        each = (flow(Box(name), "queries", ranking._drawn()) for name, ranking in self.rankings)
        return branches(f"route: {self.function.name}", *each)

    def _parts(self) -> Sequence[Pipeline]:
        return [ranking for _, ranking in self.rankings]

    def _components(self) -> Iterator[Component]:
        yield self.function.component
        yield from super()._components()


def rewrite(rewriter: Any, feedback: bool = False) -> Rewrite:
    """Rewrite queries for what follows: `rewrite(corrected) >> bm25`, `rewrite(spelling) >> bm25`.

    `rewriter` is a component with the method `rewrite`, or a function of a query's content that returns another. With
    `feedback`, a ranking stands before it, and a function is given the documents that it found as well.
    """
    if isinstance(rewriter, Stage) and rewriter.component.can("rewrite"):
        return Rewrite((rewriter.component,))
    if not isinstance(rewriter, (Function, Stage)) and callable(getattr(rewriter, "rewrite", None)):
        return Rewrite((cast("Stage", as_stage(rewriter)).component,))
    if not isinstance(feedback, bool):
        raise BadInput(f"rewrite: feedback = {feedback!r}; True or False is expected.")
    function = as_function(rewriter, "rewrite")
    return Rewrite((wrap(Component(function.name, FunctionRewriter(function, feedback))),))


def variants(function: Any, method: str = "rrf", **settings: Any) -> Variants:
    """Search several queries made of each: `variants(paraphrases) >> bm25`; `function` returns a list of them.

    Results are fused by `method`, with its settings, as in `fuse`.
    """
    fusion.check(method, settings)
    return Variants(as_function(function, "variants"), method, tuple(settings.items()))


def route(function: Any, rankings: Mapping[str, Any]) -> Routed:
    """Search each query by one of several rankings: `route(kind, {"short": bm25, "long": minilm >> exact})`.

    `function` is given a query's content and returns the name of a ranking.
    """
    if not isinstance(rankings, Mapping) or not rankings or not all(isinstance(name, str) for name in rankings):
        raise BadInput(f"route: {rankings!r:.80} is not a table of rankings by name.")
    made = tuple((name, as_ranking(ranking)) for name, ranking in rankings.items())
    if unscored := [ranking for _, ranking in made if not ranking.scored]:
        raise CompositionError(f"{unscored[0]!r} has no order before it is scored: add `>> scorer`.")
    return Routed(as_function(function, "route"), made)


@narrowed.register
def _(ranking: Rewritten, where: Where) -> Ranking | None:
    inner = narrowed(ranking.ranking, where)
    return inner and Rewritten(ranking.rewriting, inner)


@narrowed.register
def _(ranking: Varied, where: Where) -> Ranking | None:
    inner = narrowed(ranking.ranking, where)
    return inner and replace(ranking, ranking=inner)


@narrowed.register
def _(ranking: Routed, where: Where) -> Ranking | None:
    inner = [(name, found) for name, each in ranking.rankings if (found := narrowed(each, where))]
    return replace(ranking, rankings=tuple(inner)) if len(inner) == len(ranking.rankings) else None


def _written(component: Component) -> str:
    by_function = isinstance(component.target, FunctionRewriter) and component.target.feedback
    return f"rewrite({component.name}{', feedback=True' if by_function else ''})"
