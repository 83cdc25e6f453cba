"""How often two adapters were used together. What was used before is counted when uses are next counted.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

PK = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
DUE = sa.text("counted_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "adapter_pairs",
        sa.Column("adapter_pk", PK, nullable=False),
        sa.Column("other_pk", PK, nullable=False),
        sa.Column("uses", sa.Integer(), nullable=False, comment="Prompts that had both, since the pair is kept"),
        sa.Column("last_used_at", MOMENT, nullable=False),
        *(
            sa.ForeignKeyConstraint(
                [column], ["adapters.pk"], name=op.f(f"fk_adapter_pairs_{column}_adapters"), ondelete="CASCADE"
            )
            for column in ("adapter_pk", "other_pk")
        ),
        sa.PrimaryKeyConstraint("adapter_pk", "other_pk", name=op.f("pk_adapter_pairs")),
        comment="How often two adapters were used together.",
        sqlite_with_rowid=False,
    )
    op.create_index("ix_adapter_pairs_other", "adapter_pairs", ["other_pk"])
    op.add_column(
        "adapter_uses",
        sa.Column("counted_at", MOMENT, nullable=True, comment="When its pairs were counted; NULL: due"),
    )
    op.create_index("ix_adapter_uses_uncounted", "adapter_uses", ["pk"], sqlite_where=DUE, postgresql_where=DUE)


def downgrade() -> None:
    op.drop_index("ix_adapter_uses_uncounted", table_name="adapter_uses")
    op.drop_column("adapter_uses", "counted_at")
    op.drop_table("adapter_pairs")
