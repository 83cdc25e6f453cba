import threading
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import StatementError

from warehouse import migrations
from warehouse.engine import Database, connect
from warehouse.models import Activity, Root, utc_now


def _root(path: str) -> dict[str, object]:
    return {"path": path, "created_at": utc_now()}


def test_a_write_commits_and_a_failed_one_leaves_nothing(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(Root).values(_root("/kept")))

    def fail() -> None:
        with database.write() as connection:
            connection.execute(insert(Root).values(_root("/lost")))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        fail()
    with database.read() as connection:
        assert connection.execute(select(Root.path)).scalars().all() == ["/kept"]


def test_a_read_keeps_nothing(database: Database) -> None:
    with database.read() as connection:
        connection.execute(insert(Root).values(_root("/lost")))
    with database.read() as connection:
        assert connection.execute(select(Root.path)).scalars().all() == []


def test_moments_keep_their_zone(database: Database) -> None:
    east = datetime(2024, 5, 1, 12, 0, 0, 123456, tzinfo=timezone(timedelta(hours=9)))
    with database.write() as connection:
        connection.execute(insert(Activity).values(at=east, kind="sync", summary="s", data={"a": [1, None]}))
    with database.read() as connection:
        row = connection.execute(select(Activity.at, Activity.data)).one()
    assert row.at == east
    assert row.at.tzinfo == UTC
    assert row.data == {"a": [1, None]}
    naive = datetime(2024, 5, 1)  # noqa: DTZ001 - that is the point
    with pytest.raises(StatementError, match="no time zone"), database.write() as connection:
        connection.execute(insert(Activity).values(at=naive, kind="sync", summary="s"))


def test_absent_json_is_null(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(Activity).values(at=utc_now(), kind="sync", summary="s", data=None))
        assert connection.execute(text("SELECT count(*) FROM activity WHERE data IS NULL")).scalar() == 1


def test_writers_wait_for_each_other(database: Database) -> None:
    def add(thread: int) -> None:
        for number in range(20):
            with database.write() as connection:
                count = connection.execute(select(Root.path)).all()
                connection.execute(insert(Root).values(_root(f"/{thread}/{number}/{len(count)}")))

    threads = [threading.Thread(target=add, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    with database.read() as connection:
        assert len(connection.execute(select(Root.path)).all()) == 80


def test_a_session_keeps_temporary_tables_between_its_transactions(database: Database) -> None:
    with database.session() as session:
        with session.temporary() as connection:
            connection.execute(text("CREATE TEMPORARY TABLE scratch (n INTEGER)"))
            connection.execute(text("INSERT INTO scratch VALUES (1)"))
        with session.write() as connection:
            connection.execute(insert(Root).values(_root("/a")))
            assert connection.execute(text("SELECT n FROM scratch")).scalar() == 1
        with session.temporary() as connection:
            assert connection.execute(text("SELECT n FROM scratch")).scalar() == 1
    with database.read() as connection:
        assert connection.execute(select(Root.path)).scalars().all() == ["/a"]
        with pytest.raises(Exception, match="scratch"):
            connection.execute(text("SELECT n FROM scratch"))


def test_a_temporary_table_takes_no_lock(sqlite_database: Database) -> None:
    with sqlite_database.session() as session, session.temporary() as connection:
        connection.execute(text("CREATE TEMPORARY TABLE scratch (n INTEGER)"))
        with sqlite_database.write() as other:
            other.execute(insert(Root).values(_root("/a")))


def test_the_folder_of_a_database_is_made(tmp_path: Path) -> None:
    database = connect(f"sqlite:///{tmp_path / 'new' / 'deep' / 'w.sqlite3'}")
    with database.write() as connection:
        connection.execute(text("CREATE TABLE t (n INTEGER)"))
        assert connection.execute(text("PRAGMA journal_mode")).scalar() == "wal"
        assert connection.execute(text("PRAGMA foreign_keys")).scalar() == 1
    database.dispose()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:"])
def test_a_database_in_memory_can_be_opened(url: str) -> None:
    database = connect(url)
    migrations.upgrade(database)
    migrations.require_head(database)
    database.dispose()
