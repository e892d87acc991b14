"""The stages of a pipeline in the order in which they run, each with what it makes of queries, query by query.

Only what is searched for the same queries over the same corpus is taken apart: pipelines with rewritten queries or
passages are one stage.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from typing import Any, TypeAlias

import numpy as np

from nirank.data.arrays import to_numpy
from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Corpus
from nirank.pipeline.algebra import Cut, Derived, Fused, Generated, Joined, Ranking, Rescored, Scoring, Sum, Weighted
from nirank.pipeline.parts import Pipeline
from nirank.pipeline.rewriting import Rewritten

#: The results of a stage by the ids of queries: equal ones are the same to the bit.
Outcome: TypeAlias = dict[str, Any]
Step: TypeAlias = tuple[str, Callable[[Queries, Corpus], Outcome]]


def steps(ranking: Ranking) -> list[Step]:
    """The stages of a ranking by name, the ranking itself the last; each once."""
    found: dict[str, Step] = {}
    for name, outcome in _steps(ranking):
        found.setdefault(name, (name, outcome))
    return list(found.values())


def lists(found: Candidates, queries: Queries) -> Outcome:
    """The documents of each query, in order, and their scores."""
    ids = found.corpus_for("a comparison of stages").ids
    rows = [found[row] for row in range(len(found))]
    return {
        query: (tuple(ids.take(docs)), scores.tobytes())
        for query, (docs, scores) in zip(queries.ids, rows, strict=True)
    }


def _steps(part: Pipeline) -> Iterator[Step]:
    for inner in _before(part):
        yield from _steps(inner)
    if isinstance(part, Generated) and part.encoder is not None:
        yield _encoding(part)
    if isinstance(part, Rescored):
        yield from (_scored(part.ranking, leaf) for leaf in _terms(part.scoring) if leaf is not part.scoring)
    if isinstance(part, Ranking) and part.scored:
        yield repr(part), lambda queries, corpus: lists(part.search(queries, corpus), queries)


def _before(part: Pipeline) -> list[Ranking]:
    """The rankings that a part is made of, if they are searched as they stand."""
    if isinstance(part, Rewritten):
        return []
    if isinstance(part, (Derived, Cut)):
        return [part.ranking]
    if isinstance(part, Joined):
        return [part.left, part.right]
    if isinstance(part, Fused):
        return [*part.rankings]
    return [part.feedback] if isinstance(part, Generated) and part.feedback is not None else []


def _terms(scoring: Scoring) -> Iterator[Scoring]:
    """The terms of a sum, without their weights."""
    if isinstance(scoring, Weighted):
        yield from _terms(scoring.scoring)
    elif isinstance(scoring, Sum):
        yield from _terms(scoring.left)
        yield from _terms(scoring.right)
    else:
        yield scoring


def _scored(ranking: Ranking, term: Scoring) -> Step:
    """One term of a sum as a stage: what the ranking before it found, with its scores alone."""

    def outcome(queries: Queries, corpus: Corpus) -> Outcome:
        ranking.index(corpus)
        found = ranking._find(queries, corpus).over(corpus)
        return lists(found.with_scores(term.score(queries, found)), queries)

    return f"{ranking!r} >> {term!r}", outcome


def _encoding(part: Generated) -> Step:
    """The query encoder of a search as a stage: its vectors."""
    encoder = part.encoder
    assert encoder is not None  # noqa: S101 - the caller has looked
    before = f"{part.feedback!r} >> " if part.feedback else ""

    def outcome(queries: Queries, corpus: Corpus) -> Outcome:
        part.index(corpus)
        vectors: Any = part._encoded(encoder, queries, corpus).vectors
        return {query: _bits(vectors[row : row + 1]) for row, query in enumerate(queries.ids)}

    return f"{before}{encoder.name} (vectors of queries)", outcome


def _bits(vectors: Any) -> Any:
    """Vectors of any kind as bytes."""
    if dataclasses.is_dataclass(vectors):
        return tuple(_bits(getattr(vectors, field.name)) for field in dataclasses.fields(vectors))
    return np.ascontiguousarray(to_numpy(vectors)).tobytes() if hasattr(vectors, "shape") else repr(vectors)
