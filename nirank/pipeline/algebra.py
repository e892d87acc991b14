"""Composition: the stage protocols, `Ranking` and `Scoring`, and the operators between them.

    encoder >> index         a Ranking
    ranking >> feedback >> index   a Ranking; the encoder gets the results of the first one
    ranking >> scoring       a Ranking, rescored
    ranking % k              its best k, pushed into the generator
    scoring + scoring        a Scoring; scoring - scoring, 0.3 * scoring and -scoring too
    ranking | ranking        the union of what both found, to be scored
    ranking & ranking        what both found, with the scores of the left one
    ranking ^ ranking        the left one, and behind it what only the right one found
    fuse(ranking, ranking)   a Ranking made of several, by their ranks or scores
    features(scoring, ...)   what a ranker over features reads: see `nirank.pipeline.feature_ranking`

Wherever a scoring is expected a ranking may stand that can score any pair, found or not: `encoder >> index` does so by
the vectors that the index keeps, `ranking >> scoring` by the scoring. Of others the scores are
`scores(ranking, missing=...)`: see `nirank.pipeline.ranking_scores`.

Python's own precedence holds: `*` and `%` bind closest, then `+` and `-`, then `>>`, `&`, `^`, and last `|`. `repr`
prints the parentheses that one might forget, and `nirank.parse` reads it back.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Collection, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, cast

import numpy as np

from nirank.build import build
from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus, Floats
from nirank.errors import BadInput, CompositionError
from nirank.execution import indexes, stages
from nirank.execution.shards import losses
from nirank.pipeline import explaining, fusion, misplaced
from nirank.pipeline.concatenation import concatenated
from nirank.pipeline.drawing import Box, Drawing, branches, flow
from nirank.pipeline.explaining import Pair
from nirank.pipeline.parts import PartialPipeline as PartialPipeline
from nirank.pipeline.parts import Pipeline as Pipeline
from nirank.pipeline.parts import operand
from nirank.pipeline.shares import Shares
from nirank.pipeline.structure import shared
from nirank.pipeline.themselves import tell_of_themselves
from nirank.plugins.assembly import for_encoder, wrap

_METHODS = ("encode", "generate", "score", "extract", "rewrite", "write")
_NOTHING = nullcontext()
#: How many documents a generator is asked for where a pipeline does not say.
DEPTH = 1000


class Summable(Pipeline):
    """The terms of a weighted sum: scorings, and rankings that can score any pair."""

    def explain(self, query: Queries | Content, document: str, corpus: Corpus) -> Explanation:
        """Why a document of `corpus`, told by its id, has its score for a query: parts that add up to the score.

        Of a ranking the note says at which rank it was found. What has no parts says so in its note. Raises `BadInput`
        for a document that the corpus lacks, or that was not found and has no score.
        """
        return explaining.explained(self, query, document, corpus)

    def _explain(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        """The explanation of a document for one query; None where it has no score."""
        raise NotImplementedError

    def __add__(self, other: Any) -> Scoring:
        return Sum(as_scoring(self), as_scoring(other))

    def __sub__(self, other: Any) -> Scoring:
        return Difference(as_scoring(self), as_scoring(other))

    def __mul__(self, weight: float) -> Scoring:
        return Weighted(misplaced.weight(weight), as_scoring(self))

    __rmul__ = __mul__

    def __neg__(self) -> Scoring:
        return Weighted(-1.0, as_scoring(self))


class Ranking(Summable):
    """Queries -> candidates. Made by operators; `search` runs it."""

    #: False where the documents found have no scores that order them (a union).
    scored = True
    #: How many documents it is asked for, at most; None where that is not known.
    depth: int | None = None
    #: True where scores are known to be logarithms of likelihoods, up to a number of the query's own.
    log_likelihoods: bool = False
    #: True where it is a search by one generator, so that `% k` is how many documents this is asked for.
    alone: bool = False

    def __init_subclass__(cls) -> None:
        super().__init_subclass__()
        if "_find" in vars(cls):
            cls._find = shared(cls._find)  # type: ignore[assignment,method-assign]

    def without_depth(self) -> Ranking | None:
        """The same for whatever depth, where fewer documents are the first of more; None where that is not promised."""
        return None

    def at_depth(self, k: int) -> Ranking:
        """The same ranking with `k` documents asked of each generator for which the pipeline does not say how many."""
        del k
        return self

    def scores(self) -> Scoring:
        """A scoring of any pair, as this ranking has it; raises `CompositionError` if only what is found has scores."""
        raise CompositionError(misplaced.scores_of_found(self))

    def search(self, queries: Queries | Content | Sequence[Content], corpus: Corpus) -> Candidates:
        """The documents found for each query, ranked.

        `queries` may be `Queries`, one text or a sequence of contents. Indexes that are missing are built
        first. Raises `CompositionError` where nothing orders the documents.
        """
        if not self.scored:
            raise CompositionError(f"{self!r} finds documents but does not order them. Add `>> scorer`, or use fuse.")
        ranking = self._whole()
        ranking.index(corpus)
        asked = misplaced.asked(queries)
        found = ranking._found(asked, corpus)
        if asked is not queries:  # these are numbered, and so have no ids that anybody else knows
            return found
        found = found.for_queries(asked.ids, ranking.depth)
        tell_of_themselves(asked, corpus, found)
        return found

    def index(self, corpus: Corpus, folder: str | Path | None = None, since: Corpus | None = None) -> None:
        """Build or open every index that the pipeline needs over `corpus`.

        They are kept in `folder`, or in the cache, each in a folder of its own. `since` is the corpus as it was when
        it was indexed before: indexes that can be are made from those of that time, at the cost of what has changed.
        """
        if isinstance(corpus, (Pipeline, *misplaced.NO_CORPORA)):
            raise CompositionError(misplaced.no_corpus(corpus))
        self._index(corpus, None if folder is None else Path(folder), since)

    def _found(self, queries: Queries, corpus: Corpus) -> Candidates:
        """The documents that a search finds, with what is round it."""
        with self._noting_losses() as lost, self._searching():
            found = self._find(queries, corpus)
        return found.without([*lost]) if lost else found

    def _searching(self) -> AbstractContextManager[None]:
        """Round a search: where an index of vectors takes part nothing is encoded twice."""
        return stages.searching(self._vector_indexes) if self._vector_indexes else _NOTHING

    def _noting_losses(self) -> AbstractContextManager[Collection[str] | None]:
        """Round a search: the shards that do not answer, where some may not; then nothing that is found is kept."""
        return losses.noted() if self._may_lose else _NOTHING

    @functools.cached_property
    def _may_lose(self) -> bool:
        return not all(component.traits.cacheable for component in self.components())

    @functools.cached_property
    def _vector_indexes(self) -> list[Component]:
        return [component for component, encoder in self._indexed() if encoder]

    def __rshift__(self, other: Any) -> Ranking:
        if isinstance(other, PartialPipeline):
            return cast("Ranking", other.after(as_ranking(self)))  # or what needs one stage more, and refuses to search
        stage = as_stage(other)
        if isinstance(stage, Stage) and stage.component.traits.feedback:
            return cast("Ranking", Feedback(as_ranking(self), stage.component))
        return Rescored(as_ranking(self), as_scoring(stage))

    def __mod__(self, k: int) -> Ranking:
        return Cut(self, misplaced.depth(k))

    def __or__(self, other: Any) -> Ranking:
        return Union(as_ranking(self), as_ranking(other))

    def __and__(self, other: Any) -> Ranking:
        return Intersection(as_ranking(self), as_ranking(other))

    def __xor__(self, other: Any) -> Ranking:
        return Concatenation(as_ranking(self), as_ranking(other))

    def _whole(self) -> Ranking:
        """The ranking that can be searched; raises `CompositionError` where something is missing."""
        return self

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        raise NotImplementedError

    def _explain(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        return explaining.of_ranking(as_ranking(self), queries, corpus, doc)

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        """The explanation of a document's score, found or not; None where only what is found has one."""
        note = "this step does not say what its scores are made of"
        return explaining.as_found(self, queries, corpus, doc, note)


class Derived(Ranking):
    """The base of what is made of one ranking, its field `ranking`, and finds as many documents."""

    ranking: Ranking

    @property
    def depth(self) -> int | None:  # type: ignore[override]
        """The depth of the ranking."""
        return self.ranking.depth

    def at_depth(self, k: int) -> Ranking:
        """The same of the ranking at that depth."""
        return dataclasses.replace(self, ranking=self.ranking.at_depth(k))  # type: ignore[type-var]


class SameScores(Derived):
    """The base of what also keeps the scores of its ranking."""

    @property
    def scored(self) -> bool:  # type: ignore[override]
        """True where the ranking is."""
        return self.ranking.scored

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where it is known of the ranking."""
        return self.ranking.log_likelihoods

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        return self.ranking._explain_found(queries, corpus, doc)


class Asked(Ranking):
    """The base of a search that is asked for the best `k`, or for as many as is usual where that is None."""

    k: int | None

    def __mod__(self, k: int) -> Ranking:
        last: Asked | None = vars(self).get("_last_cut")  # kept, with what it knows of itself: `k` is mostly the same
        if last is None or last.k is not k:
            k = misplaced.depth(k)
            last = vars(self)["_last_cut"] = self.asked_for(k if self.k is None else min(k, self.k))
        return last

    @property
    def depth(self) -> int:  # type: ignore[override]
        """The number of documents that are asked for."""
        return DEPTH if self.k is None else self.k

    def at_depth(self, k: int) -> Ranking:
        """The same, asked for `k` documents unless the pipeline says how many."""
        return self if self.k is not None else self.asked_for(k)

    def asked_for(self, k: int) -> Asked:
        """The same, asked for `k` documents."""
        return dataclasses.replace(self, k=k)  # type: ignore[type-var]


class Scoring(Summable):
    """Pairs -> scores. Both sides of a sum score the same pairs, so no document is ever silently missing."""

    given, made = "pairs", "scores"

    @property
    def listwise(self) -> bool:
        """True where the score of a pair depends on the other documents of its list."""
        return any(part.listwise for part in self._parts() if isinstance(part, Scoring))

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """One float32 for each pair, in the order of `candidates`."""
        raise NotImplementedError

    def _explain(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        if self.listwise:
            raise CompositionError(
                f"{self!r} scores a document by the others of its list: explain a ranking, `bm25 >> {operand(self)}`."
            )
        return self._explain_pair(Pair.of(queries, corpus, doc))

    def _explain_pair(self, pair: Pair) -> Explanation:
        """The explanation of a document's score in its list."""
        note = "this step does not say what its scores are made of"
        return Explanation(repr(self), pair.score(self.score), note=note)

    def search(self, queries: Any, corpus: Corpus) -> Candidates:  # noqa: ARG002 - the signature of a ranking's
        """Refuse: a scoring orders documents that something else has found. Raises `CompositionError`."""
        raise CompositionError(f"{self!r} scores documents but finds none: put a generator before it, `bm25 >> ...`.")

    def __mod__(self, k: int) -> Ranking:
        raise CompositionError(misplaced.cut_scoring(self, k))

    def __rshift__(self, other: Any) -> Ranking:
        as_ranking(self)  # which refuses
        raise NotImplementedError

    __or__ = __and__ = __xor__ = __rshift__


@dataclass(frozen=True, eq=False, repr=False)
class Stage(Ranking, Scoring):
    """One component, ready to be composed: what it can do decides where it may stand."""

    component: Component
    closed = True

    def __repr__(self) -> str:
        return self.component.name

    @property
    def listwise(self) -> bool:
        """True where the component says so."""
        return self.component.traits.listwise

    def at_depth(self, k: int) -> Ranking:
        """The generator, asked for `k` documents."""
        return as_ranking(self).at_depth(k)

    def __rshift__(self, other: Any) -> Ranking:
        if self.component.traits.feedback:
            raise CompositionError(f"{self!r} needs the results of a ranking: write `ranking >> {self!r} >> index`.")
        if self.component.can("encode") and not self.component.can("generate"):
            return _generated(other)._encoded_by(self.component)
        ranking = as_ranking(self)
        return ranking >> other

    def __mod__(self, k: int) -> Ranking:
        if self._bare is None:
            raise CompositionError(misplaced.cut_scoring(self, k))
        return self._bare % k

    @functools.cached_property
    def _bare(self) -> Ranking | None:
        """The ranking by what it finds, which may still wait for its encoder; None where it can but score."""
        only_scores = not self.component.can("generate") and _can_score(self.component)
        return None if only_scores else as_ranking(self, bare=True)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """As a scorer; raises `CompositionError` where the component has nothing to score with."""
        as_scoring(self)
        misplaced.check_pairs(queries, candidates)
        if candidates.corpus is None:
            return stages.score(self.component, queries, candidates)
        indexes.prepare(self.component, candidates.corpus)
        return indexes.undisturbed(self.component, candidates.corpus, stages.score, queries, candidates)

    def _whole(self) -> Ranking:
        return as_ranking(self)

    def _drawn(self) -> Drawing:
        return Box(self.component.name, self.component.spec)

    def _explain(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        if self.component.can("generate") or not _can_score(self.component):
            return super()._explain(queries, corpus, doc)
        return Scoring._explain(self, queries, corpus, doc)

    def _explain_pair(self, pair: Pair) -> Explanation:
        as_scoring(self)
        indexes.prepare(self.component, pair.corpus)
        return explaining.by_component(self.component, repr(self), pair, self.score)

    def _components(self) -> Iterator[Component]:
        yield from (*self.component.parts, self.component)

    def _indexed(self) -> Iterator[tuple[Component, Component | None]]:
        yield self.component, None


@dataclass(frozen=True, eq=False, repr=False)
class Generated(Asked):
    """The documents that a candidate generator finds, perhaps for vectors that an encoder made of the queries.

    `feedback` is the ranking whose results such an encoder gets, in `Queries.found`.
    """

    generator: Component
    encoder: Component | None = None
    k: int | None = None
    feedback: Ranking | None = None
    alone = True

    def __repr__(self) -> str:
        searching = self.generator.name if self.k is None else f"({self.generator.name} % {self.k})"
        if self.encoder:
            before = f"{operand(self.feedback)} >> " if self.feedback else ""
            return f"{before}{self.encoder.name} >> {searching}"
        return searching.removeprefix("(").removesuffix(")")

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where the generator says so of its scores."""
        return self.generator.traits.log_likelihoods

    def scores(self) -> Scoring:
        """The generator's scores of any pair, unless it is asked for its best only, or has no method `score`."""
        if self.k is not None or not self.generator.can("score"):
            raise CompositionError(misplaced.scores_of_found(self, self.k))
        return IndexScores(self)

    def asked_for(self, k: int) -> Asked:
        """The same, asked for `k` documents."""
        return Generated(self.generator, self.encoder, k, self.feedback)  # in a tenth of the time of `replace`

    def without_depth(self) -> Ranking | None:
        """The generator, where it says that fewer documents are the first of more."""
        return dataclasses.replace(self, k=None) if self.generator.traits.prefixes else None

    def search(self, queries: Queries | Content | Sequence[Content], corpus: Corpus) -> Candidates:
        """As every ranking does, but for a text in a plain search: one after the other is what users wait for."""
        if isinstance(queries, str) and self._is_plain and indexes.is_open(self.generator, corpus):
            return self._find(Queries.of_one(queries), corpus)
        return super().search(queries, corpus)

    def index(self, corpus: Corpus, folder: str | Path | None = None, since: Corpus | None = None) -> None:
        """As every ranking does, but for what is seen to be open already."""
        if not (folder is None and self._is_plain and indexes.is_open(self.generator, corpus)):
            super().index(corpus, folder, since)

    @functools.cached_property
    def _is_plain(self) -> bool:
        """True where one index, which loses nothing, is searched for queries as they are: no more is to do."""
        generator, traits = self.generator, self.generator.traits
        alone = self.encoder is None and generator.field is None and not generator.parts
        return alone and traits.searches is None and traits.cacheable

    def _whole(self) -> Ranking:
        searched = None if self.encoder else self.generator.traits.searches
        if searched:
            name = self.generator.name
            raise CompositionError(f"{name} searches {searched} vectors: write `encoder >> {name}`.")
        return self

    def _found(self, queries: Queries, corpus: Corpus) -> Candidates:
        return self._find(queries, corpus) if self._is_plain else super()._found(queries, corpus)

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        if self.encoder:
            queries = self._encoded(self.encoder, queries, corpus)
        if not indexes.is_open(self.generator, corpus):
            self.open_again(corpus)
        documents = len(corpus)
        k = min(DEPTH if self.k is None else self.k, documents)
        return indexes.undisturbed(self.generator, corpus, stages.generate, queries, k, documents).over(corpus)

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        if not self.generator.can("score"):
            note = f"{self.generator.name} does not say what its scores are made of"
            return explaining.as_found(self, queries, corpus, doc, note)
        return self._explain_pair(Pair.of(queries, corpus, doc))

    def _explain_pair(self, pair: Pair) -> Explanation:
        """The explanation of the number that the index gives a pair, found or not."""
        encoder, corpus = self.encoder, pair.corpus
        asked = pair.asked(self._encoded(encoder, pair.queries, corpus)) if encoder else pair
        self.open_again(corpus)
        score = functools.partial(stages.score, self.generator)
        if encoder and not self.generator.can("explain"):
            return explaining.by_encoder(encoder, repr(self), pair, asked.score(score))
        explanation = explaining.by_component(self.generator, repr(self), asked, score)
        return explaining.named_by(encoder, asked, explanation) if encoder else explanation

    def open_again(self, corpus: Corpus) -> None:
        """Open the index of `corpus`, where a function of the pipeline has searched another one meanwhile."""
        opened = self.generator.opened
        if opened and not indexes.is_open(self.generator, corpus):
            indexes.prepare(self.generator, corpus, opened.encoder)

    def _encoded(self, encoder: Component, queries: Queries, corpus: Corpus) -> Queries:
        """The queries with vectors; only the encoder gets the results of `feedback`."""
        if not self.feedback:
            return stages.encode(encoder, queries)
        found = self.feedback._find(queries, corpus)
        informed = queries.with_found(found.as_log_likelihoods() if self.feedback.log_likelihoods else found)
        return stages.encode(encoder, informed).with_found(queries.found)

    def _drawn(self) -> Drawing:
        cut = "" if self.k is None else f" % {self.k}"
        search = Box(f"{self.generator.name}{cut}", self.generator.spec)
        if not self.encoder:
            return search
        encoding = flow(Box(self.encoder.name, self.encoder.spec), f"{self.encoder.traits.vectors} vectors", search)
        return flow(self.feedback._drawn(), "candidates", encoding) if self.feedback else encoding

    def _components(self) -> Iterator[Component]:
        yield from super()._components()
        yield from filter(None, (self.encoder, *self.generator.parts, self.generator))

    def _indexed(self) -> Iterator[tuple[Component, Component | None]]:
        yield from super()._indexed()
        if self.encoder:
            yield self.encoder, None
        yield self.generator, self.encoder if self.generator.traits.searches else None

    def _parts(self) -> Sequence[Pipeline]:
        return (self.feedback,) if self.feedback else ()

    def _encoded_by(self, encoder: Component, feedback: Ranking | None = None) -> Generated:
        made, wanted = encoder.traits.vectors, self.generator.traits
        searched, accepted = wanted.searches, wanted.accepts
        if made is None:
            raise CompositionError(
                f"{encoder.name} does not say what its vectors are: give {encoder.spec} an attribute such as "
                f'`vectors = "{searched or accepted or "dense"}"`.'
            )
        if self.encoder or made not in (searched, accepted):
            takes = f"searches {searched} vectors" if searched else "takes queries as they are"
            raise CompositionError(f"{encoder.name} makes {made} vectors, and {self.generator.name} {takes}.")
        generator = for_encoder(self.generator, encoder) if searched else self.generator
        return dataclasses.replace(self, generator=generator, encoder=encoder, feedback=feedback)


@dataclass(frozen=True, eq=False, repr=False)
class Feedback(Pipeline):
    """An encoder of queries that gets the results of a ranking for them; an index must follow."""

    ranking: Ranking
    encoder: Component

    def __post_init__(self) -> None:
        if not self.ranking.scored:
            raise CompositionError(f"{self.ranking!r} has no order before it is scored: add `>> scorer` first.")

    def __repr__(self) -> str:
        return f"{operand(self.ranking)} >> {self.encoder.name}"

    def __rshift__(self, index: Any) -> Generated:
        return _generated(index)._encoded_by(self.encoder, self.ranking)

    def _parts(self) -> Sequence[Pipeline]:
        return (self.ranking,)

    def _components(self) -> Iterator[Component]:
        yield from super()._components()
        yield self.encoder


@dataclass(frozen=True, eq=False, repr=False)
class Rescored(Derived):
    """The documents of a ranking, ordered by other scores."""

    ranking: Ranking
    scoring: Scoring

    def __repr__(self) -> str:
        return f"{operand(self.ranking)} >> {operand(self.scoring)}"

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where a single scorer says so of its scores."""
        return isinstance(self.scoring, Stage) and self.scoring.component.traits.log_likelihoods

    def scores(self) -> Scoring:
        """The scoring, unless a score depends on the documents that the ranking found."""
        return super().scores() if self.scoring.listwise else self.scoring

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        found = self.ranking._find(queries, corpus)
        return found.with_scores(self.scoring.score(queries, found)).ranked()

    def _drawn(self) -> Drawing:
        return flow(self.ranking._drawn(), "candidates", self.scoring._drawn())

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        pair = explaining.in_list(self.ranking._find(queries, corpus), queries, doc, self.scoring.listwise)
        if pair is None:
            return None
        return self.scoring._explain_pair(pair).noted(explaining.standing(self.ranking, queries, corpus, doc))

    def _parts(self) -> Sequence[Pipeline]:
        return self.ranking, self.scoring


@dataclass(frozen=True, eq=False, repr=False)
class Cut(Ranking):
    """The best k of a ranking."""

    ranking: Ranking
    k: int

    def __post_init__(self) -> None:
        if not self.ranking.scored:
            raise CompositionError(
                f"{self.ranking!r} has no best {self.k}: a union has no order before it is scored. "
                "Add `>> scorer` first."
            )

    def __repr__(self) -> str:
        return f"{operand(self.ranking)} % {self.k}"

    @property
    def depth(self) -> int:  # type: ignore[override]
        """The number of documents that are kept."""
        return self.k

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where it is known of the ranking."""
        return self.ranking.log_likelihoods

    def scores(self) -> Scoring:
        """Refuse, and say where brackets may be missing."""
        raise CompositionError(misplaced.scores_of_found(self, self.k))

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        return self.ranking._find(queries, corpus).top(self.k)

    def _drawn(self) -> Drawing:
        return flow(self.ranking._drawn(), "candidates", Box(f"% {self.k}", "the best"))

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        return self.ranking._explain_found(queries, corpus, doc)

    def _parts(self) -> Sequence[Pipeline]:
        return (self.ranking,)


@dataclass(frozen=True, eq=False, repr=False)
class Joined(Ranking):
    """The base of what two rankings make together, written with a sign between them."""

    left: Ranking
    right: Ranking
    sign: ClassVar[str]
    #: What the sign says, for a diagram.
    said: ClassVar[str]

    def __repr__(self) -> str:
        return f"{operand(self.left)} {self.sign} {operand(self.right)}"

    def at_depth(self, k: int) -> Ranking:
        """The same of both rankings at that depth."""
        return type(self)(self.left.at_depth(k), self.right.at_depth(k))

    def _drawn(self) -> Drawing:
        return branches(f"{self.sign}  {self.said}", self.left._drawn(), self.right._drawn())

    def _parts(self) -> Sequence[Pipeline]:
        return self.left, self.right


class Union(Joined):
    """The documents of either of two rankings, to be scored."""

    scored = False
    sign, said = "|", "what either found"

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        return self.left._find(queries, corpus).union(self.right._find(queries, corpus))


class Intersection(Joined):
    """The documents that both of two rankings found, as the left one scores and orders them."""

    sign, said = "&", "what both found"

    @property
    def scored(self) -> bool:  # type: ignore[override]
        """True where the left ranking has scores."""
        return self.left.scored

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where it is known of the left ranking."""
        return self.left.log_likelihoods

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        found = self.left._find(queries, corpus)
        return found.where(found.places(self.right._find(queries, corpus)) >= 0)

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        explanation = self.left._explain_found(queries, corpus, doc)
        return explanation and explanation.noted(explaining.standing(self.right, queries, corpus, doc))


@dataclass(frozen=True, eq=False, repr=False)
class Concatenation(Joined):
    """The left ranking, and behind it the documents that only the right one found, in its order."""

    sign, said = "^", "one behind the other"

    def __post_init__(self) -> None:
        if unscored := [ranking for ranking in (self.left, self.right) if not ranking.scored]:
            raise CompositionError(f"{unscored[0]!r} has no order before it is scored: add `>> scorer` first.")

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        return concatenated(self.left._find(queries, corpus), self.right._find(queries, corpus))

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        if explaining.as_found(self.left, queries, corpus, doc):
            return self.left._explain_found(queries, corpus, doc)
        found, right = (
            explaining.as_found(self, queries, corpus, doc),
            self.right._explain_found(queries, corpus, doc),
        )
        if found is None or right is None:
            return found
        moved = Explanation("moved behind the first list", found.score - right.score)
        return Explanation.summed(repr(self), found.score, (right, moved))


@dataclass(frozen=True, eq=False, repr=False)
class Fused(Ranking):
    """Several rankings made into one."""

    rankings: tuple[Ranking, ...]
    method: str
    weights: tuple[float, ...] | None
    settings: tuple[tuple[str, Any], ...]
    closed = True

    def __repr__(self) -> str:
        named = {"method": self.method, **dict(self.settings)}
        if self.weights:
            named["weights"] = list(self.weights)
        return (
            f"fuse({', '.join([*map(repr, self.rankings), *(f'{name}={value!r}' for name, value in named.items())])})"
        )

    def at_depth(self, k: int) -> Ranking:
        """The same of all rankings at that depth."""
        return dataclasses.replace(self, rankings=tuple(ranking.at_depth(k) for ranking in self.rankings))

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        found = [ranking._find(queries, corpus) for ranking in self.rankings]
        return fusion.METHODS[self.method](found, np.asarray(self.weights or [1.0] * len(found)), **dict(self.settings))

    def _drawn(self) -> Drawing:
        weighted = f", weights {', '.join(f'{weight:g}' for weight in self.weights)}" if self.weights else ""
        return branches(f"fuse: {self.method}{weighted}", *(ranking._drawn() for ranking in self.rankings))

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        found = [ranking._find(queries, corpus) for ranking in self.rankings]
        names = [explaining.standing(ranking, queries, corpus, doc) for ranking in self.rankings]
        shares = Shares(self.method, self.weights or (1.0,) * len(found), dict(self.settings))
        return shares.explained(repr(self), list(zip(map(repr, self.rankings), names, found, strict=True)), doc)

    def _parts(self) -> Sequence[Pipeline]:
        return self.rankings


@dataclass(frozen=True, eq=False, repr=False)
class IndexScores(Scoring):
    """The scores that a generator gives any pair, found or not: of an index of vectors, by those that it keeps."""

    ranking: Generated
    listwise = False

    def __repr__(self) -> str:
        return repr(self.ranking)

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The number that a search gives each pair; the queries are encoded, and no document is."""
        misplaced.check_pairs(queries, candidates)
        corpus = candidates.corpus_for(repr(self))
        self.ranking.index(corpus)
        encoder = self.ranking.encoder
        asked = self.ranking._encoded(encoder, queries, corpus) if encoder else queries
        generator = self.ranking.generator
        return indexes.undisturbed(generator, corpus, stages.score, asked, candidates)

    def _drawn(self) -> Drawing:
        return self.ranking._drawn()

    def _explain_pair(self, pair: Pair) -> Explanation:
        self.ranking.index(pair.corpus)
        return self.ranking._explain_pair(pair.alone())

    def _parts(self) -> Sequence[Pipeline]:
        return (self.ranking,)


@dataclass(frozen=True, eq=False, repr=False)
class Weighted(Scoring):
    """A scoring times a number."""

    weight: float
    scoring: Scoring

    def __repr__(self) -> str:
        return f"{self.weight!r} * {operand(self.scoring)}"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The scores times the weight."""
        return np.float32(self.weight) * self.scoring.score(queries, candidates)

    def _drawn(self) -> Drawing:
        return flow(self.scoring._drawn(), "scores", Box(f"* {self.weight:g}"))

    def _explain_pair(self, pair: Pair) -> Explanation:
        return self.scoring._explain_pair(pair).scaled(float(np.float32(self.weight)), repr(self))

    def _parts(self) -> Sequence[Pipeline]:
        return (self.scoring,)


@dataclass(frozen=True, eq=False, repr=False)
class Sum(Scoring):
    """Two scorings of the same pairs, added."""

    left: Scoring
    right: Scoring
    sign: ClassVar[str] = "+"
    said: ClassVar[str] = "sum"

    def __repr__(self) -> str:
        return f"{operand(self.left)} {self.sign} {operand(self.right)}"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The sum of both scores for each pair."""
        return self.left.score(queries, candidates) + self.right.score(queries, candidates)

    def _drawn(self) -> Drawing:
        return branches(f"{self.sign}  {self.said}", self.left._drawn(), self.right._drawn())

    def _explain_pair(self, pair: Pair) -> Explanation:
        terms = *_terms(self.left, pair), *_terms(self.right, pair)
        return explaining.of_sum(repr(self), terms)

    def _parts(self) -> Sequence[Pipeline]:
        return self.left, self.right


def _terms(scoring: Scoring, pair: Pair) -> Sequence[Explanation]:
    """The explanations of the terms of a sum, which may be a sum of sums; of any other scoring, its own."""
    explanation = scoring._explain_pair(pair)
    return explanation.parts if isinstance(scoring, Sum) else (explanation,)


class Difference(Sum):
    """The scores of one scoring without those of another, for the same pairs."""

    sign, said = "-", "difference"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The difference of both scores for each pair."""
        return self.left.score(queries, candidates) - self.right.score(queries, candidates)

    def _explain_pair(self, pair: Pair) -> Explanation:
        right = self.right._explain_pair(pair)
        terms = *_terms(self.left, pair), right.scaled(-1.0, f"-{operand(self.right)}")
        return explaining.of_sum(repr(self), terms)


def load(component: str | Any, /, name: str | None = None, **settings: Any) -> Stage:
    """A component, built and ready to be composed.

    `component` is a registered name (`"bm25"`, or `"scorer/bm25"` where kinds must be told apart) with its
    settings, `trained:FOLDER` for what training left there, or any object of your own that has the method of a stage.
    Losses and samplers are loaded alike, for `nirank.fit`. `name` is what `repr` calls it.
    """
    refusal = misplaced.component(component, name, settings)
    if refusal:
        raise BadInput(refusal)
    if isinstance(component, str):
        return Stage(build(component, settings, name))
    return Stage(wrap(Component(name or type(component).__name__, component)))


def fuse(
    first: Any, second: Any, *more: Any, method: str = "rrf", weights: Sequence[float] | None = None, **settings: Any
) -> Ranking:
    """One ranking made of several: reciprocal rank fusion by default.

    `method` is one of `nirank.pipeline.fusion.METHODS`. By ranks: "rrf" (setting `k`, 60 by default), "isr", "log_isr"
    (`sigma`), "rbc" (`phi`), "borda", "condorcet". By scores: "combsum", "combmnz", "combgmnz" (`gamma`), "wmnz",
    "combanz", "combmax", "combmin", "combmed"; their setting `normalise` is a norm of `nirank.normalise` ("minmax"
    unless given), or "none". `weights` has one number for each ranking; `nirank.fit_fusion` finds some.
    """
    rankings = tuple(as_ranking(ranking) for ranking in (first, second, *more))
    unscored = [ranking for ranking in rankings if not ranking.scored]
    if unscored:
        raise CompositionError(
            f"{unscored[0]!r} cannot be fused: a union has no order before it is scored. Add `>> scorer` first."
        )
    fusion.check(method, settings)
    checked = None if weights is None else fusion.check_weights(weights, len(rankings))
    return Fused(rankings, method, checked, tuple(settings.items()))


def as_ranking(value: Any, bare: bool = False) -> Ranking:
    """`value` as a ranking; raises `CompositionError` where it is none.

    `bare` lets pass a generator of vectors that still waits for its encoder.
    """
    stage = as_stage(value)
    if not isinstance(stage, Stage):
        if isinstance(stage, Ranking):
            return stage if bare else stage._whole()
        raise CompositionError(f"{value!r} scores documents but finds none: put a generator before it, `bm25 >> ...`.")
    if stage.component.can("generate"):
        ranking = Generated(stage.component)
        return ranking if bare else ranking._whole()
    if stage.component.can("rewrite"):
        raise CompositionError(f"{stage!r} rewrites queries and finds nothing: write `rewrite({stage!r}) >> ranking`.")
    if stage.component.can("write"):
        raise CompositionError(f"{stage!r} writes texts for documents and finds none: `expanded(bm25, {stage!r})`.")
    if stage.component.can("encode"):
        raise CompositionError(f"{stage!r} only encodes queries and finds nothing: write `{stage!r} >> index`.")
    raise CompositionError(f"{stage!r} scores documents but finds none: put a generator before it, `bm25 >> ...`.")


def concatenate(first: Any, second: Any, *more: Any) -> Ranking:
    """A ranking and behind it, one after the other, what only the next ones found: `first ^ second ^ ...`.

    Behind the least score of a list the scores of the next begin 0.0001 lower, or as much lower as float32 can tell,
    and fall as they do there.
    """
    return functools.reduce(Concatenation, map(as_ranking, (first, second, *more)))


def as_scoring(value: Any) -> Scoring:
    """`value` as a scoring: a scoring, a scorer, or a ranking that can score any pair.

    Raises `CompositionError` where it is none.
    """
    stage = as_stage(value)
    if not isinstance(stage, Stage):
        return stage if isinstance(stage, Scoring) else stage.scores()
    component = stage.component
    if reads_features(component) or component.can("extract"):
        raise CompositionError(f"{stage!r} makes or reads features, not scores: write `features(...) >> ranker`.")
    if not _can_score(component):
        raise CompositionError(f"{stage!r} cannot score given documents: it has no method `score`.")
    if component.traits.searches:
        raise CompositionError(misplaced.index_without_encoder(stage, component.traits.searches))
    return stage


def as_stage(value: Any) -> Ranking | Scoring:
    """`value` as part of a pipeline: an object of the user's own is loaded. Raises `CompositionError` for no stage."""
    if isinstance(value, (Ranking, Scoring)):
        return value
    if isinstance(value, str):  # which has a method `encode`
        raise CompositionError(
            f"{value!r} is a text: write `nirank.load({value!r})`, or `nirank.parse` for a pipeline."
        )
    if any(callable(getattr(value, method, None)) for method in _METHODS):
        return load(value)
    raise CompositionError(f"{value!r} is not a stage: it has none of the methods {', '.join(_METHODS)}.")


def reads_features(component: Component) -> bool:
    """True for a ranker by features of pairs (`nirank.pipeline.feature_ranking`)."""
    return component.traits.reads == "features"


def _can_score(component: Component) -> bool:
    return component.can("score") or (component.can("encode") and component.can("encode_documents"))


def _generated(value: Any) -> Generated:
    ranking = as_ranking(value, bare=True)
    if not isinstance(ranking, Generated):
        raise CompositionError(f"an encoder must be followed by an index that searches its vectors, not by {value!r}.")
    return ranking
