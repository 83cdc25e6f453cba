"""The list of adapters: filters, orders, pages, and the spellings of existing front ends."""

from collections.abc import Iterator
from typing import Any

import pytest

from tests.contract.service import API, Service, as_problem

SORTS = ("name", "created_at", "updated_at", "downloads", "rating", "size")


@pytest.fixture
def word(service: Service) -> str:
    """A word that the names of this test's adapters have, and nothing else."""
    return service.name("w").replace(" ", "")


@pytest.fixture
def three(service: Service, word: str) -> list[str]:
    """Three adapters, "a", "b" and "c", that differ in what lists filter by; their names."""
    made = [
        service.create(name=f"{word} a", tags=["Ink", word], base_model="Pony", active=True, author_username="anna"),
        service.create(name=f"{word} b", tags=["ink", "paper", word], base_model="Pony", trained_words=["zxqflow"]),
        service.create(name=f"{word} c", tags=["paper", word], base_model="SDXL 1.0", description="Of a kestrel."),
    ]
    return [adapter["name"] for adapter in made]


def walked(service: Service, **params: Any) -> Iterator[dict[str, Any]]:
    """Every item of a list by its cursor."""
    cursor: dict[str, str] = {}
    while True:
        page = service.get("/adapters", **params, **cursor)
        yield from page["items"]
        if page["next_cursor"] is None:
            return
        cursor = {"cursor": page["next_cursor"]}


def test_a_page_says_how_much_there_is(service: Service) -> None:
    """`GET` 200 `{"items", "total", "limit", "offset"}`."""
    page = service.get("/adapters", limit=7, offset=3)
    assert (len(page["items"]), page["limit"], page["offset"]) == (7, 7, 3)
    assert page["total"] >= 10
    assert page["total"] == len(list(walked(service, limit=500)))


def test_active(service: Service, word: str, three: list[str]) -> None:
    """Filters `active`"""
    assert service.names(tag=word, active="true") == three[:1]
    assert service.names(tag=word, active="false") == three[1:]


def test_whole_tags_in_any_case(service: Service, word: str, three: list[str]) -> None:
    """`tag` (whole tag, case-insensitive; repeated: all of them)"""
    assert service.names(tag=[word, "INK"]) == three[:2]
    assert service.names(tag=[word, "ink", "Paper"]) == three[1:2]
    assert service.names(tag=[word, "in"]) == []
    assert service.names(tag=word[:-1]) == []


def test_base_model(service: Service, word: str, three: list[str]) -> None:
    """`base_model`"""
    assert service.names(tag=word, base_model="Pony") == three[:2]


def test_filters_combine(service: Service, word: str, three: list[str]) -> None:
    """Filters `active`, `tag` …, `base_model`, `q`"""
    assert service.names(tag=[word, "ink"], base_model="Pony", active="true", q=word) == three[:1]
    assert service.get("/adapters", tag=[word, "paper"], base_model="Pony")["total"] == 1


@pytest.mark.parametrize(
    ("question", "position"), [("{word} c", 2), ("anna", 0), ("kestrel", 2), ("paper pony", None), ("zxqflow", 1)]
)
def test_full_text(service: Service, word: str, three: list[str], question: str, position: int | None) -> None:
    """`q` (full text over name, version, author, description, tags, trigger words)"""
    found = service.names(tag=word, q=question.format(word=word))
    assert found == ([] if position is None else [three[position]])


def test_full_text_finds_versions_and_any_script(service: Service) -> None:
    """`q` (full text over name, version …)"""
    mark = service.name("x").split()[-1]
    named = service.create(name=f"水墨山水 {mark}", version=f"turbo{mark}")
    for question in (f"turbo{mark}", f"水墨 {mark}", f"山水 {mark}"):
        assert service.names(q=question) == [named["name"]]


def test_a_change_is_found_at_once(service: Service, word: str) -> None:
    """`q`" finds what is there now, "`total` is exact"""
    adapter = service.create(name=f"{word} before", tags=[word])
    service.patch(adapter["id"], name=f"{word}x after", tags=[f"{word}y"], base_model="Pony")
    assert service.names(q=f"{word}x") == [f"{word}x after"]
    assert service.get("/adapters", tag=word)["total"] == 0
    assert service.get("/adapters", tag=f"{word}y")["total"] == 1


@pytest.mark.parametrize(("name", "least", "most", "default"), [("limit", 1, 500, 100)])
def test_limits(service: Service, name: str, least: int, most: int, default: int) -> None:
    """`limit` 1..500 (100)"""
    assert service.get("/adapters")["limit"] == default
    for value in (least, most):
        assert service.get("/adapters", **{name: value})["limit"] == value
    for value in (least - 1, most + 1, "x"):
        as_problem(service.client.get(f"{API}/adapters", params={name: value}), 422)


def test_offsets(service: Service) -> None:
    """`offset` ≥ 0 (beyond 10,000 use the cursor)"""
    as_problem(service.client.get(f"{API}/adapters", params={"offset": -1}), 422)
    whole = [item["id"] for item in walked(service, limit=500)]
    assert [item["id"] for item in service.get("/adapters", offset=5, limit=5)["items"]] == whole[5:10]
    assert service.get("/adapters", offset=len(whole))["items"] == []
    beyond = service.client.get(f"{API}/adapters", params={"offset": 10_001})
    if service.get("/adapters")["total"] > 10_001:
        as_problem(beyond, 422)
    else:
        assert beyond.json()["items"] == []


@pytest.mark.parametrize("sort", [f"{sign}{key}" for key in SORTS for sign in ("", "-")])
def test_orders_are_total_and_stable(service: Service, sort: str) -> None:
    """`sort` (name, created_at, updated_at, downloads, rating, size; `-` for descending) … Order is total and
    stable."""
    items = list(walked(service, sort=sort, limit=9))
    ids = [item["id"] for item in items]
    assert len(ids) == len(set(ids)) == service.get("/adapters")["total"]
    assert ids == [item["id"] for item in walked(service, sort=sort, limit=500)]
    column = {"size": "primary_file_size_kb"}.get(sort.lstrip("-"), sort.lstrip("-"))
    known = [item[column] for item in items if item[column] is not None]
    if column != "name":  # its collation is the database's
        assert known == sorted(known, reverse=sort.startswith("-"))
    assert [item[column] for item in items[len(known) :]] == [None] * (len(items) - len(known))


def test_unknown_orders_are_refused(service: Service) -> None:
    """`sort` (name, created_at, updated_at, downloads, rating, size …)"""
    for sort in ("colour", "--name", "name;", "-"):
        service.refused("GET", "/adapters", 422, params={"sort": sort})


def test_cursors_are_opaque_and_bound_to_their_list(service: Service) -> None:
    """an opaque `cursor` for deep pages"""
    cursor = service.get("/adapters", limit=3)["next_cursor"]
    for params in ({"cursor": cursor + "x"}, {"cursor": cursor, "sort": "-name"}, {"cursor": "AAAA"}):
        service.refused("GET", "/adapters", 422, params=params)


def test_a_cursor_survives_changes_meanwhile(service: Service, word: str) -> None:
    """Order is total and stable."""
    made = [service.create(name=f"{word} {number}", tags=[word]) for number in range(6)]
    first = service.get("/adapters", tag=word, sort="created_at", limit=3)
    service.ask("DELETE", f"/adapters/{made[0]['id']}", 204)
    service.create(name=f"{word} late", tags=[word])
    second = service.get("/adapters", tag=word, sort="created_at", limit=10, cursor=first["next_cursor"])
    assert [item["name"] for item in second["items"]] == [*(made[n]["name"] for n in (3, 4, 5)), f"{word} late"]


def test_totals_are_exact_after_every_change(service: Service, word: str) -> None:
    """`total` is exact, from maintained counters where counting would scan"""
    before = service.get("/adapters")["total"]
    active = service.get("/adapters", active="true")["total"]
    adapter = service.create(tags=[word], base_model="Pony")
    assert service.get("/adapters")["total"] == before + 1
    service.post(f"/adapters/{adapter['id']}/activate")
    assert service.get("/adapters", active="true")["total"] == active + 1
    assert service.get("/adapters", tag=word, base_model="Pony", active="true")["total"] == 1
    service.patch(adapter["id"], base_model=None, tags=[])
    assert service.get("/adapters", tag=word)["total"] == 0
    service.ask("DELETE", f"/adapters/{adapter['id']}", 204)
    assert service.get("/adapters")["total"] == before
    assert service.get("/adapters", active="true")["total"] == active


def test_pages_by_number(service: Service) -> None:
    """List: `page` (from 1) and `per_page` … the answer also has `filtered, page, pages, per_page`."""
    page = service.get("/adapters", page=2, per_page=10)
    assert page["items"] == service.get("/adapters", limit=10, offset=10)["items"]
    assert (page["page"], page["per_page"], page["filtered"]) == (2, 10, page["total"])
    assert page["pages"] == -(-page["total"] // 10)
    for params in ({"page": 0}, {"per_page": 0}):
        service.refused("GET", "/adapters", 422, params=params)


def test_search_and_any_of_tags(service: Service, word: str, three: list[str]) -> None:
    """`search`, `tags` (comma-separated, any of)"""
    assert service.names(search=f"{word} anna") == three[:1]
    assert service.names(q=word, tags="ink, kestrel", sort="name") == three[:2]
    assert service.names(tag=word, tags="ink,paper") == three


@pytest.mark.parametrize(
    ("spelling", "column", "descending"),
    [
        ("name_asc", "name", False),
        ("name_desc", "name", True),
        ("last_updated_desc", "updated_at", True),
        ("created_at", "created_at", False),
        ("updated_at", "updated_at", False),
        ("file_size", "primary_file_size_kb", False),
    ],
)
def test_orders_as_front_ends_spell_them(
    service: Service, word: str, three: list[str], spelling: str, column: str, descending: bool
) -> None:
    """`sort` as `name_asc`, `name_desc`, `last_updated_desc`, `created_at`, `updated_at`, `file_size`"""
    values = [item[column] for item in service.get("/adapters", tag=word, sort=spelling)["items"]]
    assert len(values) == 3
    assert values == sorted(values, reverse=descending)
