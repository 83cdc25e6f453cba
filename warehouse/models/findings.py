"""What is wrong or worth knowing in a library: disagreements, ambiguities, duplicates. Reported, never acted upon."""

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk


class Finding(Base):
    """One finding. Those of an origin about a bundle, or about a root, are replaced whenever it is looked at again."""

    __tablename__ = "findings"
    __table_args__ = (Index("ix_findings_code", "code"), {"comment": "Findings about the library."})

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    bundle_pk: Mapped[int | None] = mapped_column(
        Pk, ForeignKey("bundles.pk", ondelete="CASCADE"), index=True, comment="NULL: about a folder or a name"
    )
    origin: Mapped[str] = mapped_column(String(16), comment="The stage that found it: scan | documents | adapters")
    code: Mapped[str] = mapped_column(String(48))
    severity: Mapped[str] = mapped_column(String(8), comment="info | warning | error")
    path: Mapped[str | None] = mapped_column(Text, comment="The file it is about")
    message: Mapped[str] = mapped_column(Text, comment="What, where, and what to do")
    data: Mapped[JsonObject | None] = mapped_column(Json)
    found_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Duplicate(Base):
    """A member of a group of duplicates. Classes: same_file, same_weights, same_version, name_clash, near."""

    __tablename__ = "duplicates"
    __table_args__ = (
        Index("ix_duplicates_group", "kind", "group_key"),
        {"comment": "Groups of duplicates."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    kind: Mapped[str] = mapped_column(String(16))
    group_key: Mapped[str] = mapped_column(Text)
    adapter_pk: Mapped[int] = mapped_column(Pk, ForeignKey("adapters.pk", ondelete="CASCADE"), index=True)
    score: Mapped[float | None] = mapped_column(comment="Similarity of a near duplicate, 0..1")
