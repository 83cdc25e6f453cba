"""What surrounds every request: its id, its line in the log, bounds, and the answer to the unexpected.

Pure ASGI, since Starlette's `BaseHTTPMiddleware` runs every request in a task of its own, at 0.1 ms and a broken
context variable each.
"""

import asyncio
import logging
import re
import time
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import logs, problems
from serving.addresses import client_of
from serving.metrics import Metrics
from serving.security import is_below
from warehouse.availability import unavailability
from warehouse.ids import new_id

REQUEST_ID = "X-Request-ID"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""Ids that are taken over: nothing that could break a header or a line of a log."""

MAX_BODY_BYTES = 2**20
"""Of a request: more than any question or list of ids is long."""
MAX_GENERATION_BYTES = 32 * 2**20
"""Of a request that may carry a few input images in base64."""
_GENERATING = ("/generation", "/deliveries", "/compose")
"""What takes a generator's parameters, images among them."""
_BODY_SECONDS = 20.0
_BODY_BYTES_PER_SECOND = 16 * 2**10
"""A body must arrive within so many seconds, and may take longer only while it arrives at least so fast."""
_CLOSE = {"Connection": "close"}

_SHOWN_CHARACTERS = 500
_DEFAULT_HEADERS = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    # An answer is data: whoever opens it as a page gets one that can load and run nothing.
    (b"content-security-policy", b"default-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"),
    (b"cache-control", b"no-store"),
)
"""Of every answer that does not say otherwise."""

_log = logging.getLogger("serving.requests")


class RequestContext:
    """Takes or makes the request's id, returns it with the headers of every answer, counts and logs the request."""

    def __init__(self, app: ASGIApp, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        request_id = _taken_over(scope) or new_id()
        # The server shares one state among all requests: this one gets a copy of its own.
        state = scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        # Looked up now: what is inside may rewrite it.
        method = scope.get("method", "WEBSOCKET")
        token = logs.request_id.set(request_id)
        began = time.perf_counter()
        status = sent = 0

        async def tagged(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = _completed(message.get("headers", ()), request_id, state)
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        self._metrics.began(method)
        try:
            await self._app(scope, receive, tagged)
        finally:
            seconds = time.perf_counter() - began
            self._metrics.answered(scope, method, status, seconds, sent)
            _log.info(
                "%s %s",
                method,
                scope["path"][:_SHOWN_CHARACTERS],
                extra={
                    "status": status,
                    "ms": round(seconds * 1000, 2),
                    "key": state.get("key_name"),
                    "client": client_of(scope),
                },
            )
            logs.request_id.reset(token)


def _taken_over(scope: Scope) -> str | None:
    """The id that the client gave, if it is one."""
    for name, value in scope["headers"]:
        if name == b"x-request-id":
            given = value.decode("latin-1")
            return given if _ACCEPTABLE.fullmatch(given) else None
    return None


def _completed(
    headers: Iterable[tuple[bytes, bytes]], request_id: str, state: Mapping[str, Any]
) -> list[tuple[bytes, bytes]]:
    """The headers of an answer with its id and those that every answer has; what a handler chose stays."""
    complete = list(headers)
    present = dict(complete)
    complete += [header for header in _DEFAULT_HEADERS if header[0] not in present]
    complete.append((b"x-request-id", request_id.encode()))
    # The answer of a cache to a page must not be that to another origin, whether or not this request named one.
    if b"origin" not in present.get(b"vary", b"").lower():
        complete.append((b"vary", b"Origin"))
    if "rate_headers" in state:
        named = ((name.lower().encode(), value.encode()) for name, value in state["rate_headers"].items())
        complete += [header for header in named if header[0] not in present]
    return complete


class UnexpectedErrors:
    """Answers 503 where the database cannot be had, and 500 for whatever no handler foresaw, telling the client an id
    and the log the rest."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = started or message["type"] == "http.response.start"
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception as error:
            reason = unavailability(error)
            if reason is not None and not started:
                # A line, not a trace: while the database is gone every request brings one.
                _log.error("the database is %s: %s", reason, _first_line(error))
                await problems.response(problems.database_unavailable(reason), scope)(scope, receive, send)
                return
            _log.exception("unexpected error")
            if started:
                # Half an answer cannot become another one: the server closes the connection.
                raise
            problem = problems.Problem(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                f"something unexpected went wrong; the log has it under request id {scope['state']['request_id']}",
            )
            await problems.response(problem, scope)(scope, receive, send)


def _first_line(error: Exception) -> str:
    """What the driver says, without the statement and its values."""
    said = str(getattr(error, "orig", None) or error).strip()
    return said.partition("\n")[0][:_SHOWN_CHARACTERS]


class BodyLimit:
    """Refuses bodies that are too large, by the length they announce before they are read, else while they are, and
    bodies that arrive too slowly: whoever sends a byte a minute holds a connection for nothing.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = chunked = ""
        for name, value in scope["headers"]:
            if name == b"content-length":
                announced = value.decode("latin-1")
            elif name == b"transfer-encoding":
                chunked = value.decode("latin-1")
        if not announced and not chunked:
            # In HTTP/1 a request without either has no body.
            await self._app(scope, receive, send)
            return
        limit = body_limit(scope["path"])
        if announced.isdecimal() and int(announced[:20]) > limit:
            await problems.response(_too_large(limit), scope)(scope, receive, send)
            return
        received = 0
        complete = False
        began = time.monotonic()

        async def counted() -> Message:
            nonlocal received, complete
            if complete:
                # What is waited for now is that the client leaves.
                return await receive()
            try:
                async with asyncio.timeout(
                    began + _BODY_SECONDS + received / _BODY_BYTES_PER_SECOND - time.monotonic()
                ):
                    message = await receive()
            except TimeoutError:
                # The framework lets its own exception through, and would take any other for malformed JSON.
                raise HTTPException(
                    HTTPStatus.REQUEST_TIMEOUT, "the body did not arrive in time: send it at once", headers=_CLOSE
                ) from None
            received += len(message.get("body", b""))
            complete = not message.get("more_body", False)
            if received > limit:
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large(limit).detail, headers=_CLOSE)
            if complete:
                scope["state"]["received"] = received
            return message

        await self._app(scope, counted, send)


def body_limit(path: str) -> int:
    """The bytes that the body of a request to a path may have."""
    return MAX_GENERATION_BYTES if is_below(path, _GENERATING) else MAX_BODY_BYTES


def _too_large(limit: int) -> problems.Problem:
    detail = f"the body is larger than {limit // 2**20} MiB: send less at once"
    # What is left of the body is nobody's next request.
    return problems.Problem(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, detail, headers=_CLOSE)


class HeadAsGet:
    """Answers HEAD where there is GET, as RFC 9110 asks, without the body."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http" or scope["method"] != "HEAD":
            await self._app(scope, receive, send)
            return

        async def bodiless(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        inner = {**scope, "method": "GET"}
        try:
            await self._app(inner, receive, bodiless)
        finally:
            # What is around this counts by the route that answered.
            scope["route"] = inner.get("route")


class PlainErrors:
    """Turns errors that the framework words as plain text into problems: a refused preflight, a range beyond a file.

    The rest of their headers stays: a 416 says how long the file is.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        refused: Message | None = None
        text = b""

        async def worded(message: Message) -> None:
            nonlocal refused, text
            if message["type"] == "http.response.start" and _is_plain_error(message):
                refused = message
            elif refused is None:
                await send(message)
            elif message["type"] == "http.response.body":
                text += message.get("body", b"")
                if not message.get("more_body", False):
                    await problems.response(_as_problem(refused, text), scope)(scope, receive, send)

        await self._app(scope, receive, worded)


def _is_plain_error(start: Message) -> bool:
    plain = Headers(raw=start["headers"]).get("content-type", "").startswith("text/plain")
    return plain and start["status"] >= HTTPStatus.BAD_REQUEST


def _as_problem(start: Message, text: bytes) -> problems.Problem:
    headers = {
        name: value
        for name, value in Headers(raw=start["headers"]).items()
        if name not in ("content-type", "content-length")
    }
    detail = text.decode("utf-8", "replace").strip() or "the range asked for is not in the file"
    return problems.Problem(start["status"], detail, headers=headers)
