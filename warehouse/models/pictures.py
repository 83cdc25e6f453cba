"""What generations leave behind: their pictures, and which adapters were used together. Both outlive the jobs.

Written with the end of a job, in its transaction (`warehouse.jobs.traces`); the columns under "user state" by the API.
The bytes of pictures are files (`warehouse.pictures`).
"""

from datetime import datetime

from sqlalchemy import BigInteger, Float, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk

_KEPT = text("deleted_at IS NULL")
_JUDGED = text("judged_at IS NOT NULL")
_UNCOUNTED = text("counted_at IS NULL")


class GeneratedImage(Base):
    """A picture of a generation. Two of the same bytes are two rows and one file."""

    __tablename__ = "generated_images"
    __table_args__ = (
        UniqueConstraint("job_id", "position"),
        Index("ix_generated_images_kept", "pk", sqlite_where=_KEPT, postgresql_where=_KEPT),
        Index("ix_generated_images_sha256", "sha256"),
        Index("ix_generated_images_judged", "judged_by", "judged_at", sqlite_where=_JUDGED, postgresql_where=_JUDGED),
        {"sqlite_autoincrement": True, "comment": "Pictures that generations made."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True, comment="In order of their making")
    id: Mapped[str] = mapped_column(String(36), unique=True, comment="Public id (UUID)")
    job_id: Mapped[str] = mapped_column(String(36), comment="The job; it may be pruned by now")
    position: Mapped[int] = mapped_column(Integer, comment="Within the job, from 0")
    mode: Mapped[str] = mapped_column(String(32), comment="The backend that made it")
    sha256: Mapped[str] = mapped_column(String(64), comment="Of its bytes; names its file")
    format: Mapped[str] = mapped_column(String(8), comment="png | jpg | webp")
    width: Mapped[int] = mapped_column(Integer)
    height: Mapped[int] = mapped_column(Integer)
    size: Mapped[int] = mapped_column(BigInteger, comment="Bytes")
    seed: Mapped[int | None] = mapped_column(BigInteger)
    prompt: Mapped[str] = mapped_column(Text, comment="As it was composed, before names were rewritten")
    infotext: Mapped[str | None] = mapped_column(Text, comment="As the backend wrote it")
    params: Mapped[JsonObject] = mapped_column(Json, comment="As they were asked for")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    # User state.
    rating: Mapped[int | None] = mapped_column(Integer, comment="Of the user's")
    is_favorite: Mapped[bool] = mapped_column(default=False)
    deleted_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="Deleted by the user; not shown")
    judged_by: Mapped[str | None] = mapped_column(Text, comment="Name of the API key that last rated or marked it")
    judged_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When it was; NULL: never")


class AdapterUse(Base):
    """An adapter in a prompt that was delivered or generated with success."""

    __tablename__ = "adapter_uses"
    __table_args__ = (
        UniqueConstraint("job_id", "name"),
        Index("ix_adapter_uses_adapter", "adapter_id", "used_at"),
        Index("ix_adapter_uses_used_at", "used_at"),
        Index("ix_adapter_uses_actor", "actor", "pk"),
        Index("ix_adapter_uses_uncounted", "pk", sqlite_where=_UNCOUNTED, postgresql_where=_UNCOUNTED),
        {"sqlite_autoincrement": True, "comment": "Which adapters were used, when, and with what others."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    job_id: Mapped[str] = mapped_column(String(36), comment="The job; it may be pruned by now")
    kind: Mapped[str] = mapped_column(String(16), comment="delivery | generation")
    mode: Mapped[str] = mapped_column(String(32), comment="The backend")
    adapter_id: Mapped[str | None] = mapped_column(String(36), comment="NULL: the library has none of that name")
    name: Mapped[str] = mapped_column(Text, comment="In the token")
    weight: Mapped[float] = mapped_column(Float)
    status: Mapped[str] = mapped_column(String(16), comment="sent, or of a generation applied | unverified")
    others: Mapped[list[str]] = mapped_column(Json, comment="Names of the other adapters of the prompt")
    used_at: Mapped[datetime] = mapped_column(UtcDateTime)
    actor: Mapped[str | None] = mapped_column(Text, comment="Name of the API key that asked for it")
    counted_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When its pairs were counted; NULL: due")
