"""Who may do what: API keys with roles, checked before anything of a request is read.

Belongs here: finding the key of a request, comparing it, the role that a path and method need. Does not: the keys
themselves (`warehouse.settings` holds their digests) and the signatures of image URLs (`signing`).
The rule is by path and method and closed: what is not listed needs the highest role.
"""

import hashlib
import hmac
from collections.abc import Mapping
from http import HTTPStatus

from starlette.datastructures import Headers, QueryParams
from starlette.types import ASGIApp, Receive, Scope, Send

from serving import problems
from serving.signing import Signer
from warehouse.settings import ApiKey, Role, Settings

_PUBLIC = ("/", "/health", "/health/ready", "/docs", "/openapi.json")
_PUBLIC_FOLDERS = ("/static/",)
_ADMIN_NOUNS = ("/audit",)
"""Told to nobody else, though it is only read."""
_READ_METHODS = ("GET", "HEAD", "OPTIONS")
_READER_POSTS = ("/recommendations/prompt", "/generation/backends", "/analytics/query")
_EDITOR_NOUNS = ("/adapters", "/compose", "/deliveries", "/generation", "/recommendations/embeddings")
_ORDER = {Role.READER: 0, Role.EDITOR: 1, Role.ADMIN: 2}


def is_public(path: str) -> bool:
    """Whether a path is answered without a key."""
    return path in _PUBLIC or path.startswith(_PUBLIC_FOLDERS)


def _route(path: str) -> str:
    """A path without the prefixes under which the API is reached."""
    for prefix in ("/api/v1", "/api"):
        if path.startswith(prefix + "/"):
            return path.removeprefix(prefix)
    return path


def required_role(method: str, path: str) -> Role:
    """The least role that a request needs."""
    route = _route(path)
    if _is_under(route, _ADMIN_NOUNS):
        return Role.ADMIN
    if method in _READ_METHODS or (method == "POST" and route in _READER_POSTS):
        return Role.READER
    return Role.EDITOR if _is_under(route, _EDITOR_NOUNS) else Role.ADMIN


def _is_under(route: str, nouns: tuple[str, ...]) -> bool:
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


def find_key(keys: tuple[ApiKey, ...], secret: str) -> ApiKey | None:
    """The configured key with this secret. Every key is compared, in constant time, whichever matches."""
    digest = hashlib.sha256(secret.encode("utf-8", "surrogateescape")).digest()
    found = None
    for key in keys:
        if hmac.compare_digest(key.digest, digest):
            found = key
    return found


class Authentication:
    """ASGI middleware that lets through what its key allows. Without configured keys everything is let through."""

    def __init__(self, app: ASGIApp, settings: Settings, signer: Signer) -> None:
        self._app = app
        self._keys = settings.api_keys
        self._signer = signer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 401 or 403, or pass the request on."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        refusal = self._refusal(scope)
        if refusal is None:
            await self._app(scope, receive, send)
        elif scope["type"] == "websocket":
            await receive()
            # 1008 is "policy violation"; before the handshake the server turns it into HTTP 403.
            await send({"type": "websocket.close", "code": 1008, "reason": refusal.detail})
        else:
            await problems.response(refusal, scope)(scope, receive, send)

    def _refusal(self, scope: Scope) -> problems.Problem | None:
        path: str = scope["path"]
        if not self._keys or is_public(path) or self._is_signed(scope):
            return None
        secret = _presented(scope)
        key = find_key(self._keys, secret) if secret else None
        if key is None:
            return _unauthorised(wrong=secret is not None)
        scope["state"]["key_name"] = key.name
        needed = required_role(scope.get("method", "GET"), path)
        if _ORDER[key.role] >= _ORDER[needed]:
            return None
        return problems.Problem(
            HTTPStatus.FORBIDDEN, f"this needs a key with the role {needed.value}; yours has the role {key.role.value}"
        )

    def _is_signed(self, scope: Scope) -> bool:
        if scope.get("method") not in ("GET", "HEAD"):
            return False
        query: Mapping[str, str] = QueryParams(scope["query_string"])
        return self._signer.is_valid(scope["path"], query)


def _unauthorised(*, wrong: bool) -> problems.Problem:
    said = "the API key is not known" if wrong else "an API key is needed"
    return problems.Problem(
        HTTPStatus.UNAUTHORIZED,
        f"{said}: send it as X-API-Key or as Authorization: Bearer",
        headers={"WWW-Authenticate": 'Bearer realm="lora-manager"'},
    )
