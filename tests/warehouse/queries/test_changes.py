"""Counters of changes: every commit that recommendations can show is counted, on both dialects, and nothing waits."""

import threading
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from sqlalchemy import Connection, delete, insert, text, update

from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse import facets
from warehouse.engine import Database
from warehouse.models import Adapter, AdapterDetail, AdapterSearch, Duplicate, Embedding, utc_now
from warehouse.queries import changes, evidence
from warehouse.queries.changes import Changes
from warehouse.vectors import loading
from warehouse.vectors.filters import SearchFilter

SHOWN = sorted(
    {
        column.key
        for column in (*evidence._COLUMNS, *loading._COLUMNS)
        if column.class_ is Adapter and column.key not in ("pk", "id")
    }
    | {
        condition.left.key
        for condition in SearchFilter(base_model="x", nsfw_max=1, available_only=True).conditions()  # type: ignore[attr-defined]
    }
)
"""The columns of an adapter that recommendations are made of."""


def counted(database: Database) -> Changes:
    with database.read() as connection:
        return changes.counted(connection)


def embedding(pk: int) -> dict[str, Any]:
    return {
        "id": f"{pk:036d}",
        "adapter_pk": pk,
        "embedding_type": "semantic",
        "dimension": 1,
        "embedding_data": b"\0\0",
        "model_name": "m",
        "model_version": "1",
        "text_digest": "",
        "content_digest": "",
        "producer": "p",
        "created_at": utc_now(),
        "updated_at": utc_now(),
    }


@pytest.fixture
def pks(database: Database) -> list[int]:
    found = insert_adapters(database, [adapter_values(number) for number in range(3)])
    with database.write() as connection:
        connection.execute(insert(Embedding), [embedding(found[0]), embedding(found[1])])
        connection.execute(insert(Duplicate), [{"kind": "near", "group_key": "g", "adapter_pk": pk} for pk in found])
    return found


def test_whatever_is_shown_is_counted(database: Database, pks: list[int]) -> None:
    assert {"name", "tags", "file_state", "nsfw_level", "base_model", "downloads"} <= set(SHOWN)
    for column in SHOWN:
        before = counted(database)
        with database.write() as connection:
            connection.execute(text(f"UPDATE adapters SET {column} = {column} WHERE pk = {pks[0]}"))
        assert counted(database).adapters > before.adapters, column


UNSHOWN = ("active", "ordinal", "weight", "favorite", "user_notes", "updated_at", "last_ingested_at")


def test_what_is_not_shown_leaves_kept_answers_alone(database: Database, pks: list[int]) -> None:
    before = counted(database)
    for column in UNSHOWN:
        with database.write() as connection:
            connection.execute(text(f"UPDATE adapters SET {column} = {column} WHERE pk = {pks[0]}"))
        assert counted(database) == before, column


CATALOG: dict[str, Callable[[list[int]], Any]] = {
    "description": lambda pks: update(AdapterDetail).where(AdapterDetail.adapter_pk == pks[0]).values(examples=[]),
    "strengths": lambda pks: update(AdapterDetail).where(AdapterDetail.adapter_pk == pks[0]).values(strengths=None),
    "words": lambda pks: update(AdapterSearch).where(AdapterSearch.adapter_pk == pks[0]).values(body="x"),
    "duplicates": lambda pks: delete(Duplicate).where(Duplicate.adapter_pk == pks[0]),
    "deletion": lambda pks: delete(Adapter).where(Adapter.pk == pks[2]),
}
VECTORS: dict[str, Callable[[list[int]], Any]] = {
    "insert": lambda pks: insert(Embedding).values(embedding(pks[2])),
    "quality": lambda pks: update(Embedding).where(Embedding.adapter_pk == pks[0]).values(quality_score=0.5),
    "delete": lambda pks: delete(Embedding).where(Embedding.adapter_pk == pks[0]),
    "cascade": lambda pks: delete(Adapter).where(Adapter.pk == pks[1]),
}


def test_a_change_beside_the_adapters_is_counted(database: Database, pks: list[int]) -> None:
    for what, statement in CATALOG.items():
        before = counted(database)
        with database.write() as connection:
            connection.execute(statement(pks))
        assert counted(database).adapters > before.adapters, what
        assert counted(database).embeddings == before.embeddings, what


def test_a_change_of_vectors_is_counted(database: Database, pks: list[int]) -> None:
    for what, statement in VECTORS.items():
        before = counted(database)
        with database.write() as connection:
            connection.execute(statement(pks))
        assert counted(database).embeddings > before.embeddings, what


def test_looking_for_neighbours_changes_no_answer(database: Database, pks: list[int]) -> None:
    before = counted(database)
    with database.write() as connection:
        connection.execute(update(Embedding).values(compared_at=utc_now(), content_digest="new"))
        connection.execute(delete(Duplicate).where(Duplicate.adapter_pk == -1))
        connection.execute(update(Adapter).where(Adapter.pk.in_(pks)).values(active=True, updated_at=utc_now()))
    assert counted(database) == before


def test_new_adapters_are_told_by_their_number(database: Database, pks: list[int]) -> None:
    seen = {counted(database)}
    [first] = insert_adapters(database, [adapter_values(10)])
    seen.add(counted(database))
    with database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == first))
        facets.apply(connection, Counter({(facets.ALL, ""): -1}))
    seen.add(counted(database))
    insert_adapters(database, [adapter_values(11)])
    seen.add(counted(database))
    assert len(seen) == 4
    assert counted(database).total == len(pks) + 1
    if not database.is_sqlite:
        # A number that was given out earlier commits after a higher one: the highest stays, the count does not.
        with database.write() as late:
            late.execute(insert(Adapter), [adapter_values(12)])
            with database.write() as early:
                early.execute(insert(Adapter), [adapter_values(13)])
                facets.apply(early, Counter({(facets.ALL, ""): 1}))
            between = counted(database)
            facets.apply(late, Counter({(facets.ALL, ""): 1}))
        after = counted(database)
        assert (after.newest, after.total) == (between.newest, between.total + 1)


def test_what_is_rolled_back_is_not_counted(database: Database, pks: list[int]) -> None:
    before = counted(database)
    with database.write() as connection:
        _rename(connection, pks[0], "a")
        connection.rollback()
    assert counted(database) == before
    with database.write() as connection:
        savepoint = connection.begin_nested()
        _rename(connection, pks[0], "b")
        savepoint.rollback()
        _rename(connection, pks[0], "c")
    assert counted(database).adapters > before.adapters


def _rename(connection: Connection, pk: int, name: str) -> None:
    connection.execute(update(Adapter).where(Adapter.pk == pk).values(name=name, updated_at=utc_now()))


def test_two_changes_in_one_tick_are_two(database: Database, pks: list[int]) -> None:
    moment = utc_now()
    seen = {counted(database)}
    for name in ("a", "b", "c"):
        with database.write() as connection:
            connection.execute(update(Adapter).where(Adapter.pk == pks[0]).values(name=name, updated_at=moment))
        seen.add(counted(database))
    assert len(seen) == 4


def test_a_transaction_that_commits_late_is_counted_when_it_commits(database: Database, pks: list[int]) -> None:
    if database.is_sqlite:
        pytest.skip("SQLite has one writer at a time: nothing can commit out of order")
    with database.write() as late:
        _rename(late, pks[0], "late")
        before = counted(database)
        for pk in pks[1:]:
            # Neither waits for the other, nor for the one that holds a counter.
            with database.write() as early, database.write() as other:
                _rename(early, pk, f"early {pk}")
                other.execute(update(Embedding).where(Embedding.adapter_pk == pks[0]).values(quality_score=0.1))
        between = counted(database)
        assert between.adapters == before.adapters + 2
    assert counted(database).adapters == between.adapters + 1


def test_many_writers_lose_no_count(database: Database) -> None:
    pks = insert_adapters(database, [adapter_values(number) for number in range(8)])
    before = counted(database)

    def write(pk: int) -> None:
        for number in range(20):
            with database.write() as connection:
                _rename(connection, pk, f"{pk} {number}")

    threads = [threading.Thread(target=write, args=(pk,)) for pk in pks]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counted(database).adapters == before.adapters + 160
