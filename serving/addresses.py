"""Where a request comes from and what it was addressed to: client addresses, and the names in `Host` and `Origin`.

Belongs here: reading them, and the guard that keeps web pages of others from driving the API through a browser. Does
not: keys (`security`) and the CORS headers of origins that may read answers (`app`).

Without keys whoever reaches the API may do everything, so it is for this machine alone. Two ways lead a foreign web
page there all the same, and both are closed here: a name of its own that suddenly resolves to 127.0.0.1 (DNS rebinding)
stands in `Host`, and a request that a browser sends without asking first (CSRF, a WebSocket) names it in `Origin`.
"""

import ipaddress
import re
from collections.abc import Sequence
from functools import lru_cache
from http import HTTPStatus

from starlette.types import ASGIApp, Receive, Scope, Send

from serving import problems
from warehouse.settings import Settings

_SAFE_METHODS = ("GET", "HEAD", "OPTIONS")
_HOST = re.compile(r"(\[[0-9a-f:.%]{0,60}\]|[^:@/\[\]]{0,255})(?::\d{0,5})?")
_DEFAULT_PORTS = (":80", ":443")


def client_of(scope: Scope) -> str:
    """The address of the client, for the log; empty where the server does not know it."""
    client = scope.get("client")
    return str(client[0]) if client else ""


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """What stands for one client: an IPv4 address, or the /64 of an IPv6 address, of which any host has 2^64."""
    if ":" not in address:
        return address
    try:
        parsed = ipaddress.IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.IPv6Network((parsed, 64), strict=False))


@lru_cache(maxsize=1024)
def _is_loopback(name: str) -> bool:
    """Whether a host name or address can only mean this machine."""
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        address = ipaddress.ip_address(name)
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return bool((mapped or address).is_loopback)


def _name_of(host: str) -> str:
    """The name in a `Host`, without port, brackets and the dot of an absolute name; empty for what is no `Host`."""
    found = _HOST.fullmatch(host.strip().lower())
    return found.group(1).strip("[]").removesuffix(".") if found else ""


def _authority(origin_or_host: str) -> str:
    """Host and port of an origin or a `Host`, comparable: behind a proxy the schemes differ."""
    authority = origin_or_host.strip().lower().rpartition("://")[2]
    for port in _DEFAULT_PORTS:
        authority = authority.removesuffix(port)
    return authority


class AddressGuard:
    """ASGI middleware that refuses what was not meant for this service, or comes from a page without business here.

    400 for not exactly one `Host`; while there are no keys, 421 for a `Host` that is not ours and 403 for a connection
    that is not of this machine; 403 for a change or a WebSocket from an origin that is neither ours nor configured.
    """

    def __init__(self, app: ASGIApp, settings: Settings) -> None:
        self._app = app
        self._open = not settings.api_keys
        self._hosts = frozenset(_name_of(host) for host in settings.allowed_hosts)
        self._origins = frozenset(settings.cors_origins)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Refuse one request, or pass it on."""
        refusal = self._refusal(scope) if scope["type"] in ("http", "websocket") else None
        if refusal is None:
            await self._app(scope, receive, send)
        else:
            await problems.refuse(refusal, scope, receive, send)

    def _refusal(self, scope: Scope) -> problems.Problem | None:
        hosts: list[str] = []
        origins: list[str] = []
        for name, value in scope["headers"]:
            if name == b"host":
                hosts.append(value.decode("latin-1"))
            elif name == b"origin":
                origins.append(value.decode("latin-1"))
        if len(hosts) != 1 and (hosts or scope.get("http_version") == "1.1"):
            return problems.Problem(HTTPStatus.BAD_REQUEST, "send exactly one Host header")
        # HTTP/1.0 knows requests without one; no browser sends them.
        host = hosts[0] if hosts else "localhost"
        if self._open and (refusal := self._not_local(scope, host)) is not None:
            return refusal
        if origins and (scope["type"] == "websocket" or scope["method"] not in _SAFE_METHODS):
            return self._foreign(origins, host)
        return None

    def _not_local(self, scope: Scope, host: str) -> problems.Problem | None:
        server = scope.get("server")
        if server and server[1] is not None and _is_foreign_address(server[0]):
            return problems.Problem(
                HTTPStatus.FORBIDDEN, "without API keys this service answers its own machine alone: configure keys"
            )
        name = _name_of(host)
        if _is_loopback(name) or name in self._hosts:
            return None
        return problems.Problem(
            HTTPStatus.MISDIRECTED_REQUEST,
            f"without API keys this service answers to names of its own machine, and not to {name[:100]!r}: ask "
            "127.0.0.1, or configure keys, or name it in LORA_MANAGER_ALLOWED_HOSTS",
        )

    def _foreign(self, origins: Sequence[str], host: str) -> problems.Problem | None:
        (origin, *more) = origins
        if not more and (
            "*" in self._origins or origin.lower() in self._origins or _authority(origin) == _authority(host)
        ):
            return None
        return problems.Problem(
            HTTPStatus.FORBIDDEN,
            f"pages of {origin[:100]!r} may not change anything here: name it in LORA_MANAGER_CORS_ORIGINS",
        )


@lru_cache(maxsize=1024)
def _is_foreign_address(server: str) -> bool:
    """Whether a connection came in at an address that other machines reach; a name is no address."""
    try:
        ipaddress.ip_address(server.partition("%")[0])
    except ValueError:
        return False
    return not _is_loopback(server.partition("%")[0])
