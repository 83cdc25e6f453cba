"""Deliveries to a real server: what arrives, what is tried again, what comes back."""

import asyncio
import socket
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from pipelines.backends import http
from pipelines.backends.http import PLUGIN, HttpBackend
from tests.pipelines.receiver import Receiver, receiving
from warehouse.backends import Outcome, ParamsError, check_params
from warehouse.jobs import ClaimedJob, JobStatus
from warehouse.models import utc_now
from warehouse.settings import Settings

PENDING, SUCCEEDED, FAILED, CANCELLED = JobStatus.PENDING, JobStatus.SUCCEEDED, JobStatus.FAILED, JobStatus.CANCELLED


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as running:
        yield running


def job_of(params: dict[str, Any], *, attempts: int = 1, age: float = 0.0) -> ClaimedJob:
    began = utc_now() - timedelta(seconds=age)
    job_id = "0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f12"
    return ClaimedJob(1, job_id, "delivery", "http", "http", "a knight", params, attempts, 3, 0.0, began, began)


def deliver(settings: Settings, params: dict[str, Any], **job: Any) -> Outcome:
    """One attempt."""

    async def attempt() -> Outcome:
        backend = HttpBackend(settings)
        try:
            submission = await backend.submit(job_of(params, **job))
            assert [progress async for progress in submission.events()] == []
            return await submission.result()
        finally:
            await backend.close()

    return asyncio.run(attempt())


def test_a_prompt_arrives_with_the_names_that_tell_a_repetition(settings: Settings, receiver: Receiver) -> None:
    outcome = deliver(settings, {"url": f"{receiver.url}/in?x=1", "body": {"seed": 7, "prompt": "not this"}})
    (received,) = receiver.received
    assert received.path == "/in?x=1"
    job_id = job_of({}).id
    assert received.body == {"seed": 7, "prompt": "a knight", "delivery_id": job_id, "attempt": 1}
    assert received.headers["idempotency-key"] == received.headers["x-delivery-id"] == job_id
    assert received.headers["host"] == f"127.0.0.1:{receiver.port}"
    assert outcome == Outcome(SUCCEEDED, {"status": 200, "body": "taken", "content_type": None, "truncated": False})


def test_a_target_in_parts_is_the_same(settings: Settings, receiver: Receiver) -> None:
    outcome = deliver(settings, {"host": "127.0.0.1", "port": receiver.port, "path": "in"})
    assert outcome.status is SUCCEEDED
    assert receiver.received[0].path == "/in"


@pytest.mark.parametrize(
    ("status", "expected"),
    [(201, SUCCEEDED), (204, SUCCEEDED), (429, PENDING), (500, PENDING), (503, PENDING), (400, FAILED), (404, FAILED)],
)
def test_what_an_answer_means(settings: Settings, receiver: Receiver, status: int, expected: JobStatus) -> None:
    outcome = deliver(settings, {"url": f"{receiver.url}/status/{status}"})
    assert outcome.status is expected
    assert outcome.result is not None
    assert outcome.result["status"] == status
    assert len(receiver.received) == 1


def test_a_redirect_is_not_followed(settings: Settings, receiver: Receiver) -> None:
    receiver.headers = {"Location": "http://169.254.169.254/"}
    outcome = deliver(settings, {"url": f"{receiver.url}/status/307"})
    assert outcome.status is FAILED
    assert "redirect" in (outcome.error or "")


def test_retries_wait_longer_and_end(settings: Settings, receiver: Receiver) -> None:
    target = {"url": f"{receiver.url}/status/500"}
    first, second = deliver(settings, target), deliver(settings, target, attempts=2, age=2)
    assert 0.7 < first.retry_in < 1.3
    assert 1.5 < second.retry_in < 2.5
    last = deliver(settings, target, attempts=3, age=5)
    assert last.status is FAILED
    assert "attempt 3 of 3" in (last.error or "")


@pytest.mark.parametrize(
    ("header", "age", "expected"), [("7", 0, 7.0), ("soon", 0, None), ("90", 0, FAILED), ("20", 45, FAILED)]
)
def test_a_target_says_when_within_the_time_for_all(
    settings: Settings, receiver: Receiver, header: str, age: float, expected: object
) -> None:
    receiver.headers = {"Retry-After": header}
    outcome = deliver(settings, {"url": f"{receiver.url}/status/429"}, age=age)
    if expected is FAILED:
        assert outcome.status is FAILED
        assert "60 s" in (outcome.error or "")
    else:
        assert outcome.status is PENDING
        assert outcome.retry_in == (expected or pytest.approx(1.0, abs=0.3))


def test_an_answer_that_does_not_come_is_not_waited_for_again(
    settings: Settings, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(http, "ATTEMPT_SECONDS", 0.3)
    outcome = deliver(settings, {"url": f"{receiver.url}/slow"})
    assert outcome.status is FAILED
    assert "may have taken it" in (outcome.error or "")


def test_nobody_there_and_a_broken_connection_are_tried_again(settings: Settings, receiver: Receiver) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        nobody = deliver(settings, {"url": f"http://127.0.0.1:{free.getsockname()[1]}/"})
    broken = deliver(settings, {"url": f"{receiver.url}/reset"})
    unknown = deliver(settings, {"url": "http://nowhere.invalid/"})
    assert [outcome.status for outcome in (nobody, broken, unknown)] == [PENDING] * 3


def test_an_answer_is_kept_up_to_a_bound_as_text_that_can_be_stored(settings: Settings, receiver: Receiver) -> None:
    outcome = deliver(settings, {"url": f"{receiver.url}/big"})
    assert outcome.status is SUCCEEDED
    assert outcome.result is not None
    assert outcome.result["truncated"] is True
    assert len(outcome.result["body"]) == http.MAX_BODY_BYTES
    assert "\x00" not in outcome.result["body"]


def test_an_interrupt_drops_the_request_and_says_what_is_known(settings: Settings, receiver: Receiver) -> None:
    async def interrupted() -> Outcome:
        backend = HttpBackend(settings)
        submission = await backend.submit(job_of({"url": f"{receiver.url}/slow"}))
        while not receiver.received:
            await asyncio.sleep(0.01)
        await submission.interrupt()
        try:
            return await submission.result()
        finally:
            await backend.close()

    outcome = asyncio.run(interrupted())
    assert outcome.status is CANCELLED
    assert "may have taken effect" in (outcome.error or "")


def test_a_name_that_leads_to_this_machine_is_refused_when_delivering(settings: Settings, receiver: Receiver) -> None:
    open_to_all = settings.model_copy(update={"api_host": "0.0.0.0"})
    outcome = deliver(open_to_all, {"url": f"http://localhost:{receiver.port}/"})
    assert outcome.status is FAILED
    assert "this machine itself" in (outcome.error or "")
    assert receiver.received == []


@pytest.mark.parametrize(
    ("params", "words"),
    [
        ({}, "missing"),
        ({"url": ""}, "at least 1"),
        ({"url": 5}, "string"),
        ({"url": "ftp://example.org/"}, "http"),
        ({"url": "example.org/x"}, "http"),
        ({"url": "http:///x"}, "host"),
        ({"url": "http://user:secret@example.org/"}, "user name"),
        ({"url": "http://example.org:99999/"}, "port"),
        ({"url": "http://exa mple.org/"}, "characters"),
        ({"url": "http://[::1/"}, "URL"),
        ({"url": "http://example.org/", "host": "example.org"}, "twice"),
        ({"host": "example.org/x"}, "URL"),
        ({"host": "user@example.org"}, "URL"),
        ({"host": "example.org", "port": 0}, "greater"),
        ({"host": "example.org", "port": "80"}, "integer"),
        ({"url": "http://example.org/", "headers": {}}, "Extra"),
        ({"url": "http://169.254.169.254/"}, "metadata"),
        ({"url": "http://0xa9fea9fe/"}, "metadata"),
        ({"url": "http://[::ffff:10.0.0.1]/"}, "private"),
        ({"url": "http://0/"}, "no address"),
        ({"host": "192.168.0.1", "port": 80}, "private"),
    ],
)
def test_what_is_no_target_is_refused_at_once(settings: Settings, params: dict[str, Any], words: str) -> None:
    with pytest.raises(ParamsError, match=words):
        check_params(PLUGIN, "p", params, settings)


def test_what_is_stored_is_what_was_sent(settings: Settings) -> None:
    params = {"url": "https://example.org/in", "body": {"seed": 1}}
    assert check_params(PLUGIN, "p", params, settings) == params
