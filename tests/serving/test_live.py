"""WebSocket and Server-Sent Events: what happens to jobs reaches whoever listens, in order, without a gap."""

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import httpx
import pytest
from websockets.sync.client import ClientConnection, connect

from serving.live import Hub
from serving.live.listener import Listener, TooSlowError
from serving.live.messages import Message
from tests.serving.conftest import KEYS
from warehouse.engine import Database
from warehouse.jobs import JobKind, NewJob, cancel, enqueue
from warehouse.models import utc_now
from warehouse.queries.jobs import EventRow

PATHS = ["/ws/progress", "/api/ws/progress", "/api/v1/ws/progress", "/api/v1/generation/ws/progress"]


@contextmanager
def listening(client: httpx.Client, path: str = PATHS[0], **options: Any) -> Iterator[ClientConnection]:
    address = str(client.base_url).replace("http", "ws", 1).rstrip("/") + path
    with connect(address, proxy=None, **options) as socket:
        yield socket


def hear(socket: ClientConnection, kind: str | None, *, seconds: float = 10) -> dict[str, Any]:
    """The next message of a kind, others passed over; None: the next of any kind."""
    deadline = time.monotonic() + seconds
    while True:
        message: dict[str, Any] = json.loads(socket.recv(timeout=deadline - time.monotonic()))
        assert {"type", "seq", "timestamp"} <= message.keys()
        if kind in (None, message["type"]):
            return message


def _of(kind: str, messages: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [message for message in messages if message["type"] == kind]


def ask(database: Database, kind: JobKind = JobKind.GENERATION) -> str:
    job = NewJob(kind=kind, mode="sdnext" if kind is JobKind.GENERATION else "http", lane="x", prompt="a", params={})
    with database.write() as connection:
        return enqueue(connection, job).id


def end(database: Database, job_id: str) -> None:
    with database.write() as connection:
        cancel(connection, job_id)


@pytest.mark.parametrize("path", PATHS)
def test_hello_comes_first_at_every_address(sqlite_client: httpx.Client, path: str) -> None:
    with listening(sqlite_client, path) as socket:
        hello = json.loads(socket.recv(timeout=5))
    assert (hello["type"], hello["seq"]) == ("hello", 0)
    assert hello["timestamp"].endswith("Z")


def test_without_a_subscription_all_jobs_are_told(client: httpx.Client, database: Database) -> None:
    with listening(client) as socket:
        hear(socket, "hello")
        first, second = ask(database), ask(database, JobKind.DELIVERY)
        told: list[dict[str, Any]] = []
        # Counts are told when they are, so their place among the others is not known.
        while len(_of("delivery_update", told)) < 2 or not any(each.get("queued") == 2 for each in told):
            told.append(hear(socket, None))
        (queued,) = _of("generation_progress", told)
        assert (queued["job_id"], queued["status"], queued["progress"]) == (first, "queued", 0)
        updates = _of("delivery_update", told)
        assert [each["job_id"] for each in updates] == [first, second]
        assert updates[1] | {"seq": 0, "timestamp": ""} == {
            "type": "delivery_update",
            "seq": 0,
            "timestamp": "",
            "job_id": second,
            "status": "pending",
        }
        end(database, first)
        cancelled = hear(socket, "generation_cancelled")
        assert (cancelled["job_id"], cancelled["status"]) == (first, "cancelled")


def test_a_subscription_narrows_and_any_text_is_an_id(client: httpx.Client, database: Database) -> None:
    with listening(client) as socket:
        hear(socket, "hello")
        mine = ask(database)
        socket.send(json.dumps({"type": "subscribe", "job_ids": [mine, "no such job"]}))
        assert hear(socket, "subscription_confirmed")["job_ids"] == sorted([mine, "no such job"])
        other = ask(database)
        end(database, other)
        end(database, mine)
        assert hear(socket, "generation_cancelled")["job_id"] == mine
        socket.send(json.dumps({"type": "unsubscribe", "job_ids": [mine]}))
        assert hear(socket, "subscription_confirmed")["job_ids"] == ["no such job"]
        socket.send(json.dumps({"type": "subscribe", "job_ids": None}))
        assert hear(socket, "subscription_confirmed")["job_ids"] is None
        third = ask(database)
        assert hear(socket, "generation_progress")["job_id"] == third


def test_going_on_after_a_number_misses_nothing_and_repeats_nothing(client: httpx.Client, database: Database) -> None:
    with listening(client) as socket:
        hear(socket, "hello")
        ask(database)
        seen = hear(socket, "delivery_update")["seq"]
    missed = [ask(database) for _ in range(700)]
    with listening(client) as socket:
        socket.send(json.dumps({"type": "subscribe", "job_ids": None, "after": seen}))
        hear(socket, "subscription_confirmed")
        later = [ask(database) for _ in range(5)]
        told = [hear(socket, "delivery_update") for _ in range(len(missed) + len(later))]
    assert [message["job_id"] for message in told] == [*missed, *later]
    numbers = [message["seq"] for message in told]
    assert numbers == sorted(set(numbers))


def test_a_number_that_is_not_there_yet_makes_nobody_deaf(
    sqlite_client: httpx.Client, sqlite_database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even for what happens right after the confirmation, however long the look for the last number takes."""
    last = Hub._last

    def slowly(hub: Hub) -> int:
        time.sleep(0.3)
        return last(hub)

    monkeypatch.setattr(Hub, "_last", slowly)
    with listening(sqlite_client) as socket:
        socket.send(json.dumps({"type": "subscribe", "after": 2**62}))
        hear(socket, "subscription_confirmed")
        job = ask(sqlite_database)
        assert hear(socket, "generation_progress")["job_id"] == job


@pytest.mark.parametrize(
    "garbage",
    [
        "",
        "{",
        "[]",
        "null",
        '{"type": "dance"}',
        '{"type": "subscribe", "job_ids": 5}',
        '{"type": "subscribe", "after": -1}',
        '{"type": "subscribe", "more": 1}',
        '{"type": "subscribe", "after": 1e400}',
        "[" * 100_000,
        b"\xff\xfe",
        b"",
    ],
)
def test_garbage_gets_an_error_and_the_connection_lives_on(sqlite_client: httpx.Client, garbage: str | bytes) -> None:
    with listening(sqlite_client) as socket:
        socket.send(garbage)
        assert "not understood" in hear(socket, "error")["detail"]
        socket.send(json.dumps({"type": "subscribe", "job_ids": ["x"]}))
        assert hear(socket, "subscription_confirmed")["job_ids"] == ["x"]


def test_more_jobs_than_one_connection_waits_for_are_refused(sqlite_client: httpx.Client) -> None:
    with listening(sqlite_client) as socket:
        socket.send(json.dumps({"type": "subscribe", "job_ids": [str(number) for number in range(10_001)]}))
        assert "10,000" in hear(socket, "error")["detail"]


def test_a_key_is_needed_as_a_header_or_in_the_query(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    client = serve(sqlite_database, api_keys=KEYS)
    with pytest.raises(Exception, match="403"), listening(client):
        pass
    with listening(client, additional_headers={"X-API-Key": "reader-secret"}) as socket:
        hear(socket, "hello")
    with listening(client, f"{PATHS[0]}?api_key=reader-secret") as socket:
        hear(socket, "hello")


def events_of(response: httpx.Response) -> list[dict[str, Any]]:
    blocks = [block for block in response.text.split("\n\n") if block and not block.startswith(":")]
    return [json.loads(next(line for line in block.split("\n") if line.startswith("data: "))[6:]) for block in blocks]


def test_events_of_one_job_from_its_beginning_to_its_end(client: httpx.Client, database: Database) -> None:
    job, other = ask(database), ask(database)
    end(database, other)
    end(database, job)
    response = client.get(f"/api/v1/generation/jobs/{job}/events")
    assert response.headers["content-type"].startswith("text/event-stream")
    told = events_of(response)
    assert {message["job_id"] for message in told} == {job}
    assert [message["type"] for message in told] == [
        "generation_progress",
        "delivery_update",
        "generation_cancelled",
        "delivery_update",
    ]
    again = client.get(f"/api/v1/generation/jobs/{job}/events", headers={"Last-Event-ID": str(told[1]["seq"])})
    assert events_of(again) == told[2:]


def test_a_stream_of_events_ends_with_its_job(client: httpx.Client, database: Database) -> None:
    job = ask(database)
    with client.stream("GET", f"/api/v1/generation/jobs/{job}/events") as response:
        lines = response.iter_lines()
        assert next(lines).startswith("id: ")
        end(database, job)
        kinds = [line.removeprefix("event: ") for line in lines if line.startswith("event: ")]
    assert kinds[-2:] == ["generation_cancelled", "delivery_update"]


@pytest.mark.parametrize("job_id", ["nonesuch", "a%00b", "%ED%A0%80", "01a20e9c-b4b1-7ac4-8c52-0e9d2bc2bc87"])
def test_events_of_no_job(client: httpx.Client, job_id: str) -> None:
    assert client.get(f"/api/v1/generation/jobs/{job_id}/events").status_code == 404


async def _drain(listener: Listener) -> list[Message]:
    told = []
    while (message := await listener.get(0.01)) is not None:
        told.append(message)
    return told


def _message(seq: int, *, tick: bool = False, job: str = "a") -> Message:
    return Message("generation_progress", seq, utc_now(), {}, job, is_tick=tick)


def test_a_newer_tick_replaces_an_older_one_and_nothing_else() -> None:
    async def run() -> list[int]:
        listener = Listener()
        for number in range(5_000):
            listener.put(_message(number, tick=True, job="ab"[number % 2]))
        listener.put(_message(5_000))
        return [message.seq for message in await _drain(listener)]

    assert asyncio.run(run()) == [4_998, 4_999, 5_000]


def test_a_listener_that_falls_behind_is_given_up() -> None:
    async def run() -> None:
        listener = Listener()
        for number in range(Listener.MOST + 1):
            listener.put(_message(number))
        await listener.get(0.01)

    with pytest.raises(TooSlowError):
        asyncio.run(run())


def test_who_reads_nothing_holds_up_nobody(sqlite_client: httpx.Client, sqlite_database: Database) -> None:
    with listening(sqlite_client, max_queue=1), listening(sqlite_client) as socket:
        hear(socket, "hello")
        for _ in range(30):
            jobs = [ask(sqlite_database) for _ in range(20)]
            while hear(socket, "delivery_update")["job_id"] != jobs[-1]:
                pass


def test_what_happens_between_two_looks_into_the_past_is_told(sqlite_database: Database) -> None:
    """An event that comes after the rows were read and is handed out before they are looked at."""

    class Late(Hub):
        is_reading = False

        def _read(self, after: int) -> list[EventRow]:
            page = super()._read(after)
            if self.is_reading:
                self.is_reading = False
                ask(sqlite_database)
                while not self.position:
                    time.sleep(0.01)
            return page

    async def told() -> list[str]:
        hub = Late(sqlite_database)
        async with hub.listening() as listener:
            hub.is_reading = True
            messages = [message.type async for message in hub.earlier(listener, 0)]
        await hub.close()
        return messages

    assert asyncio.run(asyncio.wait_for(told(), 20)) == ["generation_progress", "delivery_update"]
