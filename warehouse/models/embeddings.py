"""Embeddings: one unit vector per adapter and space, with the watermark of what it was computed from."""

from datetime import datetime

from sqlalchemy import Float, ForeignKey, Index, Integer, LargeBinary, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk


class Embedding(Base):
    """A vector of one adapter in one space. Current while both watermarks equal the adapter's and the producer's."""

    __tablename__ = "embeddings"
    __table_args__ = (
        UniqueConstraint("adapter_pk", "embedding_type"),
        Index("ix_embeddings_text", "embedding_type", "producer", "text_digest"),
        Index(
            "ix_embeddings_uncompared",
            "embedding_type",
            "pk",
            sqlite_where=text("compared_at IS NULL"),
            postgresql_where=text("compared_at IS NULL"),
        ),
        {"sqlite_autoincrement": True, "comment": "Vectors of adapters."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    id: Mapped[str] = mapped_column(String(36), unique=True)
    adapter_pk: Mapped[int] = mapped_column(Pk, ForeignKey("adapters.pk", ondelete="CASCADE"))
    embedding_type: Mapped[str] = mapped_column(String(16), comment="semantic | artistic | technical")
    dimension: Mapped[int] = mapped_column(Integer)
    embedding_data: Mapped[bytes] = mapped_column(LargeBinary, comment="float16, little-endian, unit length")
    model_name: Mapped[str] = mapped_column(Text)
    model_version: Mapped[str] = mapped_column(String(64), comment="Digest of the weights, backend and precision")
    quality_score: Mapped[float | None] = mapped_column(Float, comment="0..1: how much is known of the adapter")
    text_digest: Mapped[str] = mapped_column(String(32), comment="Of the text that was embedded")
    content_digest: Mapped[str] = mapped_column(String(32), comment="Watermark: adapters.content_digest")
    producer: Mapped[str] = mapped_column(String(64), comment="Watermark: text producer and model identity")
    details: Mapped[JsonObject | None] = mapped_column("metadata", Json)
    compared_at: Mapped[datetime | None] = mapped_column(
        UtcDateTime, comment="When near duplicates were looked for; NULL: due"
    )
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)
