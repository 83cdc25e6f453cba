"""Statements are counted by kind and logged when slow, and their parameters are never looked at."""

import logging
import re

import pytest
from sqlalchemy import insert, select, text

from warehouse.engine import Database
from warehouse.models import Root, utc_now
from warehouse.statements import OTHER, Kind, Statements, fingerprint, kind_of, normalise, observe


@pytest.mark.parametrize(
    ("statement", "kind"),
    [
        ("SELECT adapters.pk FROM adapters WHERE adapters.pk = ?", Kind("select", "adapters")),
        ('select 1 from "files" join adapters on 1', Kind("select", "files")),
        ("INSERT INTO roots (path) VALUES (?)", Kind("insert", "roots")),
        ("UPDATE adapters SET name=?", Kind("update", "adapters")),
        ("DELETE FROM embeddings WHERE pk IN (?)", Kind("delete", "embeddings")),
        ("WITH x AS (SELECT 1) SELECT * FROM x JOIN adapters ON 1", Kind("select", "adapters")),
        ("WITH x AS (SELECT 1) INSERT INTO roots SELECT * FROM x", Kind("insert", "roots")),
        ("BEGIN IMMEDIATE", Kind("begin", OTHER)),
        ("(SELECT 1 FROM scratch_1234)", Kind("select", OTHER)),
        ("VACUUM", Kind(OTHER, OTHER)),
        ("", Kind(OTHER, OTHER)),
    ],
)
def test_kinds_are_few(statement: str, kind: Kind) -> None:
    assert kind_of(statement) == kind


def test_values_and_lengths_of_lists_make_no_other_fingerprint() -> None:
    one = fingerprint("SELECT a FROM adapters WHERE pk IN (?, ?, ?) AND name = 'it''s secret' LIMIT 10")
    assert one == fingerprint("SELECT a FROM adapters\n WHERE pk IN (?) AND name = 'x' LIMIT 25")
    assert one != fingerprint("SELECT b FROM adapters WHERE pk IN (?) AND name = 'x' LIMIT 25")
    assert fingerprint("SELECT %(pk_1)s::INTEGER") == fingerprint("SELECT %(pk_2)s::INTEGER")
    assert "secret" not in normalise("SELECT 'it''s secret'")


def test_slow_statements_are_logged_without_parameters(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    statements = observe(database.engine, slow_seconds=0)
    with caplog.at_level(logging.WARNING), database.write() as connection:
        connection.execute(insert(Root), [{"path": f"/private/{n}", "created_at": utc_now()} for n in range(3)])
    (record,) = [each for each in caplog.records if getattr(each, "table", "") == "roots"]
    assert re.fullmatch("[0-9a-f]{16}", record.fingerprint)
    assert (record.verb, record.rows) == ("insert", 3)
    assert record.ms >= 0
    assert "private" not in str(vars(record))
    assert statements.snapshot()[Kind("insert", "roots")].count == 1


def test_fast_statements_are_counted_and_not_logged(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    told: list[Kind] = []
    statements = observe(database.engine, slow_seconds=3600, executed=lambda kind, _: told.append(kind))
    with caplog.at_level(logging.DEBUG, "warehouse.statements"), database.read() as connection:
        for _ in range(3):
            connection.execute(select(Root.path)).all()
        with pytest.raises(Exception, match="nowhere"):
            connection.execute(text("SELECT * FROM nowhere"))
    assert not caplog.records
    spent = statements.snapshot()[Kind("select", "roots")]
    assert spent.count == told.count(Kind("select", "roots")) == 3
    assert spent.nanoseconds > 0


def test_ever_new_statements_are_not_all_remembered() -> None:
    statements = Statements(slow_seconds=3600)
    for number in range(10_000):
        statements.add(f"SELECT {number} FROM adapters", 1, -1)
    assert len(statements._kinds) <= 4096
    assert statements.snapshot() == {Kind("select", "adapters"): statements.snapshot()[Kind("select", "adapters")]}
    assert statements.snapshot()[Kind("select", "adapters")].count == 10_000


def test_waits_for_connections_are_counted(sqlite_database: Database) -> None:
    before, _ = sqlite_database.waits.total()
    with sqlite_database.read(), sqlite_database.write():
        pass
    count, seconds = sqlite_database.waits.total()
    assert count == before + 2
    assert seconds > 0
