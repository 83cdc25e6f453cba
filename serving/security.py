"""Who may do what, and how often: API keys with roles, checked before anything of a request is read.

Belongs here: finding the key of a request, the role that a path and method need. Does not: the keys themselves (`keys`
follows their file, `warehouse.settings` holds their digests), signatures of image URLs (`signing`), counting (`rates`).
The rule is by path and method and closed: what is not listed needs the highest role.
"""

import hashlib
import logging
import math
from collections.abc import Iterable, Mapping
from http import HTTPStatus

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketDisconnect

from serving import problems
from serving.addresses import client_of, network_of
from serving.keys import KeyRing, today
from serving.rates import DEFAULT_RATE, Buckets, Guesses
from serving.signing import Signer
from warehouse.settings import ApiKey, Role, Settings

API_PREFIXES = ("/api/v1", "/api")
"""Under which the API is reached, the longer first."""
_PUBLIC = ("/", "/health", "/health/ready", "/docs", "/openapi.json")
_PUBLIC_FOLDERS = ("/static/",)
_ADMIN_NOUNS = ("/audit",)
"""Told to nobody else, though it is only read."""
_UNLIMITED = ("/health", "/health/ready", "/metrics")
_READ_METHODS = ("GET", "HEAD", "OPTIONS")
_READER_POSTS = ("/recommendations/prompt", "/generation/backends", "/analytics/query")
_EDITOR_NOUNS = ("/adapters", "/compose", "/deliveries", "/generation", "/recommendations/embeddings")
_POLICY = 1008
"""The code with which a WebSocket is closed that is not allowed any more."""
_log = logging.getLogger(__name__)
_ORDER = {Role.READER: 0, Role.EDITOR: 1, Role.ADMIN: 2}


def is_public(path: str) -> bool:
    """Whether a path is answered without a key."""
    return path in _PUBLIC or path.startswith(_PUBLIC_FOLDERS)


def _route(path: str) -> str:
    """A path without the prefixes under which the API is reached."""
    for prefix in API_PREFIXES:
        if path.startswith(prefix + "/"):
            return path.removeprefix(prefix)
    return path


def required_role(method: str, path: str) -> Role:
    """The least role that a request needs."""
    route = _route(path)
    if is_below(path, _ADMIN_NOUNS):
        return Role.ADMIN
    if method in _READ_METHODS or (method == "POST" and route in _READER_POSTS):
        return Role.READER
    return Role.EDITOR if is_below(path, _EDITOR_NOUNS) else Role.ADMIN


def is_below(path: str, nouns: Iterable[str]) -> bool:
    """Whether a path is one of the API's nouns, or something below it."""
    route = _route(path)
    return any(route == noun or route.startswith(noun + "/") for noun in nouns)


def _presented(scope: Scope) -> str | None:
    headers = Headers(scope=scope)
    if "x-api-key" in headers:
        return headers["x-api-key"]
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    if scope["type"] == "websocket":
        # Browsers cannot set headers on a WebSocket.
        return QueryParams(scope["query_string"]).get("api_key")
    return None


def digest_of(secret: str) -> bytes:
    """The digest under which a secret is kept."""
    return hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()


class Authentication:
    """ASGI middleware that lets through what its key allows, as often as it may ask.

    Without configured keys everything is let through, unless a rate is configured. Health reports and metrics do not
    count: what watches the service must not be shut out by what overloads it.
    """

    def __init__(self, app: ASGIApp, settings: Settings, signer: Signer) -> None:
        self._app = app
        self._keys = KeyRing(settings)
        self._signer = signer
        rate = settings.rate_limit
        if rate is None:
            rate = DEFAULT_RATE if settings.api_keys else 0.0
        self._buckets = Buckets(rate, settings.rate_burst) if rate else None
        self._guesses = Guesses()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401, 403 or 429, or pass the request on."""
        refusal, key = None, None
        if scope["type"] in ("http", "websocket") and (self._keys or self._buckets is not None):
            key, refusal = self._looked_at(scope)
        if refusal is not None:
            await problems.refuse(refusal, scope, receive, send)
        elif scope["type"] == "websocket" and key is not None:
            await self._app(scope, receive, self._while_it_counts(key, send))
        else:
            await self._app(scope, receive, send)

    def _while_it_counts(self, key: ApiKey, send: Send) -> Send:
        """What sends on a connection that stays, until its key is taken away or expires."""

        async def checked(message: Message) -> None:
            if message["type"] == "websocket.send" and not self._keys.counts(key):
                await send({"type": "websocket.close", "code": _POLICY, "reason": "the API key counts no longer"})
                raise WebSocketDisconnect(_POLICY)
            await send(message)

        return checked

    def _looked_at(self, scope: Scope) -> tuple[ApiKey | None, problems.Problem | None]:
        """The key of a request, and why it is refused."""
        path: str = scope["path"]
        key: ApiKey | None = None
        unknown: problems.Problem | None = None
        if self._keys and not is_public(path) and not self._is_signed(scope):
            key, unknown = self._identified(scope)
        if self._buckets is not None and path not in _UNLIMITED:
            verdict = self._buckets.take(f"key {key.name}" if key else network_of(client_of(scope)))
            headers = self._buckets.headers(verdict)
            if verdict.wait:
                return key, _too_many("rate-limited", "too many requests", verdict.wait, headers)
            scope["state"]["rate_headers"] = headers
        if unknown is not None or key is None:
            return key, unknown
        needed = required_role(scope.get("method", "GET"), path)
        if _ORDER[key.role] >= _ORDER[needed]:
            return key, None
        return key, problems.Problem(
            HTTPStatus.FORBIDDEN, f"this needs a key with the role {needed.value}; yours has the role {key.role.value}"
        )

    def _identified(self, scope: Scope) -> tuple[ApiKey | None, problems.Problem | None]:
        """The key of a request, or what is wrong with it."""
        secret = _presented(scope)
        if not secret:
            return None, _unauthorised(wrong=False)
        address = network_of(client_of(scope))
        if wait := self._guesses.wait(address):
            return None, _too_many("too-many-wrong-keys", "too many wrong API keys came from this address", wait)
        digest = digest_of(secret)
        key = self._keys.find(digest)
        if key is None:
            self._guesses.note(address, digest)
            _log.warning("an API key was rejected", extra={"client": client_of(scope), "path": scope["path"][:200]})
            return None, _unauthorised(wrong=True)
        if not key.is_valid_on(today()):
            return None, _unauthorised(wrong=True, expired=True)
        scope["state"]["key_name"] = key.name
        return key, None

    def _is_signed(self, scope: Scope) -> bool:
        if scope.get("method") not in ("GET", "HEAD") or b"signature=" not in scope["query_string"]:
            return False
        query: Mapping[str, str] = QueryParams(scope["query_string"])
        return self._signer.is_valid(scope["path"], query)


def _too_many(kind: str, said: str, wait: float, headers: Mapping[str, str] | None = None) -> problems.Problem:
    seconds = max(1, math.ceil(wait))
    return problems.Problem(
        HTTPStatus.TOO_MANY_REQUESTS,
        f"{said}: ask again in {seconds} s",
        kind=kind,
        title=HTTPStatus.TOO_MANY_REQUESTS.phrase,
        headers={"Retry-After": str(seconds), **(headers or {})},
    )


def _unauthorised(*, wrong: bool, expired: bool = False) -> problems.Problem:
    said = "the API key is not known" if wrong else "an API key is needed"
    if expired:
        # Whoever sends it has held it: that it was one is no news.
        said = "the API key has expired: ask for another one"
    return problems.Problem(
        HTTPStatus.UNAUTHORIZED,
        f"{said}: send it as X-API-Key or as Authorization: Bearer",
        headers={"WWW-Authenticate": 'Bearer realm="lora-manager"'},
    )
