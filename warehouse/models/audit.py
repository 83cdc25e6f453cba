"""The audit log: who changed what, and from what to what. Written with the change itself; never altered, only cut."""

from datetime import datetime

from sqlalchemy import Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk


class AuditEntry(Base):
    """One change of one thing. Triggers refuse to update a row, and to delete one of the last 30 days."""

    __tablename__ = "audit_entries"
    __table_args__ = (
        Index("ix_audit_entries_subject", "subject_id", "pk"),
        Index("ix_audit_entries_actor", "actor", "pk"),
        {"sqlite_autoincrement": True, "comment": "Audit log, append-only."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str | None] = mapped_column(Text, comment="Name of the API key; NULL where none are configured")
    request_id: Mapped[str] = mapped_column(String(128))
    action: Mapped[str] = mapped_column(String(32), comment="create | update | delete | activate | …")
    subject_kind: Mapped[str] = mapped_column(String(32), comment="adapter | …")
    subject_id: Mapped[str] = mapped_column(Text, comment="Public id; the subject may be gone")
    before: Mapped[JsonObject | None] = mapped_column(Json, comment="Changed fields as they were; NULL: it was not")
    after: Mapped[JsonObject | None] = mapped_column(Json, comment="Changed fields as they became; NULL: it is gone")
