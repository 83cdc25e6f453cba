"""Tables of the library, its vectors and its publications; the full-text index of each dialect.

Revision ID: 0001
Revises:
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

PK = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

FTS_SQLITE = (
    """
    CREATE VIRTUAL TABLE adapter_fts USING fts5(
        name, triggers, tags, body, content='adapter_search', content_rowid='adapter_pk',
        tokenize='unicode61 remove_diacritics 2')
    """,
    """
    CREATE TRIGGER adapter_search_inserted AFTER INSERT ON adapter_search BEGIN
        INSERT INTO adapter_fts(rowid, name, triggers, tags, body)
        VALUES (new.adapter_pk, new.name, new.triggers, new.tags, new.body);
    END
    """,
    """
    CREATE TRIGGER adapter_search_deleted AFTER DELETE ON adapter_search BEGIN
        INSERT INTO adapter_fts(adapter_fts, rowid, name, triggers, tags, body)
        VALUES ('delete', old.adapter_pk, old.name, old.triggers, old.tags, old.body);
    END
    """,
    """
    CREATE TRIGGER adapter_search_updated AFTER UPDATE ON adapter_search BEGIN
        INSERT INTO adapter_fts(adapter_fts, rowid, name, triggers, tags, body)
        VALUES ('delete', old.adapter_pk, old.name, old.triggers, old.tags, old.body);
        INSERT INTO adapter_fts(rowid, name, triggers, tags, body)
        VALUES (new.adapter_pk, new.name, new.triggers, new.tags, new.body);
    END
    """,
)


def upgrade() -> None:
    _create_tables()
    # NULL counts as a value, so that a name without a version is unique too.
    op.create_index("uq_adapters_name_version", "adapters", ["name", sa.text("coalesce(version, '')")], unique=True)
    if op.get_bind().dialect.name == "sqlite":
        _create_sqlite_index()
    else:
        _create_postgresql_index()


def _create_tables() -> None:
    op.create_table(
        "activity",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), nullable=False),
        sa.Column(
            "kind",
            sa.String(length=32),
            nullable=False,
            comment="sync | activation | delivery | generation | materialization | …",
        ),
        sa.Column("subject_id", sa.Text(), nullable=True),
        sa.Column("summary", sa.Text(), nullable=False),
        sa.Column("data", JSON, nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_activity")),
        comment="Activity feed.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_activity_at", "activity", ["at"], unique=False)

    op.create_table(
        "facet_counts",
        sa.Column("facet", sa.String(length=24), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("facet", "value", name=op.f("pk_facet_counts")),
        comment="Maintained counters of adapters.",
        sqlite_with_rowid=False,
    )
    op.create_index("ix_facet_counts_top", "facet_counts", ["facet", "count"], unique=False)

    op.create_table(
        "generations",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=64), nullable=False, comment="indices/recommend, marts/analytics, …"),
        sa.Column("name", sa.String(length=64), nullable=False, comment="Folder below data_dir/generations/<kind>"),
        sa.Column("manifest", JSON, nullable=False),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("collected_at", sa.DateTime(timezone=True), nullable=True, comment="When its files were removed"),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_generations")),
        sa.UniqueConstraint("name", name=op.f("uq_generations_name")),
        comment="Published generations.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_generations_kind", "generations", ["kind", "pk"], unique=False)

    op.create_table(
        "locks",
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False, comment="host:pid:start time:token"),
        sa.Column("acquired_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_locks")),
        comment="Leases of exclusive work.",
    )
    op.create_table(
        "roots",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("signature", sa.Text(), nullable=True, comment="Cheap signature at the last complete scan"),
        sa.Column("scanned_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_roots")),
        sa.UniqueConstraint("path", name=op.f("uq_roots_path")),
        comment="Library folders; read only.",
    )
    op.create_table(
        "tombstones",
        sa.Column("source_key", sa.Text(), nullable=False),
        sa.Column(
            "fingerprint",
            sa.Text(),
            nullable=False,
            comment="Of the file's size and time and of its documents' digests",
        ),
        sa.Column("deleted_at", sa.DateTime(timezone=True), nullable=False),
        sa.PrimaryKeyConstraint("source_key", name=op.f("pk_tombstones")),
        comment="Adapters that a user deleted.",
    )
    op.create_table(
        "bundles",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("root_pk", PK, nullable=False),
        sa.Column("directory", sa.Text(), nullable=False),
        sa.Column("stem", sa.Text(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False, comment="Raised whenever an element changes"),
        sa.Column("built_revision", sa.Integer(), nullable=False, comment="Revision the adapters were derived from"),
        sa.Column("producer", sa.String(length=64), nullable=True, comment="Version of the code that derived them"),
        sa.Column("preview_path", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(["root_pk"], ["roots.pk"], name=op.f("fk_bundles_root_pk_roots")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_bundles")),
        sa.UniqueConstraint("directory", "stem", name=op.f("uq_bundles_directory_stem")),
        comment="Groups of a weight file and its sidecars.",
    )
    op.create_index(
        "ix_bundles_due",
        "bundles",
        ["pk"],
        unique=False,
        sqlite_where=sa.text("built_revision < revision"),
        postgresql_where=sa.text("built_revision < revision"),
    )
    op.create_index(op.f("ix_bundles_root_pk"), "bundles", ["root_pk"], unique=False)

    op.create_table(
        "pointers",
        sa.Column("kind", sa.String(length=64), nullable=False),
        sa.Column("generation_pk", PK, nullable=False),
        sa.Column("moved_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("note", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["generation_pk"], ["generations.pk"], name=op.f("fk_pointers_generation_pk_generations")
        ),
        sa.PrimaryKeyConstraint("kind", name=op.f("pk_pointers")),
        comment="Current generation of each kind.",
    )
    op.create_table(
        "documents",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("bundle_pk", PK, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Bytes"),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False, comment="present | missing | unreadable"),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("read_size", sa.BigInteger(), nullable=True),
        sa.Column("read_mtime_ns", sa.BigInteger(), nullable=True),
        sa.Column("producer", sa.String(length=64), nullable=True),
        sa.Column("digest", sa.String(length=64), nullable=True, comment="BLAKE3 of the bytes"),
        sa.Column("shape", sa.String(length=32), nullable=True),
        sa.Column(
            "verdict", sa.String(length=16), nullable=True, comment="accepted | not_found | left_out | quarantined"
        ),
        sa.Column("reason_code", sa.String(length=48), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("complaints", sa.Integer(), nullable=False, comment="Fields that could not be taken as they stand"),
        sa.Column("read_at", sa.DateTime(timezone=True), nullable=True),
        sa.ForeignKeyConstraint(["bundle_pk"], ["bundles.pk"], name=op.f("fk_documents_bundle_pk_bundles")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_documents")),
        sa.UniqueConstraint("path", name=op.f("uq_documents_path")),
        comment="Metadata documents of the library, raw.",
    )
    op.create_index(op.f("ix_documents_bundle_pk"), "documents", ["bundle_pk"], unique=False)
    op.create_index(
        "ix_documents_unread",
        "documents",
        ["bundle_pk", "pk"],
        unique=False,
        sqlite_where=sa.text("read_mtime_ns IS NULL"),
        postgresql_where=sa.text("read_mtime_ns IS NULL"),
    )
    op.create_index("ix_documents_verdict", "documents", ["verdict"], unique=False)

    op.create_table(
        "files",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("bundle_pk", PK, nullable=False),
        sa.Column("path", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Bytes"),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False),
        sa.Column("inode", sa.BigInteger(), nullable=True),
        sa.Column("state", sa.String(length=16), nullable=False, comment="present | missing | unreadable"),
        sa.Column("first_seen_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("missing_since", sa.DateTime(timezone=True), nullable=True),
        sa.Column("hashed_size", sa.BigInteger(), nullable=True, comment="Watermark of the hashes"),
        sa.Column("hashed_mtime_ns", sa.BigInteger(), nullable=True, comment="Watermark of the hashes"),
        sa.Column("sha256", sa.String(length=64), nullable=True, comment="Of the whole file, lower case"),
        sa.Column("payload_sha256", sa.String(length=64), nullable=True, comment="Of the bytes after the header"),
        sa.Column("blake3", sa.String(length=64), nullable=True),
        sa.Column("crc32", sa.String(length=8), nullable=True),
        sa.Column("autov1", sa.String(length=8), nullable=True),
        sa.ForeignKeyConstraint(["bundle_pk"], ["bundles.pk"], name=op.f("fk_files_bundle_pk_bundles")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_files")),
        sa.UniqueConstraint("path", name=op.f("uq_files_path")),
        comment="Weight files of the library.",
    )
    op.create_index(op.f("ix_files_bundle_pk"), "files", ["bundle_pk"], unique=False)
    op.create_index(op.f("ix_files_payload_sha256"), "files", ["payload_sha256"], unique=False)
    op.create_index(op.f("ix_files_sha256"), "files", ["sha256"], unique=False)
    op.create_index(
        "ix_files_unhashed",
        "files",
        ["size", "pk"],
        unique=False,
        sqlite_where=sa.text("hashed_mtime_ns IS NULL"),
        postgresql_where=sa.text("hashed_mtime_ns IS NULL"),
    )

    op.create_table(
        "findings",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("bundle_pk", PK, nullable=True, comment="NULL: about a folder or a name"),
        sa.Column(
            "origin",
            sa.String(length=16),
            nullable=False,
            comment="The stage that found it: scan | documents | adapters",
        ),
        sa.Column("code", sa.String(length=48), nullable=False),
        sa.Column("severity", sa.String(length=8), nullable=False, comment="info | warning | error"),
        sa.Column("path", sa.Text(), nullable=True, comment="The file it is about"),
        sa.Column("message", sa.Text(), nullable=False, comment="What, where, and what to do"),
        sa.Column("data", JSON, nullable=True),
        sa.Column("found_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["bundle_pk"], ["bundles.pk"], name=op.f("fk_findings_bundle_pk_bundles"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_findings")),
        comment="Findings about the library.",
    )
    op.create_index(op.f("ix_findings_bundle_pk"), "findings", ["bundle_pk"], unique=False)
    op.create_index("ix_findings_code", "findings", ["code"], unique=False)

    op.create_table(
        "hash_claims",
        sa.Column("value", sa.String(length=64), nullable=False, comment="Lower-case hexadecimal"),
        sa.Column("bundle_pk", PK, nullable=False),
        sa.Column(
            "kind",
            sa.String(length=8),
            nullable=False,
            comment="sha256 | blake3 | autov3 | autov2: the strongest stated",
        ),
        sa.ForeignKeyConstraint(
            ["bundle_pk"], ["bundles.pk"], name=op.f("fk_hash_claims_bundle_pk_bundles"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("value", "bundle_pk", name=op.f("pk_hash_claims")),
        comment="Hashes of weight files that documents state.",
        sqlite_with_rowid=False,
    )
    op.create_index(op.f("ix_hash_claims_bundle_pk"), "hash_claims", ["bundle_pk"], unique=False)

    op.create_table(
        "adapters",
        sa.Column("pk", PK, autoincrement=True, nullable=False, comment="Internal number, never reused"),
        sa.Column("id", sa.String(length=36), nullable=False, comment="Public id (UUID)"),
        sa.Column("source_key", sa.Text(), nullable=False, comment="Stable identity across syncs"),
        sa.Column("bundle_pk", PK, nullable=True),
        sa.Column("file_pk", PK, nullable=True),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("version", sa.Text(), nullable=True),
        sa.Column("canonical_version_name", sa.Text(), nullable=True),
        sa.Column("description", sa.Text(), nullable=True, comment="Sanitised HTML"),
        sa.Column("author_username", sa.Text(), nullable=True),
        sa.Column("visibility", sa.String(length=32), nullable=False),
        sa.Column("published_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("tags", JSON, nullable=False),
        sa.Column("trained_words", JSON, nullable=False),
        sa.Column("triggers", JSON, nullable=False),
        sa.Column("activation_text", sa.Text(), nullable=True),
        sa.Column("negative_text", sa.Text(), nullable=True),
        sa.Column("archetype", sa.String(length=32), nullable=True),
        sa.Column("archetype_confidence", sa.Float(), nullable=True, comment="Calibrated probability, 0..1"),
        sa.Column("base_model", sa.String(length=64), nullable=True, comment="As Civitai spells it"),
        sa.Column("sd_version", sa.String(length=32), nullable=True, comment="SD1 | SD2 | SDXL | SD3 | Other"),
        sa.Column("nsfw_level", sa.Integer(), nullable=False, comment="Civitai's bit mask; 0 is not stated"),
        sa.Column("supports_generation", sa.Boolean(), nullable=False),
        sa.Column("civitai_model_id", sa.BigInteger(), nullable=True),
        sa.Column("civitai_version_id", sa.BigInteger(), nullable=True),
        sa.Column("downloads", sa.BigInteger(), nullable=True),
        sa.Column("likes", sa.BigInteger(), nullable=True),
        sa.Column("rating", sa.Float(), nullable=True, comment="0..5; NULL while nobody rated"),
        sa.Column("stats", JSON, nullable=False),
        sa.Column("licence", JSON, nullable=True, comment="Tri-state permissions; NULL is unknown"),
        sa.Column("extra", JSON, nullable=False, comment="Keys that have no column"),
        sa.Column("file_path", sa.Text(), nullable=False),
        sa.Column("file_state", sa.String(length=16), nullable=False, comment="present | invalid | missing | remote"),
        sa.Column("primary_file_name", sa.Text(), nullable=True, comment="As stated by the document"),
        sa.Column("primary_file_size_kb", sa.Float(), nullable=True, comment="KiB, as stated, else measured"),
        sa.Column(
            "primary_file_sha256", sa.String(length=64), nullable=True, comment="As stated, else measured; lower case"
        ),
        sa.Column("primary_file_download_url", sa.Text(), nullable=True),
        sa.Column("primary_file_local_path", sa.Text(), nullable=True),
        sa.Column("preview_path", sa.Text(), nullable=True),
        sa.Column("json_file_path", sa.Text(), nullable=True),
        sa.Column("json_file_mtime", sa.DateTime(timezone=True), nullable=True),
        sa.Column("json_file_size", sa.BigInteger(), nullable=True),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column("weight_by_user", sa.Boolean(), nullable=False, comment="Set by hand: a sync leaves it"),
        sa.Column("active", sa.Boolean(), nullable=False),
        sa.Column("ordinal", sa.Integer(), nullable=True),
        sa.Column("favorite", sa.Boolean(), nullable=False),
        sa.Column("user_tags", JSON, nullable=False),
        sa.Column("user_notes", sa.Text(), nullable=True),
        sa.Column("user_fields", JSON, nullable=False, comment="Columns a user edited: a sync leaves them"),
        sa.Column(
            "content_digest",
            sa.String(length=32),
            nullable=False,
            comment="Of what vectors derive from: their watermark",
        ),
        sa.Column(
            "derived_digest",
            sa.String(length=32),
            nullable=True,
            comment="Of every derived value: a sync that finds it unchanged writes nothing",
        ),
        sa.Column("producer", sa.String(length=64), nullable=True),
        sa.Column("last_ingested_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(["bundle_pk"], ["bundles.pk"], name=op.f("fk_adapters_bundle_pk_bundles")),
        sa.ForeignKeyConstraint(["file_pk"], ["files.pk"], name=op.f("fk_adapters_file_pk_files")),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_adapters")),
        sa.UniqueConstraint("id", name=op.f("uq_adapters_id")),
        sa.UniqueConstraint("source_key", name=op.f("uq_adapters_source_key")),
        comment="LoRA adapters, one per version.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_adapters_active_ordinal", "adapters", ["active", "ordinal", "name", "pk"], unique=False)
    op.create_index(op.f("ix_adapters_archetype"), "adapters", ["archetype"], unique=False)
    op.create_index("ix_adapters_base_model", "adapters", ["base_model", "name", "pk"], unique=False)
    op.create_index(op.f("ix_adapters_bundle_pk"), "adapters", ["bundle_pk"], unique=False)
    op.create_index("ix_adapters_civitai", "adapters", ["civitai_version_id"], unique=False)
    op.create_index("ix_adapters_claimed_sha256", "adapters", ["primary_file_sha256"], unique=False)
    op.create_index("ix_adapters_created_at", "adapters", ["created_at", "pk"], unique=False)
    op.create_index("ix_adapters_downloads", "adapters", ["downloads", "pk"], unique=False)
    op.create_index(op.f("ix_adapters_file_path"), "adapters", ["file_path"], unique=False)
    op.create_index(op.f("ix_adapters_file_pk"), "adapters", ["file_pk"], unique=False)
    op.create_index("ix_adapters_name", "adapters", ["name", "pk"], unique=False)
    op.create_index("ix_adapters_rating", "adapters", ["rating", "pk"], unique=False)
    op.create_index("ix_adapters_size", "adapters", ["primary_file_size_kb", "pk"], unique=False)
    op.create_index("ix_adapters_updated_at", "adapters", ["updated_at", "pk"], unique=False)

    op.create_table(
        "document_contents",
        sa.Column("document_pk", PK, nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=False, comment="zlib of the bytes"),
        sa.Column(
            "is_sound",
            sa.Boolean(),
            nullable=False,
            comment="Whether they could be read; such bytes give way only to others",
        ),
        sa.ForeignKeyConstraint(
            ["document_pk"],
            ["documents.pk"],
            name=op.f("fk_document_contents_document_pk_documents"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("document_pk", name=op.f("pk_document_contents")),
        comment="Raw bytes of the documents.",
    )
    op.create_table(
        "inspections",
        sa.Column("file_pk", PK, nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Watermark"),
        sa.Column("mtime_ns", sa.BigInteger(), nullable=False, comment="Watermark"),
        sa.Column("producer", sa.String(length=64), nullable=False),
        sa.Column("valid", sa.Boolean(), nullable=True, comment="NULL: a format that is never opened (pickle)"),
        sa.Column("problem", sa.String(length=48), nullable=True, comment="Typed reason why it is not valid"),
        sa.Column("message", sa.Text(), nullable=True),
        sa.Column("network_type", sa.String(length=32), nullable=True),
        sa.Column("rank", sa.Integer(), nullable=True),
        sa.Column("alpha", sa.Double(), nullable=True),
        sa.Column("base_model", sa.String(length=64), nullable=True),
        sa.Column("base_model_confidence", sa.Double(), nullable=True),
        sa.Column("base_model_evidence", sa.Text(), nullable=True),
        sa.Column("tensor_count", sa.Integer(), nullable=True),
        sa.Column("parameter_count", sa.BigInteger(), nullable=True),
        sa.Column("facts", sa.Text(), nullable=True, comment="All header facts as JSON"),
        sa.Column("inspected_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["file_pk"], ["files.pk"], name=op.f("fk_inspections_file_pk_files"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("file_pk", name=op.f("pk_inspections")),
        comment="Results of reading weight files.",
    )
    op.create_index(op.f("ix_inspections_problem"), "inspections", ["problem"], unique=False)

    op.create_table(
        "adapter_details",
        sa.Column("adapter_pk", PK, nullable=False),
        sa.Column("provenance", JSON, nullable=False, comment="Field -> the file it was taken from"),
        sa.Column("description_text", sa.Text(), nullable=True, comment="Plain text of the description"),
        sa.Column("notes", sa.Text(), nullable=True, comment="Notes found in sidecars"),
        sa.Column("examples", JSON, nullable=False, comment="Example images with their prompts"),
        sa.ForeignKeyConstraint(
            ["adapter_pk"], ["adapters.pk"], name=op.f("fk_adapter_details_adapter_pk_adapters"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("adapter_pk", name=op.f("pk_adapter_details")),
        comment="What no list needs of an adapter.",
    )
    op.create_table(
        "adapter_search",
        sa.Column("adapter_pk", PK, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("triggers", sa.Text(), nullable=False),
        sa.Column("tags", sa.Text(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False, comment="Author, description, notes"),
        sa.ForeignKeyConstraint(
            ["adapter_pk"], ["adapters.pk"], name=op.f("fk_adapter_search_adapter_pk_adapters"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("adapter_pk", name=op.f("pk_adapter_search")),
        comment="Input of the full-text index.",
    )
    op.create_table(
        "adapter_tags",
        sa.Column("adapter_pk", PK, nullable=False),
        sa.Column("tag", sa.Text(), nullable=False, comment="Case-folded, NFKC"),
        sa.ForeignKeyConstraint(
            ["adapter_pk"], ["adapters.pk"], name=op.f("fk_adapter_tags_adapter_pk_adapters"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("adapter_pk", "tag", name=op.f("pk_adapter_tags")),
        comment="Tags, one row each.",
        sqlite_with_rowid=False,
    )
    op.create_index("ix_adapter_tags_tag", "adapter_tags", ["tag", "adapter_pk"], unique=False)

    op.create_table(
        "community_statistics",
        sa.Column("adapter_pk", PK, nullable=False),
        sa.Column("day", sa.Date(), nullable=False),
        sa.Column("downloads", sa.BigInteger(), nullable=True),
        sa.Column("likes", sa.BigInteger(), nullable=True),
        sa.Column("rating", sa.Float(), nullable=True),
        sa.Column("comments", sa.BigInteger(), nullable=True),
        sa.ForeignKeyConstraint(
            ["adapter_pk"],
            ["adapters.pk"],
            name=op.f("fk_community_statistics_adapter_pk_adapters"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("adapter_pk", "day", name=op.f("pk_community_statistics")),
        comment="Dated snapshots of Civitai's statistics.",
        sqlite_with_rowid=False,
    )
    op.create_index("ix_community_statistics_day", "community_statistics", ["day"], unique=False)

    op.create_table(
        "duplicates",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("group_key", sa.Text(), nullable=False),
        sa.Column("adapter_pk", PK, nullable=False),
        sa.Column("score", sa.Double(), nullable=True, comment="Similarity of a near duplicate, 0..1"),
        sa.ForeignKeyConstraint(
            ["adapter_pk"], ["adapters.pk"], name=op.f("fk_duplicates_adapter_pk_adapters"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_duplicates")),
        comment="Groups of duplicates.",
    )
    op.create_index(op.f("ix_duplicates_adapter_pk"), "duplicates", ["adapter_pk"], unique=False)
    op.create_index("ix_duplicates_group", "duplicates", ["kind", "group_key"], unique=False)

    op.create_table(
        "embeddings",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column("adapter_pk", PK, nullable=False),
        sa.Column("embedding_type", sa.String(length=16), nullable=False, comment="semantic | artistic | technical"),
        sa.Column("dimension", sa.Integer(), nullable=False),
        sa.Column("embedding_data", sa.LargeBinary(), nullable=False, comment="float16, little-endian, unit length"),
        sa.Column("model_name", sa.Text(), nullable=False),
        sa.Column(
            "model_version",
            sa.String(length=64),
            nullable=False,
            comment="Digest of the weights, backend and precision",
        ),
        sa.Column("quality_score", sa.Float(), nullable=True, comment="0..1: how much is known of the adapter"),
        sa.Column("text_digest", sa.String(length=32), nullable=False, comment="Of the text that was embedded"),
        sa.Column("content_digest", sa.String(length=32), nullable=False, comment="Watermark: adapters.content_digest"),
        sa.Column(
            "producer", sa.String(length=64), nullable=False, comment="Watermark: text producer and model identity"
        ),
        sa.Column("metadata", JSON, nullable=True),
        sa.Column(
            "compared_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="When near duplicates were looked for; NULL: due",
        ),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("updated_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_pk"], ["adapters.pk"], name=op.f("fk_embeddings_adapter_pk_adapters"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_embeddings")),
        sa.UniqueConstraint("adapter_pk", "embedding_type", name=op.f("uq_embeddings_adapter_pk_embedding_type")),
        sa.UniqueConstraint("id", name=op.f("uq_embeddings_id")),
        comment="Vectors of adapters.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_embeddings_text", "embeddings", ["embedding_type", "producer", "text_digest"], unique=False)
    op.create_index(
        "ix_embeddings_uncompared",
        "embeddings",
        ["embedding_type", "pk"],
        unique=False,
        sqlite_where=sa.text("compared_at IS NULL"),
        postgresql_where=sa.text("compared_at IS NULL"),
    )


def _create_sqlite_index() -> None:
    for statement in FTS_SQLITE:
        op.execute(statement)


def _create_postgresql_index() -> None:
    op.execute(
        """
        ALTER TABLE adapter_search ADD COLUMN words tsvector GENERATED ALWAYS AS (
            setweight(to_tsvector('simple', name), 'A') || setweight(to_tsvector('simple', triggers), 'B') ||
            setweight(to_tsvector('simple', tags), 'C') || setweight(to_tsvector('simple', body), 'D')) STORED
        """
    )
    op.execute("CREATE INDEX ix_adapter_search_words ON adapter_search USING gin (words)")


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TABLE adapter_fts")
    op.drop_table("embeddings")
    op.drop_table("duplicates")
    op.drop_table("community_statistics")
    op.drop_table("adapter_tags")
    op.drop_table("adapter_search")
    op.drop_table("adapter_details")
    op.drop_table("inspections")
    op.drop_table("document_contents")
    op.drop_table("adapters")
    op.drop_table("hash_claims")
    op.drop_table("findings")
    op.drop_table("files")
    op.drop_table("documents")
    op.drop_table("pointers")
    op.drop_table("bundles")
    op.drop_table("tombstones")
    op.drop_table("roots")
    op.drop_table("locks")
    op.drop_table("generations")
    op.drop_table("facet_counts")
    op.drop_table("activity")
