from collections import Counter

from sqlalchemy import insert

from warehouse import facets
from warehouse.engine import Database
from warehouse.ids import new_id
from warehouse.models import Adapter, AdapterTag, utc_now


def adapter_row(name: str, **more: object) -> dict[str, object]:
    return {
        "id": new_id(),
        "source_key": name,
        "name": name,
        "tags": [],
        "trained_words": [],
        "triggers": [],
        "stats": {},
        "extra": {},
        "user_tags": [],
        "user_fields": [],
        "file_path": f"/{name}",
        "file_state": "present",
        "visibility": "Public",
        "nsfw_level": 0,
        "active": False,
        "base_model": None,
        "archetype": None,
        "author_username": None,
        "content_digest": "",
        "created_at": utc_now(),
        "updated_at": utc_now(),
        **more,
    }


def test_counters_are_what_a_full_count_gives(database: Database) -> None:
    rows = [adapter_row("a", base_model="SD 1.5"), adapter_row("b", active=True), adapter_row("c", base_model="SD 1.5")]
    difference: Counter[facets.FacetKey] = Counter()
    with database.write() as connection:
        for number, row in enumerate(rows, start=1):
            connection.execute(insert(Adapter).values(**row))
            connection.execute(insert(AdapterTag).values(adapter_pk=number, tag="style"))
            difference.update(facets.keys_of(row, ["style"]))
        facets.apply(connection, difference)
        assert facets.stored(connection) == facets.recount(connection)
        assert facets.count_of(connection) == 3
        assert facets.count_of(connection, "base_model", "SD 1.5") == 2
        assert facets.count_of(connection, "base_model", "") == 1
        assert facets.count_of(connection, "active", "true") == 1
        assert facets.count_of(connection, "tag", "style") == 3
        assert facets.count_of(connection, "tag", "none") == 0


def test_differences_add_up_and_vanish(database: Database) -> None:
    with database.write() as connection:
        facets.apply(connection, Counter({("tag", "x"): 3, ("tag", "y"): 0}))
        facets.apply(connection, Counter({("tag", "x"): -3, ("tag", "z"): 1}))
        assert facets.stored(connection) == {("tag", "z"): 1}


def test_repair_mends_and_says_how_much(database: Database) -> None:
    with database.write() as connection:
        connection.execute(insert(Adapter).values(**adapter_row("a")))
        facets.apply(connection, Counter({("tag", "ghost"): 2}))
        wrong = facets.repair(connection)
        assert wrong == len(facets.keys_of(adapter_row("a"), [])) + 1
        assert facets.repair(connection) == 0
        assert facets.stored(connection) == facets.recount(connection)


def test_many_rows_are_tallied_as_one_by_one() -> None:
    rows = [adapter_row("a", base_model="SD 1.5"), adapter_row("b", active=True), adapter_row("c", nsfw_level=4)]
    tags = [["x", "y"], [], ["x"]]
    singly: Counter[facets.FacetKey] = Counter()
    for row, own in zip(rows, tags, strict=True):
        singly.update(facets.keys_of(row, own))
    columns = {facet: [row[facet] for row in rows] for facet in facets.COLUMN_FACETS}
    assert facets.tally(columns, [tag for own in tags for tag in own]) == singly
