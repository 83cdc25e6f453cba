"""Claims, reports and leases: what happens to a job between the request and its end."""

import threading
from datetime import timedelta

from sqlalchemy import update

from tests.warehouse.jobs.work import assert_counters_are_true, events, peek, put, show, take
from warehouse.engine import Database
from warehouse.jobs import Ended, JobStatus, Tick, cancel, expire_leases, prune, update_jobs
from warehouse.models import Job, JobEvent, utc_now
from warehouse.queries import jobs


def test_jobs_are_claimed_by_urgency_then_arrival_each_once(database: Database) -> None:
    late, first, second = (put(database, priority=5).id, put(database).id, put(database).id)
    put(database, mode="cli")
    claimed = take(database, limit=2)
    assert [job.id for job in claimed] == [first, second]
    assert [job.id for job in take(database, "other")] == [late]
    assert take(database) == []
    row = show(database, first)
    assert (row.status, row.attempts, row.run_id) == ("running", 1, "run")
    assert row.started_at is not None
    assert_counters_are_true(database)


def test_two_claim_at_once_and_nothing_is_claimed_twice(database: Database) -> None:
    ids = {put(database).id for _ in range(40)}
    found: list[str] = []

    def work(holder: str) -> None:
        while claimed := take(database, holder, limit=3):
            found.extend(job.id for job in claimed)

    threads = [threading.Thread(target=work, args=(f"holder {number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 40
    assert set(found) == ids
    assert_counters_are_true(database)


def test_reports_count_only_of_who_has_the_job(database: Database) -> None:
    job = put(database)
    (claimed,) = take(database)
    ticks = [Tick(claimed, 40.0, {"step": 4, "steps": 10}), Ended(claimed, JobStatus.SUCCEEDED, {"status": 200})]
    with database.write() as connection:
        assert update_jobs(connection, "somebody else", ticks) == []
    assert show(database, job.id).status == "running"
    with database.write() as connection:
        assert update_jobs(connection, "me", ticks) == ticks
        assert update_jobs(connection, "me", ticks) == []
    row = show(database, job.id)
    assert (row.status, row.progress, row.result) == ("succeeded", 100.0, {"status": 200})
    assert events(database, job.id) == ["pending", "running", "progress", "succeeded"]
    assert_counters_are_true(database)


def test_another_attempt_waits_for_its_time(database: Database) -> None:
    job = put(database)
    (claimed,) = take(database)
    with database.write() as connection:
        update_jobs(connection, "me", [Ended(claimed, JobStatus.PENDING, error="503", retry_in=30)])
    assert take(database) == []
    seen = peek(database)
    assert not seen.is_due
    assert seen.due_in is not None
    assert timedelta(seconds=25) < seen.due_in <= timedelta(seconds=30)
    with database.write() as connection:
        connection.execute(update(Job).values(not_before=utc_now()))
    (again,) = take(database)
    assert (again.id, again.attempts, again.started_at) == (job.id, 2, claimed.started_at)
    assert_counters_are_true(database)


def _let_leases_run_out(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            update(Job).where(Job.status == "running").values(lease_expires_at=utc_now() - timedelta(seconds=1))
        )


def test_jobs_of_a_lost_holder_wait_again_until_their_last_attempt(database: Database) -> None:
    job, unwanted = put(database), put(database)
    take(database)
    assert expire_leases(database) == []
    with database.write() as connection:
        cancel(connection, unwanted.id)
    _let_leases_run_out(database)
    assert expire_leases(database) == ["http"]
    assert (show(database, job.id).status, show(database, unwanted.id).status) == ("pending", "cancelled")
    assert [each.attempts for each in take(database, "second")] == [2]
    _let_leases_run_out(database)
    assert expire_leases(database) == []
    row = show(database, job.id)
    assert row.status == "failed"
    assert "process that worked on it is gone" in (row.error or "")
    assert row.finished_at is not None
    assert_counters_are_true(database)


def test_readers_that_go_on_after_the_last_number_miss_no_event(database: Database) -> None:
    """Writers commit out of order on PostgreSQL; numbers must become visible in order all the same."""
    total, seen = 120, []
    done = threading.Event()

    def read() -> None:
        last = 0
        while True:
            finished = done.is_set()
            with database.read() as connection:
                found = jobs.events_after(connection, last, limit=1000)
            if found:
                last = found[-1].seq
                seen.extend(event.seq for event in found)
            elif finished:
                return

    reader = threading.Thread(target=read)
    reader.start()
    writers = [threading.Thread(target=lambda: [put(database) for _ in range(total // 6)]) for _ in range(6)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    done.set()
    reader.join()
    assert len(seen) == total
    assert seen == sorted(seen)


def test_old_jobs_go_with_their_events_and_young_ones_stay(database: Database) -> None:
    old, young, waiting = (put(database) for _ in range(3))
    for claimed in take(database, limit=2):
        with database.write() as connection:
            tick = Tick(claimed, 5.0, {})
            update_jobs(connection, "me", [tick, Ended(claimed, JobStatus.SUCCEEDED, {})])
    with database.write() as connection:
        connection.execute(update(Job).where(Job.id == old.id).values(finished_at=utc_now() - timedelta(days=40)))
        connection.execute(update(JobEvent).values(at=utc_now() - timedelta(days=2)))
    assert prune(database, utc_now() - timedelta(days=30)) == 1
    with database.read() as connection:
        assert jobs.get(connection, old.id) is None
        assert jobs.events_of(connection, old.id, limit=9) == []
    assert events(database, young.id) == ["pending", "running", "succeeded"]
    assert show(database, waiting.id).status == "pending"
    assert_counters_are_true(database)
