"""Where the fields of adapters come from, by source: paths are long, and one document states nearly all fields.

Revision ID: 0011
Revises: 0010
"""

from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

BY_SOURCE = "Where fields were taken from -> those fields"
BY_FIELD = "Field -> the file it was taken from"


def upgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "UPDATE adapter_details SET provenance = (SELECT json_group_object(source, json(fields)) FROM"
            " (SELECT value AS source, json_group_array(key) AS fields FROM json_each(provenance) GROUP BY value))"
        )
        return
    op.execute(
        "UPDATE adapter_details SET provenance = coalesce((SELECT jsonb_object_agg(source, fields) FROM"
        " (SELECT value AS source, jsonb_agg(key) AS fields FROM jsonb_each_text(provenance) GROUP BY value) AS grouped)"
        ", '{}'::jsonb)"
    )
    op.alter_column("adapter_details", "provenance", comment=BY_SOURCE, existing_comment=BY_FIELD)


def downgrade() -> None:
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            "UPDATE adapter_details SET provenance = (SELECT json_group_object(field.value, source.key)"
            " FROM json_each(provenance) AS source, json_each(source.value) AS field)"
        )
        return
    op.execute(
        "UPDATE adapter_details SET provenance = coalesce((SELECT jsonb_object_agg(field, source.key)"
        " FROM jsonb_each(provenance) AS source, jsonb_array_elements_text(source.value) AS field), '{}'::jsonb)"
    )
    op.alter_column("adapter_details", "provenance", comment=BY_FIELD, existing_comment=BY_SOURCE)
