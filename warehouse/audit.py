"""Recording changes: the audit log and the activity feed, in the transaction of the change itself.

Belongs here: writing both. Does not: reading them (`warehouse.queries`), deciding what is a change.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert

from warehouse.ingest import bulk
from warehouse.models import Activity, AuditEntry


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
