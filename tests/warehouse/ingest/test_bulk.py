"""Words of many adapters at once: every number of them, each counted once, and none written that is there already."""

import pytest
from sqlalchemy import func, select, text

from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse import fulltext
from warehouse.engine import Database
from warehouse.ingest import bulk
from warehouse.models import Adapter, AdapterSearch
from warehouse.queries import matching


def found(database: Database, question: str) -> set[int]:
    """The adapters that full text finds."""
    with database.read() as connection:
        matches = matching.matches(fulltext.parse(question), sqlite=database.is_sqlite).subquery()
        return set(connection.execute(select(matches.c.adapter_pk)).scalars())


def changes(database: Database) -> int:
    """How often triggers counted a change of what is found."""
    with database.read() as connection:
        return connection.execute(text("SELECT sum(changes) FROM change_counts WHERE noun = 'adapters'")).scalar_one()


# Around the powers of two that statements are made of, and beyond the largest.
@pytest.mark.parametrize("count", [1, 3, 4, 1_024, 1_027])
def test_words_of_any_number_of_adapters_are_written_once(database: Database, count: int) -> None:
    pks = insert_adapters(database, [adapter_values(number) for number in range(count)])
    # SQLite counts rows, PostgreSQL the transactions that change any.
    expected = changes(database) + (count if database.is_sqlite else 1)
    columns: bulk.Columns = {
        "adapter_pk": pks,
        "name": [f"name{pk}" for pk in pks],
        "triggers": ["told"] * count,
        "tags": [""] * count,
        "body": ["apart"] * count,
    }
    for _ in range(2):
        with database.write() as connection:
            bulk.insert_words(connection, columns)
        # The second time they are equal, and so is the last row each time that it is repeated.
        assert changes(database) == expected
    assert found(database, "told apart") == set(pks)
    assert found(database, f"name{pks[-1]}") == {pks[-1]}
    assert found(database, "nebula") == set()
    with database.read() as connection:
        assert connection.execute(select(func.count()).select_from(AdapterSearch)).scalar_one() == count


def test_the_full_text_of_sqlite_holds_what_was_written(sqlite_database: Database) -> None:
    pks = insert_adapters(sqlite_database, [adapter_values(number) for number in range(7)])
    words = {name: [f"{name}{pk}" for pk in pks] for name in ("name", "triggers", "tags", "body")}
    with sqlite_database.write() as connection:
        bulk.insert_words(connection, {"adapter_pk": pks, **words})
        # Raises where the index and its rows differ.
        connection.execute(text("INSERT INTO adapter_fts (adapter_fts, rank) VALUES ('integrity-check', 1)"))


def test_adapters_are_found_by_their_file_through_its_index(sqlite_database: Database) -> None:
    with sqlite_database.read() as connection:
        statement = select(Adapter.pk).where(Adapter.file_pk == 1).compile(connection)
        plan = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", (1,)).all()
        assert "ix_adapters_file_pk" in plan[0][3]
