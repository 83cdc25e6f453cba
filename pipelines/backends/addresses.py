"""Which addresses a delivery may reach: a client names the target, so the target must not be this network's inside.

The addresses that a name resolves to are looked at, never the name, and the connection goes to the very address that
was looked at: a name that resolves to something else a moment later gains nothing. Notations that only some parsers
understand (`0x7f.1`, `2130706433`) are resolved by the system first, and addresses within addresses (IPv4 in IPv6,
6to4, NAT64) are taken out. Does not belong here: HTTP.
"""

import asyncio
import ipaddress
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from enum import IntEnum
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network

import httpcore

from warehouse.settings import Settings

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network


class Reach(IntEnum):
    """Where an address lies; the larger, the more must be said before it may be reached."""

    PUBLIC = 0
    LOOPBACK = 1
    PRIVATE = 2
    LINK = 3
    """Link-local, and the addresses at which clouds hand out credentials."""
    NEVER = 4
    """No single host: unspecified, multicast, reserved, tunnels."""


_WORDS = {
    Reach.LOOPBACK: "this machine itself",
    Reach.PRIVATE: "a private network",
    Reach.LINK: "a link-local or metadata address",
    Reach.NEVER: "no address of a host",
}
_METADATA = frozenset(
    ipaddress.ip_address(text)
    for text in ("169.254.169.254", "fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16", "192.0.0.192")
)
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
_LOCAL_NAT64 = ipaddress.IPv6Network("64:ff9b:1::/48")
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_ISATAP = (0x00005EFE, 0x02005EFE)


def _embedded(address: IPv6Address) -> Iterator[IPv4Address]:
    """The IPv4 addresses that a gateway, or the system itself, would take out of an IPv6 address."""
    if address.ipv4_mapped is not None:
        yield address.ipv4_mapped
    if address.sixtofour is not None:
        yield address.sixtofour
    low = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or address in _LOCAL_NAT64 or (address in _COMPATIBLE and int(address) > 1):
        yield low
    if (int(address) >> 32) & 0xFFFFFFFF in _ISATAP:
        yield low


def reach_of(address: Address) -> Reach:
    """Where an address lies."""
    if isinstance(address, IPv6Address):
        inner = [reach_of(each) for each in _embedded(address)]
        if inner:
            return max(inner)
        if address.teredo is not None:
            return Reach.NEVER
        if address.is_site_local:
            return Reach.LINK
    elif address in _THIS_NETWORK:
        return Reach.NEVER
    if address in _METADATA or address.is_link_local:
        return Reach.LINK
    if address.is_loopback:
        return Reach.LOOPBACK
    if address.is_unspecified or address.is_multicast or address.is_reserved:
        return Reach.NEVER
    return Reach.PUBLIC if address.is_global else Reach.PRIVATE


class AddressRefused(Exception):  # noqa: N818 - what was done, not a fault
    """The target lies where deliveries must not go."""


def literal_of(host: str) -> Address | None:
    """The address that a host is the notation of, in any that the system understands; None for a name."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        pass
    try:
        # Decimal, octal, hexadecimal and shortened forms of IPv4.
        return IPv4Address(socket.inet_aton(host)) if host[:1].isdigit() else None
    except (OSError, UnicodeEncodeError):
        return None


def _plain(host: str) -> str:
    return host.rstrip(".").lower()


@dataclass(frozen=True, slots=True)
class Policy:
    """What the operator allows beyond public addresses.

    Attributes:
        loopback: whether this machine may be called: the API serves it alone, so its callers could anyway.
        names: hosts that may lie in a private network or on this machine.
        networks: addresses that may be called under any name. One that is listed as a single address may even be
            link-local.
    """

    loopback: bool
    names: frozenset[str]
    networks: tuple[Network, ...]

    @classmethod
    def of(cls, settings: Settings) -> "Policy":
        """The policy of the settings."""
        names: set[str] = set()
        networks: list[Network] = []
        for entry in settings.http_allowed_hosts:
            try:
                networks.append(ipaddress.ip_network(entry, strict=False))
            except ValueError:
                names.add(_plain(entry))
        return cls(settings.serves_loopback_alone, frozenset(names), tuple(networks))

    def refusal(self, host: str, address: Address) -> str | None:
        """Why an address that a host resolved to must not be called; None if it may."""
        reach = reach_of(address)
        listed = [network for network in self.networks if address in network]
        allowed = {
            Reach.PUBLIC: True,
            Reach.LOOPBACK: self.loopback or bool(listed) or _plain(host) in self.names,
            Reach.PRIVATE: bool(listed) or _plain(host) in self.names,
            Reach.LINK: any(network.num_addresses == 1 for network in listed),
            Reach.NEVER: False,
        }
        if allowed[reach]:
            return None
        remedy = "" if reach is Reach.NEVER else "; the operator can allow it in LORA_MANAGER_HTTP_ALLOWED_HOSTS"
        return f"{host} is at {address}, which is {_WORDS[reach]}: deliveries do not go there{remedy}"


async def _resolve(host: str, port: int) -> list[Address]:
    loop = asyncio.get_running_loop()
    found = await loop.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [ipaddress.ip_address(sockaddr[0]) for *_, sockaddr in found]


class GuardedNetwork(httpcore.AsyncNetworkBackend):
    """Connects to what a policy allows. Above it host names stay what they are, for TLS and for `Host`."""

    def __init__(self, policy: Policy) -> None:
        self._policy = policy
        self._network = httpcore.AnyIOBackend()

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        """Resolve once, look at every address, connect to the first that answers.

        Raises:
            AddressRefused: one of them must not be called.
            httpcore.ConnectError: the name is not known, or nobody answers.
        """
        try:
            addresses = await _resolve(host, port)
        except (OSError, UnicodeError) as error:
            raise httpcore.ConnectError(f"the name {host} cannot be resolved") from error
        for address in addresses:
            reason = self._policy.refusal(host, address)
            if reason is not None:
                raise AddressRefused(reason)
        failure: Exception = httpcore.ConnectError(f"the name {host} has no address")
        for address in dict.fromkeys(addresses):
            try:
                return await self._network.connect_tcp(str(address), port, timeout, local_address, socket_options)
            except (httpcore.ConnectError, httpcore.ConnectTimeout) as error:
                failure = error
        raise failure

    async def connect_unix_socket(
        self,
        path: str,
        timeout: float | None = None,  # noqa: ARG002 - the signature is httpcore's
        socket_options: Iterable[httpcore.SOCKET_OPTION] | None = None,  # noqa: ARG002
    ) -> httpcore.AsyncNetworkStream:
        """Never: a socket of this machine is no target."""
        raise AddressRefused(f"{path} is a socket of this machine")

    async def sleep(self, seconds: float) -> None:
        """As httpcore asks between its own attempts; it makes none."""
        await self._network.sleep(seconds)
