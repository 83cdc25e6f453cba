"""What surrounds every request: its id, its line in the log, and the answer to the unexpected.

Pure ASGI, since Starlette's `BaseHTTPMiddleware` runs every request in a task of its own, at 0.1 ms and a broken
context variable each.
"""

import logging
import re
import time
from http import HTTPStatus

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serving import logs, problems
from warehouse.ids import new_id

REQUEST_ID = "X-Request-ID"
_ACCEPTABLE = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}")
"""Ids that are taken over: nothing that could break a header or a line of a log."""

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
