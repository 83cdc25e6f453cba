"""HTTP/1.1 as uvicorn speaks it, with deadlines and bounds on what comes before and around a request.

uvicorn waits for a request for as long as its client likes and takes headers of any length; a few hundred idle sockets
then keep everybody out. Belongs here: heads that are late or long, answers that are not taken, and the wording of what
is refused before the application hears of it. Does not: bodies (`middleware.BodyLimit`).
"""

import asyncio
from http import HTTPStatus
from typing import Any

import msgspec
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from serving.problems import MEDIA_TYPE

HEAD_SECONDS = 15.0
"""From the connection, or the first byte of another request, until the headers are complete."""
WRITE_SECONDS = 60.0
"""For which a client may take nothing of an answer."""
MAX_HEAD_BYTES = 64 * 2**10
"""Of request line, headers and trailers; what frames a body in chunks may add sixteen bytes for each of its own."""
_FRAMING = 16


def _refusal(status: HTTPStatus, detail: str) -> bytes:
    problem = {"type": "about:blank", "title": status.phrase, "status": status.value, "detail": detail}
    body = msgspec.json.encode(problem)
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}\r\ncontent-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\n"
        "cache-control: no-store\r\nconnection: close\r\n\r\n"
    )
    return head.encode() + body


class GuardedProtocol(HttpToolsProtocol):
    """A connection that ends when its client dawdles."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        # uvicorn would refuse the requests of everybody as soon as there are more connections, and those that are
        # being refused count too: in a flood of them nobody who was let in would be answered.
        self._bound, self.limit_concurrency = self.limit_concurrency, None
        self._head_timer: asyncio.TimerHandle | None = None
        self._write_timer: asyncio.TimerHandle | None = None
        self._fed = 0
        self._body = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client has come: it has a while to say what it wants."""
        super().connection_made(transport)
        if self._bound is not None and len(self.connections) >= self._bound:
            # Those who are here already go on.
            self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, "too many connections are open: try again in a moment")
            return
        self._expect_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """The client has gone, or was sent away."""
        self._head_is_there()
        self._may_write()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take what came, if it is not too much."""
        if self._is_idle():
            self._expect_head()
        self._fed += len(data)
        super().data_received(data)
        if self._fed - self._body > MAX_HEAD_BYTES + _FRAMING * self._body and not self.transport.is_closing():
            self._refuse(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, f"the headers are longer than {MAX_HEAD_BYTES >> 10} KiB"
            )

    def on_headers_complete(self) -> None:
        """The application takes over."""
        self._head_is_there()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """A part of a body."""
        self._body += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """The request is complete; another may follow."""
        self._fed = self._body = 0
        super().on_message_complete()

    def pause_writing(self) -> None:
        """The client does not take what it asked for."""
        super().pause_writing()
        if self._write_timer is None:
            self._write_timer = self.loop.call_later(WRITE_SECONDS, self.transport.abort)

    def resume_writing(self) -> None:
        """The client takes it."""
        self._may_write()
        super().resume_writing()

    def send_400_response(self, msg: str) -> None:
        """Answer what is no HTTP."""
        self._refuse(HTTPStatus.BAD_REQUEST, msg)

    def _refuse(self, status: HTTPStatus, detail: str) -> None:
        # In the middle of an answer there is no place for another: the connection just ends.
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            self.transport.write(_refusal(status, detail))
        self.transport.close()

    def _is_idle(self) -> bool:
        """Whether no request is being answered, so that nothing but another one, or the end, is waited for."""
        return self.cycle is None or self.cycle.response_complete

    def _expect_head(self) -> None:
        if self._head_timer is None:
            self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_is_late)

    def _head_is_late(self) -> None:
        self._head_timer = None
        if not self.transport.is_closing():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT, f"no request came within {HEAD_SECONDS:.0f} s")

    def _head_is_there(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _may_write(self) -> None:
        if self._write_timer is not None:
            self._write_timer.cancel()
            self._write_timer = None
