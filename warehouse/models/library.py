"""What lies on disk: roots, bundles (one stem in one folder) and weight files. Users' files, only ever read."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, UtcDateTime

Pk = BigInteger().with_variant(Integer, "sqlite")
"""A 64-bit key; SQLite gives its fast row ids only to a column declared INTEGER."""


class Root(Base):
    """A library folder that syncs read."""

    __tablename__ = "roots"
    __table_args__ = {"comment": "Library folders; read only."}

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    path: Mapped[str] = mapped_column(Text, unique=True)
    signature: Mapped[str | None] = mapped_column(Text, comment="Cheap signature at the last complete scan")
    scanned_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)


class Bundle(Base):
    """The unit of ingest: what shares one stem in one folder. Work is due while `built_revision` lags `revision`."""

    __tablename__ = "bundles"
    __table_args__ = (
        UniqueConstraint("directory", "stem"),
        Index(
            "ix_bundles_due",
            "pk",
            sqlite_where=text("built_revision < revision"),
            postgresql_where=text("built_revision < revision"),
        ),
        {"comment": "Groups of a weight file and its sidecars."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    root_pk: Mapped[int] = mapped_column(Pk, ForeignKey("roots.pk"), index=True)
    directory: Mapped[str] = mapped_column(Text)
    stem: Mapped[str] = mapped_column(Text)
    revision: Mapped[int] = mapped_column(Integer, default=1, comment="Raised whenever an element changes")
    built_revision: Mapped[int] = mapped_column(Integer, default=0, comment="Revision the adapters were derived from")
    producer: Mapped[str | None] = mapped_column(String(64), comment="Version of the code that derived them")
    preview_path: Mapped[str | None] = mapped_column(Text)


class File(Base):
    """A weight file at a path, its hashes, and what its header told. Identity is content; the path is an attribute."""

    __tablename__ = "files"
    __table_args__ = (
        Index(
            "ix_files_unhashed",
            "size",
            "pk",
            sqlite_where=text("hashed_mtime_ns IS NULL"),
            postgresql_where=text("hashed_mtime_ns IS NULL"),
        ),
        {"comment": "Weight files of the library."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    bundle_pk: Mapped[int] = mapped_column(Pk, ForeignKey("bundles.pk"), index=True)
    path: Mapped[str] = mapped_column(Text, unique=True)
    size: Mapped[int] = mapped_column(BigInteger, comment="Bytes")
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    inode: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16), comment="present | missing | unreadable")
    first_seen_at: Mapped[datetime] = mapped_column(UtcDateTime)
    missing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)

    hashed_size: Mapped[int | None] = mapped_column(BigInteger, comment="Watermark of the hashes")
    hashed_mtime_ns: Mapped[int | None] = mapped_column(BigInteger, comment="Watermark of the hashes")
    sha256: Mapped[str | None] = mapped_column(String(64), index=True, comment="Of the whole file, lower case")
    payload_sha256: Mapped[str | None] = mapped_column(String(64), index=True, comment="Of the bytes after the header")
    blake3: Mapped[str | None] = mapped_column(String(64))
    crc32: Mapped[str | None] = mapped_column(String(8))
    autov1: Mapped[str | None] = mapped_column(String(8))


class Inspection(Base):
    """What the weights themselves say: validity, network type, rank, base model. Measured, never claimed."""

    __tablename__ = "inspections"
    __table_args__ = {"comment": "Results of reading weight files."}

    file_pk: Mapped[int] = mapped_column(Pk, ForeignKey("files.pk", ondelete="CASCADE"), primary_key=True)
    size: Mapped[int] = mapped_column(BigInteger, comment="Watermark")
    mtime_ns: Mapped[int] = mapped_column(BigInteger, comment="Watermark")
    producer: Mapped[str] = mapped_column(String(64))
    valid: Mapped[bool | None] = mapped_column(comment="NULL: a format that is never opened (pickle)")
    problem: Mapped[str | None] = mapped_column(String(48), index=True, comment="Typed reason why it is not valid")
    message: Mapped[str | None] = mapped_column(Text)
    network_type: Mapped[str | None] = mapped_column(String(32))
    rank: Mapped[int | None] = mapped_column(Integer)
    alpha: Mapped[float | None]
    base_model: Mapped[str | None] = mapped_column(String(64))
    base_model_confidence: Mapped[float | None]
    base_model_evidence: Mapped[str | None] = mapped_column(Text)
    tensor_count: Mapped[int | None] = mapped_column(Integer)
    parameter_count: Mapped[int | None] = mapped_column(BigInteger)
    facts: Mapped[str | None] = mapped_column(Text, comment="All header facts as JSON")
    inspected_at: Mapped[datetime] = mapped_column(UtcDateTime)
