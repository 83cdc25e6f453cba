"""Lets audit entries that are older than 30 days be deleted, and still no other, so that the log can be cut.

Revision ID: 0007
Revises: 0006
"""

from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_entries_no_delete")
        # Times are stored as UTC text, which sorts as time does.
        op.execute(
            "CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries "
            "WHEN OLD.at > strftime('%Y-%m-%d %H:%M:%S', 'now', '-30 days') "
            "BEGIN SELECT RAISE(ABORT, 'audit_entries is append-only for 30 days'); END"
        )
        return
    op.execute("DROP TRIGGER audit_entries_append_only ON audit_entries")
    op.execute(
        """
        CREATE FUNCTION refuse_deletion_of_recent_audit_entries() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF OLD.at > now() - interval '30 days' THEN
                RAISE EXCEPTION 'audit_entries is append-only for 30 days';
            END IF;
            RETURN OLD;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR TRUNCATE ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_entries()"
    )
    op.execute(
        "CREATE TRIGGER audit_entries_kept BEFORE DELETE ON audit_entries "
        "FOR EACH ROW EXECUTE FUNCTION refuse_deletion_of_recent_audit_entries()"
    )


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute("DROP TRIGGER audit_entries_no_delete")
        op.execute(
            "CREATE TRIGGER audit_entries_no_delete BEFORE DELETE ON audit_entries "
            "BEGIN SELECT RAISE(ABORT, 'audit_entries is append-only'); END"
        )
        return
    op.execute("DROP TRIGGER audit_entries_kept ON audit_entries")
    op.execute("DROP TRIGGER audit_entries_append_only ON audit_entries")
    op.execute("DROP FUNCTION refuse_deletion_of_recent_audit_entries()")
    op.execute(
        "CREATE TRIGGER audit_entries_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit_entries "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_change_of_audit_entries()"
    )
