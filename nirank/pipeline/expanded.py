"""Documents expanded before they are indexed: by queries that they answer, captions, whatever a writer writes for them.

    written = nirank.write(corpus, doc2query, field="queries")      a corpus with one more field
    expanded(bm25, doc2query)                                       a ranking of documents with these texts
    bm25 % 100 >> expanded(monot5, doc2query)                       a scoring; only for what was found is written

Nogueira, Yang, Lin and Cho, Document Expansion by Query Prediction, 2019; Gospodinov, MacAvaney and Macdonald,
Doc2Query--: When Less is More, ECIR 2023 (`by` and `keep`).
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.conditions import Condition
from nirank.data.corpus import Some
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Corpus, Floats
from nirank.data.written import Written
from nirank.errors import BadInput, CompositionError
from nirank.execution import stages
from nirank.execution.writing import write_texts
from nirank.pipeline.algebra import Pipeline, Ranking, Scoring, Stage, as_ranking, as_scoring, as_stage
from nirank.pipeline.apart import apart
from nirank.pipeline.best_lines import best_lines
from nirank.pipeline.drawing import Drawing, branches
from nirank.pipeline.explaining import Pair, of_original
from nirank.pipeline.filtering import Where, narrowed
from nirank.pipeline.lately import Lately

#: The field that is written into, unless another is named.
FIELD = "written"


@dataclass(frozen=True, eq=False)
class Writing:
    """The writing of texts for documents: by which writer, into which field, and how much of it is kept.

    `by` is a scoring, by which the share `keep` of all lines is kept that answers the documents best.
    """

    writer: Component
    field: str = FIELD
    append: bool = True
    by: Scoring | None = None
    keep: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.field, str) or not self.field.isidentifier():
            raise BadInput(f"field = {self.field!r:.80} is not a name; letters, digits and _ are expected.")
        if not isinstance(self.append, bool):
            raise BadInput(f"append = {self.append!r:.80}: true or false is expected.")
        number = isinstance(self.keep, int | float) and not isinstance(self.keep, bool) and 0 < self.keep <= 1
        if (self.by is None) != (self.keep is None) or not (self.keep is None or number):
            raise BadInput(
                f"keep = {self.keep!r:.80}: `by` is the scoring that lines are chosen by, and `keep` the share of all "
                "lines that stays, above 0 and at most 1; both are needed."
            )

    @property
    def arguments(self) -> list[str]:
        """The arguments behind the pipeline in an expression."""
        given = [self.writer.name] + ([] if self.by is None else [repr(self.by)])
        own = {"field": (self.field, FIELD), "append": (self.append, True), "keep": (self.keep, None)}
        return given + [f"{name}={value!r}" for name, (value, usual) in own.items() if value != usual]

    @functools.cached_property
    def view(self) -> Lately[Written]:
        """The same as `of`, the last results at hand."""
        return Lately(self.of)

    def of(self, corpus: Corpus) -> Written:
        """The corpus with what is written for it: from the cache, or now."""
        texts = write_texts(self.writer, corpus)
        if self.by is not None and self.keep is not None:
            texts = best_lines(texts, corpus, self.by, self.keep)
        return Written(corpus, self.field, texts, self.append)


@dataclass(frozen=True, eq=False, repr=False)
class Expanded(Pipeline):
    """A part of a pipeline that works on documents with texts written for them."""

    inner: Any
    writing: Writing

    def __repr__(self) -> str:
        return f"expanded({', '.join([repr(self.inner), *self.writing.arguments])})"

    def _drawn(self) -> Drawing:
        return branches(f"expanded: {', '.join(self.writing.arguments)}", self.inner._drawn())

    def _parts(self) -> Sequence[Pipeline]:
        return (self.inner,) if self.writing.by is None else (self.inner, self.writing.by)

    def _components(self) -> Iterator[Component]:
        yield self.writing.writer
        yield from super()._components()

    def _indexed(self) -> Iterator[tuple[Component, Component | None]]:
        return iter(()) if self.writing.by is None else self.writing.by._indexed()

    def _views(self) -> Iterator[tuple[Pipeline, Callable[[Corpus], Corpus]]]:
        if self._has_index():
            yield self.inner, self.writing.view

    def _has_index(self) -> bool:
        return any(component.can("build") for component in self.components())


@dataclass(frozen=True, eq=False, repr=False)
class ExpandedScoring(Expanded, Scoring):
    """The scores of documents with texts written for them."""

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The scores of the expanded documents, float32 `[pairs]`.

        Only for those at hand texts are written, unless a scorer has an index, or lines are chosen among all.
        """
        return as_scoring(self.inner).score(queries, self._written(candidates))

    def _explain_pair(self, pair: Pair) -> Explanation:
        known = Pair(pair.queries, self._written(pair.candidates), pair.place)
        return of_original(as_scoring(self.inner)._explain_pair(known), pair.corpus, pair.doc)

    def _written(self, candidates: Candidates) -> Candidates:
        """The candidates as documents with texts written for them."""
        stages.refuse_strangers(repr(self), candidates)
        corpus = candidates.corpus_for(repr(self))
        if self._has_index() or self.writing.by is not None:
            return candidates.over(self.writing.view(corpus))
        docs, places = np.unique(candidates.docs, return_inverse=True)
        return dataclasses.replace(candidates, docs=places, corpus=self.writing.of(Some(corpus, docs)))


@dataclass(frozen=True, eq=False, repr=False)
class ExpandedRanking(Expanded, Ranking):
    """The documents that a ranking finds among documents with texts written for them."""

    @property
    def depth(self) -> int | None:  # type: ignore[override]
        """The number of documents that are asked for."""
        return as_ranking(self.inner).depth

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where it is known of the ranking."""
        return as_ranking(self.inner).log_likelihoods

    @property
    def alone(self) -> bool:  # type: ignore[override]
        """True where the ranking is a search by one generator."""
        return as_ranking(self.inner).alone

    def __mod__(self, k: int) -> Ranking:
        return self._of(as_ranking(self.inner) % k)

    def at_depth(self, k: int) -> Ranking:
        """The same of the ranking at that depth."""
        return self._of(as_ranking(self.inner).at_depth(k))

    def _of(self, ranking: Ranking) -> Ranking:
        return ExpandedRanking(ranking, self.writing)

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        return as_ranking(self.inner)._find(queries, self.writing.view(corpus)).over(corpus)

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        explanation = as_ranking(self.inner)._explain_found(queries, self.writing.view(corpus), doc)
        return explanation and of_original(explanation, corpus, doc)


@narrowed.register
def _(ranking: ExpandedRanking, where: Where) -> Ranking | None:
    """A condition asks for fields, which expanded documents have too; a function is given documents as they are."""
    inner = narrowed(as_ranking(ranking.inner), where) if isinstance(where.test, Condition) else None
    return inner and ranking._of(inner)


@dataclass(frozen=True, eq=False, repr=False)
class ExpandedStage(ExpandedRanking, ExpandedScoring):
    """A stage that finds expanded documents and scores them too, as `bm25` does."""


def expanded(
    pipeline: Any, writer: Any, by: Any = None, field: str = FIELD, append: bool = True, keep: float | None = None
) -> Ranking | Scoring:
    """Let a ranking or a scoring work on documents with texts that a writer writes for them.

    The texts are the field `field`, which a stage with that setting reads alone, and with `append` they stand behind
    the content. With `by`, a scoring of (text, document), only the share `keep` of all texts that scores best is kept.
    Raises `CompositionError` for what is no writer, and for a union, which has no order.
    """
    stage, writing = as_stage(pipeline), Writing(writer_of(writer), field, append, by and as_scoring(by), keep)
    if isinstance(stage, Ranking) and not stage.scored:
        raise CompositionError(f"{stage!r} does not order what it finds: add `>> scorer`, or use fuse.")
    made: Ranking | Scoring = _kind(stage)(apart(stage), writing)
    return made


def write(
    corpus: Corpus, writer: Any, field: str = FIELD, append: bool = True, by: Any = None, keep: float | None = None
) -> Written:
    """A corpus with one more field: the text that a writer writes for each document, several on lines of their own.

    `writer` is a component, an object with the method `write(contents)`, or a function of that kind. What was written
    is kept in the cache by writer and content, some hundred documents at a time, so that an interruption loses little.
    The other arguments are as in `expanded`.
    """
    return Writing(writer_of(writer), field, append, by and as_scoring(by), keep).of(corpus)


def writer_of(value: Any) -> Component:
    """A writer as a component. Raises `CompositionError` for what is none."""
    if callable(value) and not isinstance(value, type) and not hasattr(value, "write"):
        value = _Calling(value) if not isinstance(value, Pipeline) else value
    stage = as_stage(value)
    if not isinstance(stage, Stage) or not stage.component.can("write"):
        raise CompositionError(f"{value!r} writes nothing: a writer has the method `write(contents)`.")
    return stage.component


class _Calling:
    """A function as a writer."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.write = function


def _kind(stage: Ranking | Scoring) -> type[Any]:
    """Choose a class for a stage; raises `CompositionError` where it can be neither found nor scored by."""
    finds = _accepts(as_ranking, stage)
    if _accepts(as_scoring, stage):
        return ExpandedStage if finds else ExpandedScoring
    as_ranking(stage)
    return ExpandedRanking


def _accepts(accept: Callable[[Any], Any], stage: Ranking | Scoring) -> bool:
    try:
        accept(stage)
    except CompositionError:
        return False
    return True
