"""The audit log and the activity feed are cut at their old end, and nowhere else."""

from datetime import datetime, timedelta

import pytest
from sqlalchemy import delete, func, select, text
from sqlalchemy.exc import DBAPIError

from warehouse import migrations
from warehouse.audit import SYNC, Actor, Change, prune_activity, prune_audit, record, tell
from warehouse.engine import Database
from warehouse.models import Activity, AuditEntry, utc_now

NOW = utc_now()


def _record(database: Database, *moments: datetime) -> None:
    with database.write() as connection:
        for at in moments:
            record(connection, Actor("key", "request"), at, [Change("update", "adapter", "x", None, None)])


def _count(database: Database, table: type[AuditEntry] | type[Activity]) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_old_entries_go_in_chunks_and_the_others_stay(database: Database) -> None:
    old, young = NOW - timedelta(days=400), NOW - timedelta(days=364)
    _record(database, *[old] * 1_001, young, NOW)
    assert prune_audit(database, NOW - timedelta(days=365)) == 1_001
    assert prune_audit(database, NOW - timedelta(days=365)) == 0
    assert _count(database, AuditEntry) == 2


def test_an_entry_that_came_out_of_order_holds_up_none(database: Database) -> None:
    old = NOW - timedelta(days=400)
    _record(database, NOW, *[old] * 3, NOW)
    assert prune_audit(database, NOW - timedelta(days=365)) == 3


def test_nobody_deletes_a_recent_entry(database: Database) -> None:
    _record(database, NOW - timedelta(days=31), NOW - timedelta(days=29))
    with pytest.raises(DBAPIError, match="append-only"):
        prune_audit(database, NOW)
    assert _count(database, AuditEntry) == 2
    with database.write() as connection:
        connection.execute(delete(AuditEntry).where(AuditEntry.at < NOW - timedelta(days=30, hours=1)))
    assert _count(database, AuditEntry) == 1


def test_an_entry_of_any_age_cannot_be_changed(database: Database) -> None:
    _record(database, NOW - timedelta(days=400))
    with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(text("UPDATE audit_entries SET action = 'x'"))


def test_before_the_migration_no_entry_can_be_deleted(database: Database) -> None:
    _record(database, NOW - timedelta(days=400))
    migrations.downgrade(database, "0006")
    with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
        connection.execute(text("DELETE FROM audit_entries"))
    migrations.upgrade(database)
    assert prune_audit(database, NOW - timedelta(days=365)) == 1


def test_the_last_sync_stays_in_the_feed(database: Database) -> None:
    with database.write() as connection:
        for days, kind in ((500, SYNC), (450, SYNC), (430, "activation"), (1, "activation")):
            tell(connection, NOW - timedelta(days=days), kind=kind, subject_id=None, summary=str(days), data={})
    for deleted in (2, 0):
        assert prune_activity(database, NOW - timedelta(days=365)) == deleted
        with database.read() as connection:
            left = connection.execute(select(Activity.summary).order_by(Activity.pk)).scalars().all()
        assert left == ["450", "1"]
