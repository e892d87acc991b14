"""Keys of pipelines: those of the same components, put together alike, have equal ones."""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Callable, Hashable
from typing import TYPE_CHECKING, Any

from nirank.execution import sharing
from nirank.execution.sharing import Same

if TYPE_CHECKING:
    from nirank.data.candidates import Candidates
    from nirank.data.queries import Queries
    from nirank.data.types import Corpus

    Find = Callable[[Any, Queries, Corpus], Candidates]

#: Values that are what they say; all others count as themselves alone.
_PLAIN = (str, int, float, type(None))


def structure(part: Any) -> Hashable:
    """The key of a pipeline: the kinds of its nodes, their numbers and names, and the very components in them."""
    if isinstance(part, (tuple, list)):
        return tuple(map(structure, part))
    if hasattr(part, "_parts") and dataclasses.is_dataclass(part):
        return type(part), *(structure(getattr(part, field.name)) for field in dataclasses.fields(part))
    return part if isinstance(part, _PLAIN) else Same(part)


def shared(find: Find) -> Find:
    """The method `_find` of a ranking, which looks first whether another one has found the same (`sharing`)."""

    @functools.wraps(find)
    def once(ranking: Any, queries: Queries, corpus: Corpus) -> Candidates:
        memo = sharing.current()
        if memo is None:
            return find(ranking, queries, corpus)
        asked = (Same(queries), Same(corpus))
        return memo.recall((structure(ranking), *asked), lambda: _found(memo, find, ranking, asked))

    return once


def _found(memo: sharing.Memo, find: Find, ranking: Any, asked: tuple[Same, Same]) -> Candidates:
    """The documents that a ranking finds: the first of more, where a generator that promises so has found more."""
    queries, corpus = (part.of for part in asked)
    anyhow = ranking.without_depth()
    if anyhow is None:
        return find(ranking, queries, corpus)
    found: Candidates = memo.recall_first(
        (structure(anyhow), *asked), ranking.depth, lambda: find(ranking, queries, corpus)
    )
    return found
