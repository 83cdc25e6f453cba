"""Recording changes: the audit log and the activity feed, in the transaction of the change itself.

Belongs here: writing both, and forgetting what is old. Does not: reading them (`warehouse.queries`), deciding what is a
change, or what is old (the settings).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from warehouse.engine import Database
from warehouse.ingest import bulk
from warehouse.models import Activity, AuditEntry

SYNC = "sync"
"""The kind of the activity that tells of a sync."""
_CHUNK = 500


@dataclass(frozen=True, slots=True)
class Actor:
    """Who asked, for the records of what was changed."""

    key_name: str | None
    """The name of the key that was sent; None where no keys are configured."""
    request_id: str


@dataclass(frozen=True, slots=True)
class Change:
    """A change of one thing: the changed fields as they were and became. None: it was not there, or is gone."""

    action: str
    subject_kind: str
    subject_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def record(connection: Connection, actor: Actor, at: datetime, changes: Sequence[Change]) -> None:
    """Add changes to the audit log, in one statement."""
    bulk.insert(
        connection,
        bulk.table_of(AuditEntry),
        [
            {
                "at": at,
                "actor": actor.key_name,
                "request_id": actor.request_id,
                "action": change.action,
                "subject_kind": change.subject_kind,
                "subject_id": change.subject_id,
                "before": change.before,
                "after": change.after,
            }
            for change in changes
        ],
    )


def tell(
    connection: Connection, at: datetime, *, kind: str, subject_id: str | None, summary: str, data: dict[str, Any]
) -> None:
    """Add one item to the activity feed, however many things it is about."""
    connection.execute(insert(Activity).values(at=at, kind=kind, subject_id=subject_id, summary=summary, data=data))


def prune_audit(database: Database, before: datetime) -> int:
    """Delete the entries from before a moment, the oldest first, in chunks; returns how many.

    The database itself refuses to delete one that is not 30 days old.
    """
    return _prune(database, AuditEntry, before)


def prune_activity(database: Database, before: datetime) -> int:
    """Delete what the feed told before a moment, in chunks; returns how many.

    The last sync stays, however long ago: the status tells when it was.
    """
    return _prune(database, Activity, before)


def _prune(database: Database, table: type[AuditEntry] | type[Activity], before: datetime) -> int:
    deleted, after = 0, 0
    while True:
        with database.write() as connection:
            # Numbers rise with time, so what is old is read from the beginning, and needs no index of times.
            oldest = connection.execute(
                select(table.pk, table.at).where(table.pk > after).order_by(table.pk).limit(_CHUNK)
            ).all()
            old = {row.pk for row in oldest if row.at < before} - (
                _last_sync(connection) if table is Activity else set()
            )
            connection.execute(delete(table).where(table.pk.in_(old)))
        deleted += len(old)
        if not oldest or oldest[-1].at >= before:
            return deleted
        after = oldest[-1].pk


def _last_sync(connection: Connection) -> set[int]:
    newest = select(Activity.pk).where(Activity.kind == SYNC).order_by(Activity.at.desc()).limit(1)
    return set(connection.execute(newest).scalars())
