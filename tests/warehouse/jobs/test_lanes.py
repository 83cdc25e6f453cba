"""Who works on a lane: one at a time, found out when it dies, relieved without a gap, never leaving work behind."""

import random
import subprocess
import sys
import threading
import time
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from tests.warehouse.jobs.work import assert_counters_are_true, peek, put, show, take
from warehouse.engine import Database
from warehouse.jobs import (
    ChangeWatch,
    Ended,
    JobStatus,
    TakenLane,
    ask_for_run,
    beat,
    give_back_others,
    lane_state,
    release_lane,
    take_lane,
    update_jobs,
    withdraw_request,
)
from warehouse.models import Job, Lane, utc_now
from warehouse.processes import new_holder


def _take(database: Database, holder: str) -> TakenLane:
    with database.write() as connection:
        return take_lane(connection, "http", "delivery", holder, "run")


def _beat(database: Database, holder: str, *, heir_wanted: bool = False) -> bool:
    with database.write() as connection:
        return beat(connection, "http", holder, linger_until=None, heir_wanted=heir_wanted)


def _release(database: Database, holder: str, wanted: int | None = None) -> bool:
    with database.write() as connection:
        return release_lane(connection, "http", holder, wanted=wanted)


def test_one_at_a_time(database: Database) -> None:
    mine, other = new_holder(), new_holder()
    assert _take(database, mine) is TakenLane.TAKEN
    assert _take(database, other) is TakenLane.HELD
    assert _beat(database, mine)
    assert not _beat(database, other)
    assert not _release(database, other)
    assert _release(database, mine)
    assert _take(database, other) is TakenLane.TAKEN


def test_a_silent_holder_loses_its_lane_and_its_jobs(database: Database) -> None:
    job = put(database)
    silent, fresh = new_holder(), new_holder()
    _take(database, silent)
    (claimed,) = take(database, silent)
    with database.write() as connection:
        connection.execute(update(Lane).values(heartbeat_at=utc_now() - timedelta(minutes=1)))
    assert _take(database, fresh) is TakenLane.TAKEN
    with database.write() as connection:
        give_back_others(connection, "http", fresh)
    assert show(database, job.id).status == "pending"
    assert [each.id for each in take(database, fresh)] == [job.id]
    # It wakes up: nothing that it says counts any more.
    assert not _beat(database, silent)
    with database.write() as connection:
        assert update_jobs(connection, silent, [Ended(claimed, JobStatus.SUCCEEDED, {})]) == []
    assert show(database, job.id).status == "running"
    assert_counters_are_true(database)


def test_a_holder_whose_process_is_gone_is_not_waited_for(database: Database) -> None:
    code = "from warehouse.processes import new_holder; print(new_holder())"
    dead = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip()
    assert _take(database, dead) is TakenLane.TAKEN
    with database.read() as connection:
        state = lane_state(connection, "http")
    assert state is not None
    assert not state.is_alive
    assert _take(database, new_holder()) is TakenLane.TAKEN


def test_an_heir_waits_and_takes_over_when_the_holder_leaves(database: Database) -> None:
    old, heir, third = new_holder(), new_holder(), new_holder()
    _take(database, old)
    _beat(database, old, heir_wanted=True)
    assert _take(database, heir) is TakenLane.NEXT
    assert _take(database, heir) is TakenLane.NEXT
    assert _take(database, third) is TakenLane.HELD
    assert _release(database, old)
    assert _take(database, heir) is TakenLane.TAKEN
    with database.read() as connection:
        state = lane_state(connection, "http")
    assert state is not None
    assert (state.is_alive, state.heir_wanted, state.has_heir) == (True, False, False)


def test_a_run_is_asked_for_once_until_it_comes_or_is_given_up(database: Database) -> None:
    with database.write() as connection:
        assert not ask_for_run(connection, "http")
    put(database)
    for expected in (True, False):
        with database.write() as connection:
            assert ask_for_run(connection, "http") is expected
    with database.write() as connection:
        withdraw_request(connection, "http")
        assert ask_for_run(connection, "http")
        connection.execute(update(Lane).values(requested_at=utc_now() - timedelta(minutes=1)))
        assert ask_for_run(connection, "http")
    holder = new_holder()
    _take(database, holder)
    with database.write() as connection:
        assert not ask_for_run(connection, "http")
    _release(database, holder)
    with database.write() as connection:
        assert ask_for_run(connection, "http")


def test_a_job_that_comes_while_a_run_leaves_keeps_it(database: Database) -> None:
    holder = new_holder()
    _take(database, holder)
    seen = peek(database)
    assert not seen.is_due
    put(database)
    assert not _release(database, holder, seen.wanted)
    seen = peek(database)
    assert seen.is_due
    assert _release(database, holder, seen.wanted)


def _drain(database: Database) -> int:
    """A run that leaves as soon as it finds nothing; returns how many jobs it did."""
    holder, done = new_holder(), 0
    if _take(database, holder) is not TakenLane.TAKEN:
        return 0
    while True:
        seen = peek(database)
        if claimed := take(database, holder, limit=3):
            with database.write() as connection:
                update_jobs(connection, holder, [Ended(job, JobStatus.SUCCEEDED, {}) for job in claimed])
            done += len(claimed)
        elif _release(database, holder, seen.wanted):
            return done


def _wait_until_left(database: Database) -> None:
    """Until all that was put is done and the run has left: one that waits for SQLite's lock is not alive yet."""
    waiting = select(Job.pk).where(Job.status.in_((JobStatus.PENDING, JobStatus.RUNNING))).limit(1)
    for _ in range(12_000):
        with database.read() as connection:
            state = lane_state(connection, "http")
            is_done = connection.execute(waiting).first() is None
        if is_done and (state is None or not state.is_alive):
            return
        time.sleep(0.005)


def test_none_is_stranded_between_asking_and_leaving(database: Database) -> None:
    """Many askers, each of which starts a run where none is alive, against runs that leave at once."""
    askers, each = 2, 60
    exits: list[int] = []
    runs: list[threading.Thread] = []

    def ask(seed: int) -> None:
        chance = random.Random(seed)
        for _ in range(each):
            put(database)
            with database.write() as connection:
                due = ask_for_run(connection, "http")
            if due:
                run = threading.Thread(target=lambda: exits.append(_drain(database)))
                runs.append(run)
                run.start()
            if chance.random() < 0.2:
                _wait_until_left(database)

    threads = [threading.Thread(target=ask, args=(seed,)) for seed in range(askers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for run in runs:
        run.join()
    assert sum(exits) == askers * each
    assert len(exits) > 1, "no run left while others asked: nothing was tried"
    assert take(database) == []
    assert_counters_are_true(database)


@pytest.mark.parametrize("change", ["job", "progress"])
def test_a_change_of_another_connection_wakes_who_waits(database: Database, change: str) -> None:
    put(database)
    woken: list[bool] = []
    with ChangeWatch(database) as watch:
        assert not watch.wait(0.05)
        waiting = threading.Thread(target=lambda: woken.append(watch.wait(20)))
        waiting.start()
        put(database) if change == "job" else take(database)
        waiting.join()
        assert woken == [True]
        assert not watch.wait(0.05)
        put(database)
        assert watch.wait(5)


def test_a_lost_connection_counts_as_a_change_and_is_made_again(database: Database) -> None:
    with ChangeWatch(database) as watch:
        watch._driver.close()
        assert watch.wait(1)
        assert watch.wait(1)
        assert not watch.wait(0.05)
        put(database)
        assert watch.wait(5)
