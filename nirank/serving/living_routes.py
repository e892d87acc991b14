"""The paths of a living collection: documents are put and taken out, and one asks how far that is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated, Any

from fastapi import APIRouter, Depends, FastAPI, HTTPException, Request
from fastapi.responses import Response
from pydantic import BaseModel, Field

from nirank.data.corpus import ArrowCorpus
from nirank.experiments.workspace import Workspace
from nirank.serving import answers
from nirank.serving.ledger import NotSaved
from nirank.serving.limits import RETRY_AFTER
from nirank.serving.living import Living, Status, Task, TooMany
from nirank.serving.opening import Source
from nirank.serving.refusals import documented, not_found
from nirank.serving.routes import in_json
from nirank.serving.served import Here, Served

paths = APIRouter()

#: Documents of one request; its length is limited, too.
_MOST = 10_000
#: Seconds between two looks whether a change is done that is waited for.
_LOOK = 0.02


class DocumentsRequest(answers.Request):
    """Documents that are added, or take the place of those of their ids: `id`, `text`, and values of fields."""

    documents: Annotated[list[dict[str, Any]], Field(min_length=1, max_length=_MOST)]
    wait: bool = Field(False, description="Answer when the documents are found by searches.")


class TaskAnswer(BaseModel):
    """A change that was taken: it is waiting, running, done (`version` has it) or failed (`detail` says why)."""

    task: str
    status: Status
    version: str | None
    detail: str | None


_TAKEN: dict[int | str, dict[str, Any]] = {
    200: {"model": TaskAnswer, "description": "The change is in the index."},
    202: {"model": TaskAnswer, "description": "The change is on disk, and waits."},
    507: {"model": answers.Fault, "description": "It could not be kept: a full disk, for instance."},
}


def add_to(app: FastAPI, served: Served) -> None:
    """Add these paths to an application; documents change while it runs, where they are those of a folder."""
    app.include_router(paths)
    if not (served.options.living and served.source and served.source.folder):
        return
    corpus = served.state.corpus
    if not isinstance(corpus, ArrowCorpus):
        return

    def opened(made: Workspace) -> str:
        state = _source(served).of(made)
        served.holder.swap(state)
        return state.version

    app.state.living = living = Living(served.source.folder, corpus, opened)

    @asynccontextmanager
    async def running() -> AsyncIterator[None]:
        """The thread that indexes; it is begun and ended without keeping requests waiting."""
        context = living.running()
        await asyncio.to_thread(context.__enter__)
        try:
            yield
        finally:
            await asyncio.to_thread(context.__exit__, None, None, None)

    served.running.append(running)


def _source(served: Served) -> Source:
    if served.source is None:
        raise RuntimeError("there is no source")
    return served.source


async def living_of(request: Request) -> Living:
    """The documents of an application; refuses with 403 where they do not change."""
    living: Living | None = getattr(request.app.state, "living", None)
    if living is None:
        raise HTTPException(
            403, "the documents do not change: serve a folder of texts that `nirank index` made, without --read-only."
        )
    return living


#: The parameter of a path that wants them.
Changing = Annotated[Living, Depends(living_of)]


@paths.post(
    "/documents",
    status_code=202,
    response_model=TaskAnswer,
    responses={**documented(400, 401, 403, 413, 422, 503, 504), **_TAKEN},
)
async def put(served: Here, living: Changing, asked: DocumentsRequest) -> Response:
    """Take documents: when this answers, they are on disk, and soon found."""
    async with served.limits.place():
        task = await _kept(living.put, asked.documents)
    return await _answer(task, served.limits.deadline if asked.wait else 0)


@paths.delete(
    "/documents/{id:path}",
    status_code=202,
    response_model=TaskAnswer,
    responses={**documented(401, 403, 404, 422, 503, 504), **_TAKEN},
)
async def remove(served: Here, living: Changing, id: str, wait: bool = False) -> Response:
    """Take a document out."""
    async with served.limits.place():
        task = await _kept(living.remove, id)
    if task is None:
        raise not_found("document", id)
    return await _answer(task, served.limits.deadline if wait else 0)


@paths.get("/tasks/{task}", response_model=TaskAnswer, responses=documented(401, 403, 404, 422))
async def task(living: Changing, task: str) -> Response:
    """Say how far a change is."""
    found = living.task(task)
    if found is None:
        raise not_found("task", task)
    return in_json(_shown(found))


async def _kept(take: Any, given: Any) -> Any:
    """The task of a change that is taken; refuses with 503 where too many wait, with 507 where it cannot be kept."""
    try:
        return await asyncio.to_thread(take, given)
    except TooMany as error:
        raise HTTPException(503, str(error), {"Retry-After": str(RETRY_AFTER)}) from None
    except NotSaved as error:
        raise HTTPException(507, str(error)) from error


async def _answer(task: Task, seconds: float) -> Response:
    """The answer to who sent a change: 200 when it is done within some seconds, else 202."""
    for _ in range(int(seconds / _LOOK)):
        if task.ended.is_set():
            break
        await asyncio.sleep(_LOOK)
    if task.status == "failed":
        raise HTTPException(422, task.detail)
    return in_json(_shown(task), 200 if task.status == "done" else 202)


def _shown(task: Task) -> dict[str, Any]:
    return {"task": task.name, "status": task.status, "version": task.version, "detail": task.detail}
