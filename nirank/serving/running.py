"""A server that runs until it is told to end: `nirank serve`."""

from __future__ import annotations

import ipaddress
import math
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, closing, contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from nirank.errors import BadInput, MissingDependency
from nirank.experiments.plugin_beside import load_beside
from nirank.plugins import observers
from nirank.serving.opening import Source
from nirank.serving.options import Options
from nirank.serving.state import Holder

if TYPE_CHECKING:
    from fastapi import FastAPI


def serve(source: Source, options: Options, tell: Callable[[str], None] = print) -> None:
    """Serve until a signal ends it: requests that run are answered, new ones are not begun.

    `tell` is given the address once all is open; port 0 is one that is free. Raises `BadInput` where others could reach
    it and no token is set, for an address that is taken, and where documents cannot change; `MissingDependency`
    without the extra `serve`.
    """
    refuse_open_door(options)
    with _needing_the_extra():
        from nirank.serving.app import application
    with _place(options) as place, _opened(source) as holder:
        app = application(holder, options, source)
        host = f"[{options.host}]" if ":" in options.host else options.host
        _run(app, options, place, lambda: tell(f"http://{host}:{place.getsockname()[1]}"))


def _run(app: FastAPI, options: Options, place: socket.socket, open_: Callable[[], None]) -> None:
    """Serve until a signal; `open_` is called when requests can come."""
    import uvicorn

    from nirank.serving.connections import Impatient, allow_many

    life = AsyncExitStack()

    class Server(uvicorn.Server):
        """Lets nothing new in from the signal on, and has faults of the start raised as they are: uvicorn only logs
        them.
        """

        async def startup(self, sockets: list[socket.socket] | None = None) -> None:
            await life.enter_async_context(app.router.lifespan_context(app))
            await super().startup(sockets)
            open_()

        async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
            await super().shutdown(sockets)
            await life.aclose()

        def handle_exit(self, sig: int, frame: FrameType | None) -> None:
            app.state.served.limits.closing = True
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app,
        http=Impatient,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=math.ceil(options.deadline) + 1,
    )
    allow_many()
    Server(config).run([place])


@contextmanager
def _place(options: Options) -> Iterator[socket.socket]:
    """The address, taken, but closed to connections until the server is there. Raises `BadInput` where it cannot be."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(options.host, options.port, type=socket.SOCK_STREAM)[0]
        place = socket.socket(family, kind, protocol)
    except OSError as error:
        raise BadInput(f"cannot be listened at: {error.strerror}.", options.host) from None
    with place:
        try:
            if os.name == "posix":  # elsewhere the option would let two servers have one address
                place.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            place.bind(address)
        except OSError as error:
            said = f"port {options.port} cannot be listened at: {error.strerror}. Name another one with --port."
            raise BadInput(said, options.host) from None
        yield place


@contextmanager
def _opened(source: Source) -> Iterator[Holder]:
    """The present state, with the observers of the experiment switched on."""
    load_beside(source.experiment)
    with observers.switched_on(source.experiment.observers()):
        yield Holder(source.open())


def serve_stdio(source: Source, options: Options) -> None:
    """Serve the tools of MCP on standard input and output, until the input ends.

    Raises `MissingDependency` without the extra `serve`.
    """
    with _needing_the_extra():
        import anyio

        from nirank.serving.mcp import server
        from nirank.serving.served import Served
    with _opened(source) as holder:
        served = Served(holder, options)
        with served.watch.watching(), closing(served):
            anyio.run(server(served).run_stdio_async)


@contextmanager
def _needing_the_extra() -> Iterator[None]:
    """Imports in the block that fail raise `MissingDependency`, with the command that installs what they need."""
    try:
        yield
    except ModuleNotFoundError as error:
        message = f"the server needs the package {error.name!r}. Run: pip install 'nirank[serve]'"
        raise MissingDependency(message, name=error.name) from error


def token(file: Path | None) -> str | None:
    """The token in a file, or in the environment variable NIRANK_TOKEN; None where there is neither.

    Raises `BadInput` for a file without one.
    """
    if file is None:
        return os.environ.get("NIRANK_TOKEN") or None
    try:
        found = file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"cannot be read as a token: {error}.", file) from None
    if not found:
        raise BadInput("is empty, and should hold a token.", file)
    return found


def refuse_open_door(options: Options) -> None:
    """Raise `BadInput` where a server without a token could be reached from elsewhere."""
    if options.token is None and not is_loopback(options.host):
        raise BadInput(
            f"--host {options.host} lets other machines in, and there is no token: write one into a file and name it "
            "with --token-file, or set NIRANK_TOKEN."
        )


def is_loopback(host: str) -> bool:
    """True for an address of this machine alone."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
