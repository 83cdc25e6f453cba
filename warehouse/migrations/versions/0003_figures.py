"""Count the adapters that have vectors, and find what happened by its kind.

The counters of embeddings start from a count of what is there; from then on whoever writes vectors keeps them.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("ix_activity_kind_at", "activity", ["kind", "at"], unique=False)
    counted = "SELECT 'embedded', embedding_type, count(*) FROM embeddings GROUP BY embedding_type"
    op.execute(sa.text(f"INSERT INTO facet_counts (facet, value, count) {counted}"))


def downgrade() -> None:
    op.execute(sa.text("DELETE FROM facet_counts WHERE facet = 'embedded'"))
    op.drop_index("ix_activity_kind_at", table_name="activity")
