"""Kept recommendations, and counters of changes that say when they are out of date.

The counters are kept by triggers, so that no writer can forget them: whatever an answer shows or is ranked by counts,
and what it does not show (activations, weights, notes, the times of a sync) does not. New adapters need no trigger, for
the number of adapters tells of them; SQLite would have to copy every page that an insert touches, which takes a tenth
of a first sync. On PostgreSQL a transaction counts once, in a row that no other transaction has locked, so that writers
never wait for each other here; the sum of the rows rises with every commit, in whatever order transactions commit.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

PK = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")

_SHOWN = (
    "name, version, author_username, tags, user_tags, trained_words, triggers, activation_text, archetype, "
    "base_model, sd_version, nsfw_level, civitai_model_id, downloads, extra, file_state, preview_path, content_digest"
)
COUNTED = (
    ("adapters", "adapters", "DELETE"),
    ("adapters", "adapters", f"UPDATE OF {_SHOWN}"),
    ("adapters", "adapter_details", "UPDATE OF description_text, examples"),
    ("adapters", "adapter_search", "UPDATE OF name, triggers, tags, body"),
    ("adapters", "duplicates", "INSERT"),
    ("adapters", "duplicates", "DELETE"),
    ("adapters", "duplicates", "UPDATE OF kind, group_key, adapter_pk"),
    ("embeddings", "embeddings", "INSERT"),
    ("embeddings", "embeddings", "DELETE"),
    ("embeddings", "embeddings", "UPDATE OF adapter_pk, embedding_type, embedding_data, producer, quality_score"),
)
"""The counter, the table and the event."""

FUNCTION = """
CREATE FUNCTION count_change() RETURNS trigger LANGUAGE plpgsql AS $$
DECLARE
    counted text := 'lora_manager.counted_' || TG_ARGV[0];
    this text := pg_current_xact_id()::text;
BEGIN
    IF current_setting(counted, true) IS NOT DISTINCT FROM this THEN
        RETURN NULL;
    END IF;
    UPDATE change_counts SET changes = changes + 1
    WHERE noun = TG_ARGV[0] AND slot = (
        SELECT slot FROM change_counts WHERE noun = TG_ARGV[0] ORDER BY slot LIMIT 1 FOR UPDATE SKIP LOCKED);
    IF NOT FOUND THEN
        INSERT INTO change_counts (noun, slot, changes) VALUES (TG_ARGV[0], this::bigint, 1)
        ON CONFLICT (noun, slot) DO UPDATE SET changes = change_counts.changes + 1;
    END IF;
    PERFORM set_config(counted, this, true);
    RETURN NULL;
END
$$
"""


def upgrade() -> None:
    counts = op.create_table(
        "change_counts",
        sa.Column("noun", sa.String(length=16), nullable=False, comment="adapters | embeddings"),
        sa.Column(
            "slot",
            sa.BigInteger(),
            autoincrement=False,
            nullable=False,
            comment="Writers at work at once take different ones",
        ),
        sa.Column("changes", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("noun", "slot", name=op.f("pk_change_counts")),
        comment="Counters that rise with every committed change.",
        sqlite_with_rowid=False,
    )
    op.bulk_insert(counts, [{"noun": noun, "slot": 0, "changes": 0} for noun in ("adapters", "embeddings")])
    op.create_table(
        "recommendation_cache",
        sa.Column("pk", PK, autoincrement=True, nullable=False, comment="Ascends with age: oldest first"),
        sa.Column("id", sa.String(length=36), nullable=False),
        sa.Column(
            "cache_key", sa.Text(), nullable=False, comment="<index generation>:<changes>:<digest of the question>"
        ),
        sa.Column("adapter_pk", PK, nullable=True, comment="What was asked about; NULL: a prompt"),
        sa.Column(
            "prompt_hash", sa.String(length=32), nullable=True, comment="Of the prompt; NULL: asked about an adapter"
        ),
        sa.Column(
            "recommendations",
            sa.LargeBinary(),
            nullable=False,
            comment="The answer without signatures: JSON, deflated",
        ),
        sa.Column("similarity_threshold", sa.Float(), nullable=False),
        sa.Column("limit_used", sa.Integer(), nullable=False),
        sa.Column("weights_used", JSON, nullable=False, comment="Space -> weight"),
        sa.Column("created_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=False),
        sa.ForeignKeyConstraint(
            ["adapter_pk"],
            ["adapters.pk"],
            name=op.f("fk_recommendation_cache_adapter_pk_adapters"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_recommendation_cache")),
        sa.UniqueConstraint("id", name=op.f("uq_recommendation_cache_id")),
        sa.UniqueConstraint("cache_key", name=op.f("uq_recommendation_cache_cache_key")),
        comment="Recommendations kept for a while.",
        sqlite_autoincrement=True,
    )
    op.create_index(op.f("ix_recommendation_cache_adapter_pk"), "recommendation_cache", ["adapter_pk"], unique=False)
    op.create_index("ix_recommendation_cache_expires_at", "recommendation_cache", ["expires_at"], unique=False)
    _count_changes()


def _names() -> list[tuple[str, str, str, str]]:
    """The triggers by name, each with its counter, its table and its event."""
    return [
        (f"{table}_counted_{event.partition(' ')[0].lower()}", noun, table, event) for noun, table, event in COUNTED
    ]


def _count_changes() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    if not is_sqlite:
        op.execute(FUNCTION)
    for name, noun, table, event in _names():
        action = (
            f"BEGIN UPDATE change_counts SET changes = changes + 1 WHERE noun = '{noun}' AND slot = 0; END"  # noqa: S608
            if is_sqlite
            else f"EXECUTE FUNCTION count_change('{noun}')"
        )
        op.execute(f"CREATE TRIGGER {name} AFTER {event} ON {table} FOR EACH ROW {action}")


def downgrade() -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    for name, _, table, _ in _names():
        op.execute(f"DROP TRIGGER {name}" if is_sqlite else f"DROP TRIGGER {name} ON {table}")
    if not is_sqlite:
        op.execute("DROP FUNCTION count_change()")
    op.drop_table("recommendation_cache")
    op.drop_table("change_counts")
