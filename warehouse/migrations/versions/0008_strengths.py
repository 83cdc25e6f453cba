"""The weights that an adapter's example images state, and the preferred one. A sync fills them in.

Recommendations show them, so a change of them counts.

Revision ID: 0008
Revises: 0007
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
COMMENT = "Weights: count, median, low and high of example images, and the preferred one; NULL: none known"


def upgrade() -> None:
    op.add_column("adapter_details", sa.Column("strengths", JSON, nullable=True, comment=COMMENT))
    _count_updates_of("description_text, examples, strengths")


def downgrade() -> None:
    _count_updates_of("description_text, examples")
    op.drop_column("adapter_details", "strengths")


def _count_updates_of(columns: str) -> None:
    is_sqlite = op.get_bind().dialect.name == "sqlite"
    name = "adapter_details_counted_update"
    op.execute(f"DROP TRIGGER {name}" if is_sqlite else f"DROP TRIGGER {name} ON adapter_details")
    action = (
        "BEGIN UPDATE change_counts SET changes = changes + 1 WHERE noun = 'adapters' AND slot = 0; END"
        if is_sqlite
        else "EXECUTE FUNCTION count_change('adapters')"
    )
    op.execute(f"CREATE TRIGGER {name} AFTER UPDATE OF {columns} ON adapter_details FOR EACH ROW {action}")
