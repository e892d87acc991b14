"""The paths for searching, explaining, and looking at documents."""

from __future__ import annotations

import json
from importlib.metadata import version
from typing import Annotated, Any

from fastapi import APIRouter, Depends, HTTPException, Query, Request
from fastapi.responses import Response

from nirank.data.types import Content
from nirank.errors import BadInput
from nirank.serving import answers, searching
from nirank.serving.options import Options
from nirank.serving.pictures import Small, read_data_url
from nirank.serving.refusals import documented, not_found, refuse_unknown_parameters
from nirank.serving.searching import Wish
from nirank.serving.served import Here, Served
from nirank.serving.state import State

paths = APIRouter()
_JPEG: dict[int | str, dict[str, Any]] = {
    200: {"content": {"image/jpeg": {}}, "description": "A small copy."},
    304: {"description": "The client has it."},
}


@paths.get("/health")
async def health(served: Here) -> answers.Health:
    """Say that the server runs."""
    return answers.Health(status="ok", version=served.state.version)


@paths.get("/ready", responses=documented(503))
async def ready(served: Here) -> answers.Health:
    """Say that searches are taken: not any more when the server is about to end."""
    if served.limits.closing:
        raise HTTPException(503, "the server is ending.")
    return answers.Health(status="ok", version=served.state.version)


@paths.get("/about", responses=documented())
async def about(served: Here) -> answers.About:
    """Say what is served: documents, fields, pipelines."""
    return _about(served.state, served.options)


@paths.get(
    "/search",
    response_model=answers.SearchAnswer,
    responses=documented(422, 503, 504),
    dependencies=[Depends(refuse_unknown_parameters)],
)
async def search_by_text(
    served: Here,
    request: Request,
    q: answers.Text = "",
    pipeline: Annotated[answers.Names | None, Query()] = None,
    k: answers.Count = 10,
    offset: answers.Offset = 0,
    where: answers.Condition | None = None,
    field: Annotated[answers.Names | None, Query()] = None,
    snippets: bool = True,
) -> Response:
    """Search with a text."""
    wish = Wish(k, offset, where, None if field is None else tuple(field), snippets)
    async with served.limits.place(request):
        return in_json(await served.search(q, pipeline or (), wish))


@paths.post("/search", response_model=answers.SearchAnswer, responses=documented(400, 404, 413, 422, 503, 504))
async def search(served: Here, request: Request, asked: answers.SearchRequest) -> Response:
    """Search with a text, an image or a document."""
    state, shown = served.state, None if asked.fields is None else tuple(asked.fields)
    wish = Wish(asked.k, asked.offset, asked.where, shown, asked.snippets)
    async with served.limits.place(request):
        query = asked.query if asked.query is not None else await served.in_thread(_content, state, asked)
        return in_json(await served.search(query, asked.pipelines, wish, state))


@paths.post("/explain", response_model=answers.ExplainAnswer, responses=documented(400, 404, 413, 422, 503, 504))
async def explain(served: Here, request: Request, asked: answers.ExplainRequest) -> Response:
    """Say why a document has its score."""
    async with served.limits.place(request):
        return in_json(await served.in_thread(_explained, served.state, asked))


@paths.get("/documents/{id:path}", response_model=answers.DocumentAnswer, responses=documented(404, 422, 503, 504))
async def document(served: Here, request: Request, id: str) -> Response:
    """Give a document."""
    async with served.limits.place(request):
        return in_json(await served.in_thread(_document, served.state, id))


@paths.get("/images/{id:path}", response_class=Response, responses={**_JPEG, **documented(404, 422, 503, 504)})
async def image(served: Here, request: Request, id: str, side: Annotated[int, Query(ge=1, le=4096)] = 256) -> Response:
    """Give a small copy of a document's image, as JPEG; `side` is its longer one in pixels, about."""
    async with served.limits.place(request):
        return _cached(request, await served.in_thread(_small, served, id, side))


def in_json(value: Any, status: int = 200) -> Response:
    """An answer that is known to be of its model: to check it again would take as long as the search."""
    text = json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace")
    return Response(text, status, media_type="application/json")


def ordinal_of(state: State, document: str) -> int:
    """The ordinal of a document; refuses with 404 where there is none."""
    found = state.ordinal(document)
    if found is None:
        raise not_found("document", document)
    return found


def _explained(state: State, asked: answers.ExplainRequest) -> dict[str, Any]:
    ordinal_of(state, asked.document)
    return searching.explain(state, asked.query, asked.pipeline, asked.document)


def _document(state: State, document: str) -> dict[str, Any]:
    return searching.document(state, ordinal_of(state, document))


def _small(served: Served, document: str, side: int) -> Small:
    state = served.state
    try:
        return served.thumbnails.small(state, ordinal_of(state, document), side)
    except BadInput as error:
        raise HTTPException(404, f"The document {document!r:.200} {error.message}") from None


def _content(state: State, asked: answers.SearchRequest) -> Content:
    """The image that is searched with, or the content of a document."""
    if asked.document is not None:
        return state.content(ordinal_of(state, asked.document))
    return read_data_url(asked.image or "")


def _cached(request: Request, small: Small) -> Response:
    """A small copy, or, where the client has it, that it is as it was."""
    headers = {"ETag": f'"{small.tag}"', "Cache-Control": "private, max-age=3600"}
    known = {each.strip().removeprefix("W/") for each in request.headers.get("if-none-match", "").split(",")}
    if headers["ETag"] in known:
        return Response(status_code=304, headers=headers)
    return Response(small.content, headers=headers, media_type="image/jpeg")


def _about(state: State, options: Options) -> answers.About:
    pipelines = [
        answers.PipelineAbout(name=name, expression=repr(ranking)) for name, ranking in state.pipelines.items()
    ]
    return answers.About(
        name=state.name,
        version=state.version,
        documents=len(state.corpus),
        corpus=state.corpus.fingerprint,
        pipelines=pipelines,
        fields=list(state.fields),
        images=state.images,
        queries=len(state.topics) if state.topics else 0,
        judged=bool(state.judgments is not None and state.judgments.pairs),
        annotate=options.annotate,
        living=options.living,
        nirank=version("nirank"),
    )
