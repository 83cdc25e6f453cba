"""Metadata documents beside the weights: every one kept raw, with the verdict of reading it."""

from datetime import datetime

from sqlalchemy import BigInteger, ForeignKey, Index, LargeBinary, String, Text, text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, UtcDateTime
from warehouse.models.library import Pk


class Document(Base):
    """A JSON document at a path. `read_*` is the watermark: what the raw bytes and the verdict were taken from."""

    __tablename__ = "documents"
    __table_args__ = (
        Index("ix_documents_verdict", "verdict"),
        Index(
            "ix_documents_unread",
            "bundle_pk",
            "pk",
            sqlite_where=text("read_mtime_ns IS NULL"),
            postgresql_where=text("read_mtime_ns IS NULL"),
        ),
        {"comment": "Metadata documents of the library, raw."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True)
    bundle_pk: Mapped[int] = mapped_column(Pk, ForeignKey("bundles.pk"), index=True)
    path: Mapped[str] = mapped_column(Text, unique=True)
    size: Mapped[int] = mapped_column(BigInteger, comment="Bytes")
    mtime_ns: Mapped[int] = mapped_column(BigInteger)
    inode: Mapped[int | None] = mapped_column(BigInteger)
    state: Mapped[str] = mapped_column(String(16), comment="present | missing | unreadable")
    missing_since: Mapped[datetime | None] = mapped_column(UtcDateTime)

    read_size: Mapped[int | None] = mapped_column(BigInteger)
    read_mtime_ns: Mapped[int | None] = mapped_column(BigInteger)
    producer: Mapped[str | None] = mapped_column(String(64))
    digest: Mapped[str | None] = mapped_column(String(64), comment="BLAKE3 of the bytes")
    shape: Mapped[str | None] = mapped_column(String(32))
    verdict: Mapped[str | None] = mapped_column(String(16), comment="accepted | not_found | left_out | quarantined")
    reason_code: Mapped[str | None] = mapped_column(String(48))
    reason: Mapped[str | None] = mapped_column(Text)
    complaints: Mapped[int] = mapped_column(default=0, comment="Fields that could not be taken as they stand")
    read_at: Mapped[datetime | None] = mapped_column(UtcDateTime)


class DocumentContent(Base):
    """The bytes of a document as they were read. Apart from `documents`, whose rows every scan compares."""

    __tablename__ = "document_contents"
    __table_args__ = {"comment": "Raw bytes of the documents."}

    document_pk: Mapped[int] = mapped_column(Pk, ForeignKey("documents.pk", ondelete="CASCADE"), primary_key=True)
    raw: Mapped[bytes] = mapped_column(LargeBinary, comment="zlib of the bytes")
    is_sound: Mapped[bool] = mapped_column(comment="Whether they could be read; such bytes give way only to others")


class HashClaim(Base):
    """A hash that a document states for a weight file: how a file without a document of its own finds one."""

    __tablename__ = "hash_claims"
    __table_args__ = {"comment": "Hashes of weight files that documents state.", "sqlite_with_rowid": False}

    value: Mapped[str] = mapped_column(String(64), primary_key=True, comment="Lower-case hexadecimal")
    bundle_pk: Mapped[int] = mapped_column(
        Pk, ForeignKey("bundles.pk", ondelete="CASCADE"), primary_key=True, index=True
    )
    kind: Mapped[str] = mapped_column(String(8), comment="sha256 | blake3 | autov3 | autov2: the strongest stated")
