"""Who may ask and how much, before a request is read: hosts, tokens, lengths; and headers that keep a page safe."""

from __future__ import annotations

import asyncio
import hmac
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nirank.serving.options import Options

#: Bytes of a request's body.
LONGEST_BODY = 8 * 2**20
#: Seconds in which it has to come.
LONGEST_WAIT = 30.0
LOOPBACK = ("127.0.0.1", "localhost", "::1")
#: What anybody may have: the page, which asks for the token itself, and whether the server lives.
_OPEN = ("/health", "/ready")
_PAGE = "/page/"
_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'self'; img-src 'self' data: blob:; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
}


@dataclass(frozen=True)
class Guard:
    """Lets requests pass to an application that may; refuses the others without reading them.

    Without a token, requests must be for a host of this machine by name: else a page on the web could have its own
    name lead here. Pages of other origins change nothing.
    """

    app: ASGIApp
    options: Options

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request, or hand it on."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        sending = _with_headers(send)
        refusal = self._refusal(scope, Headers(scope=scope))
        if refusal:
            await refusal(scope, receive, sending)
        else:
            await self.app(scope, _bounded(receive), sending)

    def _refusal(self, scope: Scope, headers: Headers) -> JSONResponse | None:
        if not self._for_us(headers):
            return _refused(403, "the server answers for hosts of this machine only, such as localhost.")
        if not self._known(scope["path"], headers):
            said = "this server wants a token: send `Authorization: Bearer TOKEN`."
            return _refused(401, said, {"WWW-Authenticate": "Bearer"})
        if scope["method"] not in ("GET", "HEAD", "OPTIONS") and _from_elsewhere(headers):
            return _refused(403, "a page of another origin may not send this.")
        length = headers.get("content-length", "0")
        if length.isdecimal() and int(length[:20]) > LONGEST_BODY:
            return _refused(413, _TOO_LONG)
        return None

    def _for_us(self, headers: Headers) -> bool:
        """True for a request by a name of this machine, and where a token shows who asks."""
        if self.options.token is not None:
            return True
        named = _host(f"//{headers.get('host', '')}")
        return named in LOOPBACK or named == self.options.host

    def _known(self, path: str, headers: Headers) -> bool:
        token = self.options.token
        if token is None or path in ("/", *_OPEN) or path.startswith(_PAGE):
            return True
        scheme, _, shown = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(shown.strip().encode("latin-1"), token.encode())


_TOO_LONG = f"the request is longer than {LONGEST_BODY:,} bytes. Send a smaller image, or fewer documents at a time."


def _from_elsewhere(headers: Headers) -> bool:
    """True for what a browser sends for a page of another origin."""
    origin = headers.get("origin")
    if headers.get("sec-fetch-site") == "cross-site":
        return True
    return origin is not None and urlsplit(origin).netloc.lower() != headers.get("host", "").lower()


def _host(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:
        return None


def _refused(status: int, detail: str, headers: dict[str, str] | None = None) -> JSONResponse:
    return JSONResponse({"detail": detail}, status, headers)


def _bounded(receive: Receive) -> Receive:
    """The same, refusing a body that grows too long without having said so, or does not come to its end."""
    read, end = 0, asyncio.get_running_loop().time() + LONGEST_WAIT
    whole = False

    async def bounded() -> Message:
        nonlocal read, whole
        try:
            async with asyncio.timeout_at(None if whole else end):
                message = await receive()
        except TimeoutError:
            raise HTTPException(408, f"the request did not come whole within {LONGEST_WAIT:g} seconds.") from None
        whole = not message.get("more_body", False)
        read += len(message.get("body", b""))
        if read > LONGEST_BODY:
            raise HTTPException(413, _TOO_LONG)
        return message

    return bounded


def _with_headers(send: Send) -> Send:
    """The same, with headers that keep scripts of others out of the page."""

    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in _HEADERS.items():
                headers.setdefault(name, value)
        await send(message)

    return sending
