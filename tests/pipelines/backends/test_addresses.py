"""Which targets are refused, in every notation and by every name."""

import asyncio
import ipaddress
import socket
from typing import Any

import httpcore
import pytest

from pipelines.backends.addresses import AddressRefused, GuardedNetwork, Policy, Reach, literal_of, reach_of
from warehouse.settings import ApiKey, Role, Settings


def _policy(settings: Settings, *hosts: str, api_host: str = "127.0.0.1") -> Policy:
    return Policy.of(settings.model_copy(update={"http_allowed_hosts": list(hosts), "api_host": api_host}))


@pytest.mark.parametrize(
    ("address", "reach"),
    [
        ("93.184.216.34", Reach.PUBLIC),
        ("2606:4700::1111", Reach.PUBLIC),
        ("127.0.0.1", Reach.LOOPBACK),
        ("127.255.0.9", Reach.LOOPBACK),
        ("::1", Reach.LOOPBACK),
        ("::ffff:127.0.0.1", Reach.LOOPBACK),
        ("::127.0.0.1", Reach.LOOPBACK),
        ("2002:7f00:1::1", Reach.LOOPBACK),
        ("64:ff9b::7f00:1", Reach.LOOPBACK),
        ("64:ff9b:1::7f00:1", Reach.LOOPBACK),
        ("10.1.2.3", Reach.PRIVATE),
        ("172.16.0.1", Reach.PRIVATE),
        ("192.168.1.1", Reach.PRIVATE),
        ("100.64.0.1", Reach.PRIVATE),
        ("198.18.0.1", Reach.PRIVATE),
        ("fd12::1", Reach.PRIVATE),
        ("::ffff:192.168.1.1", Reach.PRIVATE),
        ("64:ff9b::a00:1", Reach.PRIVATE),
        ("169.254.169.254", Reach.LINK),
        ("169.254.0.1", Reach.LINK),
        ("fe80::1", Reach.LINK),
        ("fe80::1%eth0", Reach.LINK),
        ("fec0::1", Reach.LINK),
        ("fd00:ec2::254", Reach.LINK),
        ("100.100.100.200", Reach.LINK),
        ("168.63.129.16", Reach.LINK),
        ("::ffff:169.254.169.254", Reach.LINK),
        ("2002:a9fe:a9fe::", Reach.LINK),
        ("64:ff9b::a9fe:a9fe", Reach.LINK),
        ("2001:db8::5efe:a9fe:a9fe", Reach.LINK),
        ("0.0.0.0", Reach.NEVER),
        ("0.1.2.3", Reach.NEVER),
        ("::", Reach.NEVER),
        ("::ffff:0.0.0.0", Reach.NEVER),
        ("224.0.0.1", Reach.NEVER),
        ("ff02::1", Reach.NEVER),
        ("255.255.255.255", Reach.NEVER),
        ("240.0.0.1", Reach.NEVER),
        ("2001:0:4136:e378:8000:63bf:3fff:fdd2", Reach.NEVER),
    ],
)
def test_where_an_address_lies(address: str, reach: Reach) -> None:
    assert reach_of(ipaddress.ip_address(address)) is reach


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "127.1", "017700000001"]
)
def test_every_notation_is_the_address_it_is_for_the_system(host: str) -> None:
    assert str(literal_of(host)) == "127.0.0.1"


@pytest.mark.parametrize("host", ["example.org", "1.example.org", "dead.beef", "", "１２７.0.0.1"])
def test_a_name_is_no_address(host: str) -> None:
    assert literal_of(host) is None


def test_loopback_may_be_called_while_the_api_serves_it_alone(settings: Settings) -> None:
    here = ipaddress.ip_address("127.0.0.1")
    assert _policy(settings).refusal("localhost", here) is None
    assert _policy(settings, api_host="localhost").refusal("localhost", here) is None
    refused = _policy(settings, api_host="0.0.0.0").refusal("localhost", here)
    assert refused is not None
    assert "LORA_MANAGER_HTTP_ALLOWED_HOSTS" in refused


def test_what_the_operator_lists_may_be_called_and_no_more(settings: Settings) -> None:
    policy = _policy(settings, "Box.Lan", "10.0.0.0/8", "169.254.7.7", "0.0.0.0/0", api_host="0.0.0.0")
    address = ipaddress.ip_address
    assert policy.refusal("box.lan.", address("192.168.1.4")) is None
    assert policy.refusal("anything", address("10.9.9.9")) is None
    assert policy.refusal("anything", address("169.254.7.7")) is None
    # A name and a whole network are no word about credentials of a cloud.
    assert policy.refusal("box.lan", address("169.254.169.254"))
    assert policy.refusal("anything", address("169.254.169.254"))
    assert policy.refusal("box.lan", address("0.0.0.0"))
    assert _policy(settings, "box.lan").refusal("other.lan", address("192.168.1.4"))


class _Network(httpcore.AsyncMockBackend):
    """Notes where connections go."""

    def __init__(self) -> None:
        super().__init__([])
        self.connected: list[str] = []

    async def connect_tcp(self, host: str, *args: Any, **kwargs: Any) -> httpcore.AsyncNetworkStream:
        self.connected.append(host)
        return await super().connect_tcp(host, *args, **kwargs)


def _connect(policy: Policy, host: str, answers: list[list[str]], monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Connect with a resolver that answers differently each time; returns the addresses that were connected to."""
    network = _Network()
    monkeypatch.setattr(httpcore, "AnyIOBackend", lambda: network)

    async def connect() -> None:
        async def resolve(*_: Any, **__: Any) -> list[Any]:
            return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (text, 80)) for text in answers.pop(0)]

        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", resolve)
        await GuardedNetwork(policy).connect_tcp(host, 80)

    asyncio.run(connect())
    return network.connected


def test_the_connection_goes_to_the_address_that_was_looked_at(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers = [["93.184.216.34"], ["169.254.169.254"]]
    assert _connect(_policy(settings), "rebinds.example", answers, monkeypatch) == ["93.184.216.34"]
    assert len(answers) == 1


@pytest.mark.parametrize("addresses", [["169.254.169.254"], ["93.184.216.34", "10.0.0.1"], ["::ffff:10.0.0.1"]])
def test_a_name_that_leads_inside_is_not_called(
    settings: Settings, monkeypatch: pytest.MonkeyPatch, addresses: list[str]
) -> None:
    with pytest.raises(AddressRefused, match=r"evil\.example is at"):
        _connect(_policy(settings), "evil.example", [addresses], monkeypatch)


def test_where_nobody_says_what_the_api_listens_on_loopback_is_for_an_api_of_this_machine_alone(
    settings: Settings,
) -> None:
    here = ipaddress.ip_address("127.0.0.1")
    assert Policy.of(settings).refusal("localhost", here) is None
    keys = (ApiKey(name="me", role=Role.ADMIN, digest=bytes(32)),)
    for reached in ({"api_keys": keys}, {"allowed_hosts": ["box.lan"]}):
        assert Policy.of(settings.model_copy(update=reached)).refusal("localhost", here) is not None
        said = settings.model_copy(update={**reached, "api_host": "127.0.0.1"})
        assert Policy.of(said).refusal("localhost", here) is None
