"""The web application: paths, and what answers them."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, FastAPI, HTTPException, Query, Request
from fastapi.responses import FileResponse, Response
from fastapi.staticfiles import StaticFiles

from nirank.serving import answers, searching
from nirank.serving.guard import Guard
from nirank.serving.options import Options
from nirank.serving.refusals import answer_faults, documented, not_found
from nirank.serving.searching import Wish
from nirank.serving.served import Served
from nirank.serving.state import Holder, State

PAGE = Path(__file__).parent / "page"
#: Modules with a function `add_to(app, served)`, each with a part of the server.
_PARTS = ("judging_routes", "comparing_routes", "living_routes", "mcp", "metrics")


def application(holder: Holder, options: Options = Options()) -> FastAPI:
    """The application that serves a state, and every one that takes its place in `holder`."""
    served = Served(holder, options)
    app = FastAPI(title="nirank", version=version("nirank"), docs_url=None, redoc_url=None, lifespan=_lifespan)
    app.state.served = served
    answer_faults(app)
    app.include_router(router(served))
    for part in _PARTS:
        if importlib.util.find_spec(f"nirank.serving.{part}"):
            importlib.import_module(f"nirank.serving.{part}").add_to(app, served)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    app.add_middleware(Guard, options=options)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    served: Served = app.state.served
    async with AsyncExitStack() as stack:
        stack.callback(served.close)
        for running in served.running:
            await stack.enter_async_context(running())
        yield


def router(served: Served) -> APIRouter:
    """The paths for searching, explaining and looking at documents."""
    paths = APIRouter()

    @paths.get("/", include_in_schema=False)
    async def page() -> FileResponse:
        return FileResponse(PAGE / "index.html")

    @paths.get("/health")
    async def health() -> answers.Health:
        """Say that the server runs."""
        return answers.Health(status="ok", version=served.state.version)

    @paths.get("/ready", responses=documented(503))
    async def ready() -> answers.Health:
        """Say that searches are taken: not any more when the server is about to end."""
        if served.limits.closing:
            raise HTTPException(503, "the server is ending.")
        return answers.Health(status="ok", version=served.state.version)

    @paths.get("/about", responses=documented(401))
    async def about() -> answers.About:
        """Say what is served: documents, fields, pipelines."""
        return _about(served.state, served.options)

    @paths.get("/search", response_model=answers.SearchAnswer, responses=documented(401, 404, 422, 503, 504))
    async def search_by_text(
        q: Annotated[str, Query(max_length=searching.LONGEST)] = "",
        pipeline: Annotated[answers.Names | None, Query()] = None,
        k: answers.Count = 10,
        offset: answers.Offset = 0,
        where: answers.Condition | None = None,
        field: Annotated[answers.Names | None, Query()] = None,
        snippets: bool = True,
    ) -> Response:
        """Search with a text."""
        wish = Wish(k, offset, where, None if field is None else tuple(field), snippets)
        async with served.limits.place():
            return _json(await served.search(q, pipeline or (), wish))

    @paths.post("/search", response_model=answers.SearchAnswer, responses=documented(400, 401, 404, 413, 422, 503, 504))
    async def search(asked: answers.SearchRequest) -> Response:
        """Search with a text, an image or a document."""
        state = served.state
        wish = Wish(asked.k, asked.offset, asked.where, asked.fields and tuple(asked.fields), asked.snippets)
        async with served.limits.place():
            query = await served.in_thread(_content, state, asked)
            return _json(await served.search(query, asked.pipelines, wish, state))

    @paths.post("/explain", response_model=answers.ExplainAnswer, responses=documented(400, 401, 404, 413, 422, 503, 504))
    async def explain(asked: answers.ExplainRequest) -> Response:
        """Say why a document has its score."""
        state = served.state
        _ordinal(state, asked.document)
        async with served.limits.place():
            return _json(
                await served.in_thread(searching.explain, state, asked.query, asked.pipeline, asked.document)
            )

    @paths.get("/documents/{id:path}", response_model=answers.DocumentAnswer, responses=documented(401, 404))
    async def document(id: str) -> Response:
        """Give a document."""
        state = served.state
        return _json(await served.in_thread(searching.document, state, _ordinal(state, id)))

    return paths


def _content(state: State, asked: answers.SearchRequest) -> Any:
    """What is searched with."""
    given = [each for each in (asked.query, asked.image, asked.document) if each is not None]
    if len(given) != 1:
        raise HTTPException(422, "one of query, image and document is expected.")
    if asked.document is not None:
        return state.content(_ordinal(state, asked.document))
    return asked.query


def _ordinal(state: State, document: str) -> int:
    found = state.ordinal(document)
    if found is None:
        raise not_found("document", document)
    return found


def _about(state: State, options: Options) -> answers.About:
    pipelines = [
        answers.PipelineAbout(name=name, expression=repr(ranking)) for name, ranking in state.pipelines.items()
    ]
    return answers.About(
        name=state.name,
        version=state.version,
        documents=len(state.corpus),
        pipelines=pipelines,
        fields=list(state.fields),
        images=state.images,
        queries=len(state.topics) if state.topics else 0,
        judged=bool(state.judgments is not None and state.judgments.pairs),
        annotate=options.annotate,
        living=options.living,
        nirank=version("nirank"),
    )


def _json(value: Any, status: int = 200) -> Response:
    """An answer that is known to be of its model: to check it again would take as long as the search."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(text, status, media_type="application/json")
