"""Deliveries over HTTP: the rows that requests make, and what is answered. Nobody works on the lanes here."""

from collections.abc import Callable
from typing import Any

import httpx
import pytest

from warehouse.engine import Database
from warehouse.jobs import Ended, JobStatus, claim, update_jobs

PATH = "/api/v1/deliveries"
BODY = ["body", "params"]
PRINT = {"prompt": "a knight", "mode": "cli", "params": {}}


def _create(client: httpx.Client, body: Any = None, **headers: str) -> httpx.Response:
    return client.post(PATH, json=PRINT if body is None else body, headers=headers)


def _end(database: Database, status: JobStatus, lane: str = "cli") -> None:
    with database.write() as connection:
        claimed = claim(connection, lane, "me", "run", limit=100)
    with database.write() as connection:
        result = {"stdout": "a knight"} if status is JobStatus.SUCCEEDED else None
        update_jobs(connection, "me", [Ended(job, status, result, None if result else "no") for job in claimed])


def test_a_delivery_from_the_request_to_its_end(client: httpx.Client, database: Database) -> None:
    created = _create(client)
    assert created.status_code == httpx.codes.CREATED
    delivery_id = created.json()["delivery_id"]
    assert created.json() == {"delivery_id": delivery_id, "status": "pending"}
    assert created.headers["location"] == f"{PATH}/{delivery_id}"
    shown = client.get(created.headers["location"]).json()
    assert shown["id"] == delivery_id
    assert (shown["status"], shown["result"], shown["finished_at"], shown["attempts"]) == ("pending", None, None, 0)
    assert shown["created_at"].endswith("Z")
    _end(database, JobStatus.SUCCEEDED)
    shown = client.get(f"{PATH}/{delivery_id.upper()}").json()
    assert (shown["status"], shown["result"], shown["run_id"]) == ("succeeded", {"stdout": "a knight"}, "run")
    assert shown["finished_at"] is not None


@pytest.mark.parametrize(
    ("body", "loc"),
    [
        ({**PRINT, "mode": "fax"}, ["body", "mode"]),
        ({**PRINT, "mode": 5}, ["body", "mode"]),
        ({"mode": "cli"}, ["body", "prompt"]),
        ({**PRINT, "prompt": 5}, ["body", "prompt"]),
        ({**PRINT, "prompt": "x" * 100_001}, ["body", "prompt"]),
        ({**PRINT, "prompt": "a\x00b"}, ["body", "prompt"]),
        ({**PRINT, "more": 1}, ["body", "more"]),
        ({**PRINT, "params": []}, ["body", "params"]),
        ({**PRINT, "params": {"command": "rm"}}, ["body", "params", "command"]),
        ({**PRINT, "mode": "http"}, ["body", "params"]),
        ({**PRINT, "mode": "http", "params": {"url": "gopher://x"}}, ["body", "params", "url"]),
        ({**PRINT, "mode": "http", "params": {"url": "http://[fe80::1]/"}}, ["body", "params", "url"]),
        ({**PRINT, "mode": "http", "params": {"host": "10.1.1.1", "port": 80}}, ["body", "params", "host"]),
        (
            {**PRINT, "mode": "http", "params": {"url": "http://x/", "body": {"a": 2**70}}},
            ["body", "params", "body", "a"],
        ),
        ([], ["body"]),
    ],
)
def test_what_cannot_be_delivered_is_refused_where_it_is_wrong(
    sqlite_client: httpx.Client, body: Any, loc: list[str]
) -> None:
    refused = _create(sqlite_client, body)
    assert refused.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert refused.headers["content-type"] == "application/problem+json"
    assert refused.json()["errors"][0]["loc"] == loc
    assert sqlite_client.get(PATH).json()["total"] == 0


def test_loopback_is_a_target_only_while_the_api_serves_it_alone(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    body = {"prompt": "p", "mode": "http", "params": {"url": "http://localhost:9/"}}
    assert _create(serve(sqlite_database), body).status_code == httpx.codes.CREATED
    assert _create(serve(sqlite_database, api_host="0.0.0.0"), body).status_code == httpx.codes.UNPROCESSABLE_ENTITY
    allowed = serve(sqlite_database, api_host="0.0.0.0", http_allowed_hosts=["localhost"])
    assert _create(allowed, body).status_code == httpx.codes.CREATED


def test_the_same_key_gives_the_same_answer(client: httpx.Client, database: Database) -> None:
    first = _create(client, **{"Idempotency-Key": "one"})
    _end(database, JobStatus.SUCCEEDED)
    again = _create(client, **{"Idempotency-Key": "one"})
    assert (again.status_code, again.json()) == (first.status_code, first.json())
    other = _create(client, {**PRINT, "prompt": "another"}, **{"Idempotency-Key": "one"})
    assert other.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert other.json()["errors"][0]["type"] == "key_reused"
    assert _create(client, **{"Idempotency-Key": "two"}).json() != first.json()
    assert client.get(PATH).json()["total"] == 2
    assert _create(client, **{"Idempotency-Key": "x" * 256}).status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_lists_are_paged_and_narrowed_like_those_of_adapters(client: httpx.Client, database: Database) -> None:
    ids = [_create(client).json()["delivery_id"] for _ in range(5)]
    _end(database, JobStatus.FAILED)
    ids += [_create(client).json()["delivery_id"] for _ in range(2)]
    everything = client.get(PATH).json()
    assert [item["id"] for item in everything["items"]] == ids[::-1]
    assert (everything["total"], everything["limit"], everything["offset"], everything["pages"]) == (7, 100, 0, 1)
    failed = client.get(PATH, params={"status": "failed", "limit": 2, "offset": 1}).json()
    assert [item["id"] for item in failed["items"]] == [ids[3], ids[2]]
    assert failed["total"] == 5
    rest = client.get(PATH, params={"status": "failed", "limit": 5, "cursor": failed["next_cursor"]}).json()
    assert [item["id"] for item in rest["items"]] == [ids[1], ids[0]]
    assert client.get(PATH, params={"page": 2, "per_page": 5}).json()["items"][0]["id"] == ids[1]
    assert client.get(PATH, params={"mode": "http"}).json()["total"] == 0
    assert client.get(PATH, params={"status": ["failed", "pending"]}).json()["total"] == 7
    for wrong in ({"status": "done"}, {"limit": 0}, {"offset": -1}, {"cursor": "x"}, {"limit": 501}):
        assert client.get(PATH, params=wrong).status_code == httpx.codes.UNPROCESSABLE_ENTITY


def test_cancel_and_retry(client: httpx.Client, database: Database) -> None:
    delivery_id = _create(client).json()["delivery_id"]
    cancelled = client.post(f"{PATH}/{delivery_id}/cancel")
    assert (cancelled.status_code, cancelled.json()["status"]) == (200, "cancelled")
    assert client.post(f"{PATH}/{delivery_id}/cancel").status_code == httpx.codes.OK
    feed = client.get("/api/v1/dashboard/activity-feed").json()
    assert {(item["type"], item["subject_id"]) for item in feed} == {("delivery", delivery_id)}
    assert [item["data"]["status"] for item in feed] == ["cancelled", "pending"]
    retried = client.post(f"{PATH}/{delivery_id}/retry")
    assert (retried.status_code, retried.json()["status"], retried.json()["finished_at"]) == (200, "pending", None)
    assert client.post(f"{PATH}/{delivery_id}/retry").status_code == httpx.codes.CONFLICT
    _end(database, JobStatus.SUCCEEDED)
    for action in ("cancel", "retry"):
        refused = client.post(f"{PATH}/{delivery_id}/{action}")
        assert refused.status_code == httpx.codes.CONFLICT
        assert "succeeded" in refused.json()["detail"]


@pytest.mark.parametrize("delivery_id", ["0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f11", "nobody", "%00", "1"])
def test_nobodys_id_is_not_found(sqlite_client: httpx.Client, delivery_id: str) -> None:
    assert sqlite_client.get(f"{PATH}/{delivery_id}").status_code == httpx.codes.NOT_FOUND
    for action in ("cancel", "retry"):
        assert sqlite_client.post(f"{PATH}/{delivery_id}/{action}").status_code == httpx.codes.NOT_FOUND


def test_the_modes_are_listed_with_their_parameters(sqlite_client: httpx.Client) -> None:
    modes = {mode["name"]: mode for mode in sqlite_client.get(f"{PATH}/modes").json()["modes"]}
    assert {"http", "cli"} <= set(modes)
    assert modes["http"]["configured"] is True
    assert "url" in modes["http"]["params"]["properties"]
