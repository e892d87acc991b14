"""Functions as stages, where a function is all there is.

    score_by(f)              a scorer: f(query, document) is the score of a pair
    score_by(f, by="list")   a scorer: f(query, documents) are the scores of a query's list
    describe_by(f, names)    an extractor, for `features(...)`: f(query, document) are the numbers of a pair
    ranking >> apply(f)      a ranking: f(queries, candidates) are other candidates for the same queries

What stands in an expression is the function's name. There it is that of a function which a plugin registers,
`registry.add("function", "overlap", "module:overlap")`: an expression names functions, and never code.
"""

from __future__ import annotations

import copy
import math
import sys
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from types import FunctionType
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from nirank.component import Component
from nirank.data.candidates import Candidates
from nirank.data.explanation import Explanation
from nirank.data.queries import Queries
from nirank.data.types import Content, Corpus, Floats
from nirank.errors import BadInput, ComponentError, CompositionError
from nirank.pipeline.algebra import Derived, PartialPipeline, Pipeline, Ranking, Stage
from nirank.pipeline.explaining import as_found
from nirank.pipeline.parts import operand
from nirank.plugins.assembly import wrap
from nirank.source import function_digest

#: The largest number that a score can be.
_MOST = float(np.finfo(np.float32).max)
#: Pairs whose documents are in memory at a time.
_PAIRS = 4096


class Function:
    """A function with the name that messages and expressions have for it; what it raises says where."""

    def __init__(self, name: str, call: Callable[..., Any]) -> None:
        self.name, self._call = name, call

    def __call__(self, *given: Any) -> Any:
        """Call it. Whatever it raises is raised, with a note that names it and what it was given."""
        try:
            return self._call(*given)
        except Exception as error:
            error.add_note(f"in the function {self.name}, called with {', '.join(f'{each!r:.80}' for each in given)}")
            raise

    def __getstate__(self) -> dict[str, Any]:
        found: Any = sys.modules.get(getattr(self._call, "__module__", ""))
        for part in getattr(self._call, "__qualname__", "").split("."):
            found = getattr(found, part, None)
        if isinstance(self._call, FunctionType) and found is not self._call:
            raise BadInput(
                f"the function {self.name} cannot be pickled, for another process finds it under no name: define it by "
                "`def` at the top of a module."
            )
        return vars(self)

    def __deepcopy__(self, memo: dict[int, Any]) -> Function:
        return Function(self.name, copy.deepcopy(self._call, memo))

    @cached_property
    def fingerprint(self) -> str:
        """A hash of its code and of what it closes over."""
        return function_digest(self._call)

    @cached_property
    def component(self) -> Component:
        """Itself as a part of a pipeline."""
        return Component(self.name, self)

    def fault(self, returned: Any, expected: str) -> ComponentError:
        """An error for what it should not have returned."""
        return ComponentError(f"the function {self.name} returned {returned!r:.80}; {expected} expected.")


class ScoreBy:
    """A scorer by a function of a pair, or of a query and all documents of its list."""

    batch_size = _PAIRS

    def __init__(self, function: Function, by: Literal["pair", "list"]) -> None:
        self.function, self.listwise = function, by == "list"

    @property
    def fingerprint(self) -> str:
        """The function's, for pairs or for lists."""
        return f"{self.function.fingerprint} {self.listwise}"

    def score(self, queries: Queries, candidates: Candidates) -> Floats:
        """The score of each pair, `[pairs]`."""
        documents = _documents(self.function, candidates)
        values = (
            self._of_lists(queries, candidates, documents)
            if self.listwise
            else self._of_pairs(queries, candidates, documents)
        )
        return np.fromiter((self._number(value) for value in values), np.float32, candidates.pairs)

    def _of_pairs(self, queries: Queries, candidates: Candidates, documents: list[Content]) -> Iterator[Any]:
        for row, document in zip(candidates.rows.tolist(), documents, strict=True):
            yield self.function(queries.contents[row], document)

    def _of_lists(self, queries: Queries, candidates: Candidates, documents: list[Content]) -> Iterator[Any]:
        for query, (start, stop) in zip(queries.contents, pairwise(candidates.offsets.tolist()), strict=True):
            returned = self.function(query, documents[start:stop]) if start < stop else []
            values = list(returned) if isinstance(returned, Iterable) else []
            if len(values) != stop - start:
                raise self.function.fault(returned, f"{stop - start} numbers, one for each document, are")
            yield from values

    def _number(self, value: Any) -> float:
        try:
            number = float(value)
        except (TypeError, ValueError, OverflowError):
            raise self.function.fault(value, "a number is") from None
        if math.isfinite(number) and abs(number) > _MOST:
            raise self.function.fault(value, "a number that float32 holds is")
        return number


class DescribeBy:
    """An extractor by a function of a pair."""

    batch_size = _PAIRS

    def __init__(self, function: Function, names: tuple[str, ...]) -> None:
        self.function, self.names = function, names

    @property
    def fingerprint(self) -> str:
        """The function's, with the names of the features."""
        return f"{self.function.fingerprint} {self.names}"

    def extract(self, queries: Queries, candidates: Candidates) -> Floats:
        """The features of each pair, `[pairs, names]`."""
        documents, rows = _documents(self.function, candidates), candidates.rows.tolist()
        found = [self._row(queries.contents[row], one) for row, one in zip(rows, documents, strict=True)]
        return np.array(found, np.float32).reshape(candidates.pairs, len(self.names))

    def _row(self, query: Content, document: Content) -> NDArray[np.float32]:
        values = self.function(query, document)
        try:
            row = np.array(values, np.float32).reshape(-1)
        except (TypeError, ValueError):
            row = np.empty(0, np.float32)
        if len(row) != len(self.names):
            raise self.function.fault(values, f"{len(self.names)} numbers ({', '.join(self.names)}) are")
        return row


@dataclass(frozen=True, eq=False, repr=False)
class Apply(PartialPipeline):
    """A function from candidates to candidates, after a ranking."""

    function: Function

    def __repr__(self) -> str:
        return f"apply({self.function.name})"

    def after(self, ranking: Ranking) -> Applied:
        """The ranking, changed."""
        return Applied(ranking, self)

    def _components(self) -> Iterator[Component]:
        yield self.function.component


@dataclass(frozen=True, eq=False, repr=False)
class Applied(Derived):
    """A ranking changed by a function, and ordered by the scores that this leaves."""

    ranking: Ranking
    change: Apply

    def __repr__(self) -> str:
        return f"{operand(self.ranking)} >> {self.change!r}"

    def _find(self, queries: Queries, corpus: Corpus) -> Candidates:
        found = self.change.function(queries, self.ranking._find(queries, corpus))
        if not isinstance(found, Candidates) or len(found) != len(queries):
            raise self.change.function.fault(found, f"Candidates of {len(queries)} queries are")
        least, last = found.extent
        if least < 0 or last >= len(corpus):
            raise self.change.function.fault(found, f"documents from 0 to {len(corpus) - 1} are")
        pairs = found.rows * len(corpus) + found.docs
        if len(np.unique(pairs)) < len(pairs):
            raise self.change.function.fault(found, "each document once for a query is")
        return found.ranked().over(corpus)

    def _explain_found(self, queries: Queries, corpus: Corpus, doc: int) -> Explanation | None:
        return as_found(self, queries, corpus, doc, f"as the function {self.change.function.name} left it")

    def _parts(self) -> Sequence[Pipeline]:
        return self.ranking, self.change


def score_by(function: Any, by: Literal["pair", "list"] = "pair", field: str | None = None) -> Stage:
    """A scorer made of a function.

    In `bm25 % 100 >> score_by(overlap)`, `overlap(query, document)` returns a number; with `by="list"`,
    `overlap(query, documents)` returns one for each document of a query's list. `field` is the field of documents that
    it reads, in the place of their content.
    """
    if by not in ("pair", "list"):
        raise BadInput(f"score_by: by = {by!r}; 'pair' or 'list' is expected.")
    own = as_function(function, "score_by")
    more = {"by": by} if by != "pair" else {}
    return _stage("score_by", own, ScoreBy(own, by), more, field)


def describe_by(function: Any, names: Sequence[str], field: str | None = None) -> Stage:
    """An extractor made of a function.

    In `features(bm25, describe_by(lengths, names=["words"])) >> linear`, `lengths(query, document)` returns as many
    numbers as there are `names`. `field` is as in `score_by`.
    """
    if isinstance(names, str) or not names or not all(isinstance(name, str) for name in names):
        raise BadInput(f"describe_by: names = {names!r:.80}; a list with the names of the features is expected.")
    own = as_function(function, "describe_by")
    return _stage("describe_by", own, DescribeBy(own, tuple(names)), {"names": list(names)}, field)


def apply(function: Any) -> Apply:
    """Change what a ranking found by a function.

    In `bm25 >> apply(mixed)`, `mixed(queries, candidates)` returns `Candidates` for the same queries, of any documents
    of the corpus, which is `candidates.corpus`. They are ranked by their scores afterwards.
    """
    return Apply(as_function(function, "apply"))


def as_function(value: Any, taker: str) -> Function:
    """A function with its name. Raises `CompositionError`, naming the one that takes it, for what is none."""
    if isinstance(value, Function):
        return value
    if isinstance(value, Stage):
        if value.component.entry is not None and value.component.entry.kind == "function":
            return Function(value.component.name, value.component.target)
        raise CompositionError(f"{taker} takes a function, and {value!r} is a component: it stands by itself.")
    if not callable(value) or isinstance(value, Pipeline):
        raise CompositionError(f"{taker} takes a function, not {value!r:.80}.")
    return Function(getattr(value, "__name__", type(value).__name__), value)


def _stage(taker: str, function: Function, target: Any, more: dict[str, Any], field: str | None) -> Stage:
    if field is not None and not isinstance(field, str):
        raise BadInput(f"{taker}: field = {field!r} is not the name of a field; a text is expected.")
    written = "".join(f", {name}={value!r}" for name, value in (more | ({"field": field} if field else {})).items())
    component = Component(f"{taker}({function.name}{written})", target)
    component.field = field
    return Stage(wrap(component))


def _documents(function: Function, candidates: Candidates) -> list[Content]:
    """The document of each pair; each is looked up once."""
    docs, places = np.unique(candidates.docs, return_inverse=True)
    contents = candidates.corpus_for(function.name)[docs] if len(docs) else []
    return [contents[place] for place in places.tolist()]
