"""Asking a server that generates: one request, a bounded answer, and the errors that backends tell apart.

Belongs here: what every such server has in common. Does not: which requests there are, and what a refusal says (each
client).
"""

from collections.abc import Mapping
from typing import Any, Final

import httpx
import msgspec

MAX_DETAIL: Final = 500
"""Characters of what a server says that are told on."""


class TargetError(Exception):
    """The server cannot be asked, or refuses. The message says what it said and what to do."""

    def __init__(self, message: str, *, status: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        """Of HTTP; None where there was no answer."""


class UnreachableError(TargetError):
    """No connection: nothing was sent, so that the same request can be sent again."""


class NoAnswerError(TargetError):
    """The connection broke or timed out after the request was sent: whether it was worked on is not known."""


class BusyError(TargetError):
    """429: the server's limit of requests. Some charge it after the work, so waiting is the only remedy."""


async def ask(
    client: httpx.AsyncClient,
    base_url: str,
    method: str,
    path: str,
    *,
    most: int,
    body: Mapping[str, Any] | None = None,
    **options: Any,
) -> tuple[int, bytes]:
    """Send a request; the status and the bytes of its answer.

    Args:
        base_url: for messages.
        most: bytes of an answer.
        body: sent as JSON.
        options: of httpx: `params`, `timeout`.

    Raises:
        TargetError: of one of its kinds; never for a status.
    """
    content = msgspec.json.encode(body) if body is not None else None
    headers = {"Content-Type": "application/json"} if content is not None else None
    try:
        async with client.stream(method, path, content=content, headers=headers, **options) as response:
            return response.status_code, await _bounded(response, most)
    except (httpx.ConnectError, httpx.ConnectTimeout) as error:
        raise UnreachableError(f"{base_url} cannot be reached ({error}): start it, or correct its address") from error
    except httpx.TimeoutException as error:
        raise NoAnswerError(f"{base_url} did not answer in time ({path})") from error
    except httpx.HTTPError as error:
        raise NoAnswerError(f"{base_url} broke the connection ({path}): {type(error).__name__}") from error


async def _bounded(response: httpx.Response, most: int) -> bytes:
    body = bytearray()
    async for chunk in response.aiter_bytes():
        body += chunk
        if len(body) > most:
            raise TargetError(f"the answer is larger than {most // 2**20} MiB: ask for fewer or smaller pictures")
    return bytes(body)


def decoded(body: bytes, base_url: str, path: str, *, expected: str) -> Any:
    """An answer as JSON; None where it is empty.

    Raises:
        TargetError: it is none; whoever answers is not the `expected` server.
    """
    if not body.strip():
        return None
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError as error:
        raise TargetError(f"{base_url} answered no JSON to {path}: is it {expected}?") from error


def plain_text(body: bytes) -> str:
    """The beginning of an answer that is no JSON."""
    return body[:MAX_DETAIL].decode("utf-8", "replace").strip() or "nothing"


def mapping(value: Any) -> Mapping[str, Any]:
    """A value of an answer, where it is an object; else an empty one."""
    return value if isinstance(value, Mapping) else {}


def items(value: Any) -> list[Any]:
    """A value of an answer, where it is a list; else an empty one."""
    return value if isinstance(value, list) else []
