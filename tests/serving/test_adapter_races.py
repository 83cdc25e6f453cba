"""Clients that change the same adapters at once, over real sockets, on both dialects."""

import threading
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import func, select

from tests.warehouse.ingest.library import Library, weights
from warehouse import facets
from warehouse.engine import Database
from warehouse.models import Adapter, AuditEntry
from warehouse.settings import Settings

ADAPTERS = "/api/v1/adapters"
AT_ONCE = 50

Call = tuple[str, str, dict[str, Any] | None]
"""Method, path, body."""


def at_once(client: httpx.Client, calls: Sequence[Call]) -> list[httpx.Response]:
    """Every call from a thread of its own, all let go together; the answers in order."""
    barrier = threading.Barrier(len(calls))
    answers: list[httpx.Response | None] = [None] * len(calls)

    def ask(number: int, call: Call) -> None:
        method, path, body = call
        with httpx.Client(base_url=client.base_url, trust_env=False, timeout=120) as own:
            barrier.wait(timeout=60)
            answers[number] = own.request(method, path, json=body)

    threads = [threading.Thread(target=ask, args=(number, call)) for number, call in enumerate(calls)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=180)
    return [answer for answer in answers if answer is not None]


def statuses(answers: Sequence[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


def check_counters(database: Database) -> None:
    with database.read() as connection:
        assert facets.stored(connection) == facets.recount(connection)


@pytest.fixture
def create(client: httpx.Client, tmp_path: Path) -> Callable[..., str]:
    path = tmp_path / "a.safetensors"
    path.write_bytes(weights(1))

    def make(name: str, **fields: Any) -> str:
        response = client.post(ADAPTERS, json={"name": name, "file_path": str(path), **fields})
        assert response.status_code == 201
        identity: str = response.json()["adapter"]["id"]
        return identity

    return make


@pytest.mark.parametrize("version", [None, "v1"])
def test_one_of_many_creations_wins(
    client: httpx.Client, database: Database, tmp_path: Path, version: str | None
) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(weights(1))
    body = {"name": "Same", "version": version, "file_path": str(path), "tags": ["t"]}
    answers = at_once(client, [("POST", ADAPTERS, body)] * AT_ONCE)
    assert statuses(answers) == {201: 1, 409: AT_ONCE - 1}
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(Adapter)).scalar_one() == 1
        assert connection.execute(select(func.count()).select_from(AuditEntry)).scalar_one() == 1
    check_counters(database)


def test_one_of_many_renamings_wins(client: httpx.Client, database: Database, create: Callable[..., str]) -> None:
    ids = [create(f"A{number}") for number in range(20)]
    answers = at_once(client, [("PATCH", f"{ADAPTERS}/{key}", {"name": "Same"}) for key in ids])
    assert statuses(answers) == {200: 1, 409: 19}
    assert client.get(ADAPTERS, params={"q": "same"}).json()["total"] == 1
    check_counters(database)


def test_adapters_that_swap_names_do_not_wait_for_each_other_for_ever(
    client: httpx.Client, database: Database, create: Callable[..., str]
) -> None:
    ids = [create(f"A{number}") for number in range(6)]
    calls: list[Call] = [
        ("PATCH", f"{ADAPTERS}/{key}", {"name": f"A{(number + 1) % 6}"}) for number, key in enumerate(ids)
    ]
    assert set(statuses(at_once(client, calls))) <= {200, 409}
    check_counters(database)


def test_edits_and_deletions_meet(client: httpx.Client, database: Database, create: Callable[..., str]) -> None:
    key = create("A", tags=["t"])
    calls: list[Call] = []
    for number in range(8):
        calls += [
            ("PATCH", f"{ADAPTERS}/{key}", {"user_tags": [f"t{number}"], "base_model": f"B{number}"}),
            ("POST", f"{ADAPTERS}/{key}/activate", {"ordinal": number}),
            ("POST", f"{ADAPTERS}/{key}/deactivate", None),
            ("DELETE", f"{ADAPTERS}/{key}", None),
        ]
    answers = at_once(client, calls)
    found = statuses(answers)
    assert found[204] == 1
    assert set(found) <= {200, 204, 404}
    assert client.get(f"{ADAPTERS}/{key}").status_code == 404
    assert client.get(ADAPTERS).json()["total"] == 0
    check_counters(database)


def test_bulk_changes_and_single_ones_meet(
    client: httpx.Client, database: Database, create: Callable[..., str]
) -> None:
    ids = [create(f"A{number}") for number in range(12)]
    calls: list[Call] = []
    for number in range(6):
        given = ids if number % 2 else ids[::-1]
        calls += [
            ("POST", f"{ADAPTERS}/bulk", {"action": "activate", "lora_ids": given, "ordinal": number}),
            ("POST", f"{ADAPTERS}/bulk", {"action": "tag", "lora_ids": given, "tags": [f"t{number}"]}),
            ("POST", f"{ADAPTERS}/bulk", {"action": "deactivate", "lora_ids": given[:7]}),
            ("PATCH", f"{ADAPTERS}/{ids[number]}", {"base_model": "Pony", "tags": ["x", f"y{number}"]}),
            ("DELETE", f"{ADAPTERS}/{ids[-1 - number]}", None),
        ]
    assert set(statuses(at_once(client, calls))) <= {200, 204}
    tagged = client.get(ADAPTERS).json()["items"]
    assert len(tagged) == 6
    assert all(len(item["user_tags"]) == 6 for item in tagged)
    check_counters(database)


def test_a_sync_and_clients_meet(client: httpx.Client, database: Database, settings: Settings, tmp_path: Path) -> None:
    """What clients change while a sync writes the same rows is neither lost nor in the sync's way."""
    (tmp_path / "library").mkdir()
    library = Library(tmp_path / "library", database, settings)
    for number in range(40):
        library.write(f"f{number:02}.safetensors", weights(number))
        library.write(f"f{number:02}.json", {"activation text": "first", "description": "first"})
    library.sync()
    ids = [row.id for row in library.adapters()]
    for number in range(40):
        library.write(f"f{number:02}.json", {"activation text": "second", "description": "second"})
    failures: list[BaseException] = []

    def sync() -> None:
        try:
            library.sync()
        except BaseException as error:
            failures.append(error)

    running = threading.Thread(target=sync)
    running.start()
    answers = at_once(
        client, [("PATCH", f"{ADAPTERS}/{key}", {"author_username": "me", "user_tags": ["mine"]}) for key in ids]
    )
    running.join(timeout=120)
    assert statuses(answers) == {200: 40}
    # The helper compares counters itself, in the middle of it all; what counts is the end.
    assert [error for error in failures if not isinstance(error, AssertionError)] == []
    rows = library.adapters()
    assert {(row.author_username, row.activation_text) for row in rows} == {("me", "second")}
    assert client.get(ADAPTERS, params={"tag": "mine"}).json()["total"] == 40
    check_counters(database)
