"""Pictures that generations made, and which adapters were used together.

Revision ID: 0006
Revises: 0005
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

PK = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
KEPT = sa.text("deleted_at IS NULL")


def upgrade() -> None:
    op.create_table(
        "generated_images",
        sa.Column("pk", PK, autoincrement=True, nullable=False, comment="In order of their making"),
        sa.Column("id", sa.String(length=36), nullable=False, comment="Public id (UUID)"),
        sa.Column("job_id", sa.String(length=36), nullable=False, comment="The job; it may be pruned by now"),
        sa.Column("position", sa.Integer(), nullable=False, comment="Within the job, from 0"),
        sa.Column("mode", sa.String(length=32), nullable=False, comment="The backend that made it"),
        sa.Column("sha256", sa.String(length=64), nullable=False, comment="Of its bytes; names its file"),
        sa.Column("format", sa.String(length=8), nullable=False, comment="png | jpg | webp"),
        sa.Column("width", sa.Integer(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="Bytes"),
        sa.Column("seed", sa.BigInteger(), nullable=True),
        sa.Column("prompt", sa.Text(), nullable=False, comment="As it was composed, before names were rewritten"),
        sa.Column("infotext", sa.Text(), nullable=True, comment="As the backend wrote it"),
        sa.Column("params", JSON, nullable=False, comment="As they were asked for"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("rating", sa.Integer(), nullable=True, comment="Of the user's"),
        sa.Column("is_favorite", sa.Boolean(), nullable=False),
        sa.Column("deleted_at", MOMENT, nullable=True, comment="Deleted by the user; not shown"),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_generated_images")),
        sa.UniqueConstraint("id", name=op.f("uq_generated_images_id")),
        sa.UniqueConstraint("job_id", "position", name=op.f("uq_generated_images_job_id_position")),
        comment="Pictures that generations made.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_generated_images_kept", "generated_images", ["pk"], sqlite_where=KEPT, postgresql_where=KEPT)
    op.create_index("ix_generated_images_sha256", "generated_images", ["sha256"])
    op.create_table(
        "adapter_uses",
        sa.Column("pk", PK, autoincrement=True, nullable=False),
        sa.Column("job_id", sa.String(length=36), nullable=False, comment="The job; it may be pruned by now"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="delivery | generation"),
        sa.Column("mode", sa.String(length=32), nullable=False, comment="The backend"),
        sa.Column("adapter_id", sa.String(length=36), nullable=True, comment="NULL: the library has none of that name"),
        sa.Column("name", sa.Text(), nullable=False, comment="In the token"),
        sa.Column("weight", sa.Float(), nullable=False),
        sa.Column(
            "status", sa.String(length=16), nullable=False, comment="sent, or of a generation applied | unverified"
        ),
        sa.Column("others", JSON, nullable=False, comment="Names of the other adapters of the prompt"),
        sa.Column("used_at", MOMENT, nullable=False),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_adapter_uses")),
        sa.UniqueConstraint("job_id", "name", name=op.f("uq_adapter_uses_job_id_name")),
        comment="Which adapters were used, when, and with what others.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_adapter_uses_adapter", "adapter_uses", ["adapter_id", "used_at"])
    op.create_index("ix_adapter_uses_used_at", "adapter_uses", ["used_at"])


def downgrade() -> None:
    op.drop_table("adapter_uses")
    op.drop_table("generated_images")
