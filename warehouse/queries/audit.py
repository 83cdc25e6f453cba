"""The audit log, newest first: who changed what.

Does not belong here: writing it (`warehouse.audit`).
"""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, select

from warehouse.models import AuditEntry
from warehouse.queries.filters import storable


@dataclass(frozen=True, slots=True)
class AuditItem:
    """One change of one thing."""

    number: int
    at: datetime
    actor: str | None
    request_id: str
    action: str
    subject_kind: str
    subject_id: str
    before: dict[str, Any] | None
    after: dict[str, Any] | None


def entries(
    connection: Connection,
    *,
    limit: int,
    before: int | None = None,
    subject_id: str | None = None,
    actor: str | None = None,
) -> list[AuditItem]:
    """A page of the log; `before` is the number of the last item of the page before."""
    statement = (
        select(
            AuditEntry.pk,
            AuditEntry.at,
            AuditEntry.actor,
            AuditEntry.request_id,
            AuditEntry.action,
            AuditEntry.subject_kind,
            AuditEntry.subject_id,
            AuditEntry.before,
            AuditEntry.after,
        )
        .order_by(AuditEntry.pk.desc())
        .limit(limit)
    )
    if before is not None:
        statement = statement.where(AuditEntry.pk < before)
    if subject_id is not None:
        statement = statement.where(AuditEntry.subject_id == storable(subject_id))
    if actor is not None:
        statement = statement.where(AuditEntry.actor == storable(actor))
    return [AuditItem(*row) for row in connection.execute(statement)]
