"""Jobs, their events and counters, and the lanes that work on them.

Revision ID: 0004
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision = "0004"
down_revision = "0002"
branch_labels = None
depends_on = None

PK = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
JSON = sa.JSON(none_as_null=True).with_variant(postgresql.JSONB(none_as_null=True), "postgresql")
MOMENT = sa.DateTime(timezone=True)
PENDING = sa.text("status = 'pending'")
RUNNING = sa.text("status = 'running'")
FINISHED = sa.text("finished_at IS NOT NULL")


def upgrade() -> None:
    op.create_table(
        "jobs",
        sa.Column("pk", PK, autoincrement=True, nullable=False, comment="In order of arrival"),
        sa.Column("id", sa.String(length=36), nullable=False, comment="Public id (UUID)"),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="delivery | generation"),
        sa.Column("mode", sa.String(length=32), nullable=False, comment="The backend: http, cli, sdnext, …"),
        sa.Column("lane", sa.String(length=48), nullable=False),
        sa.Column("prompt", sa.Text(), nullable=False),
        sa.Column("params", JSON, nullable=False, comment="Of the mode, as they were checked"),
        sa.Column("priority", sa.Integer(), nullable=False, comment="Lower is sooner; equal ones in order of arrival"),
        sa.Column(
            "status", sa.String(length=16), nullable=False, comment="pending | running | succeeded | failed | cancelled"
        ),
        sa.Column("result", JSON, nullable=True, comment="What the target answered; NULL until the end"),
        sa.Column("error", sa.Text(), nullable=True, comment="Why it failed, for people"),
        sa.Column("progress", sa.Float(), nullable=False, comment="0..100, never falling"),
        sa.Column("attempts", sa.Integer(), nullable=False, comment="How often it was started"),
        sa.Column("max_attempts", sa.Integer(), nullable=False),
        sa.Column("not_before", MOMENT, nullable=True, comment="When a repeated attempt is due"),
        sa.Column(
            "cancel_requested", sa.Boolean(), nullable=False, comment="Read by the lane, which interrupts the target"
        ),
        sa.Column("run_id", sa.String(length=36), nullable=True, comment="The Dagster run that last started it"),
        sa.Column("lease_holder", sa.Text(), nullable=True, comment="Who works on it: process and token"),
        sa.Column("lease_expires_at", MOMENT, nullable=True),
        sa.Column("idempotency_key", sa.String(length=255), nullable=True),
        sa.Column("request_digest", sa.String(length=64), nullable=True, comment="Of the request that brought the key"),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("started_at", MOMENT, nullable=True, comment="Of the first attempt"),
        sa.Column("finished_at", MOMENT, nullable=True),
        sa.PrimaryKeyConstraint("pk", name=op.f("pk_jobs")),
        sa.UniqueConstraint("id", name=op.f("uq_jobs_id")),
        sa.UniqueConstraint("idempotency_key", name=op.f("uq_jobs_idempotency_key")),
        comment="Deliveries and generations.",
        sqlite_autoincrement=True,
    )
    op.create_index(
        "ix_jobs_pending",
        "jobs",
        ["lane", "priority", "pk", "not_before"],
        sqlite_where=PENDING,
        postgresql_where=PENDING,
    )
    op.create_index(
        "ix_jobs_running", "jobs", ["lane", "lease_expires_at"], sqlite_where=RUNNING, postgresql_where=RUNNING
    )
    op.create_index("ix_jobs_finished", "jobs", ["finished_at"], sqlite_where=FINISHED, postgresql_where=FINISHED)
    op.create_index("ix_jobs_mode", "jobs", ["mode", "status", "pk"])

    op.create_table(
        "job_events",
        sa.Column("seq", PK, autoincrement=True, nullable=False),
        sa.Column("job_pk", PK, nullable=False),
        sa.Column("type", sa.String(length=16), nullable=False, comment="status | progress"),
        sa.Column("payload", JSON, nullable=False),
        sa.Column("at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["job_pk"], ["jobs.pk"], name=op.f("fk_job_events_job_pk_jobs"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("seq", name=op.f("pk_job_events")),
        comment="What happened to jobs, in order.",
        sqlite_autoincrement=True,
    )
    op.create_index("ix_job_events_job", "job_events", ["job_pk", "seq"])
    op.create_index("ix_job_events_at", "job_events", ["at"])

    op.create_table(
        "job_counts",
        sa.Column("kind", sa.String(length=16), nullable=False),
        sa.Column("mode", sa.String(length=32), nullable=False),
        sa.Column("status", sa.String(length=16), nullable=False),
        sa.Column("count", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "mode", "status", name=op.f("pk_job_counts")),
        comment="Maintained counters of jobs.",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "lanes",
        sa.Column("name", sa.String(length=48), nullable=False),
        sa.Column("kind", sa.String(length=16), nullable=False, comment="Of its jobs: delivery | generation"),
        sa.Column("wanted", sa.BigInteger(), nullable=False, comment="Raised with every job that becomes due"),
        sa.Column("holder", sa.Text(), nullable=True, comment="Process and token of the run that works on it"),
        sa.Column("run_id", sa.String(length=36), nullable=True, comment="Its Dagster run"),
        sa.Column("heartbeat_at", MOMENT, nullable=True),
        sa.Column("linger_until", MOMENT, nullable=True, comment="When it leaves, if nothing comes"),
        sa.Column("heir_wanted", sa.Boolean(), nullable=False, comment="The holder is to be relieved by a fresh run"),
        sa.Column("heir", sa.Text(), nullable=True, comment="The run that waits to take over"),
        sa.Column("requested_at", MOMENT, nullable=True, comment="When a run was last asked for"),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_lanes")),
        comment="Queues of jobs, each worked on by at most one run.",
        sqlite_with_rowid=False,
    )


def downgrade() -> None:
    op.drop_table("lanes")
    op.drop_table("job_counts")
    op.drop_table("job_events")
    op.drop_table("jobs")
