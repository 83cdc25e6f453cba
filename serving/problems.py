"""Errors as RFC 9457 problem details: the one shape in which anything that goes wrong leaves the service.

Belongs here: the problem exception, its JSON, the handlers that turn the framework's errors into it. Does not: when
something is an error (routers, security), and the catching of the unexpected (`middleware`).
"""

import re
from collections.abc import Mapping, Sequence
from functools import cache
from http import HTTPStatus
from typing import Any
from urllib.parse import quote

import msgspec
from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.routing import Match, compile_path
from starlette.types import Receive, Scope, Send

from warehouse import ids
from warehouse.availability import Unavailability

MEDIA_TYPE = "application/problem+json"
_UNPROCESSABLE = 422
_TITLES = {413: "Content Too Large", 416: "Range Not Satisfiable", _UNPROCESSABLE: "Unprocessable Content"}
"""Where the phrase of RFC 9110 is not the one of every Python version."""
_METHODS = ("DELETE", "GET", "HEAD", "PATCH", "POST", "PUT")


class FieldError(BaseModel):
    """What is wrong with one value of a request."""

    loc: list[str | int] = Field(description="Where the value stands: `query`, `path`, `header` or `body`, then names.")
    msg: str = Field(description="What is wrong with it.")
    type: str = Field(description="A stable name of the error.")


class ProblemDetails(BaseModel):
    """RFC 9457 problem details."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "type": "about:blank",
                    "title": "Not Found",
                    "status": 404,
                    "detail": "there is no adapter 0190a6f2-0000-7000-8000-000000000000",
                    "instance": "/api/v1/adapters/0190a6f2-0000-7000-8000-000000000000",
                    "request_id": "0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f11",
                }
            ]
        }
    )

    type: str = Field(description="`about:blank` where title and status say it all, else a URN of the kind of problem.")
    title: str = Field(description="The kind of problem, always the same for a type.")
    status: int = Field(description="The HTTP status.")
    detail: str = Field(description="What went wrong here and what to do about it.")
    instance: str = Field(description="The path of the request.")
    request_id: str = Field(description="The request's id, as in `X-Request-ID` and in the log.")
    errors: list[FieldError] | None = Field(None, description="With status 422: what is wrong with which value.")
    job_id: str | None = Field(None, description="With a generation that was waited for: its job, which is kept.")
    failure: str | None = Field(None, description="With a generation that failed: why, in one word.")


class Problem(Exception):  # noqa: N818 - the standard's noun
    """Raised wherever a request cannot be answered."""

    def __init__(
        self,
        status: int,
        detail: str,
        *,
        kind: str | None = None,
        title: str | None = None,
        errors: Sequence[Mapping[str, Any]] | None = None,
        headers: Mapping[str, str] | None = None,
        members: Mapping[str, Any] | None = None,
    ) -> None:
        """A problem.

        Args:
            status: the HTTP status.
            detail: what went wrong and what to do; never a trace, a statement or a path of this machine.
            kind: a name of the kind of problem, for clients that branch on it; None where the status says it.
            title: the title of that kind.
            errors: items with loc, msg and type.
            headers: further response headers.
            members: further members of the details, under names of their own.
        """
        super().__init__(detail)
        self.status = status
        self.detail = detail
        self.type = f"urn:lora-manager:problem:{kind}" if kind else "about:blank"
        self.title = title or _TITLES.get(status) or HTTPStatus(status).phrase
        self.errors = list(errors) if errors is not None else None
        self.headers = dict(headers or {})
        self.members = dict(members or {})


def not_found(what: str, key: str) -> Problem:
    """404 for a thing that is looked up by a key of the client's."""
    return Problem(HTTPStatus.NOT_FOUND, f"there is no {what} {key[:100]!r}")


def canonical_id(what: str, key: str) -> str:
    """An id of a path in its canonical form.

    Raises:
        Problem: 404, for what is no UUID is nobody's id.
    """
    canonical = ids.canonical(key)
    if canonical is None:
        raise not_found(what, key)
    return canonical


def invalid(loc: Sequence[str | int], message: str, kind: str = "value_error") -> Problem:
    """422 for one value whose rule is not a schema's."""
    where = ".".join(str(part) for part in loc)
    error = {"loc": list(loc), "msg": message, "type": kind}
    return Problem(_UNPROCESSABLE, f"{where}: {message}", errors=[error])


def response(problem: Problem, scope: Mapping[str, Any]) -> Response:
    """The answer of a problem to the request of an ASGI scope."""
    content: dict[str, Any] = {
        "type": problem.type,
        "title": problem.title,
        "status": problem.status,
        "detail": problem.detail,
        "instance": quote(str(scope.get("path", ""))),
        "request_id": scope.get("state", {}).get("request_id", ""),
    }
    if problem.errors is not None:
        content["errors"] = problem.errors
    content |= problem.members
    return Response(msgspec.json.encode(content), problem.status, problem.headers, MEDIA_TYPE)


_UNAVAILABLE = {
    Unavailability.BUSY: ("the database is busy with other work and did not come free in time: ask again", 2),
    Unavailability.FULL: ("the database has no room left to write: make room on its disk", 60),
    Unavailability.GONE: ("the database does not answer: start it, or ask again when it does", 5),
}
"""What is told, and after how many seconds to ask again."""


def database_unavailable(reason: Unavailability) -> Problem:
    """503, for the request could not use the database."""
    detail, seconds = _UNAVAILABLE[reason]
    return Problem(
        HTTPStatus.SERVICE_UNAVAILABLE,
        detail,
        kind="database-unavailable",
        title="Database unavailable",
        headers={"Retry-After": str(seconds)},
    )


async def refuse(problem: Problem, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request with a problem, before anything of it was read; a WebSocket is closed before it opens."""
    if scope["type"] != "websocket":
        await response(problem, scope)(scope, receive, send)
        return
    await receive()
    # 1008 is "policy violation"; before the handshake the server turns it into HTTP 403.
    await send({"type": "websocket.close", "code": 1008, "reason": problem.detail})


def _from_validation(error: RequestValidationError) -> Problem:
    errors = [
        {
            "loc": [part if isinstance(part, int) else _printable(part) for part in item["loc"]],
            "msg": _printable(item["msg"]),
            "type": item["type"],
        }
        for item in error.errors()
    ]
    first = errors[0]
    detail = f"{'.'.join(str(part) for part in first['loc'])}: {first['msg']}"
    more = f" (and {len(errors) - 1} more)" if len(errors) > 1 else ""
    return Problem(_UNPROCESSABLE, detail + more, errors=errors)


def _printable(value: Any) -> str:
    """Text that JSON can carry: a client may name a field by half a surrogate pair."""
    return str(value).encode("utf-8", "replace").decode()


def install(app: FastAPI) -> None:
    """Make every error of the framework a problem."""

    @app.exception_handler(Problem)
    async def _problem(request: Request, error: Problem) -> Response:
        return response(error, request.scope)

    @app.exception_handler(HTTPException)
    async def _http(request: Request, error: HTTPException) -> Response:
        details = {
            HTTPStatus.NOT_FOUND: "there is nothing at this path; the routes are listed at /docs",
            HTTPStatus.METHOD_NOT_ALLOWED: f"{request.method} is not among the methods of this path",
        }
        if error.status_code == HTTPStatus.BAD_REQUEST:
            # What the framework says of a body that it cannot read for any other reason than its JSON grammar.
            unreadable = invalid(("body",), "cannot be read: send JSON in UTF-8, not nested deeply", "json_invalid")
            return response(unreadable, request.scope)
        detail = details.get(HTTPStatus(error.status_code), str(error.detail))
        headers = dict(error.headers or {})
        if error.status_code == HTTPStatus.METHOD_NOT_ALLOWED:
            headers["Allow"] = ", ".join(sorted(_methods_of(request)))
        return response(Problem(error.status_code, detail, headers=headers), request.scope)

    @app.exception_handler(RequestValidationError)
    async def _validation(request: Request, error: RequestValidationError) -> Response:
        media_type = request.headers.get("content-type", "").partition(";")[0].strip().lower()
        if error.body is not None and media_type != "application/json" and not media_type.endswith("+json"):
            return response(invalid(("body",), "is no JSON: say Content-Type: application/json"), request.scope)
        return response(_from_validation(error), request.scope)


def _methods_of(request: Request) -> set[str]:
    """The methods of the request's path: all that are documented for it, else all that any route answers.

    The framework names those of one route alone; and `/adapters/bulk` is no adapter, though the route of one would take
    it for an id.
    """
    app: FastAPI = request.app
    path: str = request.scope["path"]
    documented = app.openapi()["paths"]
    spelled = (path, path.replace("/api/", "/api/v1/", 1))
    for template in sorted(documented, key=lambda each: each.count("{")):
        if any(_pattern(template).match(each) for each in spelled):
            methods = {method.upper() for method in documented[template]}
            break
    else:
        scopes = {method: {**request.scope, "method": method} for method in _METHODS}
        methods = {
            method
            for method, scope in scopes.items()
            if any(route.matches(scope)[0] is Match.FULL for route in app.routes)
        }
    # HEAD is answered wherever GET is (`middleware`).
    return methods | {"HEAD"} if "GET" in methods else methods


@cache
def _pattern(template: str) -> re.Pattern[str]:
    return compile_path(template)[0]


_DESCRIPTIONS = {
    400: "The request's `Range` cannot be understood.",
    401: "No valid API key was sent.",
    403: "The API key's role does not allow this.",
    404: "There is no such thing.",
    408: "The body did not arrive in time.",
    409: "It clashes with what is there already, or with the state it is in.",
    413: "The body is too large.",
    416: "The file does not reach to the range that was asked for.",
    422: "A value of the request is not valid; `errors` says which and why.",
    429: "Too many requests; `Retry-After` says when to ask again.",
    500: "Something unexpected went wrong; the request id finds it in the log.",
    502: "The backend cannot be reached, or failed; `failure` says how.",
    503: "What the answer needs (the database among it) is not to be had now; `Retry-After` says when to ask again.",
    504: "It took longer than it may, or than is waited for; `job_id` is where to look.",
}


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The `responses` of an operation in the OpenAPI document: the given errors and those any operation can answer."""
    return {
        status: {
            "description": _DESCRIPTIONS[status],
            "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
        }
        for status in sorted({401, 403, 429, 500, 503, *statuses})
    }
