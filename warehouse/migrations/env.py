"""Alembic's entry: always on a connection that the caller opened, so that a migration is one transaction."""

from alembic import context

from warehouse.models import Base

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=Base.metadata,
    render_as_batch=connection.dialect.name == "sqlite",
    compare_type=True,
    include_object=lambda _object, name, kind, _reflected, _compare: (
        not (kind == "table" and name is not None and name.startswith("adapter_fts"))
    ),
)
with context.begin_transaction():
    context.run_migrations()
