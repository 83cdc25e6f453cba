"""Snapshots of the community's numbers: a row where something changed, and none where nothing did."""

from datetime import date, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import delete, insert, select, update

from tests.warehouse.marts import library
from warehouse.engine import Database
from warehouse.marts import snapshot_statistics
from warehouse.models import Adapter, CommunityStatistic

DAY = date(2026, 5, 1)


def _insert(database: Database, *rows: dict[str, Any]) -> None:
    with database.write() as connection:
        connection.execute(insert(Adapter), list(rows))


def _change(database: Database, pk: int, **values: Any) -> None:
    with database.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == pk).values(**values))


def _kept(database: Database) -> list[tuple[int, date, int | None, int | None, float | None, int | None]]:
    columns = ("adapter_pk", "day", "downloads", "likes", "rating", "comments")
    statement = select(*(getattr(CommunityStatistic, name) for name in columns))
    with database.read() as connection:
        return [tuple(row) for row in connection.execute(statement.order_by("adapter_pk", "day"))]


def test_only_what_changed_gets_a_row(database: Database) -> None:
    _insert(
        database,
        library.adapter(1, downloads=10, likes=1, rating=4.5, stats={"commentCount": 3}),
        library.adapter(2, downloads=0),
        library.adapter(3),
        library.adapter(4, stats={"commentCount": "three"}),
    )
    assert snapshot_statistics(database, DAY) == 2
    assert _kept(database) == [(1, DAY, 10, 1, 4.5, 3), (2, DAY, 0, None, None, None)]
    assert snapshot_statistics(database, DAY) == 0
    assert snapshot_statistics(database, DAY + timedelta(days=1)) == 0

    later = DAY + timedelta(days=9)
    _change(database, 1, rating=4.6)
    _change(database, 2, downloads=None)
    _change(database, 3, likes=1)
    assert snapshot_statistics(database, later) == 3
    assert [row[1:] for row in _kept(database) if row[0] == 1] == [(DAY, 10, 1, 4.5, 3), (later, 10, 1, 4.6, 3)]
    assert _kept(database)[-2:] == [(2, later, None, None, None, None), (3, later, None, 1, None, None)]


def test_the_latest_numbers_of_a_day_stay(database: Database) -> None:
    _insert(database, library.adapter(1, downloads=10))
    snapshot_statistics(database, DAY)
    _change(database, 1, downloads=11)
    assert snapshot_statistics(database, DAY) == 1
    assert _kept(database) == [(1, DAY, 11, None, None, None)]


def test_a_day_that_is_over_cannot_be_added_to(database: Database) -> None:
    _insert(database, library.adapter(1, downloads=10))
    snapshot_statistics(database, DAY)
    with pytest.raises(ValueError, match="2026-05-01 are kept already: 2026-04-30"):
        snapshot_statistics(database, DAY - timedelta(days=1))


def test_adapters_beyond_one_chunk(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("warehouse.marts.snapshots._CHUNK", 3)
    _insert(database, *(library.adapter(pk, downloads=pk) for pk in (1, 3, 4, 9, 10)))
    assert snapshot_statistics(database, DAY) == 5
    assert [row[0] for row in _kept(database)] == [1, 3, 4, 9, 10]


def test_an_empty_library(database: Database) -> None:
    assert snapshot_statistics(database, DAY) == 0


_NUMBERS = st.lists(st.one_of(st.none(), st.integers(0, 2)), min_size=1, max_size=8)


@given(history=_NUMBERS)
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_the_rows_tell_the_whole_history(sqlite_database: Database, history: list[int | None]) -> None:
    with sqlite_database.write() as connection:
        connection.execute(delete(Adapter))
    _insert(sqlite_database, library.adapter(1))
    for offset, downloads in enumerate(history):
        _change(sqlite_database, 1, downloads=downloads)
        snapshot_statistics(sqlite_database, DAY + timedelta(days=offset))
    kept = {row[1]: row[2] for row in _kept(sqlite_database)}
    told: list[int | None] = []
    last: int | None = None
    for offset in range(len(history)):
        last = kept.get(DAY + timedelta(days=offset), last)
        told.append(last)
    assert told == history
    values = [value for _, value in sorted(kept.items())]
    assert all(before != after for before, after in zip([None, *values], values, strict=False))
