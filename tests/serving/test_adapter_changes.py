"""Changing adapters over HTTP, on both dialects: every route, and what it refuses."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter
from sqlalchemy import func, select

from serving.schemas.adapter_changes import BulkAnswer
from serving.schemas.adapters import Adapter, AdapterAnswer
from serving.schemas.audit import AuditPage
from tests.serving.conftest import KEYS
from tests.warehouse.ingest.library import weights
from warehouse import facets
from warehouse.catalog.fields import DERIVED, USER_STATE
from warehouse.engine import Database
from warehouse.models import AuditEntry

UNKNOWN = "0190a6f2-0000-7000-8000-000000000000"
ADAPTERS = "/api/v1/adapters"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "a.safetensors"
    path.write_bytes(weights(1))
    return path


@pytest.fixture
def create(client: httpx.Client, file: Path) -> Callable[..., dict[str, Any]]:
    def make(name: str = "A", **fields: Any) -> dict[str, Any]:
        response = client.post(ADAPTERS, json={"name": name, "file_path": str(file), **fields})
        assert response.status_code == 201, response.text
        adapter: dict[str, Any] = response.json()["adapter"]
        return adapter

    return make


def patch(client: httpx.Client, adapter_id: str, **fields: Any) -> dict[str, Any]:
    response = client.patch(f"{ADAPTERS}/{adapter_id}", json=fields)
    assert response.status_code == 200, response.text
    adapter: dict[str, Any] = response.json()["adapter"]
    assert client.get(f"{ADAPTERS}/{adapter_id}").json()["adapter"] == adapter
    return adapter


def bulk(client: httpx.Client, action: str, ids: list[str], **more: Any) -> dict[str, Any]:
    response = client.post(f"{ADAPTERS}/bulk", json={"action": action, "lora_ids": ids, **more})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    TypeAdapter(BulkAnswer).validate_python(answer)
    return answer


def audit(client: httpx.Client, **params: Any) -> list[dict[str, Any]]:
    page = client.get("/api/v1/audit", params=params).json()
    TypeAdapter(AuditPage).validate_python(page)
    items: list[dict[str, Any]] = page["items"]
    return items


def feed(client: httpx.Client) -> list[tuple[str, str]]:
    return [(item["type"], item["summary"]) for item in client.get("/api/dashboard/activity-feed").json()]


def check_counters(database: Database) -> None:
    with database.read() as connection:
        assert facets.stored(connection) == facets.recount(connection)


EVERY_FIELD: dict[str, Any] = {
    "name": "Everything 🐉",
    "version": "v9",
    "canonical_version_name": "v9 c",
    "description": "<p>all</p>",
    "author_username": "someone",
    "visibility": "Private",
    "published_at": "2025-03-02T09:30:00+02:00",
    "tags": ["One", "Two"],
    "trained_words": ["a, b"],
    "triggers": ["x"],
    "activation_text": "act",
    "negative_text": "neg",
    "archetype": "style",
    "archetype_confidence": 0.5,
    "base_model": "Pony",
    "sd_version": "Other",
    "nsfw_level": 3,
    "supports_generation": True,
    "downloads": 2**63 - 1,
    "likes": 0,
    "rating": 4.5,
    "stats": {"downloadCount": 7},
    "licence": {"allow_derivatives": None},
    "extra": {"nested": [{"a": 1.5}], "rank": 8},
    "primary_file_name": "stated.safetensors",
    "primary_file_size_kb": 12.5,
    "primary_file_sha256": "AB" * 32,
    "primary_file_download_url": "https://example.org/x",
    "primary_file_local_path": "/stated",
    "weight": -0.75,
    "active": True,
    "ordinal": -(2**31),
    "favorite": True,
    "user_tags": ["Mine"],
    "user_notes": "note",
}
STORED = EVERY_FIELD | {"published_at": "2025-03-02T07:30:00Z", "primary_file_sha256": "ab" * 32}


def test_a_new_adapter_has_every_field(client: httpx.Client, file: Path, database: Database) -> None:
    response = client.post(ADAPTERS, json={"name": " Plain ", "file_path": str(file)})
    assert response.status_code == 201
    TypeAdapter(AdapterAnswer).validate_python(response.json())
    adapter = response.json()["adapter"]
    assert adapter.keys() == Adapter.model_fields.keys()
    assert response.headers["location"] == f"{ADAPTERS}/{adapter['id']}"
    assert client.get(response.headers["location"]).json() == response.json()
    assert (adapter["name"], adapter["version"], adapter["file_path"]) == ("Plain", None, str(file))
    assert (adapter["weight"], adapter["active"], adapter["visibility"]) == (1.0, False, "Public")
    assert (adapter["file_state"], adapter["primary_file_name"]) == ("present", "a.safetensors")
    assert client.get(ADAPTERS).json()["total"] == 1
    check_counters(database)


def test_every_field_is_taken_at_birth_and_later(
    client: httpx.Client, file: Path, create: Callable[..., dict[str, Any]], database: Database
) -> None:
    assert EVERY_FIELD.keys() | {"file_path"} == DERIVED.keys() | USER_STATE.keys()
    born = create(**EVERY_FIELD)
    assert {name: born[name] for name in STORED} == STORED
    assert client.delete(f"{ADAPTERS}/{born['id']}").status_code == 204
    edited = patch(client, create("Later")["id"], **EVERY_FIELD)
    assert {name: edited[name] for name in STORED} == STORED
    assert edited["weight_by_user"] is True
    sources = {
        item["field"]: item["source"] for item in client.get(f"{ADAPTERS}/{edited['id']}/provenance").json()["fields"]
    }
    assert {sources[name] for name in DERIVED if name != "file_path"} == {"user"}
    check_counters(database)


def test_what_follows_from_a_field_follows(client: httpx.Client, create: Callable[..., dict[str, Any]]) -> None:
    adapter = create(version="  v1 ", trained_words=["one, two"], base_model="SDXL 1.0", stats={"downloadCount": 5})
    assert (adapter["version"], adapter["canonical_version_name"]) == ("v1", "v1")
    assert (adapter["triggers"], adapter["activation_text"]) == (["one", "two"], "one, two")
    assert (adapter["sd_version"], adapter["downloads"]) == ("SDXL", 5)
    edited = patch(client, adapter["id"], base_model="SD 1.5", trained_words=["three"])
    assert (edited["sd_version"], edited["triggers"]) == ("SD1", ["three"])
    # What was set by hand follows nothing.
    assert patch(client, adapter["id"], triggers=["own"])["triggers"] == ["own"]
    assert patch(client, adapter["id"], trained_words=["four"])["triggers"] == ["own"]
    assert patch(client, adapter["id"], archetype="style")["archetype_confidence"] == 1.0


def test_descriptions_are_sanitised(client: httpx.Client, create: Callable[..., dict[str, Any]]) -> None:
    hostile = '<p onclick="x()">ok & <b>bold</b></p><script>alert(1)</script><a href="javascript:x()">l</a>'
    adapter = create(description=hostile)
    for part in ("script", "onclick", "javascript"):
        assert part not in adapter["description"]
    # What was answered can be sent back, again and again.
    assert patch(client, adapter["id"], description=adapter["description"]) == adapter
    assert patch(client, adapter["id"], description=hostile) == adapter


def test_an_absent_version_is_a_value(client: httpx.Client, file: Path, create: Callable[..., dict[str, Any]]) -> None:
    first = create("Same")
    for body in ({}, {"version": None}, {"version": ""}, {"version": "  "}):
        response = client.post(ADAPTERS, json={"name": "Same", "file_path": str(file), **body})
        assert response.status_code == 409, body
        assert response.headers["content-type"] == "application/problem+json"
    second = create("Same", version="v1")
    assert client.patch(f"{ADAPTERS}/{second['id']}", json={"version": None}).status_code == 409
    assert client.patch(f"{ADAPTERS}/{first['id']}", json={"version": "v1"}).status_code == 409
    assert patch(client, first["id"], name="Other", version="v1")["version"] == "v1"
    assert patch(client, second["id"], version="")["version"] is None


@pytest.mark.parametrize(
    "name",
    [
        "a<b",
        "a>b",
        "a:b",
        "",
        " ",
        "\t",
        "a\nb",
        "a\x00b",
        "a\x7f",
        "a\x85",
        "\u200b",
        "a\u202eb",
        "x" * 401,
        1,
        None,
        [],
        {},
    ],
    ids=ascii,
)
def test_names_that_break_a_token_are_refused(sqlite_client: httpx.Client, file: Path, name: Any) -> None:
    response = sqlite_client.post(ADAPTERS, json={"name": name, "file_path": str(file)})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "name"]


@pytest.mark.parametrize("what", ["absent", "folder", "suffix", "relative", "empty", "device", "long", "below", "nul"])
def test_files_that_are_none_are_refused(sqlite_client: httpx.Client, file: Path, what: str) -> None:
    (file.parent / "folder.safetensors").mkdir()
    (file.parent / "pipe.safetensors").symlink_to("/dev/null")
    (file.parent / "a.txt").write_text("x")
    path = {
        "absent": str(file.parent / "absent.safetensors"),
        "folder": str(file.parent / "folder.safetensors"),
        "suffix": str(file.parent / "a.txt"),
        "relative": "a.safetensors",
        "empty": "",
        "device": str(file.parent / "pipe.safetensors"),
        "long": f"/{'x' * 300}.safetensors",
        "below": f"{file}/x.safetensors",
        "nul": "/tmp/\x00.safetensors",
    }[what]
    response = sqlite_client.post(ADAPTERS, json={"name": "A", "file_path": path})
    assert response.status_code == 422
    assert response.json()["errors"][0]["loc"] == ["body", "file_path"]
    assert sqlite_client.get(ADAPTERS).json()["total"] == 0


def test_configured_roots_confine_what_is_registered(
    sqlite_database: Database, serve: Callable[..., httpx.Client], file: Path, tmp_path: Path
) -> None:
    (tmp_path / "lib").mkdir()
    inside = tmp_path / "lib" / "in.safetensors"
    inside.write_bytes(weights(2))
    client = serve(sqlite_database, library_roots=[tmp_path / "lib"])
    outside = client.post(ADAPTERS, json={"name": "A", "file_path": str(file)})
    absent = client.post(ADAPTERS, json={"name": "A", "file_path": str(tmp_path / "no.safetensors")})
    assert (outside.status_code, absent.status_code) == (422, 422)
    # Nobody learns what lies elsewhere.
    assert outside.json()["detail"] == absent.json()["detail"]
    assert str(tmp_path) not in outside.text.replace(str(file), "")
    accepted = client.post(ADAPTERS, json={"name": "A", "file_path": str(inside)})
    assert accepted.status_code == 201
    moved = client.patch(f"{ADAPTERS}/{accepted.json()['adapter']['id']}", json={"file_path": str(file)})
    assert moved.status_code == 422


def test_a_broken_file_is_registered_as_what_it_is(client: httpx.Client, file: Path, database: Database) -> None:
    file.write_bytes(b"no safetensors")
    adapter = client.post(ADAPTERS, json={"name": "A", "file_path": str(file)}).json()["adapter"]
    assert adapter["file_state"] == "invalid"
    good = file.with_name("good.safetensors")
    good.write_bytes(weights(1))
    moved = patch(client, adapter["id"], file_path=str(good))
    assert (moved["file_state"], moved["primary_file_local_path"]) == ("present", str(good))
    # The path that it has already is not looked at again.
    good.unlink()
    assert patch(client, adapter["id"], file_path=str(good)) == moved
    check_counters(database)


def nested(opening: str, closing: str, depth: int) -> str:
    return f'{{"extra": {{"a": {opening * depth}1{closing * depth}}}}}'


HOSTILE = [
    '{"weight": NaN}',
    '{"weight": 1e400}',
    '{"weight": -Infinity}',
    '{"weight": "1"}',
    '{"weight": true}',
    '{"weight": null}',
    '{"weight": 1001}',
    '{"weight": %s}' % ("9" * 400),
    '{"ordinal": 2147483648}',
    '{"ordinal": -2147483649}',
    '{"ordinal": %s}' % ("9" * 5000),
    '{"ordinal": 1.5}',
    '{"ordinal": true}',
    '{"active": 1}',
    '{"active": null}',
    '{"name": "\\ud800"}',
    '{"name": null}',
    '{"user_notes": "\\u0000"}',
    '{"user_notes": "\\udfff"}',
    '{"description": "\\ud83d"}',
    '{"tags": "a"}',
    '{"tags": null}',
    '{"tags": [1]}',
    '{"tags": [" "]}',
    '{"tags": ["a\\u0000"]}',
    '{"tags": ["\\ud83d"]}',
    json.dumps({"tags": [str(number) for number in range(501)]}),
    json.dumps({"user_tags": [str(number) for number in range(101)]}),
    json.dumps({"trained_words": ["x"] * 201}),
    json.dumps({"trained_words": ["x" * 4001]}),
    '{"extra": []}',
    '{"extra": null}',
    '{"extra": {"a": NaN}}',
    '{"extra": {"a": [1e400]}}',
    '{"extra": {"a": 1e308}}',
    '{"extra": {"a": 123456789012345678901}}',
    '{"extra": {"\\u0000": 1}}',
    '{"extra": {"a": "\\u0000"}}',
    '{"extra": {"\\ud800": 1}}',
    '{"extra": {"a": ["\\udfff"]}}',
    nested('{"a":', "}", 20),
    nested('{"a":', "}", 1000),
    nested("[", "]", 5000),
    json.dumps({"stats": {"a": [0] * 20_001}}),
    json.dumps({"licence": {"a": "x" * 300_000}}),
    '{"published_at": 1700000000}',
    '{"published_at": "1700000000"}',
    '{"published_at": "2020-01-01T00:00:00"}',
    '{"published_at": "0001-01-01T00:00:00+23:59"}',
    '{"published_at": "9999-12-31T23:59:59-23:59"}',
    '{"primary_file_sha256": "zz"}',
    json.dumps({"primary_file_sha256": "a" * 64 + "\n"}),
    '{"primary_file_download_url": "javascript:alert(1)"}',
    '{"primary_file_size_kb": -1}',
    '{"archetype_confidence": 1.1}',
    '{"downloads": 9223372036854775808}',
    '{"nsfw_level": -1}',
    '{"rating": 5.5}',
    '{"id": "x"}',
    '{"created_at": "2020-01-01T00:00:00Z"}',
    '{"updated_at": "2020-01-01T00:00:00Z"}',
    '{"json_file_path": "x"}',
    '{"json_file_mtime": null}',
    '{"json_file_size": 1}',
    '{"last_ingested_at": null}',
    '{"file_state": "present"}',
    '{"civitai_version_id": 1}',
    '{"unheard_of": 1}',
    '{"\\ud800": 1}',
    '{"reset": ["id"]}',
    '{"reset": ["\\ud800"]}',
    '{"reset": "name"}',
    '{"reset": ["name"], "name": "x"}',
    '{"reset": ["name"]}',
    "",
    "{",
    "null",
    "[]",
    "1",
    '"x"',
    "\x00",
]


def test_hostile_bodies_change_nothing(
    client: httpx.Client, create: Callable[..., dict[str, Any]], database: Database
) -> None:
    adapter = create(extra={"k": 1})
    url = f"{ADAPTERS}/{adapter['id']}"
    for body in HOSTILE:
        response = client.patch(url, content=body, headers={"Content-Type": "application/json"})
        assert response.status_code == 422, (body[:80], response.text[:300])
        assert isinstance(response.json()["detail"], str)
        assert response.json()["errors"]
    for headers in ({"Content-Type": "text/plain"}, {"Content-Type": "application/x-www-form-urlencoded"}, {}):
        assert client.patch(url, content='{"weight": 2}', headers=headers).status_code == 422
    assert client.get(url).json()["adapter"] == adapter
    check_counters(database)


def test_large_and_odd_values_are_kept(client: httpx.Client, create: Callable[..., dict[str, Any]]) -> None:
    extra = {
        "big": 2**63 - 1,
        "huge": 1.2345678901234567e18,
        "tiny": 1e-300,
        "deep": [[[[["x"]]]]],
        "": "空",
        "flag": True,
        "none": None,
    }
    adapter = create(extra=extra, user_notes="🐉" * 20_000, tags=["x" * 200] + [f"t{number}" for number in range(499)])
    # PostgreSQL gives such a number back as the integer that its decimals spell.
    assert adapter["extra"] | {"huge": float(adapter["extra"]["huge"])} == extra
    assert len(adapter["tags"]) == 500
    assert patch(client, adapter["id"], extra=extra) == adapter
    # True is not 1, so this is a change; and back.
    assert patch(client, adapter["id"], extra=extra | {"flag": 1})["extra"]["flag"] == 1
    assert patch(client, adapter["id"], extra=extra)["extra"]["flag"] is True


def test_null_clears_what_may_be_unknown(client: httpx.Client, create: Callable[..., dict[str, Any]]) -> None:
    adapter = create(**EVERY_FIELD)
    nullable = [
        name
        for name, default in (DERIVED | USER_STATE).items()
        if default is None and name not in ("name", "file_path")
    ]
    cleared = patch(client, adapter["id"], **dict.fromkeys(nullable))
    assert {cleared[name] for name in nullable} == {None}
    for name in STORED.keys() - set(nullable):
        assert client.patch(f"{ADAPTERS}/{adapter['id']}", json={name: None}).status_code == 422, name


def test_words_and_tags_are_searched_at_once(
    client: httpx.Client, create: Callable[..., dict[str, Any]], database: Database
) -> None:
    adapter = create(tags=["Shared"])
    patch(
        client,
        adapter["id"],
        name="Zebrafish",
        user_tags=["Shared", "Mine"],
        user_notes="gazelle",
        description="<i>okapi</i>",
    )
    for question in ("zebrafish", "gazelle", "okapi", "mine"):
        assert client.get(ADAPTERS, params={"q": question}).json()["total"] == 1, question
    for tag in ("mine", "SHARED"):
        assert client.get(ADAPTERS, params={"tag": tag}).json()["total"] == 1
    tags = {item["tag"]: item["count"] for item in client.get(f"{ADAPTERS}/tags").json()["counts"]}
    assert tags == {"shared": 1, "mine": 1}
    patch(client, adapter["id"], name="Other", user_tags=[], user_notes=None, description=None)
    for question in ("zebrafish", "gazelle", "okapi", "mine"):
        assert client.get(ADAPTERS, params={"q": question}).json()["total"] == 0, question
    check_counters(database)


def test_activation_is_idempotent_and_keeps_the_ordinal(
    client: httpx.Client, create: Callable[..., dict[str, Any]], database: Database
) -> None:
    url = f"{ADAPTERS}/{create()['id']}"

    def post(what: str, **options: Any) -> dict[str, Any]:
        response = client.post(f"{url}/{what}", **options)
        assert response.status_code == 200, response.text
        adapter: dict[str, Any] = response.json()["adapter"]
        return adapter

    assert (post("activate")["active"], post("activate")["ordinal"]) == (True, None)
    with_ordinal = post("activate", json={"ordinal": 2**31 - 1})
    assert with_ordinal["ordinal"] == 2**31 - 1
    for options in (
        {},
        {"json": {}},
        {"json": None, "headers": {"Content-Type": "application/json"}},
        {"content": "null", "headers": {"Content-Type": "application/json"}},
        {"json": {"ordinal": None}},
        {"json": {"ordinal": 2**31 - 1}},
    ):
        assert post("activate", **options) == with_ordinal
    off = post("deactivate")
    assert (off["active"], off["ordinal"]) == (False, 2**31 - 1)
    assert post("deactivate", json={}) == off
    assert post("activate")["ordinal"] == 2**31 - 1
    assert client.get(ADAPTERS, params={"active": "true"}).json()["total"] == 1
    for body in ({"ordinal": 2**31}, {"ordinal": 1.0}, {"ordinal": "1"}, {"ordinal": True}, {"x": 1}, [], "x"):
        assert client.post(f"{url}/activate", json=body).status_code == 422, body
    assert client.post(f"{url}/deactivate", json={"ordinal": 1}).status_code == 422
    assert client.post(f"{url}/activate", content="x", headers={"Content-Type": "text/plain"}).status_code == 422
    check_counters(database)


def test_nothing_is_written_where_nothing_changes(
    client: httpx.Client, create: Callable[..., dict[str, Any]], database: Database
) -> None:
    adapter = create(**EVERY_FIELD)
    url, ids = f"{ADAPTERS}/{adapter['id']}", [adapter["id"]]

    def records() -> tuple[int, int]:
        with database.read() as connection:
            entries = connection.execute(select(func.count()).select_from(AuditEntry)).scalar_one()
        return entries, len(feed(client))

    before = records()
    assert patch(client, adapter["id"], **EVERY_FIELD, file_path=adapter["file_path"]) == adapter
    assert patch(client, adapter["id"]) == adapter
    assert client.post(f"{url}/activate", json={"ordinal": adapter["ordinal"]}).json()["adapter"] == adapter
    for action, more in (("activate", {}), ("favorite", {}), ("tag", {"tags": ["MINE"]}), ("untag", {"tags": ["z"]})):
        assert bulk(client, action, ids, **more)["unchanged"] == 1
    assert client.get(url).json()["adapter"] == adapter
    assert records() == before


def test_what_is_deleted_is_gone(
    client: httpx.Client, file: Path, create: Callable[..., dict[str, Any]], database: Database
) -> None:
    adapter = create(tags=["x"], active=True)
    url = f"{ADAPTERS}/{adapter['id']}"
    response = client.delete(url)
    assert (response.status_code, response.content) == (204, b"")
    for method, path in (("DELETE", ""), ("GET", ""), ("PATCH", ""), ("POST", "/activate"), ("POST", "/deactivate")):
        assert client.request(method, url + path, json={} if method != "GET" else None).status_code == 404
    assert client.get(ADAPTERS).json()["total"] == 0
    assert client.get(f"{ADAPTERS}/tags").json()["tags"] == []
    assert file.read_bytes() == weights(1)
    check_counters(database)
    assert create()["id"] != adapter["id"]


@pytest.mark.parametrize("key", [UNKNOWN, "nonsense", "%00", "é" * 300])
def test_an_unknown_adapter_is_not_found(sqlite_client: httpx.Client, key: str) -> None:
    for method, path, body in (
        ("PATCH", "", {"weight": 1}),
        ("DELETE", "", None),
        ("POST", "/activate", None),
        ("POST", "/deactivate", None),
        ("PATCH", "", {"file_path": "/x.safetensors"}),
    ):
        response = sqlite_client.request(method, f"{ADAPTERS}/{key}{path}", json=body)
        assert response.status_code == 404, (method, path)
        assert response.headers["content-type"] == "application/problem+json"


def test_bulk_answers_for_each_id(
    client: httpx.Client, create: Callable[..., dict[str, Any]], database: Database
) -> None:
    ids = [create(f"A{number}", ordinal=number)["id"] for number in range(3)]
    answer = bulk(client, "activate", [ids[0], UNKNOWN, ids[0].upper(), "nonsense", ids[1]])
    assert [item["status"] for item in answer["results"]] == ["changed", "not_found", "changed", "not_found", "changed"]
    assert [item["lora_id"] for item in answer["results"]] == [ids[0], UNKNOWN, ids[0].upper(), "nonsense", ids[1]]
    assert (answer["changed"], answer["not_found"]) == (3, 2)
    assert bulk(client, "activate", ids)["unchanged"] == 2
    adapters = client.get(ADAPTERS, params={"active": "true"}).json()["items"]
    assert [item["ordinal"] for item in adapters] == [0, 1, 2]
    bulk(client, "activate", ids, ordinal=7)
    assert {client.get(f"{ADAPTERS}/{key}").json()["adapter"]["ordinal"] for key in ids} == {7}
    bulk(client, "deactivate", ids[:2])
    bulk(client, "tag", ids, tags=["Mine", "mine", "Ünï"])
    bulk(client, "untag", ids[:1], tags=["MINE"])
    bulk(client, "favorite", ids[:1])
    shown = [client.get(f"{ADAPTERS}/{key}").json()["adapter"] for key in ids]
    assert [item["user_tags"] for item in shown] == [["Ünï"], ["Mine", "Ünï"], ["Mine", "Ünï"]]
    assert [item["active"] for item in shown] == [False, False, True]
    assert [item["favorite"] for item in shown] == [True, False, False]
    assert client.get(ADAPTERS, params={"tag": "ünï"}).json()["total"] == 3
    full = bulk(client, "tag", ids, tags=[f"t{number}" for number in range(99)])
    assert [item["status"] for item in full["results"]] == ["changed", "refused", "refused"]
    assert bulk(client, "delete", [*ids, UNKNOWN])["changed"] == 3
    assert client.get(ADAPTERS).json()["total"] == 0
    check_counters(database)


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"action": "explode", "lora_ids": [UNKNOWN]},
        {"action": "activate"},
        {"action": "activate", "lora_ids": []},
        {"action": "activate", "lora_ids": UNKNOWN},
        {"action": "activate", "lora_ids": [1]},
        {"action": "activate", "lora_ids": ["\x00"]},
        {"action": "activate", "lora_ids": [UNKNOWN] * 1001},
        {"action": "activate", "lora_ids": [UNKNOWN], "tags": ["x"]},
        {"action": "activate", "lora_ids": [UNKNOWN], "ordinal": 2**31},
        {"action": "delete", "lora_ids": [UNKNOWN], "ordinal": 1},
        {"action": "tag", "lora_ids": [UNKNOWN]},
        {"action": "tag", "lora_ids": [UNKNOWN], "tags": []},
        {"action": "tag", "lora_ids": [UNKNOWN], "tags": ["\x00"]},
        {"action": "activate", "lora_ids": [UNKNOWN], "more": 1},
    ],
    ids=lambda body: ascii(body)[:60],
)
def test_bulk_refuses_what_it_does_not_understand(sqlite_client: httpx.Client, body: dict[str, Any]) -> None:
    assert sqlite_client.post(f"{ADAPTERS}/bulk", json=body).status_code == 422


def test_every_change_is_on_record(client: httpx.Client, create: Callable[..., dict[str, Any]]) -> None:
    adapter = create()
    client.patch(f"{ADAPTERS}/{adapter['id']}", json={"weight": 0.5, "tags": ["t"]}, headers={"X-Request-ID": "mine"})
    client.post(f"{ADAPTERS}/{adapter['id']}/activate")
    ids = [adapter["id"], *(create(f"B{number}")["id"] for number in range(3))]
    bulk(client, "tag", ids, tags=["x"])
    client.delete(f"{ADAPTERS}/{adapter['id']}")
    own = audit(client, subject=adapter["id"])
    assert [item["action"] for item in own] == ["delete", "tag", "activate", "update", "create"]
    assert own[3]["before"] == {"weight": 1.0, "tags": []}
    assert own[3]["after"] == {"weight": 0.5, "tags": ["t"]}
    assert own[3]["request_id"] == "mine"
    assert own[2]["after"] == {"active": True}
    assert (own[4]["before"], own[0]["after"]) == (None, None)
    assert own[4]["after"]["name"] == "A"
    assert (own[0]["before"]["weight"], own[0]["before"]["user_tags"]) == (0.5, ["x"])
    assert {item["actor"] for item in own} == {None}
    assert [item for item in feed(client) if item[0] != "creation"] == [
        ("deletion", "deleted A"),
        ("edit", "tagged 4 adapters"),
        ("activation", "activated A"),
        ("edit", "edited A"),
    ]
    seen: list[int] = []
    before: int | None = None
    while True:
        page = client.get("/api/v1/audit", params={"limit": 3, **({"before": before} if before else {})}).json()
        seen += [item["id"] for item in page["items"]]
        before = page["next_before"]
        if before is None:
            break
    assert seen == sorted(set(seen), reverse=True)
    assert len(seen) == len(audit(client))


def test_the_audit_log_is_append_only(
    client: httpx.Client, create: Callable[..., dict[str, Any]], database: Database
) -> None:
    from sqlalchemy import text
    from sqlalchemy.exc import DBAPIError

    create()
    for statement in ("UPDATE audit_entries SET action = 'x'", "DELETE FROM audit_entries"):
        with pytest.raises(DBAPIError, match="append-only"), database.write() as connection:
            connection.execute(text(statement))


def test_roles_and_names_of_keys(sqlite_database: Database, serve: Callable[..., httpx.Client], file: Path) -> None:
    client = serve(sqlite_database, api_keys=KEYS)
    body = {"name": "A", "file_path": str(file)}
    reader, editor, admin = ({"X-API-Key": f"{role}-secret"} for role in ("reader", "editor", "admin"))
    assert client.post(ADAPTERS, json=body).status_code == 401
    assert client.post(ADAPTERS, json=body, headers=reader).status_code == 403
    created = client.post(ADAPTERS, json=body, headers=editor)
    assert created.status_code == 201
    for path in ("/api/v1/audit", "/api/audit", "/api/v1/audit/1"):
        assert client.get(path).status_code == 401
        for headers in (reader, editor):
            for method in ("GET", "HEAD", "OPTIONS"):
                assert client.request(method, path, headers=headers).status_code == 403, (method, path)
    page = client.get("/api/v1/audit", params={"actor": "editing"}, headers=admin).json()
    assert [(item["actor"], item["action"]) for item in page["items"]] == [("editing", "create")]
    assert client.get("/api/v1/audit", params={"actor": "reading"}, headers=admin).json()["items"] == []
    assert client.head("/api/v1/audit", headers=admin).status_code == 200
