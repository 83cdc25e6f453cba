"""What is learned from use; derived (`warehouse.learning`), and gone with what it is about."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, Integer, Text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk


class AdapterPair(Base):
    """Two adapters that were used together, as a row for either of them with the same count."""

    __tablename__ = "adapter_pairs"
    __table_args__ = (
        Index("ix_adapter_pairs_other", "other_pk"),
        {"comment": "How often two adapters were used together.", "sqlite_with_rowid": False},
    )

    adapter_pk: Mapped[int] = mapped_column(Pk, ForeignKey("adapters.pk", ondelete="CASCADE"), primary_key=True)
    other_pk: Mapped[int] = mapped_column(Pk, ForeignKey("adapters.pk", ondelete="CASCADE"), primary_key=True)
    uses: Mapped[int] = mapped_column(Integer, comment="Prompts that had both, since the pair is kept")
    last_used_at: Mapped[datetime] = mapped_column(UtcDateTime)


class UseProfile(Base):
    """What the holder of an API key prefers, by what that holder uses."""

    __tablename__ = "use_profiles"
    __table_args__ = {"comment": "What holders of keys prefer, one row each."}

    key_name: Mapped[str] = mapped_column(Text, primary_key=True, comment="Of the API key; empty: asked without one")
    profile: Mapped[JsonObject | None] = mapped_column(
        Json, comment="Tags, authors, archetypes and base models that are used more than the library has of them"
    )
    seen: Mapped[str] = mapped_column(Text, comment="Watermark: the newest use, audit entry and judgement")
    computed_at: Mapped[datetime] = mapped_column(UtcDateTime)
