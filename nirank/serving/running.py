"""A server that runs until it is told to end: `nirank serve`."""

from __future__ import annotations

import ipaddress
import logging
import math
import multiprocessing
import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack, contextmanager
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

log = logging.getLogger("nirank")

#: Seconds that a search which nobody waits for any more has to end, when the server does.
_LAST = 2.0


def serve(source: Source, options: Options, tell: Callable[[str], None] = print) -> None:
    """Serve until a signal ends it: requests that run are answered, new ones are not begun.

    What hangs, as a search does in a shard that does not answer, is left behind: then the process ends at once.
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

    life, bound = AsyncExitStack(), math.ceil(options.deadline) + 1
    leaving: list[threading.Timer] = []

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
            leaving.append(_leave_after(bound + _LAST, 128 + sig))
            super().handle_exit(sig, frame)

    config = uvicorn.Config(
        app,
        http=Impatient,
        lifespan="off",
        access_log=False,
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=bound,
    )
    allow_many()
    try:
        Server(config).run([place])
    finally:
        for timer in leaving:
            timer.cancel()


def _leave_after(seconds: float, status: int) -> threading.Timer:
    """Have this process end after some seconds, and those that it has started: nothing else ends a thread that hangs.

    `status` is what it ends with, unless the timer that is returned is cancelled.
    """
    timer = threading.Timer(seconds, _leave, (status,))
    timer.daemon = True
    timer.start()
    return timer


def _leave(status: int) -> None:
    log.warning("The server ends. Something that it does has not ended, and is left behind.")
    for child in multiprocessing.active_children():
        child.kill()
    sys.stdout.flush()
    os._exit(status)


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
        with served.watch.watching():
            try:
                anyio.run(server(served).run_stdio_async)
            finally:
                leaving = _leave_after(_LAST, 1)
                served.close()
                leaving.cancel()


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
