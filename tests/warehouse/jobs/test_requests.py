import threading

import pytest

from tests.warehouse.jobs.work import assert_counters_are_true, events, put, show, take
from warehouse.engine import Database
from warehouse.jobs import (
    Ended,
    JobKind,
    JobStateError,
    JobStatus,
    KeyReused,
    NewJob,
    UnstorableError,
    cancel,
    claim,
    enqueue,
    retry,
    update_jobs,
)
from warehouse.queries import dashboard, jobs
from warehouse.queries.jobs import JobFilter


def test_a_new_job_waits_with_nothing_of_an_end(database: Database) -> None:
    row = show(database, put(database).id)
    assert (row.status, row.attempts, row.result, row.finished_at, row.run_id) == ("pending", 0, None, None, None)
    assert events(database, row.id) == ["pending"]
    assert_counters_are_true(database)


def test_the_same_key_gives_the_same_job_and_another_request_is_refused(database: Database) -> None:
    first, again = put(database, key="k"), put(database, key="k")
    assert (first.id, first.is_new, again.is_new) == (again.id, True, False)
    assert events(database, first.id) == ["pending"]
    with pytest.raises(KeyReused, match="fresh key"):
        put(database, key="k", prompt="another")
    assert put(database, key="other").id != first.id
    assert_counters_are_true(database)


def test_many_at_once_with_one_key_make_one_job(database: Database) -> None:
    found: list[str] = []
    threads = [threading.Thread(target=lambda: found.append(put(database, key="k").id)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (len(found), len(set(found))) == (12, 1)
    assert_counters_are_true(database)


@pytest.mark.parametrize(
    ("values", "loc"),
    [
        ({"prompt": "a\x00b"}, ("prompt",)),
        ({"prompt": "a\ud800"}, ("prompt",)),
        ({"params": {"a": [1, {"b": "\x00"}]}}, ("params", "a", 1, "b")),
        ({"params": {"\x00": 1}}, ("params", "\x00")),
        ({"params": {"n": 2**63}}, ("params", "n")),
        ({"params": {"n": float("nan")}}, ("params", "n")),
        ({"params": {"n": float("inf")}}, ("params", "n")),
    ],
)
def test_what_no_database_could_hold_is_refused_where_it_stands(
    sqlite_database: Database, values: dict[str, object], loc: tuple[object, ...]
) -> None:
    with pytest.raises(UnstorableError) as refused:
        put(sqlite_database, **values)
    assert refused.value.loc == loc


def test_what_a_caller_rolls_back_was_never_asked_for(database: Database) -> None:
    with database.engine.connect() as connection:
        enqueue(connection, NewJob(JobKind.DELIVERY, "http", "http", "p", {}))
        connection.rollback()
    with database.read() as connection:
        assert jobs.page(connection, JobFilter(), limit=5).total == 0
    assert take(database) == []
    assert_counters_are_true(database)


def test_a_waiting_job_is_cancelled_at_once_and_told_in_the_feed(database: Database) -> None:
    job = put(database)
    with database.write() as connection:
        assert cancel(connection, job.id)
        assert cancel(connection, job.id)
    row = show(database, job.id)
    assert row.status == "cancelled"
    assert row.finished_at is not None
    assert take(database) == []
    with database.read() as connection:
        feed = dashboard.activity(connection, limit=5)
    assert {(item.kind, item.subject_id) for item in feed} == {("delivery", job.id)}
    assert [item.summary for item in feed] == ["delivery by http was cancelled", "delivery by http was asked for"]
    assert events(database, job.id) == ["pending", "cancelled"]
    assert_counters_are_true(database)


def test_a_running_job_is_asked_to_end_and_gets_no_further_attempt(database: Database) -> None:
    job = put(database)
    (claimed,) = take(database)
    with database.write() as connection:
        assert cancel(connection, job.id)
    assert show(database, job.id).status == "running"
    with database.write() as connection:
        (counted,) = update_jobs(connection, "me", [Ended(claimed, JobStatus.PENDING, retry_in=1)])
    assert isinstance(counted, Ended)
    assert counted.status is JobStatus.CANCELLED
    assert show(database, job.id).status == "cancelled"
    assert_counters_are_true(database)


def test_only_what_can_be_done_is_done(database: Database) -> None:
    job = put(database)
    with database.write() as connection:
        assert not cancel(connection, "nobody's")
        assert not retry(connection, "nobody's")
        with pytest.raises(JobStateError, match="pending"):
            retry(connection, job.id)
    (claimed,) = take(database)
    with database.write() as connection:
        update_jobs(connection, "me", [Ended(claimed, JobStatus.SUCCEEDED, {"status": 200})])
        with pytest.raises(JobStateError, match="succeeded"):
            cancel(connection, job.id)
        with pytest.raises(JobStateError, match="succeeded"):
            retry(connection, job.id)


def test_a_failed_job_is_retried_as_if_new(database: Database) -> None:
    job = put(database)
    (claimed,) = take(database)
    with database.write() as connection:
        update_jobs(connection, "me", [Ended(claimed, JobStatus.FAILED, {"status": 500}, "no")])
    assert show(database, job.id).error == "no"
    with database.write() as connection:
        assert retry(connection, job.id)
    row = show(database, job.id)
    assert (row.status, row.attempts, row.result, row.error, row.finished_at) == ("pending", 0, None, None, None)
    with database.write() as connection:
        assert [each.id for each in claim(connection, "http", "other", "run", limit=9)] == [job.id]
    assert events(database, job.id) == ["pending", "running", "failed", "pending", "running"]
    assert_counters_are_true(database)
