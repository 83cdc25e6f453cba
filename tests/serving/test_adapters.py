"""The adapter routes over HTTP, on both dialects."""

from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter

from serving.schemas.adapters import Adapter, AdapterAnswer, AdapterPage, Provenance, TagList
from tests.warehouse.queries.library import adapter_values, fill, insert_adapters
from warehouse.engine import Database
from warehouse.ingest import roots

PNG = bytes.fromhex("89504e470d0a1a0a0000000d4948445200000001000000010806000000")
UNKNOWN = "0190a6f2-0000-7000-8000-000000000000"


def listed(client: httpx.Client, **params: Any) -> dict[str, Any]:
    """A page that is what the model says, to the last key."""
    response = client.get("/api/v1/adapters", params=params)
    assert response.status_code == 200, response.text
    page: dict[str, Any] = response.json()
    TypeAdapter(AdapterPage).validate_python(page)
    assert page.keys() == AdapterPage.model_fields.keys()
    for item in page["items"]:
        assert item.keys() == Adapter.model_fields.keys()
    return page


def names(page: dict[str, Any]) -> list[str]:
    return [item["name"] for item in page["items"]]


@pytest.fixture
def client_of_300(database: Database, client: httpx.Client) -> httpx.Client:
    fill(database, 300)
    return client


def test_an_empty_library_is_an_empty_page(client: httpx.Client) -> None:
    page = listed(client)
    assert (page["items"], page["total"], page["page"], page["pages"]) == ([], 0, 1, 0)


def test_a_page_says_how_much_there_is_and_where_it_stands(client_of_300: httpx.Client) -> None:
    page = listed(client_of_300, limit=40, offset=80)
    assert (len(page["items"]), page["total"], page["filtered"]) == (40, 300, 300)
    assert (page["limit"], page["offset"], page["per_page"], page["page"], page["pages"]) == (40, 80, 40, 3, 8)
    assert listed(client_of_300, page=3, per_page=40)["items"] == page["items"]


def test_following_the_cursor_meets_every_adapter_once(client_of_300: httpx.Client) -> None:
    seen: list[str] = []
    cursor: str | None = None
    while True:
        page = listed(client_of_300, limit=70, sort="-rating", **({"cursor": cursor} if cursor else {}))
        seen += [item["id"] for item in page["items"]]
        cursor = page["next_cursor"]
        if cursor is None:
            break
    assert len(seen) == len(set(seen)) == 300


def test_filters_narrow_and_combine(database: Database, client: httpx.Client) -> None:
    insert_adapters(
        database,
        [
            adapter_values(1, name="A", tags=["Anime", "Robot"], base_model="Pony", active=True),
            adapter_values(2, name="B", tags=["anime"], base_model="SDXL 1.0"),
            adapter_values(3, name="C", tags=["robot"], base_model="Pony"),
            adapter_values(4, name="D", tags=["sci-fi"], base_model=None, active=True),
        ],
    )
    assert names(listed(client, tag="ANIME")) == ["A", "B"]
    assert names(listed(client, tag=["anime", "robot"])) == ["A"]
    assert names(listed(client, tags="anime, sci-fi,")) == ["A", "B", "D"]
    assert names(listed(client, tag="ani")) == []
    assert names(listed(client, base_model="Pony")) == ["A", "C"]
    assert names(listed(client, active="true")) == ["A", "D"]
    assert names(listed(client, active="false", base_model="Pony")) == ["C"]
    assert names(listed(client, base_model="pony")) == []
    assert listed(client, tag="robot", active="true")["total"] == 1


def test_full_text_finds_names_authors_tags_triggers_and_cjk(database: Database, client: httpx.Client) -> None:
    insert_adapters(
        database,
        [
            adapter_values(1, name="水墨画风格 ink", author_username="李白"),
            adapter_values(2, name="Plain", tags=["watercolour"], trained_words=["zxq style"]),
            adapter_values(3, name="Other", version="v2.5-turbo", description="<p>x</p>"),
        ],
    )
    for question, expected in (
        ("水墨", "水墨画风格 ink"),
        ("李白", "水墨画风格 ink"),
        ("waterc", "Plain"),
        ('"zxq style"', "Plain"),
        ("turbo", "Other"),
        ("INK", "水墨画风格 ink"),
    ):
        assert names(listed(client, q=question)) == [expected], question
        assert names(listed(client, search=question)) == [expected], question
    assert listed(client, q="zxq ink")["total"] == 0
    assert listed(client, q='"')["total"] == 0


@pytest.mark.parametrize(
    ("spelling", "field", "descending"),
    [
        ("created_at", "created_at", False),
        ("-created_at", "created_at", True),
        ("updated_at", "updated_at", False),
        ("last_updated_desc", "updated_at", True),
        ("downloads", "downloads", False),
        ("-downloads", "downloads", True),
        ("rating_desc", "rating", True),
        ("size", "primary_file_size_kb", False),
        ("file_size", "primary_file_size_kb", False),
        ("-size", "primary_file_size_kb", True),
    ],
)
def test_every_spelling_of_an_order(client_of_300: httpx.Client, spelling: str, field: str, descending: bool) -> None:
    values = [item[field] for item in listed(client_of_300, sort=spelling, limit=500)["items"]]
    known = [value for value in values if value is not None]
    assert values == sorted(known, reverse=descending) + [None] * (len(values) - len(known))


def test_names_sort_both_ways(client_of_300: httpx.Client) -> None:
    up = [item["id"] for item in listed(client_of_300, sort="name_asc", limit=500)["items"]]
    assert up == [item["id"] for item in listed(client_of_300, sort="name", limit=500)["items"]]
    assert up[::-1] == [item["id"] for item in listed(client_of_300, sort="name_desc", limit=500)["items"]]
    assert up[::-1] == [item["id"] for item in listed(client_of_300, sort="-name", limit=500)["items"]]


def test_one_adapter_carries_every_field_with_zoned_times(database: Database, client: httpx.Client) -> None:
    values = adapter_values(1, name="🐉 龙 <b>", extra={"深": [1, None, {"x": 1.5}]}, stats={"a": 1}, rating=None)
    insert_adapters(database, [values])
    answer = client.get(f"/api/v1/adapters/{values['id']}").json()
    TypeAdapter(AdapterAnswer).validate_python(answer)
    adapter = answer["adapter"]
    assert adapter.keys() == Adapter.model_fields.keys()
    assert (adapter["name"], adapter["extra"], adapter["rating"]) == ("🐉 龙 <b>", {"深": [1, None, {"x": 1.5}]}, None)
    assert datetime.fromisoformat(adapter["created_at"]) == values["created_at"]
    assert adapter["created_at"].endswith("Z")
    assert client.get(f"/api/v1/adapters/{values['id'].upper()}").json() == answer


@pytest.mark.parametrize("path", ["", "/provenance", "/preview"])
@pytest.mark.parametrize(
    "key", [UNKNOWN, "nonsense", "1", "%00", "..%2f..%2fetc", "'; DROP TABLE adapters; --", "é" * 500]
)
def test_an_unknown_adapter_is_not_found(client: httpx.Client, path: str, key: str) -> None:
    response = client.get(f"/api/v1/adapters/{key}{path}")
    assert response.status_code == 404
    assert response.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 501},
        {"limit": "many"},
        {"offset": -1},
        {"page": 0},
        {"per_page": 1000},
        {"sort": "colour"},
        {"sort": "--name"},
        {"sort": "relevance"},
        {"active": "perhaps"},
        {"cursor": "AAAA"},
        {"cursor": "\x00"},
        {"q": "x" * 3000},
        {"tag": ["x"] * 21},
    ],
    ids=str,
)
def test_what_is_not_valid_is_named(sqlite_client: httpx.Client, params: dict[str, Any]) -> None:
    response = sqlite_client.get("/api/v1/adapters", params=params)
    assert response.status_code == 422
    problem = response.json()
    assert problem["errors"][0]["loc"][:2] == ["query", next(iter(params))]
    assert isinstance(problem["detail"], str)


@pytest.mark.parametrize(
    "params",
    [
        {"q": "\x00"},
        {"tag": "a\x00b"},
        {"base_model": "\x00"},
        {"tags": "\x00,\x00"},
        {"q": "'\"; DROP TABLE adapters; --"},
        {"q": "NEAR( * ^ - OR AND NOT"},
        {"q": "\ud800".encode("utf-8", "surrogatepass").decode("latin-1")},
        {"offset": 10**40},
        {"page": 10**20},
        {"q": "🐉" * 900},
    ],
    ids=lambda params: ascii(params)[:40],
)
def test_hostile_questions_are_answered(client: httpx.Client, database: Database, params: dict[str, Any]) -> None:
    insert_adapters(database, [adapter_values(1)])
    assert listed(client, **params)["items"] == []


def test_a_cursor_of_another_list_is_refused(client_of_300: httpx.Client) -> None:
    cursor = listed(client_of_300, limit=5)["next_cursor"]
    for params in ({"sort": "-name"}, {"active": "true"}, {"q": "dragon"}):
        response = client_of_300.get("/api/v1/adapters", params={"cursor": cursor, **params})
        assert response.status_code == 422, params


def test_deep_pages_are_sent_to_the_cursor(client: httpx.Client, database: Database, monkeypatch: Any) -> None:
    fill(database, 20)
    monkeypatch.setattr("warehouse.queries.pages.MAX_OFFSET", 10)
    response = client.get("/api/v1/adapters", params={"offset": 11})
    assert response.status_code == 422
    assert "next_cursor" in response.json()["detail"]


def test_tags_come_with_counts(client_of_300: httpx.Client) -> None:
    answer = client_of_300.get("/api/v1/adapters/tags").json()
    TypeAdapter(TagList).validate_python(answer)
    counts = [item["count"] for item in answer["counts"]]
    assert counts == sorted(counts, reverse=True)
    assert answer["tags"][0] == "character"
    assert listed(client_of_300, tag="character")["total"] == counts[0]
    assert len(client_of_300.get("/api/v1/adapters/tags", params={"limit": 2}).json()["tags"]) == 2


def test_provenance_names_the_source_of_each_field(database: Database, client: httpx.Client) -> None:
    values = adapter_values(1, user_fields=["name"])
    insert_adapters(database, [values])
    answer = client.get(f"/api/v1/adapters/{values['id']}/provenance").json()
    TypeAdapter(Provenance).validate_python(answer)
    assert answer["fields"] == [{"field": "file_path", "source": "file"}, {"field": "name", "source": "user"}]


def register_root(database: Database, folder: Path) -> None:
    with database.write() as connection:
        roots.register(connection, [folder])


def test_previews_are_served_as_they_lie(database: Database, client: httpx.Client, tmp_path: Path) -> None:
    register_root(database, tmp_path)
    image = tmp_path / "a.preview.png"
    image.write_bytes(PNG)
    values = adapter_values(1, preview_path=str(image))
    insert_adapters(database, [values])
    response = client.get(f"/api/v1/adapters/{values['id']}/preview")
    assert (response.status_code, response.content) == (200, PNG)
    assert response.headers["content-type"] == "image/png"
    assert response.headers["x-content-type-options"] == "nosniff"
    again = client.get(f"/api/v1/adapters/{values['id']}/preview", headers={"If-None-Match": response.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")


def test_a_preview_outside_the_library_is_not_opened(
    sqlite_database: Database, sqlite_client: httpx.Client, tmp_path: Path
) -> None:
    library, outside = tmp_path / "library", tmp_path / "outside.png"
    library.mkdir()
    outside.write_bytes(PNG)
    (library / "inside.png").write_bytes(PNG)
    (library / "link.png").symlink_to(outside)
    (tmp_path / "linked").symlink_to(library)
    register_root(sqlite_database, library)
    paths = {outside: 404, library / "link.png": 404, library / ".." / "outside.png": 404}
    paths |= {library / "inside.png": 200, tmp_path / "linked" / "inside.png": 200}
    for number, (path, status) in enumerate(paths.items()):
        values = adapter_values(number, preview_path=str(path))
        insert_adapters(sqlite_database, [values])
        answer = sqlite_client.get(f"/api/v1/adapters/{values['id']}/preview", headers={"Range": "bytes=0-3"})
        assert answer.status_code == (206 if status == 200 else status), path
        assert (answer.content == PNG[:4]) is (status == 200)


def test_what_is_no_image_is_no_preview(database: Database, client: httpx.Client, tmp_path: Path) -> None:
    register_root(database, tmp_path)
    (tmp_path / "a.svg").write_text("<svg onload='x()'/>")
    (tmp_path / "b.png").mkdir()
    for number, path in enumerate([tmp_path / "a.svg", tmp_path / "b.png", tmp_path / "gone.png", None]):
        values = adapter_values(number, preview_path=str(path) if path else None)
        insert_adapters(database, [values])
        assert client.get(f"/api/v1/adapters/{values['id']}/preview").status_code == 404


def test_preview_urls_are_signed(
    database: Database, serve: Callable[..., httpx.Client], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    register_root(database, tmp_path)
    image = tmp_path / "a.webp"
    image.write_bytes(PNG)
    values, other = adapter_values(1, preview_path=str(image)), adapter_values(2, preview_path=str(image))
    insert_adapters(database, [values, other])
    client = serve(database, api_keys="r:reader:secret")
    answer = client.get(f"/api/v1/adapters/{values['id']}", headers={"X-API-Key": "secret"}).json()
    url = answer["adapter"]["preview_url"]
    assert client.get(url).status_code == 200
    assert client.get(url.split("?")[0]).status_code == 401
    assert client.get(url.replace(values["id"], other["id"])).status_code == 401
    assert client.get(url.replace("expires=", "expires=1")).status_code == 401
    assert client.get(url[:-1] + ("0" if url[-1] != "0" else "1")).status_code == 401
    assert client.get(url.replace("/preview?", "?")).status_code == 401
    assert client.post(url).status_code == 401
    monkeypatch.setattr("serving.signing.time.time", lambda: 4e9)
    assert client.get(url).status_code == 401
