"""Asking a server over HTTP: with a bound of time and of tries, and a token that goes to one host alone."""

from __future__ import annotations

import functools
import logging
import os
import time
import weakref
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar
from urllib.parse import urlsplit

from nirank.errors import BadInput, ComponentError, MissingDependency
from nirank.kit import Asking

log = logging.getLogger("nirank")

Input = TypeVar("Input")
Result = TypeVar("Result")
#: Answers of a server that may be another one soon.
_PASSING = (408, 429, 500, 502, 503, 504)
#: Seconds before the second try; each wait is twice the one before, up to the last.
_FIRST_PAUSE, _LAST_PAUSE = 0.25, 8.0
#: Characters of a server's message that are shown.
_SHOWN = 300


class Server:
    """A server at an address that has no secrets in it.

    `variable` names two environment variables: the token in {variable}_TOKEN is sent to the host in {variable}_URL
    alone, so that an experiment of somebody else cannot send it away; where there is no `url`, that is the address.
    """

    def __init__(self, url: str | None, variable: str, asking: Asking, transport: Any = None) -> None:
        if not variable.isidentifier():
            raise BadInput("`variable` is the beginning of the names of environment variables, and never a token.")
        self.variable, self.asking, self._transport = variable, asking, transport
        self.url = _checked(url or os.environ.get(f"{variable}_URL") or "", variable).rstrip("/")
        httpx()  # now, not when it is asked

    def get(self, path: str) -> Any:
        """What the server answers to a GET request, as JSON has it."""
        return self._asked("GET", path, None)

    def post(self, path: str, body: Any) -> Any:
        """What the server answers to a POST request, as JSON has it.

        Raises `BadInput` where it does not answer, wants a token, or refuses; `ComponentError` for what is no JSON.
        """
        return self._asked("POST", path, body)

    def at_once(self, ask: Callable[[Input], Result], inputs: Sequence[Input]) -> list[Result]:
        """The results of a function for several inputs, some of them asked together."""
        with ThreadPoolExecutor(self.asking.at_once) as pool:
            return list(pool.map(ask, inputs))

    @functools.cached_property
    def _client(self) -> Any:
        limits = httpx().Limits(max_connections=self.asking.at_once)
        client = httpx().Client(
            base_url=self.url, timeout=self.asking.timeout, limits=limits, transport=self._transport, trust_env=False
        )
        weakref.finalize(self, client.close)
        return client

    def _asked(self, method: str, path: str, body: Any) -> Any:
        fault = ""
        for failed in range(self.asking.tries):
            if failed:
                time.sleep(min(_FIRST_PAUSE * 2 ** (failed - 1), _LAST_PAUSE))
            try:
                response = self._client.request(method, path, json=body, headers=self._headers())
            except httpx().TransportError as error:
                fault = f"{type(error).__name__}: {error}"
                continue
            if response.status_code not in _PASSING:
                return self._read(response, path)
            fault = f"status {response.status_code}, {response.text[:_SHOWN]!r}"
        raise BadInput(
            f"{self.url} does not answer, tried {self.asking.tries} times; at last: {fault}. See that it runs, and "
            "that the address is right."
        )

    def _headers(self) -> dict[str, str]:
        """The token, where this is the host that it belongs to."""
        home, token = os.environ.get(f"{self.variable}_URL"), os.environ.get(f"{self.variable}_TOKEN", "").strip()
        if not (token.isascii() and token.isprintable()):
            raise BadInput(f"{self.variable}_TOKEN holds a character that no token can have; it is not shown here.")
        known = home is not None and _origin(home) == _origin(self.url)
        return {"Authorization": f"Bearer {token}"} if token and known else {}

    def _read(self, response: Any, path: str) -> Any:
        status, said = response.status_code, response.text[:_SHOWN]
        if status in (401, 403):
            raise BadInput(
                f"{self.url} wants a token (status {status}): set {self.variable}_TOKEN to it, and {self.variable}_URL "
                "to this address, the one host that it is sent to."
            )
        if status >= 300:
            raise BadInput(f"{self.url} refuses {path}: status {status}, {said!r}.")
        try:
            return response.json()
        except ValueError as error:
            raise ComponentError(f"{self.url} answered {said!r} to {path}, which is no JSON.") from error


@functools.cache
def httpx() -> Any:
    """The package. Raises `MissingDependency` where it is not installed."""
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise MissingDependency("asking a server needs the package httpx. Run: pip install 'nirank[remote]'") from error
    return httpx


def _checked(url: str, variable: str) -> str:
    """An address. Raises `BadInput` for none, and for one with a password, which is not repeated."""
    if not url.startswith(("http://", "https://")) or "@" in url:
        raise BadInput(
            f"a server is named by `url` or {variable}_URL, as in 'http://host:8000', without a user or a password."
        )
    try:
        httpx().URL(url)
    except httpx().InvalidURL as error:
        raise BadInput(f"{url!r} is no address of a server: {error}.") from error
    return url


def _origin(url: str) -> tuple[str, str]:
    """The scheme and the host, with its port, of an address."""
    parts = urlsplit(url.lower())
    return parts.scheme, parts.netloc
