"""Published generations and the pointer that says which one is read."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk


class Generation(Base):
    """An immutable folder of published files."""

    __tablename__ = "generations"
    __table_args__ = (
        Index("ix_generations_kind", "kind", "pk"),
        {"sqlite_autoincrement": True, "comment": "Published generations."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(64), comment="indices/recommend, marts/analytics, …")
    name: Mapped[str] = mapped_column(String(64), unique=True, comment="Folder below data_dir/generations/<kind>")
    manifest: Mapped[JsonObject] = mapped_column(Json)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    collected_at: Mapped[datetime | None] = mapped_column(UtcDateTime, comment="When its files were removed")


class Pointer(Base):
    """Which generation of a kind is current. Moving it publishes; moving it back rolls back."""

    __tablename__ = "pointers"
    __table_args__ = {"comment": "Current generation of each kind."}

    kind: Mapped[str] = mapped_column(String(64), primary_key=True)
    generation_pk: Mapped[int] = mapped_column(Pk, ForeignKey("generations.pk"))
    moved_at: Mapped[datetime] = mapped_column(UtcDateTime)
    note: Mapped[str | None] = mapped_column(Text)
