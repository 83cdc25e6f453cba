"""The schema: one chain that goes up and down on both dialects and says the same as the models."""

import warnings

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import delete, inspect

from tests.warehouse.marts import library
from warehouse import facets, migrations
from warehouse.engine import Database, connect
from warehouse.models import Base, FacetCount
from warehouse.queries import embeddings


def _differences(database: Database) -> list[object]:
    ours = {"words", "ix_adapter_search_words"}
    with database.read() as connection, warnings.catch_warnings():
        if database.is_sqlite:
            # SQLite cannot reflect the expression index of (name, version); PostgreSQL's run of this test compares it.
            warnings.filterwarnings("ignore", message=".*expression-based index")
            ours.add("uq_adapters_name_version")
        context = MigrationContext.configure(
            connection,
            opts={
                "compare_type": True,
                "include_object": lambda _object, name, *_: (
                    not str(name).startswith("adapter_fts") and name not in {"words", "ix_adapter_search_words"}
                ),
            },
        )
        return list(compare_metadata(context, Base.metadata))


def test_head_is_what_the_models_say(database: Database) -> None:
    assert _differences(database) == []


def test_down_to_nothing_and_up_again(database: Database) -> None:
    migrations.downgrade(database, "base")
    with database.read() as connection:
        assert set(inspect(connection).get_table_names()) <= {"alembic_version"}
    migrations.upgrade(database)
    assert migrations.revision_of(database) == migrations.head()


def test_a_database_without_tables_is_refused_with_the_remedy(tmp_path: object) -> None:
    database = connect(f"sqlite:///{tmp_path}/empty.sqlite3")
    with pytest.raises(migrations.SchemaError, match="lora-manager upgrade"):
        migrations.require_head(database)
    database.dispose()


def test_vectors_that_are_there_are_counted_by_the_upgrade(database: Database) -> None:
    migrations.downgrade(database, "0001")
    library.fill(database)
    with database.write() as connection:
        connection.execute(delete(FacetCount).where(FacetCount.facet == facets.EMBEDDED))
    migrations.upgrade(database)
    with database.read() as connection:
        assert embeddings.coverage(connection)["semantic"] > 0
        assert facets.stored(connection) == facets.recount(connection)
