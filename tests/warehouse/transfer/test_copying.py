"""A database copied into another: all of it, also when somebody stops it, and nothing else."""

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import delete, insert, select, text, update

from tests import programs
from tests.databases import scratch_database, scratch_postgresql
from tests.warehouse.queries.library import adapter_values, insert_adapters
from tests.warehouse.transfer.filling import fill
from warehouse import migrations
from warehouse.engine import Database, connect
from warehouse.locks import exclusive
from warehouse.models import Adapter, AuditEntry, Lane, utc_now
from warehouse.processes import new_holder
from warehouse.queries.changes import counted
from warehouse.transfer import TransferError
from warehouse.transfer.copying import BusyError, copy_database
from warehouse.transfer.digests import digest_of
from warehouse.transfer.shapes import shapes
from warehouse.transfer.writing import UnstorableValueError

Make = Callable[[str], Database]


@pytest.fixture
def make(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Make]:
    """Makes databases without a table."""
    made: list[Database] = []

    def empty(dialect: str) -> Database:
        url = f"sqlite:///{tmp_path}/empty-{len(made)}.sqlite3"
        if dialect == "postgresql":
            url = scratch_postgresql(request.getfixturevalue("postgresql_server"))
        made.append(connect(url))
        return made[-1]

    yield empty
    for database in made:
        database.dispose()


def digests(database: Database) -> dict[str, tuple[int, str]]:
    with database.read() as connection:
        found = {shape.name: digest_of(connection, shape) for shape in shapes()}
    return {name: (digest.rows, digest.hexadecimal) for name, digest in found.items()}


def other(database: Database) -> str:
    return "postgresql" if database.is_sqlite else "sqlite"


def test_every_row_of_every_table_goes_over_and_back(database: Database, make: Make) -> None:
    fill(database)
    before = digests(database)
    assert min(rows for rows, _ in before.values()) == 12
    there, back = make(other(database)), make("sqlite" if database.is_sqlite else "postgresql")
    compared = copy_database(database, there)
    assert {row.table: (row.target_rows, row.target_digest) for row in compared} == before
    copy_database(there, back)
    assert digests(back) == digests(database) == before
    assert migrations.revision_of(back) == migrations.head()


def test_a_digest_tells_one_changed_value(sqlite_database: Database) -> None:
    fill(sqlite_database)
    before = digests(sqlite_database)
    with sqlite_database.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == 3).values(user_notes="another"))
    changed = digests(sqlite_database)
    # Notes are shown by no recommendation, so that they do not count as a change either.
    assert {name for name in before if before[name] != changed[name]} == {"adapters"}


def test_values_are_the_same_to_whoever_reads_them(database: Database, make: Make) -> None:
    insert_adapters(database, [adapter_values(1, user_notes="mine", extra={"b": [1.5, None], "a": "水"}, ordinal=None)])
    there = make(other(database))
    copy_database(database, there)
    rows = []
    for side in (database, there):
        with side.read() as connection:
            rows.append(dict(connection.execute(select(Adapter.__table__)).one()._mapping))
    assert rows[0] == rows[1]


def test_numbers_go_on_behind_those_that_are_gone(database: Database, make: Make) -> None:
    pks = insert_adapters(database, [adapter_values(number) for number in range(3)])
    with database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == pks[-1]))
    there = make(other(database))
    copy_database(database, there)
    assert insert_adapters(there, [adapter_values(9)])[0] > pks[-1]


def test_what_was_counted_stays_and_counting_goes_on(database: Database, make: Make) -> None:
    fill(database)
    with database.read() as connection:
        before = counted(connection)
    there = make(other(database))
    copy_database(database, there)
    with there.read() as connection:
        assert counted(connection) == before
    with there.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == 1).values(name="changed"))
    if there.is_sqlite:
        # Filled by hand: without the row that triggers of SQLite count in.
        return
    with there.read() as connection:
        assert counted(connection).adapters > before.adapters


def test_words_are_found_and_the_audit_log_is_protected(sqlite_database: Database, make: Make) -> None:
    insert_adapters(sqlite_database, [adapter_values(7, name="Nebula Knight")])
    entry = {"at": utc_now(), "request_id": "r", "action": "update", "subject_kind": "adapter", "subject_id": "x"}
    with sqlite_database.write() as connection:
        connection.execute(insert(AuditEntry), [entry])
    there, back = make("postgresql"), make("sqlite")
    copy_database(sqlite_database, there)
    copy_database(there, back)
    with there.read() as connection:
        found = "SELECT count(*) FROM adapter_search WHERE words @@ to_tsquery('simple', 'nebula')"
        assert connection.execute(text(found)).scalar() == 1
    with back.read() as connection:
        found = "SELECT count(*) FROM adapter_fts WHERE adapter_fts MATCH 'nebula'"
        assert connection.execute(text(found)).scalar() == 1
    for database in (there, back):
        with pytest.raises(Exception, match="append-only"), database.write() as connection:
            connection.execute(delete(AuditEntry))


@pytest.mark.failure
@pytest.mark.parametrize("part", [0.1, 0.5, 0.9])
@pytest.mark.parametrize("direction", ["sqlite", "postgresql"])
def test_killed_and_run_again(
    direction: str, part: float, make: Make, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    with ExitStack() as stack:
        source = stack.enter_context(scratch_database(request, tmp_path, direction))
        fill(source)
        urls = [side.engine.url.render_as_string(hide_password=False) for side in (source, make(other(source)))]
        whole = _child(*urls)
        assert whole.returncode == 0, whole.stderr
        target = make(other(source))
        urls[1] = target.engine.url.render_as_string(hide_password=False)
        died = _child(*urls, str(int(int(whole.stdout) * part)))
        assert died.returncode == -signal.SIGKILL, died.stderr
        if migrations.revision_of(target) is not None:
            with pytest.raises(migrations.SchemaError, match="migrate-database"):
                migrations.require_head(target)
            with pytest.raises(migrations.SchemaError, match="migrate-database"):
                migrations.upgrade(target)
        said: list[str] = []
        copy_database(source, target, say=said.append)
        assert digests(target) == digests(source)
        migrations.require_head(target)
        # What was done was not done again.
        assert part < 0.5 or len(said) < len(shapes())


def _child(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return programs.run(
        "tests.warehouse.transfer.killed", *arguments, folder=programs.ROOT, environment=os.environ, timeout=120
    )


def test_a_source_that_changed_between_two_parts_is_noticed(
    sqlite_database: Database, make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill(sqlite_database)
    target = make("postgresql")

    def stop(what: str) -> None:
        if what == "change_counts":
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        copy_database(sqlite_database, target, say=stop)
    with sqlite_database.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == 3).values(user_notes="written meanwhile"))
    with pytest.raises(TransferError, match=r"differs from its source in adapters .*--start-over"):
        copy_database(sqlite_database, target)
    copy_database(sqlite_database, target, start_over=True)
    assert digests(target) == digests(sqlite_database)


def test_a_target_that_holds_something_is_refused(sqlite_database: Database, make: Make) -> None:
    strange, filled = make("postgresql"), make("postgresql")
    with strange.write() as connection:
        connection.execute(text("CREATE TABLE accounts (id integer)"))
    with pytest.raises(TransferError, match=r"something else \(accounts\)"):
        copy_database(sqlite_database, strange)
    migrations.upgrade(filled)
    insert_adapters(filled, [adapter_values(1)])
    with pytest.raises(TransferError, match="holds a library already"):
        copy_database(sqlite_database, filled)
    with pytest.raises(TransferError, match="holds a library already"):
        copy_database(sqlite_database, filled, start_over=True)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"user_notes": "a\x00b"}, r"adapters with pk 2, column user_notes, cannot be stored: it holds a NUL"),
        ({"sd_version": "x" * 40}, r"adapters with pk 2, column sd_version, cannot be stored: value too long"),
    ],
)
def test_what_postgresql_refuses_is_named(
    sqlite_database: Database, make: Make, values: dict[str, str], said: str
) -> None:
    insert_adapters(sqlite_database, [adapter_values(1), adapter_values(2), adapter_values(3)])
    with sqlite_database.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == 2).values(**values))
    target = make("postgresql")
    with pytest.raises(UnstorableValueError, match=said):
        copy_database(sqlite_database, target)
    with sqlite_database.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == 2).values(dict.fromkeys(values, "ok")))
    copy_database(sqlite_database, target)
    assert digests(target) == digests(sqlite_database)


def test_a_nul_in_json_is_named(sqlite_database: Database, make: Make) -> None:
    insert_adapters(sqlite_database, [adapter_values(1, extra={"a": ["b\x00"]})])
    with pytest.raises(UnstorableValueError, match="adapters with pk 1, column extra"):
        copy_database(sqlite_database, make("postgresql"))


def test_a_source_that_is_worked_on_is_refused(database: Database, make: Make) -> None:
    with exclusive(database, "ingest"), pytest.raises(BusyError, match="work 'ingest' of process"):
        copy_database(database, make(other(database)))
    lane = {"name": "http", "kind": "delivery", "wanted": 0, "heir_wanted": False}
    with database.write() as connection:
        connection.execute(insert(Lane), [{**lane, "holder": new_holder(), "heartbeat_at": utc_now()}])
    with pytest.raises(BusyError, match="the lane 'http' of process"):
        copy_database(database, make(other(database)))
    with database.write() as connection:
        connection.execute(update(Lane).values(heartbeat_at=utc_now() - timedelta(hours=1)))
    assert all(row.is_same for row in copy_database(database, make(other(database))))


def test_nobody_writes_to_the_source_meanwhile(sqlite_database: Database, make: Make) -> None:
    fill(sqlite_database)
    writer = connect(sqlite_database.engine.url, wait_seconds=0.01)
    refused: list[str] = []

    def write(_: str) -> None:
        try:
            with writer.write() as connection:
                connection.execute(update(Adapter).values(user_notes="lost"))
        except Exception as error:
            refused.append(str(error))

    copy_database(sqlite_database, make("postgresql"), say=write)
    writer.dispose()
    assert len(refused) == len(shapes()) + 1
    assert "database is locked" in refused[0]
