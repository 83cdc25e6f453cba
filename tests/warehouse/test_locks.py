import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta

import psutil
import pytest
from sqlalchemy import event, select, update
from sqlalchemy.exc import OperationalError

from warehouse import locks
from warehouse.engine import Database
from warehouse.locks import LockHeld, exclusive
from warehouse.models import Lock, utc_now
from warehouse.processes import identity, is_gone, new_holder

HOLD = """
import sys
from warehouse.engine import connect
from warehouse.locks import exclusive
with exclusive(connect(sys.argv[1]), "work"):
    print("held", flush=True)
    sys.stdin.read()
"""


def _holder(database: Database) -> "subprocess.Popen[str]":
    url = database.engine.url.render_as_string(hide_password=False)
    process = subprocess.Popen(
        [sys.executable, "-c", HOLD, url], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    return process


def test_one_at_a_time_and_other_names_are_free(database: Database) -> None:
    with exclusive(database, "work"):
        with pytest.raises(LockHeld, match="'work' is being worked on"), exclusive(database, "work"):
            pass
        with exclusive(database, "other"):
            pass
    with exclusive(database, "work"):
        pass


def test_released_when_the_block_fails(database: Database) -> None:
    with pytest.raises(RuntimeError), exclusive(database, "work"):
        raise RuntimeError
    with database.read() as connection:
        assert connection.execute(select(Lock)).all() == []


def test_held_by_another_process_until_it_is_killed(database: Database) -> None:
    process = _holder(database)
    try:
        with pytest.raises(LockHeld, match=str(process.pid)), exclusive(database, "work"):
            pass
    finally:
        process.kill()
        process.wait()
    with exclusive(database, "work"):  # at once: the lease of a dead process of this host is free
        pass


def test_a_lease_of_another_host_counts_until_it_expires(database: Database) -> None:
    with database.write() as connection:
        connection.execute(
            Lock.__table__.insert().values(  # type: ignore[attr-defined]
                name="work",
                holder="elsewhere|1|0|x",
                acquired_at=utc_now(),
                expires_at=utc_now() + timedelta(minutes=1),
            )
        )
    with pytest.raises(LockHeld, match="process 1 on elsewhere"), exclusive(database, "work"):
        pass
    with database.write() as connection:
        connection.execute(update(Lock).values(expires_at=utc_now() - timedelta(seconds=1)))
    with exclusive(database, "work"):
        pass


def _row(database: Database, holder: str, expires_at: datetime) -> None:
    with database.write() as connection:
        connection.execute(
            Lock.__table__.insert().values(  # type: ignore[attr-defined]
                name="work", holder=holder, acquired_at=utc_now(), expires_at=expires_at
            )
        )


def test_a_process_stays_itself_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    before = identity()
    booted = psutil.boot_time()
    monkeypatch.setattr(psutil, "boot_time", lambda: booted + 3600)
    if psutil.LINUX:
        monkeypatch.setattr(psutil._pslinux, "boot_time", lambda: booted + 3600)
    assert not is_gone(before)
    assert identity() == before


def test_a_living_process_of_this_host_keeps_its_lease_when_the_clock_jumps(database: Database) -> None:
    process = _holder(database)
    try:
        with database.write() as connection:
            connection.execute(update(Lock).values(expires_at=utc_now() - timedelta(hours=8)))
        with pytest.raises(LockHeld, match=str(process.pid)), exclusive(database, "work"):
            pass
    finally:
        process.kill()
        process.wait()


def test_what_this_process_could_not_give_back_is_free(database: Database) -> None:
    _row(database, new_holder(), utc_now() + timedelta(hours=1))
    with exclusive(database, "work"):
        pass


def test_a_lease_outlives_a_database_that_is_away_when_it_is_renewed(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(locks, "LEASE", timedelta(seconds=0.2))
    monkeypatch.setattr(locks, "_RENEW_AGAIN_SECONDS", 0.01)
    away, failures, renewed = threading.Event(), 0, threading.Event()

    @event.listens_for(database.engine, "before_cursor_execute")
    def _away(_c: object, _cu: object, statement: str, *_: object) -> None:
        nonlocal failures
        if not statement.startswith("UPDATE locks"):
            return
        if away.is_set():
            failures += 1
            raise OperationalError(statement, {}, Exception("the server went away"))
        if failures:
            renewed.set()

    away.set()
    with exclusive(database, "work"):
        while failures < 3:
            assert not renewed.wait(0.01)
        away.clear()
        assert renewed.wait(20)


def test_a_lease_is_told_by_the_clock_that_all_hosts_share(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    if database.is_sqlite:
        pytest.skip("one host")

    class _Ahead(datetime):
        @classmethod
        def now(cls, tz: object = None) -> datetime:
            return datetime.now(UTC) + timedelta(hours=1)

    monkeypatch.setattr("warehouse.models.base.datetime", _Ahead)
    monkeypatch.setattr("warehouse.dialects.datetime", _Ahead)
    _row(database, "elsewhere|1|0|x", datetime.now(UTC) + timedelta(minutes=1))
    with pytest.raises(LockHeld), exclusive(database, "work"):
        pass
