"""Who asked for jobs, used adapters and judged pictures, by the name of the API key; and what each of them prefers.

Of what was done before nobody knows who did it.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
JUDGED = sa.text("judged_at IS NOT NULL")
ASKED = "Name of the API key that asked for it"


def upgrade() -> None:
    op.create_table(
        "use_profiles",
        sa.Column("key_name", sa.Text(), nullable=False, comment="Of the API key; empty: asked without one"),
        sa.Column(
            "profile",
            JSON,
            nullable=True,
            comment="Tags, authors, archetypes and base models that are used more than the library has of them",
        ),
        sa.Column("seen", sa.Text(), nullable=False, comment="Watermark: the newest use, audit entry and judgement"),
        sa.Column("computed_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("key_name", name=op.f("pk_use_profiles")),
        comment="What holders of keys prefer, one row each.",
    )
    op.add_column("jobs", sa.Column("actor", sa.Text(), nullable=True, comment=ASKED))
    op.add_column("adapter_uses", sa.Column("actor", sa.Text(), nullable=True, comment=ASKED))
    op.create_index("ix_adapter_uses_actor", "adapter_uses", ["actor", "pk"])
    judged_by = sa.Column(
        "judged_by", sa.Text(), nullable=True, comment="Name of the API key that last rated or marked it"
    )
    op.add_column("generated_images", judged_by)
    op.add_column("generated_images", sa.Column("judged_at", MOMENT, nullable=True, comment="When it was; NULL: never"))
    op.create_index(
        "ix_generated_images_judged",
        "generated_images",
        ["judged_by", "judged_at"],
        sqlite_where=JUDGED,
        postgresql_where=JUDGED,
    )


def downgrade() -> None:
    op.drop_index("ix_generated_images_judged", table_name="generated_images")
    op.drop_column("generated_images", "judged_at")
    op.drop_column("generated_images", "judged_by")
    op.drop_index("ix_adapter_uses_actor", table_name="adapter_uses")
    op.drop_column("adapter_uses", "actor")
    op.drop_column("jobs", "actor")
    op.drop_table("use_profiles")
