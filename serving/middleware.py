"""What surrounds every request: its id, its line in the log, bounds, and the answer to the unexpected.

Pure ASGI, since Starlette's `BaseHTTPMiddleware` runs every request in a task of its own, at 0.1 ms and a broken
context variable each.
"""

import logging
import re
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import logs, problems
from warehouse.ids import new_id

REQUEST_ID = "X-Request-ID"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""Ids that are taken over: nothing that could break a header or a line of a log."""

MAX_BODY_BYTES = 32 * 2**20
"""Of a request: what a generator takes as a few input images in base64, and no more than a process can hold."""

_log = logging.getLogger("serving.requests")


class RequestContext:
    """Takes or makes the request's id, returns it, and logs the request when it has been answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = Headers(scope=scope).get(REQUEST_ID, "")
        request_id = given if _ACCEPTABLE.fullmatch(given) else new_id()
        # The server shares one state among all requests: this one gets a copy of its own.
        scope["state"] = {**scope.get("state", {}), "request_id": request_id}
        token = logs.request_id.set(request_id)
        began = time.perf_counter()
        status = 0

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        try:
            await self._app(scope, receive, tagged)
        finally:
            _log.info(
                "%s %s",
                scope.get("method", "WEBSOCKET"),
                scope["path"],
                extra={
                    "status": status,
                    "ms": round((time.perf_counter() - began) * 1000, 2),
                    "key": scope["state"].get("key_name"),
                },
            )
            logs.request_id.reset(token)


class UnexpectedErrors:
    """Answers 500 for whatever no handler foresaw, telling the client an id and the log the rest."""

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
        except Exception:
            _log.exception("unexpected error")
            if started:
                # Half an answer cannot become another one: the server closes the connection.
                raise
            problem = problems.Problem(
                HTTPStatus.INTERNAL_SERVER_ERROR,
                f"something unexpected went wrong; the log has it under request id {scope['state']['request_id']}",
            )
            await problems.response(problem, scope)(scope, receive, send)


class BodyLimit:
    """Refuses bodies that are too large: by the length they announce before they are read, else while they are."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = Headers(scope=scope).get("content-length", "")
        if announced.isdecimal() and int(announced[:20]) > MAX_BODY_BYTES:
            await problems.response(_too_large(), scope)(scope, receive, send)
            return
        received = 0

        async def counted() -> Message:
            nonlocal received
            message = await receive()
            received += len(message.get("body", b""))
            if received > MAX_BODY_BYTES:
                # The framework lets its own exception through, and would take any other for malformed JSON.
                raise HTTPException(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, _too_large().detail)
            return message

        await self._app(scope, counted, send)


def _too_large() -> problems.Problem:
    return problems.Problem(
        HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"the body is larger than {MAX_BODY_BYTES // 2**20} MiB: send less at once"
    )


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

        await self._app({**scope, "method": "GET"}, receive, bodiless)


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
