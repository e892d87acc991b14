"""A search server in a thread, and pages of it in a real browser."""

from __future__ import annotations

import contextlib
import shutil
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from tests.browser import NAMES

#: Milliseconds that a page has for what it is waited for.
PATIENCE = 10_000
#: One process for all tabs, which starts once; and no other host is known.
_FLAGS = (
    *("--no-sandbox", "--disable-gpu", "--disable-extensions", "--disable-background-networking"),
    *("--renderer-process-limit=1", "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"),
)


@contextlib.contextmanager
def serving(app: Any) -> Iterator[str]:
    """The address of an application that is served while this lasts."""
    import uvicorn

    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        assert thread.is_alive(), "the server has not started"
        time.sleep(0.01)
    (port,) = {each.getsockname()[1] for one in server.servers for each in one.sockets}
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join(10)


@contextlib.contextmanager
def chromium() -> Iterator[Any]:
    """A browser without a head; skips where there is none, or nothing to drive it with."""
    playwright = pytest.importorskip("playwright.sync_api", reason="the package playwright drives the browser")
    place = next(filter(None, map(shutil.which, NAMES)), None)
    if place is None:
        pytest.skip("there is no Chromium or Chrome")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=place, args=list(_FLAGS))
        yield browser
        browser.close()


@dataclass
class Tab:
    """A page of the server at `base`, and what happened in it: errors, and addresses of other hosts."""

    page: Any
    base: str
    errors: list[str] = field(default_factory=list)
    elsewhere: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.page.set_default_timeout(PATIENCE)
        self.page.on("console", self._heard)
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("request", self._asked)

    def go(self, address: str = "/") -> Any:
        """Open an address of the server; the page."""
        self.page.goto(self.base + address)
        return self.page

    def _heard(self, message: Any) -> None:
        if message.type in ("error", "warning"):
            self.errors.append(message.text)

    def _asked(self, request: Any) -> None:
        if not request.url.startswith((self.base, "data:", "blob:")):
            self.elsewhere.append(request.url)
