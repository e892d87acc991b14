"""Arguments in the wrong place of a pipeline: looked for, and told with what to write instead."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from nirank.data.candidates import Candidates
from nirank.data.collection import Collection
from nirank.data.corpus import ArrowCorpus, Documents, Field
from nirank.data.queries import Queries
from nirank.errors import CompositionError
from nirank.hints import is_finite

#: What people give in the place of a corpus, besides pipelines.
NO_CORPORA = (Collection, Queries, Candidates, Path, str, list, tuple, dict, type(None))


def component(value: Any, name: Any, settings: Any) -> str | None:
    """The message for what cannot be loaded as a component, with such a name and settings; None where it can."""
    if name is not None and not isinstance(name, str):
        return f"name = {name!r:.80}: a text is expected. Settings are named, `load('bm25', k1=0.9)`."
    if isinstance(value, str):
        return None
    kind = type(value).__name__
    if settings:
        return f"{kind} is built already and takes no settings; give them to its class."
    if isinstance(value, type):
        return f"{value.__name__} is a class: load an object of it, `load({value.__name__}(...))`."
    plain = type(value).__module__ == "builtins" and not hasattr(value, "__dict__")  # a number, None, a list
    if plain and not callable(value):
        return f"a component is a name or an object of your own, not {value!r:.80}."
    return None


def no_corpus(value: Any) -> str:
    """The message for something else in the place of a corpus."""
    if isinstance(value, Collection):
        advice = "; it has one: write `search(collection.queries, collection.corpus)`"
    elif isinstance(value, Queries):
        advice = ": the queries come first, `search(queries, corpus)`"
    else:
        advice = ": wrap texts as `nirank.Documents(ids, texts)`"
    kind = type(value).__name__
    return f"`search` takes a corpus as its second argument, and `index` one alone; here is a {kind}{advice}."


def asked(queries: Any) -> Queries:
    """Contents as numbered queries; raises `CompositionError` for what holds queries, or documents, in their place."""
    if isinstance(queries, str):  # which is quickly seen
        return Queries.of(queries)
    if isinstance(queries, Collection):
        raise CompositionError(
            "`search` takes queries first, and got a Collection: write `search(collection.queries, collection.corpus)`."
        )
    if isinstance(queries, (Documents, ArrowCorpus, Field)):
        raise CompositionError("`search` takes queries first and the corpus second; the first argument is a corpus.")
    return Queries.of(queries)


def check_pairs(queries: Any, candidates: Any) -> None:
    """Raise `CompositionError` for anything but queries and candidates."""
    if not isinstance(queries, Queries) or not isinstance(candidates, Candidates):
        got = f"{type(queries).__name__} and {type(candidates).__name__}"
        raise CompositionError(
            f"`score` takes `nirank.Queries` and the candidates that `search` found for them, and got {got}."
        )


def scores_of_found(ranking: Any, k: int | None = None) -> str:
    """The message for a ranking as a scorer that scores only what it finds; `k` is how many, where it is cut."""
    if not ranking.scored:
        return (
            f"{ranking!r} finds documents and has no scores: put it before a scoring, `({ranking!r}) >> scoring`, or "
            "fuse what is in it."
        )
    brackets = f" `%` binds before `>>`: to cut what is ordered, write `(ranking >> scorer) % {k}`." if k else ""
    return (
        f"{ranking!r} scores none but the documents that it finds. Say what the others get: "
        f'`scores({ranking!r}, missing="min")`, the least score of the query\'s list, or a number, `missing=0.0`. To '
        f"combine what two rankings find, write `a | b` or `fuse(a, b)`.{brackets}"
    )


def cut_scoring(scoring: Any, k: Any) -> str:
    """The message for a cut of what finds nothing."""
    return (
        f"{scoring!r} scores documents but finds none, so it has no best {k!r}. `%` binds before `>>`: "
        f"write `(ranking >> {_bracketed(scoring)}) % {k!r}`."
    )


def index_without_encoder(index: Any, searched: str) -> str:
    """The message for an index of vectors as a scorer."""
    return f"{index!r} scores {searched} vectors: write `encoder >> {index!r}`, in brackets where it is to score."


def is_count(k: Any) -> bool:
    """True for a whole number from 1, of Python or numpy."""
    return isinstance(k, (int, np.integer)) and not isinstance(k, bool) and bool(k >= 1)


def depth(k: Any) -> int:
    """The number of documents to keep. Raises `CompositionError` for anything but a whole number from 1."""
    if not is_count(k):
        raise CompositionError(f"% takes how many documents to keep, a whole number from 1; got {k!r}.")
    return int(k)


def weight(value: Any) -> float:
    """The weight of a scoring. Raises `CompositionError` for anything but a finite number."""
    if not is_finite(value):
        raise CompositionError(f"* takes a finite number and a scoring; got {value!r}.")
    return float(value)


def _bracketed(scoring: Any) -> str:
    return f"({scoring!r})" if " " in repr(scoring) else repr(scoring)
