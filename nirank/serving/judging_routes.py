"""The paths of judgments: marking, exporting, and pools of documents to judge."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import asdict
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Query, Request
from fastapi.responses import PlainTextResponse, Response
from pydantic import BaseModel, Field

from nirank.data.types import Content, Ints
from nirank.serving import answers
from nirank.serving.agreement import Rule, agreements
from nirank.serving.comparing import Survey
from nirank.serving.comparing_routes import Surveyed
from nirank.serving.judging import GRADES, JudgmentStore
from nirank.serving.ledger import NotSaved
from nirank.serving.pooling import Pool, pool
from nirank.serving.query_names import text_of
from nirank.serving.refusals import documented, not_found, refuse_unknown_parameters
from nirank.serving.routes import in_json
from nirank.serving.searching import Wish
from nirank.serving.served import Here, Served
from nirank.serving.state import State

paths = APIRouter(dependencies=[Depends(refuse_unknown_parameters)])

#: Documents of each system that make up a pool at most.
_DEEPEST = 1000
_FULL: dict[int | str, dict[str, Any]] = {
    507: {"model": answers.Fault, "description": "It could not be saved: a full disk, for instance."}
}
#: The answer of a path that gives a file of text.
_TEXT: dict[int | str, dict[str, Any]] = {
    200: {"content": {"text/plain": {"schema": {"type": "string"}}}, "description": "A file."}
}

Annotator = Annotated[str, Field(max_length=200, description="The name of who judges.")]
Depth = Annotated[int, Query(ge=1, le=_DEEPEST, description="How many documents of each system are judged.")]
#: How one grade is made of those of several annotators.
OneGrade = Annotated[Rule, Query(description="How one grade is made of those of several annotators.")]


class JudgmentRequest(answers.Request):
    """A mark: a grade, or null to withdraw it. The query is given by its text, its id, or both."""

    query: answers.Text | None = None
    query_id: answers.Name | None = None
    document: answers.Name
    grade: int | None = Field(ge=GRADES[0], le=GRADES[-1], strict=True)
    annotator: Annotator


class JudgmentAnswer(BaseModel):
    """A judgment as it is kept; the time is UTC."""

    query_id: str
    query: str
    document: str
    grade: int | None
    annotator: str
    time: str


class AgreementAnswer(BaseModel):
    """The agreement of two annotators, on the pairs that both have judged.

    `same` is the share of equal grades, `kappa` Cohen's, `weighted` that with squares of differences; null where they
    say nothing.
    """

    a: str
    b: str
    pairs: int
    same: float | None
    kappa: float | None
    weighted: float | None


class AnnotatorsAnswer(BaseModel):
    """The number of judgments of each annotator, and how far each two agree."""

    judgments: dict[str, int]
    agreement: list[AgreementAnswer]


class QueryPool(BaseModel):
    """A query of the collection: the documents of its pool, and how many of them are judged."""

    id: str
    text: str
    pooled: int
    judged: int


class PoolAnswer(BaseModel):
    """The documents of a query that are to be judged, by their ids, in an order that shows no system.

    `pooled` counts them with the `judged` ones. Where no query was asked for, it is the first of the collection with
    documents to judge, and `queries` has them all; before these are searched `ready` is false, and `done` of `total`
    searches are made.
    """

    version: str
    depth: int
    ready: bool
    done: int
    total: int
    query_id: str | None
    query: str | None
    pooled: int
    judged: int
    documents: list[str]
    queries: list[QueryPool]


def add_to(app: FastAPI, served: Served) -> None:
    """Add these paths to an application; the folder is made where the server takes judgments."""
    options = served.options
    if options.judgments is not None:
        app.state.judgments = JudgmentStore(options.judgments, served.state.topics, options.annotate)
    app.include_router(paths)


async def store_of(request: Request) -> JudgmentStore:
    """The judgments of an application; refuses with 404 where it keeps none."""
    store: JudgmentStore | None = getattr(request.app.state, "judgments", None)
    if store is None:
        raise HTTPException(404, "this server keeps no judgments: start it with `--judgments FOLDER`.")
    return store


#: The parameter of a path that wants them.
Kept = Annotated[JudgmentStore, Depends(store_of)]


@paths.get("/judgments", responses=documented(401, 404, 422))
async def judgments(
    store: Kept,
    query: answers.Text | None = None,
    query_id: answers.Name | None = None,
    annotator: Annotator | None = None,
) -> list[JudgmentAnswer]:
    """Give the judgments that hold: the last of each annotator on each document."""
    found = await asyncio.to_thread(store.current, query, annotator, query_id)
    return [JudgmentAnswer(**asdict(each)) for each in found]


@paths.post("/judgments", responses={**documented(400, 401, 403, 404, 413, 422, 503, 504), **_FULL})
async def judge(served: Here, store: Kept, asked: JudgmentRequest) -> JudgmentAnswer:
    """Keep a judgment: when this answers, it is on disk."""
    if not served.options.annotate:
        raise HTTPException(403, "this server takes no judgments: start it without `--read-only`.")
    if asked.grade is not None and served.state.ordinal(asked.document) is None:
        raise not_found("document", asked.document)
    given = (asked.query, asked.document, asked.grade, asked.annotator, asked.query_id)
    async with served.limits.place():
        try:
            return JudgmentAnswer(**asdict(await asyncio.to_thread(store.add, *given)))
        except NotSaved as error:
            raise HTTPException(507, str(error)) from error


@paths.get("/judgments/qrels", response_class=Response, responses={**_TEXT, **documented(401, 404, 422)})
async def qrels(
    store: Kept,
    annotator: Annotator | None = None,
    rule: OneGrade = "median",
    format: Literal["trec", "jsonl"] = "trec",
) -> Response:
    """Give the judgments as TREC's qrels, or as JSON lines, which hold any id."""
    export = store.qrels if format == "trec" else store.json_lines
    return PlainTextResponse(await asyncio.to_thread(export, annotator, rule))


@paths.get("/judgments/topics", response_class=Response, responses={**_TEXT, **documented(401, 404, 422)})
async def topics(store: Kept) -> Response:
    """Give the queries that are judged: lines of id, tab and text."""
    return PlainTextResponse(await asyncio.to_thread(store.topics))


@paths.get("/judgments/annotators", responses=documented(401, 404, 422))
async def annotators(store: Kept) -> AnnotatorsAnswer:
    """Say who has judged how much, and how far annotators agree."""
    return await asyncio.to_thread(_annotators, store)


@paths.get("/pool", response_model=PoolAnswer, responses=documented(401, 404, 422, 503, 504))
async def documents_to_judge(
    served: Here,
    request: Request,
    store: Kept,
    surveys: Surveyed,
    depth: Depth = 10,
    query: answers.Text | None = None,
    query_id: answers.Name | None = None,
    annotator: Annotator | None = None,
) -> Response:
    """Give the documents that any pipeline ranks high and that the annotator has not judged, for one query."""
    state = served.state
    async with served.limits.place(request):
        if query is None and query_id is None:
            return in_json(await asyncio.to_thread(_first_pool, surveys.of(state), store, depth, annotator))
        identity, text = store.identify(query, query_id)
        found = await served.find(state, _content(state, identity, text), list(state.pipelines), Wish(k=depth))
        rankings = [each.docs for each in found.values()]
        return in_json(await asyncio.to_thread(_pool, state, store, (identity, text), rankings, depth, annotator))


def _first_pool(survey: Survey, store: JudgmentStore, depth: int, annotator: str | None) -> dict[str, Any]:
    """The pool of the first query of the collection that is not done, and the counts of all."""
    if not survey.ready:
        return _answer(survey.state, depth, None) | {"ready": False, "done": survey.done, "total": survey.total}
    judged = store.documents(annotator)
    pools = [_pool_of_row(survey, row, depth, judged.get(query, ())) for row, query in enumerate(survey.queries.ids)]
    texts = {each.query_id: text_of(content) for each, content in zip(pools, survey.queries.contents, strict=True)}
    first = next((each for each in pools if each.waiting), None)
    queries = [_counted(each, texts[each.query_id]) for each in pools]
    return _answer(survey.state, depth, first, texts[first.query_id] if first else None) | {"queries": queries}


def _counted(one: Pool, text: str) -> dict[str, Any]:
    return {"id": one.query_id, "text": text, "pooled": one.size, "judged": one.judged}


def _pool_of_row(survey: Survey, row: int, depth: int, judged: Collection[str]) -> Pool:
    ids = survey.state.corpus.ids
    rankings = [ids.take(found[row][0][:depth]) for found in survey.found.values()]
    return pool(survey.queries.ids[row], rankings, depth, judged)


def _pool(
    state: State,
    store: JudgmentStore,
    query: tuple[str, str],
    rankings: Sequence[Ints],
    depth: int,
    annotator: str | None,
) -> dict[str, Any]:
    """The pool of one query, by its id and text, of what was found for it."""
    identity, text = query
    named = [state.corpus.ids.take(docs[:depth]) for docs in rankings]
    judged = store.documents(annotator).get(identity, ())
    return _answer(state, depth, pool(identity, named, depth, judged), text)


def _answer(state: State, depth: int, one: Pool | None, text: str | None = None) -> dict[str, Any]:
    """The answer of `/pool` for one query, or for none."""
    return {
        "version": state.version,
        "depth": depth,
        "ready": True,
        "done": 0,
        "total": 0,
        "query_id": one.query_id if one else None,
        "query": text,
        "pooled": one.size if one else 0,
        "judged": one.judged if one else 0,
        "documents": one.waiting if one else [],
        "queries": [],
    }


def _content(state: State, identity: str, text: str) -> Content:
    """A query as the collection has it, which may be an image; else its text."""
    known = zip(state.topics.ids, state.topics.contents, strict=True) if state.topics else ()
    return next((content for query, content in known if query == identity), text)


def _annotators(store: JudgmentStore) -> AnnotatorsAnswer:
    grades = store.grades()
    counts = {name: len(of_one) for name, of_one in grades.items()}
    return AnnotatorsAnswer(
        judgments=counts, agreement=[AgreementAnswer(**asdict(each)) for each in agreements(grades)]
    )
