"""Composition: the stage protocols, `Ranking` and `Scoring`, and the operators between them.

    encoder >> index         a Ranking
    ranking >> feedback >> index   a Ranking; the encoder gets the results of the first one
    ranking >> scoring       a Ranking, rescored
    ranking % k              its best k, pushed into the generator
    scoring + scoring        a Scoring; 0.3 * scoring too
    ranking | ranking        the union of what both found, to be scored
    fuse(ranking, ranking)   a Ranking made of several, by their ranks or scores
    features(scoring, ...)   what a ranker over features reads: see `nirank.pipeline.feature_ranking`

Python's own precedence holds: `*` and `%` bind closest, then `+`, then `>>`, then `|`. `repr` prints the
parentheses that one might forget, and `nirank.parse` reads it back.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import numpy as np

from nirank.build import build
from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.corpus import ArrowCorpus, Documents, Field
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus, Floats
from nirank.errors import BadInput, ComponentError, CompositionError
from nirank.execution import indexes, stages
from nirank.pipeline import fusion
from nirank.pipeline.themselves import tell_of_themselves
from nirank.plugins.assembly import for_encoder, wrap

_METHODS = ("encode", "generate", "score", "extract", "write")
#: How many documents a generator is asked for where a pipeline does not say.
DEPTH = 1000


class Pipeline:
    """The base of rankings and scorings, which are made of parts and finally of components."""

    def components(self) -> list[Component]:
        """The components of the pipeline, each once, in the order of the expression."""
        return list(dict.fromkeys(self._components()))

    def _parts(self) -> Sequence[Pipeline]:
        return ()

    def _components(self) -> Iterator[Component]:
        for part in self._parts():
            yield from part._components()

    def _indexed(self) -> Iterator[tuple[Component, Component | None]]:
        """The components with the encoder (or None) that an index of theirs would be built with."""
        for part in self._parts():
            yield from part._indexed()

    def _views(self) -> Iterator[tuple[Pipeline, Callable[[Corpus], Corpus]]]:
        """The parts that work on another corpus, with what makes that of the corpus searched."""
        for part in self._parts():
            yield from part._views()

    def _index(self, corpus: Corpus, folder: Path | None, since: Corpus | None) -> None:
        for component, encoder in self._indexed():
            place = folder and folder / indexes.place(component, corpus, encoder)
            indexes.prepare(component, corpus, encoder, place, since)
        for part, view in self._views():
            part._index(view(corpus), folder, since and view(since))


class Ranking(Pipeline):
    """Queries -> candidates. Made by operators; `search` runs it."""

    #: False where the documents found have no scores that order them (a union).
    scored = True
    #: How many documents it is asked for, at most; None where that is not known.
    depth: int | None = None
    #: True where scores are known to be logarithms of likelihoods, up to a number of the query's own.
    log_likelihoods: bool = False

    def at_depth(self, k: int) -> Ranking:
        """The same ranking with `k` documents asked of each generator for which the pipeline does not say how many."""
        del k
        return self

    def search(self, queries: Queries | Content | Sequence[Content], corpus: Corpus) -> Candidates:
        """The documents found for each query, ranked.

        `queries` may be `Queries`, one text or a sequence of contents. Indexes that are missing are built
        first. Raises `CompositionError` where nothing orders the documents.
        """
        if not self.scored:
            raise CompositionError(f"{self!r} finds documents but does not order them. Add `>> scorer`, or use fuse.")
        ranking = as_ranking(self)
        ranking.index(corpus)
        if not isinstance(queries, Queries):  # which are numbered, and so have no ids that anybody else knows
            return ranking._find(_asked(queries), corpus)
        found = ranking._find(queries, corpus).for_queries(queries.ids, ranking.depth)
        tell_of_themselves(queries, corpus, found)
        return found

    def index(self, corpus: Corpus, folder: Path | None = None, since: Corpus | None = None) -> None:
        """Build or open every index that the pipeline needs over `corpus`.

        They are kept in `folder`, or in the cache, each in a folder of its own. `since` is the corpus as it was when
        it was indexed before: indexes that can be are made from those of that time, at the cost of what has changed.
        """
        if isinstance(corpus, _NO_CORPORA):
            raise CompositionError(_no_corpus(corpus))
        self._index(corpus, folder, since)

    def __rshift__(self, other: Any) -> Ranking:
        if isinstance(other, PartialPipeline):
            return cast("Ranking", other.after(as_ranking(self)))  # or what needs one stage more, and refuses to search
        stage = as_stage(other)
        if isinstance(stage, Stage) and stage.component.traits.feedback:
            return cast("Ranking", Feedback(as_ranking(self), stage.component))
        return Rescored(as_ranking(self), as_scoring(stage))

    def __mod__(self, k: int) -> Ranking:
        return Cut(self, checked_depth(k))

    def __or__(self, other: Any) -> Ranking:
        return Union(as_ranking(self), as_ranking(other))

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        raise NotImplementedError


class Scoring(Pipeline):
    """Pairs -> scores. Both sides of a sum score the same pairs, so no document is ever silently missing."""

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """One float32 for each pair, in the order of `candidates`."""
        raise NotImplementedError

    def search(self, queries: Any, corpus: Corpus) -> Candidates:  # noqa: ARG002 - the signature of a ranking's
        """Refuse: a scoring orders documents that something else has found. Raises `CompositionError`."""
        raise CompositionError(f"{self!r} scores documents but finds none: put a generator before it, `bm25 >> ...`.")

    def __add__(self, other: Any) -> Scoring:
        return Sum(self, as_scoring(other))

    def __mul__(self, weight: float) -> Scoring:
        return Weighted(_weight(weight), self)

    __rmul__ = __mul__


class PartialPipeline(Pipeline):
    """A stage after a ranking that makes a ranking only together with the next stage."""

    def after(self, ranking: Ranking) -> Pipeline:
        """Itself, for the documents of `ranking`."""
        raise NotImplementedError


@dataclass(frozen=True, eq=False, repr=False)
class Stage(Ranking, Scoring):
    """One component, ready to be composed: what it can do decides where it may stand."""

    component: Component

    def __repr__(self) -> str:
        return self.component.name

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
        return as_ranking(self, bare=True) % k

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """As a scorer; raises `CompositionError` where the component has nothing to score with."""
        as_scoring(self)
        _check_pairs(queries, candidates)
        if candidates.corpus is not None:
            indexes.prepare(self.component, candidates.corpus)
        return stages.score(self.component, queries, candidates)

    def _components(self) -> Iterator[Component]:
        yield self.component

    def _indexed(self) -> Iterator[tuple[Component, Component | None]]:
        yield self.component, None


@dataclass(frozen=True, eq=False, repr=False)
class Generated(Ranking):
    """The documents that a candidate generator finds, perhaps for vectors that an encoder made of the queries.

    `feedback` is the ranking whose results such an encoder gets, in `Queries.found`.
    """

    generator: Component
    encoder: Component | None = None
    k: int | None = None
    feedback: Ranking | None = None

    def __repr__(self) -> str:
        searching = self.generator.name if self.k is None else f"({self.generator.name} % {self.k})"
        if self.encoder:
            before = f"{_operand(self.feedback)} >> " if self.feedback else ""
            return f"{before}{self.encoder.name} >> {searching}"
        return searching.removeprefix("(").removesuffix(")")

    def __mod__(self, k: int) -> Ranking:
        k = checked_depth(k)
        return Generated(self.generator, self.encoder, k if self.k is None else min(k, self.k), self.feedback)

    @property
    def depth(self) -> int:  # type: ignore[override]
        """The number of documents that are asked for."""
        return DEPTH if self.k is None else self.k

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where the generator says so of its scores."""
        return self.generator.traits.log_likelihoods

    def at_depth(self, k: int) -> Ranking:
        """The same, asked for `k` documents unless the pipeline says how many."""
        return self if self.k is not None else dataclasses.replace(self, k=k)

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        if self.encoder:
            queries = self._encoded(self.encoder, queries, corpus)
        found = stages.generate(self.generator, queries, min(self.depth, len(corpus)))
        _, last = found.extent
        if last >= len(corpus):
            name = self.generator.spec
            raise ComponentError(
                f"{name} found document {last} in a corpus of {len(corpus)} documents; ordinals begin at 0."
            )
        return found.over(corpus)

    def _encoded(self, encoder: Component, queries: Queries, corpus: Corpus) -> Queries:
        """The queries with vectors; only the encoder gets the results of `feedback`."""
        if not self.feedback:
            return stages.encode(encoder, queries)
        found = self.feedback._find(queries, corpus)
        informed = queries.with_found(found.as_log_likelihoods() if self.feedback.log_likelihoods else found)
        return stages.encode(encoder, informed).with_found(queries.found)

    def _components(self) -> Iterator[Component]:
        yield from super()._components()
        yield from filter(None, (self.encoder, self.generator))

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
        return f"{_operand(self.ranking)} >> {self.encoder.name}"

    def __rshift__(self, index: Any) -> Generated:
        return _generated(index)._encoded_by(self.encoder, self.ranking)

    def _parts(self) -> Sequence[Pipeline]:
        return (self.ranking,)

    def _components(self) -> Iterator[Component]:
        yield from super()._components()
        yield self.encoder


@dataclass(frozen=True, eq=False, repr=False)
class Rescored(Ranking):
    """The documents of a ranking, ordered by other scores."""

    ranking: Ranking
    scoring: Scoring

    def __repr__(self) -> str:
        return f"{_operand(self.ranking)} >> {_operand(self.scoring)}"

    @property
    def depth(self) -> int | None:  # type: ignore[override]
        """The depth of the ranking."""
        return self.ranking.depth

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where a single scorer says so of its scores."""
        return isinstance(self.scoring, Stage) and self.scoring.component.traits.log_likelihoods

    def at_depth(self, k: int) -> Ranking:
        """The same over the ranking at that depth."""
        return dataclasses.replace(self, ranking=self.ranking.at_depth(k))

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        found = self.ranking._find(queries, corpus)
        return found.with_scores(self.scoring.score(queries, found)).ranked()

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
        return f"{_operand(self.ranking)} % {self.k}"

    @property
    def depth(self) -> int:  # type: ignore[override]
        """The number of documents that are kept."""
        return self.k

    @property
    def log_likelihoods(self) -> bool:  # type: ignore[override]
        """True where it is known of the ranking."""
        return self.ranking.log_likelihoods

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        return self.ranking._find(queries, corpus).top(self.k)

    def _parts(self) -> Sequence[Pipeline]:
        return (self.ranking,)


@dataclass(frozen=True, eq=False, repr=False)
class Union(Ranking):
    """The documents of either of two rankings, to be scored."""

    left: Ranking
    right: Ranking
    scored = False

    def __repr__(self) -> str:
        return f"{_operand(self.left)} | {_operand(self.right)}"

    def at_depth(self, k: int) -> Ranking:
        """The same of both rankings at that depth."""
        return Union(self.left.at_depth(k), self.right.at_depth(k))

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        return self.left._find(queries, corpus).union(self.right._find(queries, corpus))

    def _parts(self) -> Sequence[Pipeline]:
        return self.left, self.right


@dataclass(frozen=True, eq=False, repr=False)
class Fused(Ranking):
    """Several rankings made into one."""

    rankings: tuple[Ranking, ...]
    method: str
    weights: tuple[float, ...] | None
    settings: tuple[tuple[str, Any], ...]

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

    def _parts(self) -> Sequence[Pipeline]:
        return self.rankings


@dataclass(frozen=True, eq=False, repr=False)
class Weighted(Scoring):
    """A scoring times a number."""

    weight: float
    scoring: Scoring

    def __repr__(self) -> str:
        return f"{self.weight!r} * {_operand(self.scoring)}"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The scores times the weight."""
        return np.float32(self.weight) * self.scoring.score(queries, candidates)

    def _parts(self) -> Sequence[Pipeline]:
        return (self.scoring,)


@dataclass(frozen=True, eq=False, repr=False)
class Sum(Scoring):
    """Two scorings of the same pairs, added."""

    left: Scoring
    right: Scoring

    def __repr__(self) -> str:
        return f"{_operand(self.left)} + {_operand(self.right)}"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The sum of both scores for each pair."""
        return self.left.score(queries, candidates) + self.right.score(queries, candidates)

    def _parts(self) -> Sequence[Pipeline]:
        return self.left, self.right


def load(component: str | Any, /, name: str | None = None, **settings: Any) -> Stage:
    """A component, built and ready to be composed.

    `component` is a registered name (`"bm25"`, or `"scorer/bm25"` where kinds must be told apart) with its
    settings, `trained:FOLDER` for what training left there, or any object of your own that has the method of a stage.
    Losses and samplers are loaded alike, for `nirank.fit`. `name` is what `repr` calls it.
    """
    if name is not None and not isinstance(name, str):
        raise BadInput(f"name = {name!r:.80}: a text is expected. Settings are named, `load('bm25', k1=0.9)`.")
    if isinstance(component, str):
        return Stage(build(component, settings, name))
    if settings:
        raise BadInput(f"{type(component).__name__} is built already and takes no settings; give them to its class.")
    if isinstance(component, type):
        raise BadInput(f"{component.__name__} is a class: load an object of it, `load({component.__name__}(...))`.")
    plain = type(component).__module__ == "builtins" and not hasattr(component, "__dict__")  # a number, None, a list
    if plain and not callable(component):
        raise BadInput(f"a component is a name or an object of your own, not {component!r:.80}.")
    return Stage(wrap(Component(name or type(component).__name__, component)))


def fuse(
    first: Any, second: Any, *more: Any, method: str = "rrf", weights: Sequence[float] | None = None, **settings: Any
) -> Ranking:
    """One ranking made of several: reciprocal rank fusion by default.

    `method` is one of `nirank.pipeline.fusion.METHODS`: "rrf" (setting `k`, 60 by default), "combsum", "combmnz"
    (both on scores scaled to 0..1 for each query). `weights` has one number for each ranking.
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
            return _with_encoder(stage) if not bare else stage
        raise CompositionError(f"{value!r} scores documents but finds none: put a generator before it, `bm25 >> ...`.")
    if stage.component.can("generate"):
        ranking = Generated(stage.component)
        return ranking if bare else _with_encoder(ranking)
    if stage.component.can("write"):
        raise CompositionError(f"{stage!r} writes texts for documents and finds none: `expanded(bm25, {stage!r})`.")
    if stage.component.can("encode"):
        raise CompositionError(f"{stage!r} only encodes queries and finds nothing: write `{stage!r} >> index`.")
    raise CompositionError(f"{stage!r} scores documents but finds none: put a generator before it, `bm25 >> ...`.")


def as_scoring(value: Any) -> Scoring:
    """`value` as a scoring; raises `CompositionError` where it is none."""
    stage = as_stage(value)
    if not isinstance(stage, Scoring):
        raise CompositionError(
            f"{value!r} finds documents but scores none: only a scorer can come after a ranking. To combine what two "
            "rankings find, write `a | b` or `fuse(a, b)`."
        )
    if isinstance(stage, Stage):
        component = stage.component
        if reads_features(component) or component.can("extract"):
            raise CompositionError(f"{stage!r} makes or reads features, not scores: write `features(...) >> ranker`.")
        if not component.can("score") and not (component.can("encode") and component.can("encode_documents")):
            raise CompositionError(f"{stage!r} cannot score given documents: it has no method `score`.")
    return stage


def as_stage(value: Any) -> Ranking | Scoring:
    """`value` as part of a pipeline: an object of the user's own is loaded. Raises `CompositionError` for no stage."""
    if isinstance(value, (Ranking, Scoring)):
        return value
    if any(callable(getattr(value, method, None)) for method in _METHODS):
        return load(value)
    raise CompositionError(f"{value!r} is not a stage: it has none of the methods {', '.join(_METHODS)}.")


def reads_features(component: Component) -> bool:
    """True for a ranker by features of pairs (`nirank.pipeline.feature_ranking`)."""
    return component.traits.reads == "features"


#: What people give in the place of a corpus.
_NO_CORPORA = (Collection, Queries, Candidates, Pipeline, Path, str, list, tuple, dict, type(None))


def _check_pairs(queries: Any, candidates: Any) -> None:
    """Raise `CompositionError` for anything but queries and candidates."""
    if not isinstance(queries, Queries) or not isinstance(candidates, Candidates):
        got = f"{type(queries).__name__} and {type(candidates).__name__}"
        raise CompositionError(
            f"`score` takes `nirank.Queries` and the candidates that `search` found for them, and got {got}."
        )


def _no_corpus(value: Any) -> str:
    """The message for something else in the place of a corpus."""
    if isinstance(value, Collection):
        advice = "; it has one: write `search(collection.queries, collection.corpus)`"
    elif isinstance(value, Queries):
        advice = ": the queries come first, `search(queries, corpus)`"
    else:
        advice = ": wrap texts as `nirank.Documents(ids, texts)`"
    kind = type(value).__name__
    return f"`search` takes a corpus as its second argument, and `index` one alone; here is a {kind}{advice}."


def _asked(queries: Any) -> Queries:
    """Contents as numbered queries; raises `CompositionError` for what holds queries, or documents, in their place."""
    if isinstance(queries, Collection):
        raise CompositionError(
            "`search` takes queries first, and got a Collection: write `search(collection.queries, collection.corpus)`."
        )
    if isinstance(queries, (Documents, ArrowCorpus, Field)):
        raise CompositionError("`search` takes queries first and the corpus second; the first argument is a corpus.")
    return Queries.of(queries)


def _generated(value: Any) -> Generated:
    ranking = as_ranking(value, bare=True)
    if not isinstance(ranking, Generated):
        raise CompositionError(f"an encoder must be followed by an index that searches its vectors, not by {value!r}.")
    return ranking


def _with_encoder(ranking: Ranking) -> Ranking:
    """Refuse a generator that searches vectors and has no encoder."""
    if isinstance(ranking, Generated) and ranking.encoder is None:
        searched = ranking.generator.traits.searches
        if searched:
            name = ranking.generator.name
            raise CompositionError(f"{name} searches {searched} vectors: write `encoder >> {name}`.")
    return ranking


def _operand(node: Ranking | Scoring) -> str:
    text = repr(node)
    return text if isinstance(node, (Stage, Fused)) or " " not in text else f"({text})"


def checked_depth(k: Any) -> int:
    """The number of documents that `%` keeps; raises `CompositionError` for what is none."""
    if isinstance(k, bool) or not isinstance(k, (int, np.integer)) or k < 1:
        raise CompositionError(f"% takes how many documents to keep, a whole number from 1; got {k!r}.")
    return int(k)


def _weight(weight: Any) -> float:
    if isinstance(weight, bool) or not isinstance(weight, (int, float)) or not np.isfinite(weight):
        raise CompositionError(f"* takes a finite number and a scoring; got {weight!r}.")
    return float(weight)
