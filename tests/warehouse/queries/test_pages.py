"""Pages of the adapter list: the same rows in the same order as a plain sort of everything, on both dialects."""

import base64
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import msgspec
import pytest
from sqlalchemy import event

from tests.databases import scratch_database
from tests.warehouse.queries.library import adapter_values, every_row, fill, insert_adapters
from warehouse import fulltext
from warehouse.engine import Database
from warehouse.queries import cursors, pages
from warehouse.queries.filters import AdapterFilter, candidates, make_filter
from warehouse.queries.pages import Sort, SortKey

SIZE = 300
SORTS = [Sort(key, descending) for key in SortKey if key is not SortKey.RELEVANCE for descending in (False, True)]
COLUMN = {SortKey.SIZE: "primary_file_size_kb"}


def has_tags(row: Any) -> set[str]:
    return {fulltext.fold(tag) for tag in row.tags}


FILTERS: list[tuple[AdapterFilter, Callable[[Any], bool]]] = [
    (make_filter(), lambda row: True),
    (make_filter(active=False), lambda row: not row.active),
    (make_filter(active=True), lambda row: row.active),
    (make_filter(base_model="Pony"), lambda row: row.base_model == "Pony"),
    (make_filter(all_tags=["Character"]), lambda row: "character" in has_tags(row)),
    (make_filter(all_tags=["anime", "STYLE"]), lambda row: {"anime", "style"} <= has_tags(row)),
    (make_filter(any_tags=["robot", "fantasy"]), lambda row: bool({"robot", "fantasy"} & has_tags(row))),
    (
        make_filter(all_tags=["character"], any_tags=["anime", "woman"], base_model="Pony", active=False),
        lambda row: (
            "character" in has_tags(row)
            and bool({"anime", "woman"} & has_tags(row))
            and row.base_model == "Pony"
            and not row.active
        ),
    ),
    (make_filter(question="dragon"), lambda row: "Dragon" in row.name),
    (
        make_filter(question="水墨", all_tags=["anime"]),
        lambda row: ("水墨" in row.name or "水墨" in has_tags(row)) and "anime" in has_tags(row),
    ),
]


def in_order(rows: list[Any], sort: Sort) -> list[int]:
    """Numbers in the order that is promised: unknown last, the number breaks ties in the direction of the order."""
    name = COLUMN.get(sort.key, sort.key.value)
    known = [row for row in rows if getattr(row, name) is not None]
    unknown = [row for row in rows if getattr(row, name) is None]
    known.sort(key=lambda row: (getattr(row, name), row.pk), reverse=sort.descending)
    unknown.sort(key=lambda row: row.pk, reverse=sort.descending)
    return [row.pk for row in known + unknown]


def by_cursor(database: Database, narrowed: AdapterFilter, sort: Sort, limit: int) -> list[int]:
    """The whole list, page by page."""
    seen: list[int] = []
    cursor = None
    while True:
        with database.read() as connection:
            page = pages.page(connection, narrowed, sort, limit=limit, cursor=cursor)
        assert page.offset == len(seen)
        seen.extend(row.pk for row in page.rows)
        cursor = page.next_cursor
        if cursor is None:
            return seen


@pytest.fixture
def library(database: Database) -> Database:
    fill(database, SIZE)
    return database


def test_every_filter_and_order_gives_what_a_plain_sort_gives(
    library: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = list(every_row(library))
    # Driven from candidates; walked along the order's index; walked for a few rows and driven where they do not do.
    for candidate_limit, tried_rows, size in ((pages.CANDIDATE_LIMIT, pages.TRIED_ROWS, 37), (0, 0, 37), (SIZE, 90, 7)):
        monkeypatch.setattr(pages, "CANDIDATE_LIMIT", candidate_limit)
        monkeypatch.setattr(pages, "TRIED_ROWS", tried_rows)
        for narrowed, passes in FILTERS:
            expected = [row for row in rows if passes(row)]
            for sort in SORTS:
                if sort.key is SortKey.NAME and not library.is_sqlite:
                    continue  # PostgreSQL orders names by the database's collation: tested apart
                assert by_cursor(library, narrowed, sort, size) == in_order(expected, sort), (narrowed, sort)


@pytest.mark.parametrize("first_of_order", [True, False])
def test_a_list_is_walked_where_its_matches_lie_evenly_and_driven_where_not(
    database: Database, first_of_order: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """200 of 400 have the tag: those that the order has first, or last. The page is right either way."""
    monkeypatch.setattr(pages, "TRIED_ROWS", 150)
    tagged = range(200) if first_of_order else range(200, 400)
    insert_adapters(
        database, [adapter_values(number, tags=["new"] if number in tagged else []) for number in range(400)]
    )
    driven: list[str] = []
    monkeypatch.setattr(pages, "candidates", lambda *given: driven.append("") or candidates(*given))
    with database.read() as connection:
        page = pages.page(connection, make_filter(all_tags=["new"]), Sort(SortKey.CREATED_AT), limit=10)
    assert [row.name for row in page.rows] == [adapter_values(number)["name"] for number in tagged[:10]]
    assert bool(driven) is not first_of_order


def test_names_are_complete_and_stable_in_any_collation(library: Database) -> None:
    for descending in (False, True):
        seen = by_cursor(library, make_filter(), Sort(SortKey.NAME, descending), 17)
        assert sorted(seen) == sorted(row.pk for row in every_row(library))
        assert seen == by_cursor(library, make_filter(), Sort(SortKey.NAME, descending), 100)


def test_offsets_reach_the_same_rows_as_cursors(library: Database) -> None:
    for sort in (Sort(SortKey.RATING, True), Sort(SortKey.DOWNLOADS), Sort(SortKey.NAME)):
        whole = by_cursor(library, make_filter(), sort, 50)
        for offset in (0, 1, 49, 120, 199, 250, 299):
            with library.read() as connection:
                page = pages.page(connection, make_filter(), sort, limit=20, offset=offset)
            assert [row.pk for row in page.rows] == whole[offset : offset + 20], (sort, offset)


def test_totals_are_exact(library: Database) -> None:
    rows = list(every_row(library))
    for narrowed, passes in FILTERS:
        with library.read() as connection:
            total = pages.page(connection, narrowed, Sort(SortKey.NAME), limit=1).total
        assert total == sum(1 for row in rows if passes(row)), narrowed


def test_relevance_puts_a_name_before_a_description(database: Database) -> None:
    in_text = adapter_values(1, name="Something", description="<p>x</p>", tags=["castle"])
    in_name = adapter_values(2, name="Castle", description=None)
    insert_adapters(database, [in_text, in_name])
    with database.read() as connection:
        page = pages.page(connection, make_filter(question="castle"), Sort(SortKey.RELEVANCE), limit=10)
    assert [row.name for row in page.rows] == ["Castle", "Something"]


def test_relevance_pages_follow_one_another_and_say_how_many_were_ranked(
    library: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    narrowed, sort = make_filter(question="lora"), Sort(SortKey.RELEVANCE)
    assert sorted(by_cursor(library, narrowed, sort, 70)) == sorted(row.pk for row in every_row(library))
    monkeypatch.setattr(pages, "CANDIDATE_LIMIT", 100)
    with library.read() as connection:
        page = pages.page(connection, narrowed, sort, limit=10)
    assert page.ranked_among == 100
    assert page.total == SIZE
    assert len(by_cursor(library, narrowed, sort, 30)) == 100


def test_a_list_goes_on_where_it_was_when_rows_come_and_go(library: Database) -> None:
    sort = Sort(SortKey.CREATED_AT)
    with library.read() as connection:
        first = pages.page(connection, make_filter(), sort, limit=10)
    with library.write() as connection:
        connection.exec_driver_sql(f"DELETE FROM adapters WHERE pk IN ({first.rows[0].pk}, {first.rows[-1].pk})")
    with library.read() as connection:
        second = pages.page(connection, make_filter(), sort, limit=10, cursor=first.next_cursor)
    assert [row.pk for row in second.rows] == [row.pk for row in every_row(library)][8:18]


def test_offsets_end_where_skipping_would_cost(library: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "MAX_OFFSET", 50)
    with library.read() as connection:
        assert pages.page(connection, make_filter(), Sort(SortKey.NAME), limit=5, offset=50).rows
        with pytest.raises(pages.OffsetError, match="next_cursor"):
            pages.page(connection, make_filter(), Sort(SortKey.NAME), limit=5, offset=51)
        beyond = pages.page(connection, make_filter(), Sort(SortKey.NAME), limit=5, offset=10**30)
        assert (beyond.rows, beyond.total) == ([], SIZE)


def test_a_question_of_punctuation_matches_nothing(library: Database) -> None:
    with library.read() as connection:
        page = pages.page(connection, make_filter(question='"*) OR ('), Sort(SortKey.RELEVANCE), limit=5)
        assert pages.page(connection, make_filter(question='"***'), Sort(SortKey.RELEVANCE), limit=5).total == 0
    assert page.total == 0


@pytest.fixture(scope="module")
def large(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """5,000 adapters, for plans."""
    with scratch_database(request, tmp_path_factory.mktemp("large"), "sqlite") as database:
        fill(database, 5_000)
        yield database


def plans(database: Database, narrowed: AdapterFilter, sort: Sort, cursor: str | None) -> list[str]:
    """What the database does for a page, statement by statement."""
    statements: list[tuple[str, Any]] = []

    def note(_conn: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        statements.append((statement, parameters))

    with database.read() as connection:
        event.listen(database.engine, "before_cursor_execute", note)
        try:
            pages.page(connection, narrowed, sort, limit=50, cursor=cursor)
        finally:
            event.remove(database.engine, "before_cursor_execute", note)
        explain = "EXPLAIN QUERY PLAN" if database.is_sqlite else "EXPLAIN"
        return [
            row[-1]
            for statement, parameters in statements
            if statement.lstrip().startswith(("SELECT", "WITH"))
            for row in connection.exec_driver_sql(f"{explain} {statement}", parameters).all()
        ]


@pytest.mark.parametrize("sort", SORTS, ids=str)
@pytest.mark.parametrize("position", range(len(FILTERS)))
@pytest.mark.parametrize("walked", [False, True])
def test_no_list_scans_the_table(
    large: Database, sort: Sort, position: int, walked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if walked:
        monkeypatch.setattr(pages, "CANDIDATE_LIMIT", 0)
    narrowed, _ = FILTERS[position]
    with large.read() as connection:
        cursor = pages.page(connection, narrowed, sort, limit=5).next_cursor
    steps = plans(large, narrowed, sort, None) + (plans(large, narrowed, sort, cursor) if cursor else [])
    scans = [step for step in steps if step.startswith("SCAN adapters") and "INDEX" not in step]
    assert not scans, steps
    if walked or narrowed.conditions() == 0:
        sorts = [step for step in steps if "TEMP B-TREE FOR ORDER BY" in step]
        assert not sorts, steps


@pytest.fixture(scope="module")
def large_on_postgresql(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    """5,000 adapters on PostgreSQL, with the statistics its planner goes by."""
    with scratch_database(request, tmp_path_factory.mktemp("large"), "postgresql") as database:
        fill(database, 5_000)
        with database.write() as connection:
            connection.exec_driver_sql("ANALYZE")
        yield database


@pytest.mark.parametrize("sort", SORTS, ids=str)
def test_walked_lists_follow_an_index_on_postgresql(
    large_on_postgresql: Database, sort: Sort, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Lists of many matches. Of few, PostgreSQL may rightly sort what an index of the filter gives."""
    monkeypatch.setattr(pages, "CANDIDATE_LIMIT", 0)
    for narrowed in (make_filter(), make_filter(active=False), make_filter(all_tags=["character"])):
        with large_on_postgresql.read() as connection:
            cursor = pages.page(connection, narrowed, sort, limit=5).next_cursor
        for position in (None, cursor):
            steps = plans(large_on_postgresql, narrowed, sort, position)
            assert not [step for step in steps if "Seq Scan on adapters" in step or "Sort" in step], steps


FORGED: list[tuple[int, int, Any]] = [
    *((3, 5, value) for value in (2**63, -(2**63), 2**62, "x", "a\x00b", "", 1.5, 1e308, True)),
    *((rank, 5, None) for rank in (-1, 2**53 + 1, 2**63)),
    *((3, pk, None) for pk in (-1, 2**63)),
]


def _listing_of(cursor: str | None) -> str:
    """The list that a cursor belongs to, as anybody can read it."""
    assert cursor is not None
    listing: str = msgspec.json.decode(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))[8:])[0]
    return listing


@pytest.mark.parametrize("sort", [*SORTS, Sort(SortKey.RELEVANCE)], ids=str)
def test_a_cursor_that_somebody_made_is_refused_or_answered(library: Database, sort: Sort) -> None:
    narrowed = make_filter(question="dragon" if sort.key is SortKey.RELEVANCE else None)
    with library.read() as connection:
        listing = _listing_of(pages.page(connection, narrowed, sort, limit=3).next_cursor)
        for rank, pk, value in FORGED:
            made = cursors.encode(cursors.Position(listing, rank, pk, value))
            with suppress(cursors.CursorError):
                pages.page(connection, narrowed, sort, limit=3, cursor=made)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (SortKey.NAME, 5),
        (SortKey.NAME, "a\x00b"),
        (SortKey.NAME, None),
        (SortKey.CREATED_AT, "2024-01-01"),
        (SortKey.CREATED_AT, 2**62),
        (SortKey.DOWNLOADS, 1.5),
        (SortKey.DOWNLOADS, "x"),
        (SortKey.SIZE, "x"),
    ],
)
def test_a_cursor_of_another_type_is_refused(library: Database, key: SortKey, value: Any) -> None:
    with library.read() as connection:
        listing = _listing_of(pages.page(connection, make_filter(), Sort(key), limit=3).next_cursor)
        made = cursors.encode(cursors.Position(listing, 3, 5, value))
        with pytest.raises(cursors.CursorError, match="no cursor"):
            pages.page(connection, make_filter(), Sort(key), limit=3, cursor=made)
