"""Token buckets: a burst, then a rate, for each client, in bounded memory; and few guesses of keys."""

from collections.abc import Callable

import httpx
import pytest

from serving import rates
from serving.addresses import network_of
from serving.rates import GUESSES, Buckets, Guesses
from tests.serving.conftest import KEYS
from warehouse.engine import Database


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_burst_then_the_rate() -> None:
    clock = Clock()
    buckets = Buckets(2, 5, clock)
    assert [buckets.take("a").remaining for _ in range(5)] == [4, 3, 2, 1, 0]
    assert buckets.take("a").wait == pytest.approx(0.5)
    assert buckets.take("b").wait == 0
    clock.now = 0.5
    assert buckets.take("a").wait == 0
    assert buckets.take("a").wait > 0
    clock.now = 1000
    assert buckets.take("a").remaining == 4


def test_the_clients_remembered_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rates, "CLIENTS_AT_MOST", 3)
    buckets = Buckets(1, 1, Clock())
    for client in "abcad":
        buckets.take(client)
    assert len(buckets) == 3
    assert "a" in buckets
    assert "b" not in buckets


def test_different_wrong_keys_are_guesses_and_the_same_one_is_not() -> None:
    clock = Clock()
    guesses = Guesses(clock)
    for _ in range(1000):
        guesses.note("a", b"stale")
    assert guesses.wait("a") == 0
    for number in range(GUESSES):
        guesses.note("a", bytes([number]))
    assert guesses.wait("a") > 0
    assert guesses.wait("b") == 0
    clock.now = 4
    assert guesses.wait("a") == 0


def test_an_ipv6_client_is_its_network() -> None:
    assert network_of("2001:db8::1") == network_of("2001:db8::ffff:1") != network_of("2001:db8:0:1::1")
    assert network_of("::ffff:192.0.2.1") == "192.0.2.1" == network_of("192.0.2.1")
    assert network_of("fe80::1%eth0") == "fe80::/64"
    assert network_of("") == ""


def test_a_key_that_asks_too_often_is_told_when_to_ask_again(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    client = serve(sqlite_database, api_keys=KEYS, rate_limit=0.01, rate_burst=3, cors_origins=["http://front.example"])
    reader = {"X-API-Key": "reader-secret", "Origin": "http://front.example"}
    answers = [client.get("/api/v1/adapters/tags", headers=reader) for _ in range(4)]
    assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
    assert answers[0].headers["ratelimit-policy"] == '"default";q=3;w=300'
    assert answers[0].headers["ratelimit"].startswith('"default";r=2;t=')
    refused = answers[-1]
    assert refused.headers["content-type"] == "application/problem+json"
    assert 0 < int(refused.headers["retry-after"]) <= 100
    assert refused.headers["ratelimit"].startswith('"default";r=0;t=')
    assert refused.headers["access-control-allow-origin"] == "http://front.example"
    assert "RateLimit" in refused.headers["access-control-expose-headers"]
    assert client.get("/api/v1/adapters/tags", headers={"X-API-Key": "editor-secret"}).status_code == 200
    for _ in range(5):
        assert client.get("/health").status_code == 200
        assert client.get("/metrics", headers=reader).status_code == 200


def test_without_keys_addresses_are_limited_only_where_it_is_asked_for(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    free = serve(sqlite_database, rate_burst=1)
    assert {free.get("/api/v1/adapters/tags").status_code for _ in range(5)} == {200}
    limited = serve(sqlite_database, rate_burst=1, rate_limit=0.01)
    for spoofed in ("192.0.2.1", "192.0.2.2"):
        status = limited.get("/api/v1/adapters/tags", headers={"X-Forwarded-For": spoofed}).status_code
        assert status == (200 if spoofed == "192.0.2.1" else 429)


def test_a_trusted_proxy_says_whose_request_it_is(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    client = serve(sqlite_database, rate_burst=1, rate_limit=0.01, trusted_proxies=["127.0.0.0/8"])
    statuses = [
        client.get("/api/v1/adapters/tags", headers={"X-Forwarded-For": address}).status_code
        for address in ("192.0.2.1", "192.0.2.2", "198.51.100.1, 192.0.2.1", "192.0.2.3")
    ]
    assert statuses == [200, 200, 429, 200]


def test_guessing_keys_is_slow_even_for_whoever_guesses_right(
    sqlite_database: Database, serve: Callable[..., httpx.Client], caplog: pytest.LogCaptureFixture
) -> None:
    client = serve(sqlite_database, api_keys=KEYS)
    statuses = [client.get("/api/v1/adapters", headers={"X-API-Key": f"guess-{n}"}).status_code for n in range(25)]
    assert statuses == [401] * GUESSES + [429] * 5
    right = client.get("/api/v1/adapters", headers={"X-API-Key": "reader-secret"})
    assert right.status_code == 429
    assert right.json()["type"].endswith("too-many-wrong-keys")
    assert int(right.headers["retry-after"]) >= 1
    assert client.get("/api/v1/adapters").status_code == 401
    rejected = [record for record in caplog.records if "rejected" in record.getMessage()]
    assert len(rejected) == GUESSES
    assert rejected[0].client == "127.0.0.1"
    assert "guess-" not in caplog.text
