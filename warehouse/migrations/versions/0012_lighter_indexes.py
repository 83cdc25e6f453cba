"""An index that every sync wrote and nobody read goes, and that of weight files holds the adapters that have one.

SQLite's full text merges eight segments of one level, not four: less of it is written again while a library grows.

Revision ID: 0012
Revises: 0011
"""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None

HAS_FILE = sa.text("file_pk IS NOT NULL")
SEGMENTS, FORMER_SEGMENTS = 8, 4


def upgrade() -> None:
    op.drop_index("ix_adapters_claimed_sha256", table_name="adapters")
    op.drop_index("ix_adapters_file_pk", table_name="adapters")
    op.create_index("ix_adapters_file_pk", "adapters", ["file_pk"], sqlite_where=HAS_FILE, postgresql_where=HAS_FILE)
    _merge(SEGMENTS)


def downgrade() -> None:
    _merge(FORMER_SEGMENTS)
    op.drop_index("ix_adapters_file_pk", table_name="adapters")
    op.create_index("ix_adapters_file_pk", "adapters", ["file_pk"])
    op.create_index("ix_adapters_claimed_sha256", "adapters", ["primary_file_sha256"])


def _merge(segments: int) -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(f"INSERT INTO adapter_fts (adapter_fts, rank) VALUES ('automerge', {segments})")  # noqa: S608
