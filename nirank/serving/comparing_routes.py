"""The path of the collection's queries: each with the measures of all pipelines, and where two differ most."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import Annotated

from fastapi import APIRouter, Depends, FastAPI, Query, Request
from fastapi.responses import Response
from pydantic import BaseModel

from nirank.serving import answers
from nirank.serving.comparing import Sort, Survey, Surveys
from nirank.serving.refusals import documented, refuse_unknown_parameters
from nirank.serving.routes import in_json
from nirank.serving.served import Here, Served

paths = APIRouter(dependencies=[Depends(refuse_unknown_parameters)])


class QueryAnswer(BaseModel):
    """A query: the value of each pipeline, and the difference a - b; null where it is not judged."""

    id: str
    text: str
    values: dict[str, float | None]
    difference: float | None


class QueriesAnswer(BaseModel):
    """The collection's queries and a measure of each: the means of pipelines, and the mean of the differences a - b.

    Before every query is searched `ready` is false, and there are no values; `done` of `total` searches are made then.
    `failed` says why a pipeline has no values, and `notes` what to read with the figures.
    """

    version: str
    measure: str
    pipelines: list[str]
    a: str
    b: str | None
    ready: bool
    done: int
    total: int
    mean: dict[str, float | None]
    difference: float | None
    queries: list[QueryAnswer]
    failed: dict[str, str]
    notes: list[str]


def add_to(app: FastAPI, served: Served) -> None:
    """Add this path to an application; what it has searched goes with the server."""
    surveys = app.state.surveys = Surveys()

    @asynccontextmanager
    async def until_the_end() -> AsyncIterator[None]:
        yield
        surveys.stop()

    served.running.append(until_the_end)
    app.include_router(paths)


async def surveys_of(request: Request) -> Surveys:
    """The survey of each state of an application, begun when it is first wanted."""
    surveys: Surveys = request.app.state.surveys
    return surveys


#: The parameter of a path that wants them.
Surveyed = Annotated[Surveys, Depends(surveys_of)]


@paths.get("/queries", response_model=QueriesAnswer, responses=documented(401, 422, 503, 504))
async def queries(
    served: Here,
    request: Request,
    surveys: Surveyed,
    measure: Annotated[answers.Name, Query(description="A measure, named as in ir_measures or trec_eval.")] = "nDCG@10",
    a: answers.Name | None = None,
    b: answers.Name | None = None,
    sort: Sort = "difference",
) -> Response:
    """Give the collection's queries with each pipeline's measure, those first where a and b differ most."""
    async with served.limits.place(request):
        return in_json(await asyncio.to_thread(_answer, surveys.of(served.state), measure, a, b, sort))


def _answer(survey: Survey, measure: str, a: str | None, b: str | None, sort: Sort) -> dict[str, object]:
    ready = {"ready": survey.ready, "done": survey.done, "total": survey.total}  # before it is compared, for it goes on
    found = asdict(survey.compare(measure, a, b, sort))
    pipelines = list(survey.state.pipelines)
    return {"version": survey.state.version, "pipelines": pipelines, **ready, "queries": found.pop("rows"), **found}
