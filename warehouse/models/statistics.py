"""Numbers kept over time or kept up to date: community statistics, facet counts, change counts, activity, locks."""

from datetime import date, datetime

from sqlalchemy import BigInteger, Date, Float, ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk


class CommunityStatistic(Base):
    """What the community thought of an adapter on a day; a row only for days on which something had changed."""

    __tablename__ = "community_statistics"
    __table_args__ = (
        Index("ix_community_statistics_day", "day"),
        {"comment": "Dated snapshots of Civitai's statistics.", "sqlite_with_rowid": False},
    )

    adapter_pk: Mapped[int] = mapped_column(Pk, ForeignKey("adapters.pk", ondelete="CASCADE"), primary_key=True)
    day: Mapped[date] = mapped_column(Date, primary_key=True)
    downloads: Mapped[int | None] = mapped_column(BigInteger)
    likes: Mapped[int | None] = mapped_column(BigInteger)
    rating: Mapped[float | None] = mapped_column(Float)
    comments: Mapped[int | None] = mapped_column(BigInteger)


class FacetCount(Base):
    """How many adapters have a value of a facet, kept true by the transactions that change adapters (`facets.py`)."""

    __tablename__ = "facet_counts"
    __table_args__ = (
        Index("ix_facet_counts_top", "facet", "count"),
        {"comment": "Maintained counters of adapters.", "sqlite_with_rowid": False},
    )

    facet: Mapped[str] = mapped_column(String(24), primary_key=True)
    value: Mapped[str] = mapped_column(Text, primary_key=True)
    count: Mapped[int] = mapped_column(BigInteger)


class ChangeCount(Base):
    """How often adapters, or embeddings, were changed: counted by triggers, read as a sum (`queries/changes.py`)."""

    __tablename__ = "change_counts"
    __table_args__ = {
        "comment": "Counters that rise with every committed change.",
        "sqlite_with_rowid": False,
    }

    noun: Mapped[str] = mapped_column(String(16), primary_key=True, comment="adapters | embeddings")
    slot: Mapped[int] = mapped_column(
        BigInteger, primary_key=True, autoincrement=False, comment="Writers at work at once take different ones"
    )
    changes: Mapped[int] = mapped_column(BigInteger)


class Activity(Base):
    """Something that happened, newest last: the feed of the dashboard."""

    __tablename__ = "activity"
    __table_args__ = (
        Index("ix_activity_at", "at"),
        Index("ix_activity_kind_at", "kind", "at"),
        {"sqlite_autoincrement": True, "comment": "Activity feed."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    at: Mapped[datetime] = mapped_column(UtcDateTime)
    kind: Mapped[str] = mapped_column(
        String(32), comment="sync | activation | delivery | generation | materialization | …"
    )
    subject_id: Mapped[str | None] = mapped_column(Text)
    summary: Mapped[str] = mapped_column(Text)
    data: Mapped[JsonObject | None] = mapped_column(Json)


class Lock(Base):
    """A named lock with a lease, so that two syncs never write the same rows (`locks.py`)."""

    __tablename__ = "locks"
    __table_args__ = {"comment": "Leases of exclusive work."}

    name: Mapped[str] = mapped_column(String(48), primary_key=True)
    holder: Mapped[str] = mapped_column(Text, comment="host:pid:start time:token")
    acquired_at: Mapped[datetime] = mapped_column(UtcDateTime)
    expires_at: Mapped[datetime] = mapped_column(UtcDateTime)
