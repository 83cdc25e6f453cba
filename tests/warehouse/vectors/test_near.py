"""Near duplicates: found once, never among versions of one model, gone with the adapter."""

from sqlalchemy import delete, select, update

from tests.warehouse.vectors.library import adapter, fill
from warehouse.engine import Database
from warehouse.models import Adapter, Duplicate
from warehouse.settings import Settings
from warehouse.vectors import compute_embeddings, find_near_duplicates, publish_index
from warehouse.vectors.near import NEAR
from warehouse.vectors.spaces import SPACES

TWIN = {
    "name": "Copper Lantern Alley",
    "tags": ["background", "lantern"],
    "trained_words": ["copper lantern alley"],
    "triggers": ["copper lantern alley"],
    "description_text": "A narrow alley lit by copper lanterns on a foggy evening, wet cobblestones, ivy.",
    "examples": [{"prompt": "copper lantern alley, fog, cobblestones, ivy, evening light"}],
}


def _refresh(database: Database, settings: Settings) -> int:
    for space in SPACES:
        compute_embeddings(database, settings, space.name.value)
    publish_index(database, settings)
    return find_near_duplicates(database, settings).changed


def _pairs(database: Database) -> set[tuple[int, ...]]:
    statement = select(Duplicate.group_key, Duplicate.adapter_pk, Duplicate.score).where(Duplicate.kind == NEAR)
    groups: dict[str, list[int]] = {}
    with database.read() as connection:
        for row in connection.execute(statement):
            assert row.score is not None
            assert 0.95 <= row.score <= 1.0
            groups.setdefault(row.group_key, []).append(row.adapter_pk)
    return {tuple(sorted(members)) for members in groups.values()}


def test_twins_of_different_models_are_found_and_versions_of_one_are_not(
    database: Database, settings: Settings
) -> None:
    fill(database, *(adapter(pk) for pk in range(1, 6)))
    fill(
        database,
        adapter(10, **TWIN, civitai_model_id=71, version="v1"),
        adapter(11, **TWIN, civitai_model_id=72, version="v2"),
        adapter(12, **TWIN, civitai_model_id=72, version="v3"),
    )
    assert _refresh(database, settings) == 8
    assert _pairs(database) == {(10, 11), (10, 12)}


def test_only_new_vectors_are_compared_and_old_partners_are_found_again(
    sqlite_database: Database, settings: Settings
) -> None:
    fill(sqlite_database, adapter(10, **TWIN, version="v1"), adapter(1))
    assert _refresh(sqlite_database, settings) == 2
    assert _pairs(sqlite_database) == set()
    assert _refresh(sqlite_database, settings) == 0
    fill(sqlite_database, adapter(11, **TWIN, version="v2"))
    assert _refresh(sqlite_database, settings) == 1
    assert _pairs(sqlite_database) == {(10, 11)}


def test_a_pair_goes_when_one_changes_or_is_deleted(sqlite_database: Database, settings: Settings) -> None:
    fill(
        sqlite_database,
        adapter(10, **TWIN, version="v1"),
        adapter(11, **TWIN, version="v2"),
        adapter(12, **TWIN, version="v3"),
    )
    _refresh(sqlite_database, settings)
    assert _pairs(sqlite_database) == {(10, 11), (10, 12), (11, 12)}
    with sqlite_database.write() as connection:
        connection.execute(
            update(Adapter)
            .where(Adapter.pk == 12)
            .values(name="Winter Wool Coat", tags=["clothing"], content_digest="f" * 32)
        )
        connection.execute(delete(Adapter).where(Adapter.pk == 11))
    _refresh(sqlite_database, settings)
    assert _pairs(sqlite_database) == set()


def test_without_an_index_nothing_is_compared(sqlite_database: Database, settings: Settings) -> None:
    report = find_near_duplicates(sqlite_database, settings)
    assert (report.changed, report.details["pairs"]) == (0, 0)
