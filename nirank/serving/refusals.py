"""Errors as answers: `{"detail": "what happened and what to do"}`, with the status that says whose fault it is."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse

from nirank.errors import BadInput, CompositionError, DamagedFile, NirankError, UnknownName
from nirank.serving.answers import Fault

log = logging.getLogger("nirank")

_SAID = {
    400: "The request is no HTTP, or no JSON.",
    401: "A token is needed.",
    403: "The server does not do this, or not for pages of others.",
    404: "There is no such thing.",
    408: "The request did not come whole.",
    409: "It contradicts what is there.",
    413: "The request is too long.",
    422: "The request cannot be answered as it is.",
    431: "The head of the request is too long: a query that long is sent in the body.",
    503: "The server is busy, or about to end: ask again.",
    504: "The search took too long.",
}
#: The refusals that any path may have: of what is no HTTP, of strangers, and of heads and bodies that are slow or long.
_ALWAYS = (400, 401, 403, 408, 431)
#: Faults of who asks. Any other error of nirank is one of the server's own files or components.
_OF_THE_REQUEST = (BadInput, UnknownName, CompositionError)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The refusals that a path may answer with, for OpenAPI; with those that every path has."""
    return {status: {"model": Fault, "description": _SAID[status]} for status in sorted({*_ALWAYS, *statuses})}


def not_found(what: str, name: str) -> HTTPException:
    """The refusal for something that is not there."""
    return HTTPException(404, f"There is no {what} {name!r:.200}.")


def message(error: NirankError) -> str:
    """The message of an error, without the paths of files of this machine."""
    return error.message if isinstance(error, BadInput) else str(error)


async def refuse_unknown_parameters(request: Request) -> None:
    """Refuse what an address asks for and its path does not know: a `where` misspelt would narrow nothing."""
    described = request.app.openapi()["paths"][request.scope["route"].path_format][request.method.lower()]
    known = [each["name"] for each in described.get("parameters", []) if each["in"] == "query"]
    unknown = [name for name in request.query_params if name not in known]
    if unknown:
        raise HTTPException(422, f"There is no parameter {unknown[0]!r:.200}. Known: {', '.join(known) or 'none'}.")


def answer_faults(app: FastAPI) -> None:
    """Have an application answer errors in this form."""
    app.add_exception_handler(RequestValidationError, _invalid)  # type: ignore[arg-type]
    app.add_exception_handler(405, _by_other_methods)  # type: ignore[arg-type]
    app.add_exception_handler(NirankError, _of_nirank)  # type: ignore[arg-type]
    app.add_exception_handler(Exception, _unexpected)


async def _invalid(request: Request, error: RequestValidationError) -> JSONResponse:
    del request
    faults = error.errors()
    if any(fault["type"] == "json_invalid" for fault in faults):
        return _answer(400, f"The request is not JSON: {faults[0]['ctx']['error']}.")
    return _answer(422, "; ".join(f"{_place(fault['loc'])}: {fault['msg']}" for fault in faults[:5]))


async def _by_other_methods(request: Request, error: HTTPException) -> JSONResponse:
    """Say by which methods a path can be asked: all of them, and not only those of the first route that has it."""
    template = getattr(request.scope.get("route"), "path_format", "")
    known = [method.upper() for method in request.app.openapi()["paths"].get(template, ())]
    allowed = ", ".join(known) or (error.headers or {}).get("Allow", "")
    return JSONResponse({"detail": f"{request.method} is not for this path; {allowed} is."}, 405, {"Allow": allowed})


async def _of_nirank(request: Request, error: NirankError) -> JSONResponse:
    if isinstance(error, _OF_THE_REQUEST) and not isinstance(error, DamagedFile):
        return _answer(422, message(error))
    return await _unexpected(request, error)


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    log.error("%s %s failed: %s", request.method, request.url.path, error, exc_info=error)
    return _answer(500, f"The server failed ({type(error).__name__}); its log says more.")


def _answer(status: int, detail: str) -> JSONResponse:
    return JSONResponse({"detail": detail.encode("utf-8", "backslashreplace").decode()}, status)


def _place(where: Sequence[Any]) -> str:
    return ".".join(map(str, where[1:] or where)) or "the request"
