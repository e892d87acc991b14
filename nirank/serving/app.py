"""The web application: its parts, what guards it, and its life."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from importlib.metadata import version
from pathlib import Path

from fastapi import FastAPI
from fastapi.responses import FileResponse
from fastapi.staticfiles import StaticFiles

from nirank.serving import comparing_routes, judging_routes, living_routes, mcp, metrics, routes
from nirank.serving.guard import Guard
from nirank.serving.opening import Source
from nirank.serving.options import Options
from nirank.serving.refusals import answer_faults
from nirank.serving.served import Served
from nirank.serving.state import Holder

PAGE = Path(__file__).parent / "page"
#: Parts of the server beside searching, in the order in which they are added.
_PARTS = (judging_routes, comparing_routes, living_routes, mcp, metrics)


def application(holder: Holder, options: Options | None = None, source: Source | None = None) -> FastAPI:
    """The application that serves a state, and every one that takes its place in `holder`."""
    app = FastAPI(title="nirank", version=version("nirank"), docs_url=None, redoc_url=None, lifespan=_living)
    app.state.served = served = Served(holder, options or Options(), source)
    answer_faults(app)
    app.include_router(routes.paths)
    app.add_middleware(Guard, options=served.options)
    for part in _PARTS:
        part.add_to(app, served)
    app.add_api_route("/", _page, include_in_schema=False)
    app.mount("/page", StaticFiles(directory=PAGE), name="page")
    return app


async def _page() -> FileResponse:
    return FileResponse(PAGE / "index.html", headers={"Cache-Control": "no-cache"})


@asynccontextmanager
async def _living(app: FastAPI) -> AsyncIterator[None]:
    """The life of an application: from its first request to the end of the last one."""
    served: Served = app.state.served
    async with AsyncExitStack() as stack:
        stack.callback(served.close)
        stack.enter_context(served.watch.watching())
        for running in served.running:
            await stack.enter_async_context(running())
        yield
