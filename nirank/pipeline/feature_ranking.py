"""Features of pairs, and rankers over them.

    features(manual, bm25, 0.5 * minilm)    what a ranker reads: all numbers of an extractor, the score of a scoring
    features(...) >> linear                 a Scoring
    ranking >> features(...) >> linear      a Ranking, rescored

An extractor is a component with `extract(queries, candidates)`, float32 `[pairs, names]`, and the attribute `names`. A
ranker over features is a scorer that says `reads = "features"`, and finds them in `candidates.features`.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.data.features import Features
from nirank.data.queries import Queries
from nirank.data.types import Floats
from nirank.errors import CompositionError
from nirank.execution import indexes, stages
from nirank.pipeline.algebra import (
    PartialPipeline,
    Pipeline,
    Ranking,
    Rescored,
    Scoring,
    Stage,
    as_scoring,
    as_stage,
    reads_features,
)
from nirank.pipeline.drawing import Box, Drawing, branches, flow
from nirank.pipeline.explaining import Pair, by_component


@dataclass(frozen=True, eq=False, repr=False)
class FeatureSet(PartialPipeline):
    """The sources of a pair's features: extractors and scorings, in the order of their features."""

    parts: tuple[Stage | Scoring, ...]

    def __repr__(self) -> str:
        return f"features({', '.join(map(repr, self.parts))})"

    @property
    def listwise(self) -> bool:
        """True where a feature of a pair depends on the other documents of its list."""
        return any(part.listwise for part in self.parts)

    def of(self, queries: Queries, candidates: Candidates) -> Features:
        """The features of each pair. A scoring's is called as it is written."""
        described = [_described(part, queries, candidates) for part in self.parts]
        names = [name for part in described for name in part.names]
        return Features(tuple(names), np.concatenate([part.values for part in described], axis=1))

    def after(self, ranking: Ranking) -> Described:
        """The documents of a ranking with these features."""
        return Described(ranking, self)

    def __rshift__(self, ranker: Any) -> Featured:
        return Featured(self, _ranker(ranker))

    def _drawn(self) -> Drawing:
        return branches("features", *(part._drawn() for part in self.parts))

    def _parts(self) -> Sequence[Pipeline]:
        return self.parts


@dataclass(frozen=True, eq=False, repr=False)
class Described(Pipeline):
    """The documents of a ranking with features, to be ranked by them."""

    ranking: Ranking
    features: FeatureSet

    def __repr__(self) -> str:
        return f"{self.ranking!r} >> {self.features!r}"

    def __rshift__(self, ranker: Any) -> Ranking:
        return Rescored(self.ranking, self.features >> ranker)

    def _parts(self) -> Sequence[Pipeline]:
        return self.ranking, self.features


@dataclass(frozen=True, eq=False, repr=False)
class Featured(Scoring):
    """A ranker over features with what it reads."""

    features: FeatureSet
    ranker: Component

    def __repr__(self) -> str:
        return f"{self.features!r} >> {self.ranker.name}"

    @property
    def listwise(self) -> bool:
        """True where the ranker or a feature looks at the whole list."""
        return self.ranker.traits.listwise or self.features.listwise

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """Score each pair by its features."""
        described = candidates.with_features(self.features.of(queries, candidates))
        return stages.score(self.ranker, queries, described)

    def _drawn(self) -> Drawing:
        return flow(self.features._drawn(), "features", Box(self.ranker.name, self.ranker.spec))

    def _explain_pair(self, pair: Pair) -> Explanation:
        described = pair.candidates.with_features(self.features.of(pair.queries, pair.candidates))
        known = Pair(pair.queries, described, pair.place)
        return by_component(self.ranker, repr(self), known, functools.partial(stages.score, self.ranker))

    def _parts(self) -> Sequence[Pipeline]:
        return (self.features,)

    def _components(self) -> Iterator[Component]:
        yield from super()._components()
        yield self.ranker


def features(first: Any, *more: Any) -> FeatureSet:
    """Describe each pair for a ranker over features: `features(manual, bm25, 0.5 * minilm) >> linear`.

    A part is an extractor, which gives all its features, or a scoring, whose score is one.
    """
    return FeatureSet(tuple(map(_part, (first, *more))))


def before(component: Component, pipeline: Pipeline) -> FeatureSet | None:
    """The features that a ranker reads in a pipeline; None where it is not part of it."""
    if isinstance(pipeline, Featured) and pipeline.ranker is component:
        return pipeline.features
    found = (before(component, part) for part in pipeline._parts())
    return next((each for each in found if each is not None), None)


def _part(value: Any) -> Stage | Scoring:
    stage = as_stage(value)
    if isinstance(stage, Stage) and stage.component.can("extract"):
        return stage
    return as_scoring(stage)


def _described(part: Stage | Scoring, queries: Queries, candidates: Candidates) -> Features:
    if not (isinstance(part, Stage) and part.component.can("extract")):
        return Features((repr(part),), part.score(queries, candidates)[:, None])
    if candidates.corpus is not None:
        indexes.prepare(part.component, candidates.corpus)
    values = stages.extract(part.component, queries, candidates)
    return Features(part.component.target.names, values)


def _ranker(value: Any) -> Component:
    stage = as_stage(value)
    if not (isinstance(stage, Stage) and reads_features(stage.component)):
        raise CompositionError(f"{value!r} does not read features: write a ranker over features after `features(...)`.")
    return stage.component
