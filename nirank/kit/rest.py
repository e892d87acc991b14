"""Asking a server over HTTP: with a bound of time and of tries, and secrets that go to one host alone."""

from __future__ import annotations

import base64
import functools
import json
import logging
import os
import time
import weakref
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar
from urllib.parse import urlsplit

from nirank.errors import BadInput, ComponentError, MissingDependency
from nirank.kit.endpoint import Asking

log = logging.getLogger("nirank")

Input = TypeVar("Input")
Result = TypeVar("Result")
#: Statuses of a server that may answer another time.
PASSING = (408, 429, 500, 502, 503, 504)
#: Seconds before the second try; each wait is twice the one before, up to the last.
_FIRST_PAUSE, _LAST_PAUSE = 0.25, 8.0
#: Characters of a server's message that are shown, and the shortest secret that is looked for in it.
_SHOWN, _SHORTEST = 300, 4


class AwayForNow(Exception):
    """A server that does not answer, or says that it cannot now: it may another time."""


class Refusal(BadInput):
    """A request that a server refuses, with the status of its answer."""

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


@dataclass(frozen=True)
class Login:
    """The secrets that a kind of server wants: names of variables, after their common beginning, and the headers.

    `headers` makes them of the values of these variables, of which unset ones are "".
    """

    names: tuple[str, ...]
    headers: Callable[..., dict[str, str]]


def bearer(token: str) -> dict[str, str]:
    """The header with a token (RFC 6750)."""
    return {"Authorization": f"Bearer {token}"} if token else {}


def key_or_basic(key: str, user: str, password: str) -> dict[str, str]:
    """The header with an API key as Elasticsearch has them, or with a user and a password (RFC 7617)."""
    if key:
        return {"Authorization": f"ApiKey {key}"}
    both = base64.b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {both}"} if user or password else {}


def key_alone(key: str) -> dict[str, str]:
    """The header with an API key as Qdrant has it."""
    return {"api-key": key} if key else {}


BEARER = Login(("TOKEN",), bearer)
API_KEY = Login(("API_KEY",), key_alone)
KEY_OR_BASIC = Login(("API_KEY", "USER", "PASSWORD"), key_or_basic)


class HTTPClient:
    """A client of a server at an address that has no secrets in it.

    `variable` is the beginning of the names of environment variables: the secrets of `login`, as in {variable}_TOKEN,
    are sent to the host in {variable}_URL alone, so that an experiment of somebody else cannot send them away; where
    there is no `url`, that is the address. {variable}_CERTIFICATE names a file with the certificate of an authority
    that the system does not know. `extra` is the one that brings httpx.
    """

    def __init__(
        self,
        url: str | None,
        variable: str,
        asking: Asking,
        login: Login = BEARER,
        transport: Any = None,
        extra: str = "remote",
    ) -> None:
        if not variable.isidentifier():
            raise BadInput("`variable` is the beginning of the names of environment variables, and never a token.")
        if asking.tries < 1 or asking.at_once < 1 or asking.timeout <= 0:
            raise BadInput(f"{asking}: tries and at_once are numbers from 1, and timeout is above 0.")
        import_httpx(extra)  # now, not when it is asked
        self.variable, self.asking, self.login, self._transport = variable, asking, login, transport
        self.url = _checked(url or os.environ.get(f"{variable}_URL") or "", variable).rstrip("/")

    def get(self, path: str) -> Any:
        """Send a GET request; the answer, as JSON has it."""
        return self.retried(lambda: self.once("GET", path))

    def post(self, path: str, body: Any) -> Any:
        """Send a POST request; the answer, as JSON has it.

        Raises `BadInput` where it does not answer, wants a token, or refuses (`Refusal`); `ComponentError` for what is
        no JSON.
        """
        return self.retried(lambda: self.once("POST", path, as_json(body)))

    def retried(self, call: Callable[[], Result]) -> Result:
        """The result of `call`, which is called again where it raises `AwayForNow`, and no more often than is set."""
        fault = ""
        for failed in range(self.asking.tries):
            if failed:
                time.sleep(min(_FIRST_PAUSE * 2 ** (failed - 1), _LAST_PAUSE))
            try:
                return call()
            except AwayForNow as error:
                fault = str(error)
        raise BadInput(
            f"{self.url} does not answer, tried {self.asking.tries} times; at last: {fault}. See that it runs, and "
            "that the address is right."
        )

    def once(
        self,
        method: str,
        path: str,
        content: bytes | None = None,
        kind: str = "application/json",
        read: Callable[[bytes], Any] = json.loads,
    ) -> Any:
        """Send one request, of the media type `kind`; the answer, as `read` makes it of bytes.

        Raises `AwayForNow` where it may answer another time, and else as `post` does.
        """
        headers = self._headers() | ({} if content is None else {"Content-Type": kind})
        try:
            response = self._client.request(method, path, content=content, headers=headers)
        except import_httpx().TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise BadInput(
                    f"{self.url} shows a certificate that nobody known vouches for: name the file with that of its "
                    f"authority in {self.variable}_CERTIFICATE, if you trust it."
                ) from error
            raise AwayForNow(self._shown(f"{type(error).__name__}: {error}")) from error
        if response.status_code in PASSING:
            raise AwayForNow(f"status {response.status_code}, {self._shown(response.text)!r}")
        self._refuse(response, path)
        try:
            return read(response.content)
        except ValueError as error:
            said = self._shown(response.text)
            raise ComponentError(f"{self.url} answered {said!r} to {path}, which is no JSON.") from error

    def at_once(self, ask: Callable[[Input], Result], inputs: Sequence[Input]) -> list[Result]:
        """The results of a function for several inputs, some of them asked together."""
        with ThreadPoolExecutor(self.asking.at_once) as pool:
            return list(pool.map(ask, inputs))

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in vars(self).items() if name != "_client"}  # which holds connections

    @functools.cached_property
    def _client(self) -> Any:
        httpx, certificate = import_httpx(), os.environ.get(f"{self.variable}_CERTIFICATE")
        client = httpx.Client(
            base_url=self.url,
            timeout=self.asking.timeout,
            limits=httpx.Limits(max_connections=self.asking.at_once),
            transport=self._transport,
            trust_env=False,
            verify=_trusting(certificate, f"{self.variable}_CERTIFICATE") if certificate else True,
        )
        weakref.finalize(self, client.close)
        return client

    def _secrets(self) -> list[str]:
        """The values of the variables of the login."""
        values = [os.environ.get(f"{self.variable}_{name}", "").strip() for name in self.login.names]
        for name, value in zip(self.login.names, values, strict=True):
            if not (value.isascii() or name == "PASSWORD") or not value.isprintable():
                raise BadInput(f"{self.variable}_{name} holds a character that it cannot have; it is not shown here.")
        return values

    def _headers(self) -> dict[str, str]:
        """The headers of the login, where this is the host that it belongs to."""
        home = os.environ.get(f"{self.variable}_URL")
        headers = self.login.headers(*self._secrets())
        return headers if home is not None and _origin(home) == _origin(self.url) else {}

    def _shown(self, text: str) -> str:
        """The beginning of a message of the server, without a secret that it may repeat."""
        secrets = self._secrets()
        sent = [value.rpartition(" ")[2] for value in self.login.headers(*secrets).values()]
        for secret in [*secrets, *sent]:
            text = text.replace(secret, "***") if len(secret) >= _SHORTEST else text
        return text[:_SHOWN]

    def _refuse(self, response: Any, path: str) -> None:
        """Raise `Refusal` for an answer that is no success."""
        status = response.status_code
        if status in (401, 403):
            names = " or ".join(f"{self.variable}_{name}" for name in self.login.names)
            raise Refusal(
                f"{self.url} wants a token (status {status}): set {names} to it, and {self.variable}_URL "
                f"to this address, the one host that it is sent to. It said {self._shown(response.text)!r}.",
                status,
            )
        if status >= 300:
            raise Refusal(f"{self.url} refuses {path}: status {status}, {self._shown(response.text)!r}.", status)


def as_json(body: Any) -> bytes:
    """The bytes of a body; what no encoding has is escaped."""
    return json.dumps(body, separators=(",", ":")).encode()


def in_lines(bodies: Sequence[Mapping[str, Any]]) -> bytes:
    """The bytes of bodies in lines of JSON (NDJSON), each of which ends."""
    return b"".join(as_json(body) + b"\n" for body in bodies)


@functools.cache
def import_httpx(extra: str = "remote") -> Any:
    """The package. Raises `MissingDependency`, with the extra that brings it, where it is not installed."""
    try:
        import httpx
    except ModuleNotFoundError as error:
        raise MissingDependency(
            f"asking a server needs the package httpx. Run: pip install 'nirank[{extra}]'"
        ) from error
    return httpx


def _trusting(certificate: str, variable: str) -> Any:
    """A context that trusts the authority in a file. Raises `BadInput` where it cannot be read."""
    import ssl

    try:
        return ssl.create_default_context(cafile=certificate)
    except (OSError, ssl.SSLError) as error:
        raise BadInput(f"{variable} = {certificate!r} is no file with a certificate: {error}.") from error


def _checked(url: str, variable: str) -> str:
    """An address. Raises `BadInput` for none, and for one with a password, which is not repeated."""
    if not url.startswith(("http://", "https://")) or any(sign in url for sign in "@?#"):
        raise BadInput(
            f"a server is named by `url` or {variable}_URL, as in 'http://host:8000', without a user or a password."
        )
    try:
        import_httpx().URL(url)
    except import_httpx().InvalidURL as error:
        raise BadInput(f"{url!r} is no address of a server: {error}.") from error
    return url


def _origin(url: str) -> tuple[str, str]:
    """The scheme and the host, with its port, of an address."""
    parts = urlsplit(url.lower())
    return parts.scheme, parts.netloc
