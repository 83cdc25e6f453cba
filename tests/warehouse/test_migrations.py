"""The schema: one chain that goes up and down on both dialects and says the same as the models."""

import warnings

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import JSON, delete, inspect, text

from tests.databases import DIALECTS, scratch_postgresql
from tests.warehouse.marts import library
from tests.warehouse.queries.library import adapter_values, insert_adapters
from tests.warehouse.transfer.filling import fill, present_shapes
from warehouse import facets, learning, migrations
from warehouse.engine import Database, connect
from warehouse.models import Base, FacetCount
from warehouse.queries import embeddings
from warehouse.settings import Settings
from warehouse.transfer.digests import digest_of
from warehouse.transfer.shapes import TableShape


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


EARLIER = [f"{number:04d}" for number in range(1, int(migrations.head()))]


def test_every_revision_is_one_that_is_tested() -> None:
    assert all(migrations.is_known(revision) for revision in EARLIER)
    assert not migrations.is_known(f"{int(migrations.head()) + 1:04d}")


@pytest.mark.parametrize(
    ("database", "revision"),
    [
        # All of them on PostgreSQL as well, but not all with every run of the tests.
        pytest.param(dialect, revision, marks=[pytest.mark.failure] if is_rarer else [])
        for dialect in DIALECTS
        for revision in EARLIER
        for is_rarer in [dialect == "postgresql" and revision not in {EARLIER[0], EARLIER[-1]}]
    ],
    indirect=["database"],
)
def test_a_filled_database_of_each_earlier_revision_is_brought_up_and_down(database: Database, revision: str) -> None:
    """No value is lost or changed on the way up, and what is left of it on the way down is the same again."""
    migrations.downgrade(database, revision)
    fill(database)
    shapes = present_shapes(database)
    before = _digests(database, shapes)
    migrations.upgrade(database)
    assert migrations.revision_of(database) == migrations.head()
    # A revision begins to count what is there already: those counters alone may be more.
    counted = {"change_counts", "facet_counts"}
    after = _digests(database, shapes)
    assert {name for name in before if before[name] != after[name]} <= counted
    migrations.downgrade(database, revision)
    assert present_shapes(database) == shapes
    again = _digests(database, shapes)
    assert {name for name in before if before[name] != again[name]} <= counted


def _digests(database: Database, shapes: tuple[TableShape, ...]) -> dict[str, str]:
    with database.read() as connection:
        return {shape.name: digest_of(connection, shape).hexadecimal for shape in shapes}


def test_up_from_nothing_on_each_revision(database: Database) -> None:
    migrations.downgrade(database, "base")
    for revision in (*EARLIER, migrations.head()):
        migrations.upgrade(database, revision)
        assert migrations.revision_of(database) == revision
    assert _differences(database) == []


def test_a_database_without_tables_is_refused_with_the_remedy(tmp_path: object) -> None:
    database = connect(f"sqlite:///{tmp_path}/empty.sqlite3")
    with pytest.raises(migrations.SchemaError, match="lora-manager upgrade"):
        migrations.require_head(database)
    database.dispose()


@pytest.mark.parametrize("encoding", ["LATIN1", "SQL_ASCII"])
def test_a_database_that_texts_would_not_fit_into_is_refused(encoding: str, postgresql_server: str) -> None:
    url = scratch_postgresql(postgresql_server, template=f"template0 ENCODING = '{encoding}' LOCALE = 'C'")
    database = connect(url)
    with pytest.raises(migrations.SchemaError, match=f"encoding {encoding}.*UTF8"):
        migrations.upgrade(database)
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


def test_the_upgrade_keeps_where_fields_come_from(database: Database) -> None:
    insert_adapters(database, [adapter_values(number) for number in (1, 2)])
    read = text("SELECT adapter_pk, provenance FROM adapter_details ORDER BY adapter_pk").columns(provenance=JSON)
    with database.write() as connection:
        connection.execute(text("UPDATE adapter_details SET provenance = '{}' WHERE adapter_pk = 2"))
        before = connection.execute(read).all()
    assert [row.provenance for row in before] == [{"/library/a.civitai.info": ["name"], "file": ["file_path"]}, {}]
    migrations.downgrade(database, "0010")
    with database.read() as connection:
        by_field = [row.provenance for row in connection.execute(read)]
    assert by_field == [{"name": "/library/a.civitai.info", "file_path": "file"}, {}]
    migrations.upgrade(database)
    with database.read() as connection:
        assert connection.execute(read).all() == before


def test_what_was_used_before_the_upgrade_is_learned_from(database: Database) -> None:
    rows = [adapter_values(number) for number in range(2)]
    one, other = insert_adapters(database, rows)
    migrations.downgrade(database, "0007")
    with database.write() as connection:
        for row in rows:
            connection.execute(
                text(
                    "INSERT INTO adapter_uses (job_id, kind, mode, adapter_id, name, weight, status, others, used_at) "
                    "VALUES ('job', 'delivery', 'http', :id, :name, 1.0, 'sent', '[]', '2026-01-01 00:00:00')"
                ),
                {"id": row["id"], "name": row["name"]},
            )
    migrations.upgrade(database)
    learning.count_pairs(database, Settings(_env_file=None))
    with database.read() as connection:
        assert learning.partners_of(connection, one) == {other: 1}
