"""Kept recommendations: found while they are valid, bounded in number, gone with their adapter."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import delete, select, update

from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.models import Adapter, RecommendationCache, utc_now
from warehouse.queries import recommendations

HOUR = timedelta(hours=1)


@pytest.fixture
def pks(database: Database) -> list[int]:
    return insert_adapters(database, [adapter_values(number) for number in range(3)])


def row(key: str, pk: int | None = None, **values: Any) -> dict[str, Any]:
    return {
        "id": new_id(),
        "cache_key": key,
        "adapter_pk": pk,
        "prompt_hash": None if pk else "0" * 32,
        "recommendations": b"x",
        "similarity_threshold": 0.1,
        "limit_used": 10,
        "weights_used": {"semantic": 1.0},
        "created_at": utc_now(),
        "expires_at": utc_now() + HOUR,
        **values,
    }


def keep(database: Database, make: Callable[[str], list[dict[str, Any]]]) -> str:
    """Keep rows that are made with the origin of this moment; the origin."""
    with database.write() as connection:
        valid = recommendations.origin(connection, recommendations.current_generation(connection))
        recommendations.keep(connection, make(valid))
    return valid


def prune(database: Database, **options: Any) -> int:
    with database.write() as connection:
        return recommendations.prune(connection, **options)


def keys(database: Database) -> list[str]:
    with database.read() as connection:
        found = connection.execute(select(RecommendationCache.cache_key).order_by(RecommendationCache.pk)).scalars()
        return [key.rpartition(":")[2] for key in found]


def test_what_is_kept_is_found_until_it_expires(database: Database, pks: list[int]) -> None:
    past = utc_now() - HOUR
    valid = keep(database, lambda valid: [row(valid + "a", pks[0]), row(valid + "b", expires_at=past)])
    with database.read() as connection:
        kept = recommendations.find(connection, valid + "a")
        assert kept is not None
        assert kept[0] == b"x"
        assert recommendations.find(connection, valid + "b") is None
        assert recommendations.find(connection, valid + "c") is None
    assert prune(database) == 1
    assert keys(database) == ["a"]


def test_what_a_change_has_overtaken_is_not_kept_and_goes(database: Database, pks: list[int]) -> None:
    valid = keep(database, lambda valid: [row(valid + "a", pks[0]), row(valid + "b")])
    with database.write() as connection:
        connection.execute(update(Adapter).where(Adapter.pk == pks[1]).values(name="Renamed"))
        recommendations.keep(connection, [row(valid + "late", pks[0])])
    keep(database, lambda valid: [row(valid + "new", pks[0])])
    assert keys(database) == ["a", "b", "new"]
    assert prune(database, at_most=1) == 1
    assert prune(database) == 1
    assert keys(database) == ["new"]


def test_the_oldest_make_way(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recommendations, "MAX_ROWS", 3)
    keep(database, lambda valid: [row(f"{valid}{number}") for number in range(5)])
    assert prune(database) == 2
    assert keys(database) == ["2", "3", "4"]


def test_answers_go_with_their_adapter_and_none_is_kept_of_one_that_is_gone(database: Database, pks: list[int]) -> None:
    keep(database, lambda valid: [row(valid + "a", pks[0]), row(valid + "b", pks[1])])
    with database.write() as connection:
        connection.execute(delete(Adapter).where(Adapter.pk == pks[0]))
    assert keys(database) == ["b"]
    keep(database, lambda valid: [row(valid + "c", pks[0]), row(valid + "d")])
    assert keys(database) == ["b", "d"]


def test_an_answer_is_renewed_under_its_key(database: Database) -> None:
    keep(database, lambda valid: [row(valid + "a", expires_at=utc_now() - HOUR)])
    valid = keep(database, lambda valid: [row(valid + "a", recommendations=b"y")])
    with database.read() as connection:
        kept = recommendations.find(connection, valid + "a")
    assert kept is not None
    assert kept[0] == b"y"
