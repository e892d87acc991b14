"""A server that runs until it is told to end: `nirank serve`."""

from __future__ import annotations

import ipaddress
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import FrameType

from nirank.errors import BadInput, MissingDependency
from nirank.experiments.plugin_beside import load_beside
from nirank.plugins import observers
from nirank.serving.opening import Source
from nirank.serving.options import Options
from nirank.serving.state import Holder

#: Seconds that running requests have when the server ends.
_TO_FINISH = 30


def serve(source: Source, options: Options, tell: Callable[[str], None] = print) -> None:
    """Serve until a signal ends it: requests that run are answered, new ones are not begun.

    `tell` is given the address once all is open.

    Raises `BadInput` where others could reach it and no token is set, `MissingDependency` without the extra `serve`.
    """
    refuse_open_door(options)
    with _needing_the_extra():
        import uvicorn

        from nirank.serving.app import application
        from nirank.serving.connections import Impatient, allow_many
    load_beside(source.experiment)
    with ExitStack() as stack:
        stack.enter_context(observers.switched_on(source.experiment.observers()))
        app = application(Holder(source.open()), options, source)

        class Server(uvicorn.Server):
            """Lets nothing new in from the signal on."""

            def handle_exit(self, sig: int, frame: FrameType | None) -> None:
                app.state.served.limits.closing = True
                super().handle_exit(sig, frame)

        config = uvicorn.Config(
            app,
            http=Impatient,
            host=options.host,
            port=options.port,
            log_level="warning",
            timeout_graceful_shutdown=_TO_FINISH,
            server_header=False,
        )
        allow_many()
        tell(f"http://{options.host}:{options.port}")
        Server(config).run()


def serve_stdio(source: Source, options: Options) -> None:
    """Serve the tools of MCP on standard input and output, until the input ends.

    Raises `MissingDependency` without the extra `serve`.
    """
    with _needing_the_extra():
        import anyio

        from nirank.serving.mcp import server
        from nirank.serving.served import Served
    load_beside(source.experiment)
    with ExitStack() as stack:
        stack.enter_context(observers.switched_on(source.experiment.observers()))
        served = Served(Holder(source.open()), options)
        stack.enter_context(served.watch.watching())
        stack.callback(served.close)
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
