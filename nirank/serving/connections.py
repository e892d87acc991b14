"""Connections of clients that are slow on purpose, or never stop: heads of requests must be short, and come in time.

uvicorn waits for a request's head as long as a client likes, and httptools reads one of any length. Some hundred
clients that send a byte now and then would hold all connections that a process may have.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

#: Seconds in which a head has to come, and its bytes at most.
SECONDS, LONGEST = 10.0, 64 * 1024
_TOO_LONG = f"The head of the request has more than {LONGEST:,} bytes: send a query that long by POST."
#: Seconds after which an answer that is not read is dropped.
UNREAD = 60.0
#: Files, and so connections, that a server opens at most, where the system lets it.
_FILES = 65_536


def allow_many() -> None:
    """Have the process open as many files as the system lets it: what it allows at first is often 1,024."""
    with suppress(ImportError, OSError, ValueError):
        import resource

        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        most = _FILES if hard == resource.RLIM_INFINITY else min(hard, _FILES)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, most), hard))


class Impatient(HttpToolsProtocol):
    """A connection that is closed where a head takes more than `SECONDS`, or has more than `LONGEST` bytes.

    So it is where the client reads nothing of an answer for `UNREAD` seconds.
    """

    _timer: asyncio.TimerHandle | None = None
    _unread: asyncio.TimerHandle | None = None
    _received = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Wait for the first head."""
        super().connection_made(transport)  # type: ignore[arg-type]
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._head_is_here()
        self._stop_watching_the_reader()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Read what has come; refuse a head that is too long."""
        self._received += len(data)
        super().data_received(data)
        if self._timer is not None and self._received > LONGEST:
            self._refuse(431, _TOO_LONG)

    def send_400_response(self, msg: str) -> None:
        """Refuse what could not be read, as everything is refused; httptools reads no address of 64 KB."""
        if self._received > LONGEST:
            self._refuse(431, _TOO_LONG)
        else:
            self._refuse(400, msg)

    def on_message_begin(self) -> None:
        """Wait for another head, on a connection that is kept."""
        super().on_message_begin()
        self._await_head()

    def on_headers_complete(self) -> None:
        """Answer the request, whose head is complete."""
        self._head_is_here()
        super().on_headers_complete()

    def pause_writing(self) -> None:
        """Wait for the client to read."""
        super().pause_writing()
        self._unread = self.loop.call_later(UNREAD, self.transport.abort)

    def resume_writing(self) -> None:
        """Write on."""
        self._stop_watching_the_reader()
        super().resume_writing()

    def _stop_watching_the_reader(self) -> None:
        if self._unread is not None:
            self._unread.cancel()
            self._unread = None

    def _await_head(self) -> None:
        if self._timer is None:
            self._received = 0
            told = f"The head of the request did not come within {SECONDS:g} seconds."
            self._timer = self.loop.call_later(SECONDS, self._refuse, 408, told)

    def _head_is_here(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _refuse(self, status: int, detail: str) -> None:
        """Say why, and close; nothing is read any more."""
        self._head_is_here()
        body = f'{{"detail": "{detail}"}}'.encode()
        headers = b"content-type: application/json\r\nconnection: close\r\ncontent-length: "
        self.transport.write(STATUS_LINE[status] + headers + str(len(body)).encode() + b"\r\n\r\n" + body)
        self.transport.close()
