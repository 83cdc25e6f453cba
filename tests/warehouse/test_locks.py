import subprocess
import sys
from datetime import timedelta

import pytest
from sqlalchemy import select, update

from warehouse.engine import Database
from warehouse.locks import LockHeld, exclusive
from warehouse.models import Lock, utc_now

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
