"""Recommendations that were computed once and are answered again while nothing of what they came from has changed."""

from datetime import datetime

from sqlalchemy import Float, ForeignKey, Index, Integer, LargeBinary, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk


class RecommendationCache(Base):
    """One kept answer. Its key names the index, the changes it was computed from, and the question."""

    __tablename__ = "recommendation_cache"
    __table_args__ = (
        Index("ix_recommendation_cache_expires_at", "expires_at"),
        {"sqlite_autoincrement": True, "comment": "Recommendations kept for a while."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True, comment="Ascends with age: oldest first")
    id: Mapped[str] = mapped_column(String(36), unique=True)
    cache_key: Mapped[str] = mapped_column(
        Text, unique=True, comment="<index generation>:<changes>:<digest of the question>"
    )
    adapter_pk: Mapped[int | None] = mapped_column(
        Pk,
        ForeignKey("adapters.pk", ondelete="CASCADE"),
        index=True,
        comment="What was asked about; NULL: a prompt",
    )
    prompt_hash: Mapped[str | None] = mapped_column(String(32), comment="Of the prompt; NULL: asked about an adapter")
    recommendations: Mapped[bytes] = mapped_column(LargeBinary, comment="The answer without signatures: JSON, deflated")
    similarity_threshold: Mapped[float] = mapped_column(Float)
    limit_used: Mapped[int] = mapped_column(Integer)
    weights_used: Mapped[JsonObject] = mapped_column(Json, comment="Space -> weight")
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
