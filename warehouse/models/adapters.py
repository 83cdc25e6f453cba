"""Adapters: what the library offers, one per version, merged from every source; and the user's own state on them.

Columns under "user state" are written by the API alone and never by a sync. `AdapterDetail` holds what no list needs.
"""

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, Float, ForeignKey, Index, Integer, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from warehouse.models.base import Base, Json, JsonObject, UtcDateTime
from warehouse.models.library import Pk


class Adapter(Base):
    """One LoRA adapter version."""

    __tablename__ = "adapters"
    __table_args__ = (
        Index("ix_adapters_active_ordinal", "active", "ordinal", "name", "pk"),
        Index("ix_adapters_name", "name", "pk"),
        Index("ix_adapters_created_at", "created_at", "pk"),
        Index("ix_adapters_updated_at", "updated_at", "pk"),
        Index("ix_adapters_downloads", "downloads", "pk"),
        Index("ix_adapters_rating", "rating", "pk"),
        Index("ix_adapters_size", "primary_file_size_kb", "pk"),
        Index("ix_adapters_base_model", "base_model", "name", "pk"),
        Index("ix_adapters_civitai", "civitai_version_id"),
        Index(
            "ix_adapters_file_pk",
            "file_pk",
            sqlite_where=text("file_pk IS NOT NULL"),
            postgresql_where=text("file_pk IS NOT NULL"),
        ),
        # An index of its numbers is a promise to FAISS: a number is never given twice.
        {"sqlite_autoincrement": True, "comment": "LoRA adapters, one per version."},
    )

    pk: Mapped[int] = mapped_column(Pk, primary_key=True, autoincrement=True, comment="Internal number, never reused")
    id: Mapped[str] = mapped_column(String(36), unique=True, comment="Public id (UUID)")
    source_key: Mapped[str] = mapped_column(Text, unique=True, comment="Stable identity across syncs")
    bundle_pk: Mapped[int | None] = mapped_column(Pk, ForeignKey("bundles.pk"), index=True)
    file_pk: Mapped[int | None] = mapped_column(Pk, ForeignKey("files.pk"))

    name: Mapped[str] = mapped_column(Text)
    version: Mapped[str | None] = mapped_column(Text)
    canonical_version_name: Mapped[str | None] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text, comment="Sanitised HTML")
    author_username: Mapped[str | None] = mapped_column(Text)
    visibility: Mapped[str] = mapped_column(String(32), default="Public")
    published_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    tags: Mapped[list[str]] = mapped_column(Json)
    trained_words: Mapped[list[str]] = mapped_column(Json)
    triggers: Mapped[list[str]] = mapped_column(Json)
    activation_text: Mapped[str | None] = mapped_column(Text)
    negative_text: Mapped[str | None] = mapped_column(Text)
    archetype: Mapped[str | None] = mapped_column(String(32), index=True)
    archetype_confidence: Mapped[float | None] = mapped_column(Float, comment="Calibrated probability, 0..1")
    base_model: Mapped[str | None] = mapped_column(String(64), comment="As Civitai spells it")
    sd_version: Mapped[str | None] = mapped_column(String(32), comment="SD1 | SD2 | SDXL | SD3 | Other")
    nsfw_level: Mapped[int] = mapped_column(Integer, default=0, comment="Civitai's bit mask; 0 is not stated")
    supports_generation: Mapped[bool] = mapped_column(Boolean, default=False)
    civitai_model_id: Mapped[int | None] = mapped_column(BigInteger)
    civitai_version_id: Mapped[int | None] = mapped_column(BigInteger)
    downloads: Mapped[int | None] = mapped_column(BigInteger)
    likes: Mapped[int | None] = mapped_column(BigInteger)
    rating: Mapped[float | None] = mapped_column(Float, comment="0..5; NULL while nobody rated")
    stats: Mapped[JsonObject] = mapped_column(Json)
    licence: Mapped[JsonObject | None] = mapped_column(Json, comment="Tri-state permissions; NULL is unknown")
    extra: Mapped[JsonObject] = mapped_column(Json, comment="Keys that have no column")

    file_path: Mapped[str] = mapped_column(Text, index=True)
    file_state: Mapped[str] = mapped_column(String(16), comment="present | invalid | missing | remote")
    primary_file_name: Mapped[str | None] = mapped_column(Text, comment="As stated by the document")
    primary_file_size_kb: Mapped[float | None] = mapped_column(Float, comment="KiB, as stated, else measured")
    primary_file_sha256: Mapped[str | None] = mapped_column(String(64), comment="As stated, else measured; lower case")
    primary_file_download_url: Mapped[str | None] = mapped_column(Text)
    primary_file_local_path: Mapped[str | None] = mapped_column(Text)
    preview_path: Mapped[str | None] = mapped_column(Text)
    json_file_path: Mapped[str | None] = mapped_column(Text)
    json_file_mtime: Mapped[datetime | None] = mapped_column(UtcDateTime)
    json_file_size: Mapped[int | None] = mapped_column(BigInteger)

    # User state.
    weight: Mapped[float] = mapped_column(Float, default=1.0)
    weight_by_user: Mapped[bool] = mapped_column(Boolean, default=False, comment="Set by hand: a sync leaves it")
    active: Mapped[bool] = mapped_column(Boolean, default=False)
    ordinal: Mapped[int | None] = mapped_column(Integer)
    favorite: Mapped[bool] = mapped_column(Boolean, default=False)
    user_tags: Mapped[list[str]] = mapped_column(Json)
    user_notes: Mapped[str | None] = mapped_column(Text)
    user_fields: Mapped[list[str]] = mapped_column(Json, comment="Columns a user edited: a sync leaves them")

    content_digest: Mapped[str] = mapped_column(String(32), comment="Of what vectors derive from: their watermark")
    derived_digest: Mapped[str | None] = mapped_column(
        String(32), comment="Of every derived value: a sync that finds it unchanged writes nothing"
    )
    producer: Mapped[str | None] = mapped_column(String(64))
    last_ingested_at: Mapped[datetime | None] = mapped_column(UtcDateTime)
    created_at: Mapped[datetime] = mapped_column(UtcDateTime)
    updated_at: Mapped[datetime] = mapped_column(UtcDateTime)


NAME_INDEX = "uq_adapters_name_version"
# NULL counts as a value, so that a name without a version is unique too.
Index(NAME_INDEX, Adapter.name, func.coalesce(Adapter.version, ""), unique=True)


class AdapterDetail(Base):
    """The wide part of an adapter: provenance, plain text, example prompts, training facts. One row per adapter."""

    __tablename__ = "adapter_details"
    __table_args__ = {"comment": "What no list needs of an adapter."}

    adapter_pk: Mapped[int] = mapped_column(Pk, ForeignKey("adapters.pk", ondelete="CASCADE"), primary_key=True)
    provenance: Mapped[JsonObject] = mapped_column(Json, comment="Where fields were taken from -> those fields")
    description_text: Mapped[str | None] = mapped_column(Text, comment="Plain text of the description")
    notes: Mapped[str | None] = mapped_column(Text, comment="Notes found in sidecars")
    examples: Mapped[list[JsonObject]] = mapped_column(Json, comment="Example images with their prompts")
    strengths: Mapped[JsonObject | None] = mapped_column(
        Json, comment="Weights: count, median, low and high of example images, and the preferred one; NULL: none known"
    )


class AdapterTag(Base):
    """A tag of an adapter, from documents or the user, folded for comparison."""

    __tablename__ = "adapter_tags"
    __table_args__ = (
        Index("ix_adapter_tags_tag", "tag", "adapter_pk"),
        {"comment": "Tags, one row each.", "sqlite_with_rowid": False},
    )

    adapter_pk: Mapped[int] = mapped_column(Pk, ForeignKey("adapters.pk", ondelete="CASCADE"), primary_key=True)
    tag: Mapped[str] = mapped_column(Text, primary_key=True, comment="Case-folded, NFKC")


class AdapterSearch(Base):
    """The words of an adapter as the full-text index takes them: folded, CJK cut into bigrams (`fulltext.py`)."""

    __tablename__ = "adapter_search"
    __table_args__ = {"comment": "Input of the full-text index."}

    adapter_pk: Mapped[int] = mapped_column(Pk, ForeignKey("adapters.pk", ondelete="CASCADE"), primary_key=True)
    name: Mapped[str] = mapped_column(Text, default="")
    triggers: Mapped[str] = mapped_column(Text, default="")
    tags: Mapped[str] = mapped_column(Text, default="")
    body: Mapped[str] = mapped_column(Text, default="", comment="Author, description, notes")


class Tombstone(Base):
    """A deleted adapter's sources: a sync does not bring it back while this path and this document are unchanged."""

    __tablename__ = "tombstones"
    __table_args__ = {"comment": "Adapters that a user deleted."}

    source_key: Mapped[str] = mapped_column(Text, primary_key=True)
    fingerprint: Mapped[str] = mapped_column(Text, comment="Of the file's size and time and of its documents' digests")
    deleted_at: Mapped[datetime] = mapped_column(UtcDateTime)
