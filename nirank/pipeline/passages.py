"""Passages for every ranker: documents are cut, their passages are searched or scored, and scores folded back.

    passages(bm25, words=100)                          a ranking: the passages of the corpus are indexed and searched
    bm25 % 100 >> passages(minilm, words=100)          a scoring: the passages of the documents found are scored
    passages(minilm, sentences=3, fold="mean")         the mean of all passages, `fold="mean", best=3` of the best three

Dai and Callan, Deeper Text Understanding for IR with Contextual Neural Language Modeling, SIGIR 2019 (FirstP, MaxP);
Chen, He, Hui, Wang, Sun and Sun, ICIP at TREC-2020 Deep Learning Track (the mean of the best k).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.conditions import Condition
from nirank.data.corpus import Some
from nirank.data.explanation import Explanation
from nirank.data.offsets import offsets_of
from nirank.data.passages import PassageCorpus
from nirank.data.queries import Queries
from nirank.data.types import Corpus, Floats
from nirank.errors import CompositionError, UnknownName
from nirank.execution import stages
from nirank.kit.text.cutting import Cutting
from nirank.pipeline import misplaced
from nirank.pipeline.algebra import Asked, Cut, Pipeline, Ranking, Scoring, as_ranking, as_scoring, as_stage
from nirank.pipeline.apart import apart, parts_of
from nirank.pipeline.drawing import Drawing, branches
from nirank.pipeline.explaining import Pair, as_found
from nirank.pipeline.filtering import Where, narrowed
from nirank.pipeline.lately import Lately
from nirank.pipeline.reranking import Others

Fold = Literal["max", "first", "mean"]

#: Passages that a ranking is first asked for, for each document that is wanted; and how many more the next time.
_PASSAGES, _DEEPER = 2, 4


@dataclass(frozen=True)
class Folding:
    """The rule by which scores of passages become their document's: the best, the first, or a mean (of the `best`)."""

    fold: Fold = "max"
    best: int | None = None

    def __post_init__(self) -> None:
        if self.fold not in get_args(Fold):
            raise UnknownName("fold of passages", self.fold, get_args(Fold))
        if self.best is not None and (self.fold != "mean" or not misplaced.is_count(self.best)):
            raise CompositionError(
                f'best = {self.best!r} is the number of passages of a mean, from 1: `fold="mean", best=3`.'
            )

    def __str__(self) -> str:
        return f"fold={self.fold!r}" + (f", best={self.best}" if self.best else "")

    def of(self, scores: Floats, offsets: NDArray[np.int64]) -> Floats:
        """The score of each document, float32 `[documents]`, from those of its passages, each of which has some."""
        if self.fold == "max":
            return np.maximum.reduceat(scores, offsets[:-1])
        if self.fold == "first":
            return scores[offsets[:-1]]
        if self.best:
            scores, offsets = _best(scores, offsets, self.best)
        sums = np.add.reduceat(scores, offsets[:-1], dtype=np.float64)
        return (sums / np.diff(offsets)).astype(np.float32)

    def chosen(self, scores: Floats) -> list[int]:
        """The places of the passages of one document that decide its score."""
        if self.fold == "first":
            return [0]
        best = np.argsort(-scores, kind="stable").tolist()
        return best[:1] if self.fold == "max" else sorted(best[: self.best])


@dataclass(frozen=True, eq=False, repr=False)
class Passages(Pipeline):
    """A part of a pipeline that works on the passages of documents: what passaged rankings and scorings share."""

    inner: Any
    cutting: Cutting
    folding: Folding
    view: Lately[PassageCorpus]

    def __repr__(self) -> str:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.cutting.settings.items())
        return f"passages({self.inner!r}, {settings}, {self.folding})"

    def _drawn(self) -> Drawing:
        settings = ", ".join(f"{name}={value!r}" for name, value in self.cutting.settings.items())
        return branches(f"passages: {settings}, {self.folding}", self.inner._drawn())

    def _parts(self) -> Sequence[Pipeline]:
        return (self.inner,)

    def _indexed(self) -> Iterator[tuple[Component, Component | None]]:
        return iter(())

    def _views(self) -> Iterator[tuple[Pipeline, Callable[[Corpus], Corpus]]]:
        if self._has_index():
            yield self.inner, self.view

    def _has_index(self) -> bool:
        return any(component.can("build") for component in self.components())


@dataclass(frozen=True, eq=False, repr=False)
class PassagedScoring(Passages, Scoring):
    """The scores of documents' passages, folded."""

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The scores of all passages of each document, folded, float32 `[pairs]`."""
        if not candidates.pairs:
            return np.empty(0, np.float32)
        spread, offsets = self.spread(candidates)
        return self.folding.of(as_scoring(self.inner).score(queries, spread), offsets)

    def spread(self, candidates: Candidates) -> tuple[Candidates, NDArray[np.int64]]:
        """The passages of candidates that are scored, and the offsets of each pair's: int64 `[pairs + 1]`."""
        stages.refuse_strangers(repr(self), candidates)
        cut, candidates = self._cut(candidates)
        return cut.spread(candidates, first_only=self.folding.fold == "first")

    def _explain_pair(self, pair: Pair) -> Explanation:
        inner = as_scoring(self.inner)
        spread, offsets = self.spread(pair.candidates)
        first, last = int(offsets[pair.place]), int(offsets[pair.place + 1])
        scores = inner.score(pair.queries, spread)[first:last]
        chosen = self.folding.chosen(scores)
        parts = [
            self._in_document(inner._explain_pair(Pair(pair.queries, spread, first + place)), spread, first + place)
            for place in chosen
        ]
        note = f"passages {', '.join(str(place + 1) for place in chosen)} of {len(scores)} ({self.folding})"
        if self.folding.fold != "mean":
            return dataclasses.replace(parts[0], label=repr(self)).noted(note)
        scaled = tuple(part.scaled(1 / len(parts), f"passage {at + 1}") for part, at in zip(parts, chosen, strict=True))
        return Explanation.summed(repr(self), pair.score(self.score), scaled).noted(note)

    def _in_document(self, explanation: Explanation, spread: Candidates, place: int) -> Explanation:
        """The marks of a passage as marks of the document, where passages are cut from its content."""
        cut = cast("PassageCorpus", spread.corpus)
        start = int(cut.extents(spread.docs[[place]])[0][0])
        if self.cutting.field is not None or self.cutting.title is not None:
            return explanation.without_document_marks()
        return explanation.moved(start)

    def _cut(self, candidates: Candidates) -> tuple[PassageCorpus, Candidates]:
        """The passages, and the candidates as documents of what is cut.

        Only the documents at hand are cut, unless a scorer has an index: its statistics are those of all passages.
        """
        corpus = candidates.corpus_for(repr(self))
        if self._has_index():
            return self.view(corpus), candidates
        docs, places = np.unique(candidates.docs, return_inverse=True)
        return PassageCorpus(Some(corpus, docs), self.cutting), dataclasses.replace(candidates, docs=places)


@dataclass(frozen=True, eq=False, repr=False)
class PassagedRanking(Passages, Asked):
    """The documents of the passages that a ranking finds.

    The ranking is asked for more and more passages until there are as many documents as are wanted, or it finds no
    more. It finds the best passage of a document before the others, so the maximum is that over all its passages.
    Where it is more than a search, what it finds first may depend on how many it is asked for (of a fusion, or a
    reranking): so `% k` cuts what was found then, and asks for no fewer.
    """

    k: int | None = None

    def __repr__(self) -> str:
        text = super().__repr__()
        return text if self.k is None else f"{text} % {self.k}"

    def __mod__(self, k: int) -> Ranking:
        return super().__mod__(k) if self.alone else Cut(self, misplaced.depth(k))

    @property
    def alone(self) -> bool:  # type: ignore[override]
        """True where the ranking of passages is a search by one generator."""
        return as_ranking(self.inner).alone

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where it is known of the ranking of passages."""
        return as_ranking(self.inner).log_likelihoods

    def asked_for(self, k: int) -> Asked:
        """The same as a ranking alone, asked for `k` documents."""
        return PassagedRanking(self.inner, self.cutting, self.folding, self.view, k)

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        cut, k = self.view(corpus), min(self.depth, len(corpus))
        wanted = k if self.alone else self.depth
        if queries.found is not None:
            queries = queries.with_found(cut.spread(queries.found)[0])
        rows, asked = np.arange(len(queries)), _PASSAGES * wanted
        done: list[tuple[NDArray[np.int64], Candidates]] = []
        while True:
            found = as_ranking(self.inner).at_depth(asked)._find(queries, cut)
            folded = self._folded(found, cut).over(corpus)
            enough = (folded.lengths >= k) | (found.lengths < asked) | (asked >= len(cut))
            done.append((rows[enough], folded.take(np.flatnonzero(enough))))
            if enough.all():
                return _in_order(done, corpus).top(k)
            rows, queries, asked = rows[~enough], queries.take(np.flatnonzero(~enough)), asked * _DEEPER

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        return as_found(self, queries, corpus, doc, f"the score of one of its passages ({self.folding})")

    def _folded(self, found: Candidates, cut: PassageCorpus) -> Candidates:
        """The documents of passages, each once, with the score of the best."""
        owners = cut.owners(found.docs)
        documents = dataclasses.replace(found, docs=owners, features=None)
        if self.folding.fold == "first":
            documents = documents.where(found.docs == cut.offsets[owners])
        return documents.union(Candidates.empty(len(documents)))


@dataclass(frozen=True, eq=False, repr=False)
class PassagedStage(PassagedRanking, PassagedScoring):
    """A stage that finds passages and scores those of given documents too, as `bm25` does."""

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        return self._explain_pair(Pair.of(queries, corpus, doc))


def passages(pipeline: Any, fold: Fold = "max", best: int | None = None, **cutting: Any) -> Ranking | Scoring:
    """Let a ranking or a scoring work on the passages of documents, and fold their scores.

    `cutting` are the settings of `nirank.kit.text.Cutting`: `words`, `sentences` or `tokens` with a `tokenizer`,
    `stride`, `field`, `title`. `fold` is "max", "first" or "mean", the mean of the `best` passages where that is given.
    A ranking finds some passages of a document and not all, so it folds by "max" or "first"; for the mean its documents
    are scored: `passages(bm25) >> passages(minilm, fold="mean")`. Raises `CompositionError` for what cannot stand here.
    """
    rule, folding, stage = Cutting.of(cutting), Folding(fold, best), as_stage(pipeline)
    kind = _kind(stage, folding)
    _refuse_what_knows_documents(stage)
    made: Ranking | Scoring = kind(apart(stage), rule, folding, Lately(partial(_cut, rule)))
    return made


def _cut(rule: Cutting, corpus: Corpus) -> PassageCorpus:
    return PassageCorpus(corpus, rule)


@narrowed.register
def _(ranking: PassagedRanking, where: Where) -> Ranking | None:
    """A condition on documents is one on their passages; a function is given whole documents."""
    if ranking.k is not None or not isinstance(where.test, Condition):
        return None
    inner = narrowed(as_ranking(ranking.inner), where)
    return inner and PassagedRanking(inner, ranking.cutting, ranking.folding, ranking.view)


def _kind(stage: Ranking | Scoring, folding: Folding) -> type[Any]:
    """Choose a class for a stage. Raises `CompositionError` where it can be neither found nor scored by."""
    scores, finds = _fault(as_scoring, stage), _fault(as_ranking, stage)
    if scores and finds:
        raise finds
    if finds:
        return PassagedScoring
    if folding.fold != "mean":
        return PassagedRanking if scores else PassagedStage
    if scores:
        raise CompositionError(
            f"{stage!r} finds some passages of a document, and their mean needs all: score them, "
            f'`passages({stage!r}) >> passages(SCORER, fold="mean")`.'
        )
    return PassagedScoring


def _fault(accept: Callable[[Any], Any], stage: Ranking | Scoring) -> CompositionError | None:
    """The error with which a stage is refused, if it is."""
    try:
        accept(stage)
    except CompositionError as error:
        return error
    return None


def _refuse_what_knows_documents(stage: Pipeline) -> None:
    """Raise `CompositionError` for what would mean another thing among passages than it says."""
    if isinstance(stage, Ranking) and not stage.scored:
        raise CompositionError(f"{stage!r} finds passages but does not order them. Add `>> scorer`, or use fuse.")
    for part in parts_of(stage):
        if isinstance(part, Others):
            raise CompositionError(f"no passage has the id of a query: write `others(passages(...))`, not {stage!r}.")
    for component in stage.components():
        if component.field is not None:
            raise CompositionError(
                f"{component.name} reads the field {component.field!r}, and passages are cut from one text: leave its "
                f"setting out, and cut that field, `passages(..., field={component.field!r})`."
            )


def _best(scores: Floats, offsets: NDArray[np.int64], most: int) -> tuple[Floats, NDArray[np.int64]]:
    """The `most` highest scores of each document, highest first, and their offsets."""
    counts = np.diff(offsets)
    owners = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(scores)) - np.repeat(offsets[:-1], counts)
    return scores[np.lexsort((-scores, owners))][within < most], offsets_of(np.minimum(counts, most))


def _in_order(done: Sequence[tuple[NDArray[np.int64], Candidates]], corpus: Corpus) -> Candidates:
    """The candidates of all queries, from those of some, each with the places of its queries."""
    if len(done) == 1:
        return done[0][1]
    rows = np.concatenate([rows for rows, _ in done])
    return Candidates.stack([found for _, found in done]).over(corpus).take(np.argsort(rows))
