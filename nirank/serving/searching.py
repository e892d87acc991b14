"""Searches and explanations of a state in plain Python: what HTTP, MCP and tests have in common."""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from nirank.data import images
from nirank.data.candidates import Candidates
from nirank.data.queries import Queries
from nirank.data.types import Content, Ints
from nirank.errors import BadInput
from nirank.experiments import explained
from nirank.experiments.found import snippet_json
from nirank.experiments.latency import TOTAL, Stopwatch
from nirank.pipeline.algebra import Ranking
from nirank.pipeline.filtering import where
from nirank.pipeline.snippets import snippets
from nirank.serving.state import State

#: The most documents of a page, and the deepest rank that a page may reach.
MOST, DEEPEST = 1000, 10_000
#: Characters of a query, and of a condition.
LONGEST, LONGEST_CONDITION = 10_000, 2_000
#: A search is asked for at least so many documents.
_LEAST = 32


@dataclass(frozen=True)
class Wish:
    """The wishes of a search beside its query: a page of results, and what is shown of each document.

    `fields` are those that are shown (None: all but the text), `where` is a condition on fields
    (`nirank.data.conditions`).
    """

    k: int = 10
    offset: int = 0
    where: str | None = None
    fields: tuple[str, ...] | None = None
    snippets: bool = True

    def __post_init__(self) -> None:
        if not 1 <= self.k <= MOST:
            raise BadInput(f"k = {self.k}: from 1 to {MOST:,} documents are shown at a time.")
        if self.offset < 0 or self.offset + self.k > DEEPEST:
            raise BadInput(f"offset = {self.offset}: results are shown from rank 1 to rank {DEEPEST:,}.")
        if self.where is not None and len(self.where) > LONGEST_CONDITION:
            raise BadInput(f"the condition has {len(self.where):,} characters; it may have {LONGEST_CONDITION:,}.")

    @property
    def depth(self) -> int:
        """The number of documents that are searched: one more than are shown at least, to know whether more follow.

        Powers of two, so that one page is searched as the next, and requests of like depth in one batch.
        """
        return 1 << (max(_LEAST, self.offset + self.k + 1) - 1).bit_length()


@dataclass(frozen=True, eq=False)
class Found:
    """The documents that a pipeline found for a query, best first, and the milliseconds of its stages.

    `lost` names shards of an index that did not answer.
    """

    docs: Ints
    scores: list[float]
    stages: Mapping[str, float] = field(default_factory=dict)
    lost: tuple[str, ...] = ()

    @functools.cached_property
    def ranks(self) -> dict[int, int]:
        """The rank of each document, from 1."""
        return {doc: rank for rank, doc in enumerate(self.docs.tolist(), start=1)}


def search(state: State, query: Content, pipelines: Sequence[str] = (), wish: Wish | None = None) -> dict[str, Any]:
    """The answer of `/search`, searched here and now; all pipelines unless some are named."""
    wish = wish or Wish()
    names = list(pipelines) or list(state.pipelines)
    watch = Stopwatch(keep=False, apart=True)
    with watch.watching():
        found = {name: find(state, name, [query], wish, watch)[0] for name in names}
    return answer(state, query, found, wish)


def find(state: State, pipeline: str, queries: Sequence[Content], wish: Wish, watch: Stopwatch) -> list[Found]:
    """Search a pipeline for some queries together; one result for each; `watch` has to be listening.

    Raises `UnknownName` and `BadInput` as building and asking the pipeline does.
    """
    ranking = _narrowed(state.ranking(pipeline), wish.where) % wish.depth
    with watch.query() as seconds:
        found = ranking.search(Queries.of(queries), state.corpus)
    stages = {stage: 1000 * value for stage, value in seconds.items()}
    rows = map(found.__getitem__, range(len(queries)))
    return [Found(docs, scores.tolist(), stages, found.lost) for docs, scores in rows]


def answer(state: State, query: Content, found: Mapping[str, Found], wish: Wish) -> dict[str, Any]:
    """The answer of `/search` of what pipelines found."""
    results = [_result(state, name, query, found, wish) for name in found]
    return {"query": query if isinstance(query, str) else None, "version": state.version, "results": results}


def explain(state: State, query: Content, pipeline: str, document: str) -> dict[str, Any]:
    """The answer of `/explain`. Raises `BadInput` for a document that has no score."""
    explanation = state.ranking(pipeline).explain(Queries.of([query]), document, state.corpus)
    return {
        "query": query if isinstance(query, str) else None,
        "document": document,
        "pipeline": pipeline,
        "score": explanation.score,
        "version": state.version,
        "explanation": explained.as_json(explanation),
        "text": explanation.document,
    }


def document(state: State, doc: int) -> dict[str, Any]:
    """The answer of `/documents/ID`."""
    content = state.content(doc)
    return {**_shown(state, doc, content, state.fields), "text": content if isinstance(content, str) else None}


def _narrowed(ranking: Ranking, condition: str | None) -> Ranking:
    return ranking if condition is None or not condition.strip() else ranking >> where(condition)


def _result(state: State, pipeline: str, query: Content, found: Mapping[str, Found], wish: Wish) -> dict[str, Any]:
    mine = found[pipeline]
    others = {name: each for name, each in found.items() if name != pipeline}
    return {
        "pipeline": pipeline,
        "hits": _hits(state, query, mine, others, wish),
        "found": len(mine.docs),
        "more": len(mine.docs) > wish.offset + wish.k,
        "lost": list(mine.lost),
        "milliseconds": _milliseconds(mine.stages),
    }


def _hits(state: State, query: Content, mine: Found, others: Mapping[str, Found], wish: Wish) -> list[dict[str, Any]]:
    """A page of documents, with their ranks from the other pipelines."""
    here = slice(wish.offset, wish.offset + wish.k)
    docs = mine.docs[here]
    contents = state.corpus[docs] if len(docs) else []
    fields = state.shown if wish.fields is None else wish.fields
    parts = _snippets(state, query, docs, contents) if wish.snippets else [None] * len(docs)
    hits = []
    for row, (doc, score) in enumerate(zip(docs.tolist(), mine.scores[here], strict=True)):
        ranked = {"rank": wish.offset + row + 1, "score": _plain(score)}
        places = {name: each.ranks.get(doc) for name, each in others.items()}
        hits.append(ranked | _shown(state, doc, contents[row], fields) | {"snippet": parts[row], "places": places})
    return hits


def _shown(state: State, doc: int, content: Content, fields: Sequence[str]) -> dict[str, Any]:
    """Id, title, fields and picture of a document."""
    name = state.corpus.ids[doc]
    title = state.values(doc, ["title"])["title"] if "title" in state.fields else None
    return {
        "id": name,
        "title": None if title is None else str(title),
        "fields": {key: _plain(value) for key, value in state.values(doc, fields).items()},
        "image": f"/images/{quote(name, safe='')}" if images.is_image(content) else None,
    }


def _plain(value: Any) -> Any:
    """A value as JSON can hold it: numbers, truth values and None as they are, all else as text."""
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value if isinstance(value, (str, int, float, bool, type(None))) else str(value)


def _snippets(state: State, query: Content, docs: Ints, contents: Sequence[Content]) -> Sequence[dict[str, Any] | None]:
    """A snippet of each document, where query and documents are texts."""
    if not isinstance(query, str) or not len(docs) or not all(isinstance(content, str) for content in contents):
        return [None] * len(docs)
    (found,) = snippets(Queries.of(query), Candidates.of([docs], corpus=state.corpus))
    return [snippet_json(part) for part in found]


def _milliseconds(stages: Mapping[str, float]) -> dict[str, Any]:
    parts = [{"stage": name, "milliseconds": value} for name, value in stages.items() if name != TOTAL]
    return {"total": stages.get(TOTAL, 0.0), "stages": parts}
