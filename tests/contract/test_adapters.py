"""One adapter: created, read, changed, deleted, activated, and many at once."""

import os
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.conftest import World
from tests.contract.service import API, UNKNOWN_ID, Service, as_problem
from tests.warehouse.ingest.library import weights

# fmt: off
FIELDS = [
    "id", "name", "version", "canonical_version_name", "description", "author_username", "visibility",
    "published_at", "tags", "trained_words", "triggers", "file_path", "weight", "active", "ordinal", "archetype",
    "archetype_confidence", "primary_file_name", "primary_file_size_kb", "primary_file_sha256",
    "primary_file_download_url", "primary_file_local_path", "supports_generation", "sd_version", "nsfw_level",
    "activation_text", "stats", "extra", "json_file_path", "json_file_mtime", "json_file_size", "last_ingested_at",
    "created_at", "updated_at",
]
# fmt: on
BREAKING = ["", " ", "\t\n", "a<b", "a>b", "a:b", "a\x00b", "a\nb", "a\x1fb", "a\x7fb", "\u3000"]


def test_adapters_carry_every_field(service: Service) -> None:
    """Adapters in answers always carry every field of the model"""
    adapter = service.create()
    listed = service.get("/adapters", q=adapter["name"].split()[-1])["items"][0]
    for shown in (adapter, service.adapter(adapter["id"]), listed):
        assert not set(FIELDS) - shown.keys()


def test_a_new_adapter_has_the_defaults(service: Service) -> None:
    """visibility ("Public") … weight (1.0), active (false) … supports_generation (false) … nsfw_level (0) … stats{},
    extra{}"""
    adapter = service.create()
    defaults = {"visibility": "Public", "weight": 1.0, "active": False, "ordinal": None, "supports_generation": False}
    defaults |= {"nsfw_level": 0, "tags": [], "trained_words": [], "triggers": [], "stats": {}, "extra": {}}
    assert {name: adapter[name] for name in defaults} == defaults


def test_what_is_sent_is_stored(service: Service) -> None:
    """`POST` 201 `{"adapter": {…}}`."""
    sent = {
        "version": "v2.0",
        "canonical_version_name": "v2.0",
        "description": "A plain text.",
        "author_username": "brushwork",
        "published_at": "2025-03-02T09:30:00Z",
        "tags": ["ink", "Dragon"],
        "trained_words": ["inkdragon, flowing ink"],
        "triggers": ["inkdragon", "flowing ink"],
        "weight": 0.75,
        "active": False,
        "ordinal": 3,
        "archetype": "style",
        "archetype_confidence": 0.5,
        "primary_file_name": "x.safetensors",
        "primary_file_size_kb": 12.5,
        "primary_file_sha256": "ab" * 32,
        "primary_file_download_url": "https://example.invalid/x",
        "supports_generation": True,
        "sd_version": "SDXL",
        "nsfw_level": 1,
        "activation_text": "inkdragon",
        "stats": {"downloadCount": 7},
        "extra": {"深": [1, None, {"x": 1.5}]},
    }
    adapter = service.create(**sent)
    assert {name: adapter[name] for name in sent} == sent
    assert service.adapter(adapter["id"]) == adapter


@pytest.mark.parametrize("missing", ["name", "file_path"])
def test_name_and_file_are_required(service: Service, missing: str) -> None:
    """`name` and `file_path` are required."""
    body = {"name": service.name(), "file_path": str(service.weight_file())}
    del body[missing]
    assert service.refused("POST", "/adapters", 422, json=body)["errors"][0]["loc"] == ["body", missing]


def refused_file(service: Service, path: str) -> str:
    problem = service.refused("POST", "/adapters", 422, json={"name": service.name(), "file_path": path})
    assert problem["errors"][0]["loc"] == ["body", "file_path"]
    return str(problem["detail"])


def test_the_file_must_exist(service: Service) -> None:
    """The file must exist … else 422."""
    refused_file(service, str(service.path()))


def test_the_file_must_be_regular(service: Service) -> None:
    """be a regular file … else 422."""
    folder = service.library / "folder.safetensors"
    folder.mkdir(parents=True, exist_ok=True)
    pipe = service.path("pipe.safetensors")
    os.mkfifo(pipe)
    refused_file(service, str(folder))
    refused_file(service, str(pipe))
    folder.rmdir()


@pytest.mark.parametrize("name", ["weights.txt", "weights", "weights.safetensors.json", ".safetensors.png"])
def test_the_file_must_be_a_weight_file_by_name(service: Service, name: str) -> None:
    """end in a weight-file suffix … else 422."""
    path = service.path(name)
    path.write_bytes(weights(1))
    refused_file(service, str(path))


def test_the_file_must_lie_under_a_root(service: Service, tmp_path: Path) -> None:
    """lie under one of the configured library roots … else 422."""
    outside = tmp_path / "outside.safetensors"
    outside.write_bytes(weights(2))
    around = service.library.parent / os.path.relpath(outside, service.library.parent)
    for path in (str(outside), str(around), "relative.safetensors", "~/x.safetensors", "/etc/passwd", "", "\x00"):
        refused_file(service, path)


def test_without_roots_any_readable_file_will_do(rootless: httpx.Client, tmp_path: Path) -> None:
    """*choice*: with none configured, anywhere readable"""
    path = tmp_path / "anywhere.safetensors"
    path.write_bytes(weights(3))
    answer = rootless.post(f"{API}/adapters", json={"name": f"Anywhere {tmp_path.name}", "file_path": str(path)})
    assert answer.status_code == 201, answer.text
    rootless.delete(f"{API}/adapters/{answer.json()['adapter']['id']}")


def test_name_and_version_are_unique(service: Service) -> None:
    """Same (name, version) again: 409."""
    first = service.create(version="v1")
    for version, status in (("v1", 409), ("v2", 201), (None, 201), (None, 409), ("", None)):
        body = {"name": first["name"], "version": version, "file_path": str(service.weight_file())}
        response = service.client.post(f"{API}/adapters", json=body)
        if response.status_code == 201:
            service._made.append(response.json()["adapter"]["id"])
        if status is None:
            # An empty version is an absent one, or not valid; either way there is no second one of this name.
            assert response.status_code in (409, 422)
        else:
            assert response.status_code == status, (version, response.text)


def test_an_absent_version_counts_as_a_value(service: Service) -> None:
    """an absent version counting as a value (stored and answered as null, unique over `coalesce(version, '')`)"""
    first = service.create()
    assert first["version"] is None
    body = {"name": first["name"], "file_path": str(service.weight_file())}
    service.refused("POST", "/adapters", 409, json=body)


@pytest.mark.parametrize("version", ["v1.0", None])
def test_of_fifty_at_once_one_wins(service: Service, version: str | None) -> None:
    """Unique by (name, version) … Same (name, version) again: 409."""
    name = service.name("Race")
    bodies = [{"name": name, "version": version, "file_path": str(service.weight_file())} for _ in range(50)]
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda body: service.client.post(f"{API}/adapters", json=body), bodies))
    service._made += [answer.json()["adapter"]["id"] for answer in answers if answer.status_code == 201]
    assert Counter(answer.status_code for answer in answers) == {201: 1, 409: 49}
    for answer in answers:
        if answer.status_code == 409:
            as_problem(answer, 409)
    assert service.names(q=name.split()[-1]) == [name]


@pytest.mark.parametrize("name", BREAKING, ids=ascii)
def test_names_that_break_a_token_are_refused(service: Service, name: str) -> None:
    """A name that would break a token (`<`, `>`, `:`, control characters, blank) is a 422."""
    body = {"name": name, "file_path": str(service.weight_file())}
    assert service.refused("POST", "/adapters", 422, json=body)["errors"][0]["loc"] == ["body", "name"]
    adapter = service.create()
    problem = service.refused("PATCH", f"/adapters/{adapter['id']}", 422, json={"name": name})
    assert problem["errors"][0]["loc"] == ["body", "name"]
    assert service.adapter(adapter["id"])["name"] == adapter["name"]


def test_names_of_any_script_are_kept(service: Service) -> None:
    """A name that would break a token … is a 422" and no other"""
    for word in ("水墨画", "Кот", "🐉 (v1) [x] {y} 'q' \"d\"", "a/b\\c", "é" * 100):
        name = service.name(word)
        assert service.create(name=name)["name"] == name


def test_nobodys_id_is_not_found(service: Service) -> None:
    """`GET /{id}` 200 `{"adapter"}` or 404."""
    for adapter_id in (UNKNOWN_ID, "nonsense", "1", "%00"):
        for method, path in (
            ("GET", ""),
            ("PATCH", ""),
            ("DELETE", ""),
            ("POST", "/activate"),
            ("POST", "/deactivate"),
        ):
            options: dict[str, Any] = {"json": {"weight": 0.5}} if method == "PATCH" else {}
            service.refused(method, f"/adapters/{adapter_id}{path}", 404, **options)
        service.refused("GET", f"/adapters/{adapter_id}/provenance", 404)
        service.refused("GET", f"/adapters/{adapter_id}/preview", 404)


def test_a_patch_changes_what_is_sent(service: Service) -> None:
    """`PATCH /{id}` changes what is sent"""
    adapter = service.create(version="v1", weight=0.5, tags=["ink"], description="Before.")
    changed = service.patch(adapter["id"], weight=0.75, tags=["ink", "paper"])
    assert (changed["weight"], sorted(changed["tags"])) == (0.75, ["ink", "paper"])
    kept = set(FIELDS) - {"weight", "tags", "updated_at"}
    assert {name: changed[name] for name in kept} == {name: adapter[name] for name in kept}
    assert service.adapter(adapter["id"]) == changed
    assert changed["updated_at"] > adapter["updated_at"]


def test_all_else_can_be_changed(service: Service) -> None:
    """all else can"""
    adapter = service.create()
    sent = {
        "name": service.name("Renamed"),
        "version": "v9",
        "file_path": str(service.weight_file()),
        "active": True,
        "ordinal": -2,
        "archetype": "pose",
        "nsfw_level": 4,
        "extra": {"a": 1},
        "stats": {"likes": 2},
        "activation_text": "x y",
        "visibility": "Private",
        "supports_generation": True,
        "published_at": "2024-01-01T00:00:00Z",
        "primary_file_sha256": "cd" * 32,
    }
    changed = service.patch(adapter["id"], **sent)
    assert {name: changed[name] for name in sent} == sent


def test_null_clears_what_can_be_null(service: Service) -> None:
    """null clears a nullable field"""
    nullable = {"version": "v1", "description": "x", "author_username": "y", "activation_text": "z", "ordinal": 4}
    nullable |= {"archetype": "style", "published_at": "2024-01-01T00:00:00Z", "primary_file_sha256": "ab" * 32}
    adapter = service.create(**nullable)
    cleared = service.patch(adapter["id"], **dict.fromkeys(nullable))
    assert {name: cleared[name] for name in nullable} == dict.fromkeys(nullable)
    for name in ("name", "file_path", "weight", "active", "tags", "visibility"):
        problem = service.refused("PATCH", f"/adapters/{adapter['id']}", 422, json={name: None})
        assert problem["errors"][0]["loc"][:2] == ["body", name]


@pytest.mark.parametrize(
    "name",
    ["id", "created_at", "json_file_path", "json_file_mtime", "json_file_size", "last_ingested_at"],
)
def test_what_identifies_and_what_ingest_writes_cannot_be_set(service: Service, name: str) -> None:
    """`id`, `created_at` and the ingest columns (`json_file_*`, `last_ingested_at`) cannot be set"""
    adapter = service.create()
    values: dict[str, Any] = {"id": UNKNOWN_ID, "json_file_path": "/x.json", "json_file_size": 1}
    value = values.get(name, "2020-01-01T00:00:00Z")
    service.refused("PATCH", f"/adapters/{adapter['id']}", 422, json={name: value})
    assert service.adapter(adapter["id"])[name] == adapter[name]


def test_a_patch_into_another_is_a_clash(service: Service) -> None:
    """409 on a clash."""
    first, second = service.create(version="v1"), service.create(version="v1")
    service.refused("PATCH", f"/adapters/{second['id']}", 409, json={"name": first["name"]})
    assert service.adapter(second["id"])["name"] == second["name"]
    assert service.patch(first["id"], name=first["name"], version="v1")["name"] == first["name"]


def test_patches_at_once_lose_nothing(service: Service) -> None:
    """`PATCH /{id}` changes what is sent" and nothing else, whoever else changes it"""
    adapter = service.create()
    bodies = [{"weight": 0.25}, {"ordinal": 7}, {"description": "new"}, {"tags": ["x"]}, {"extra": {"k": 1}}] * 5
    with ThreadPoolExecutor(10) as pool:
        answers = pool.map(lambda body: service.client.patch(f"{API}/adapters/{adapter['id']}", json=body), bodies)
        assert {answer.status_code for answer in answers} == {200}
    now = service.adapter(adapter["id"])
    assert (now["weight"], now["ordinal"], now["description"]) == (0.25, 7, "new")
    assert (now["tags"], now["extra"]) == (["x"], {"k": 1})


def test_a_deleted_adapter_is_gone_and_its_file_is_not(service: Service) -> None:
    """`DELETE /{id}` 204, then 404; its embeddings and cache entries go with it, the weight file never."""
    adapter = service.create()
    content = Path(adapter["file_path"]).read_bytes()
    service.post("/recommendations/embeddings/compute", {"lora_id": adapter["id"]})
    service.ask("DELETE", f"/adapters/{adapter['id']}", 204)
    service.refused("DELETE", f"/adapters/{adapter['id']}", 404)
    for path in ("/adapters/{}", "/recommendations/embeddings/{}/status", "/recommendations/similar/{}"):
        service.refused("GET", path.format(adapter["id"]), 404)
    assert service.names(q=adapter["name"].split()[-1]) == []
    assert Path(adapter["file_path"]).read_bytes() == content


def test_of_many_deletions_at_once_one_wins(service: Service) -> None:
    """`DELETE /{id}` 204, then 404"""
    adapter = service.create()
    with ThreadPoolExecutor(10) as pool:
        answers = pool.map(lambda _: service.client.delete(f"{API}/adapters/{adapter['id']}"), range(10))
        assert Counter(answer.status_code for answer in answers) == {204: 1, 404: 9}


def test_activation_is_idempotent_and_keeps_the_ordinal(service: Service) -> None:
    """idempotent; the body may be absent; activating without an ordinal keeps the earlier one."""
    adapter = service.create()
    path = f"/adapters/{adapter['id']}"
    for body, ordinal in ((None, None), ({"ordinal": 5}, 5), ({}, 5), (None, 5), ({"ordinal": 0}, 0), (None, 0)):
        shown = service.post(f"{path}/activate", body)["adapter"]
        assert (shown["active"], shown["ordinal"]) == (True, ordinal)
    for _ in range(2):
        shown = service.post(f"{path}/deactivate")["adapter"]
        assert (shown["active"], shown["ordinal"]) == (False, 0)
    assert service.client.post(f"{API}{path}/activate", content=b"").json()["adapter"]["ordinal"] == 0
    assert service.adapter(adapter["id"])["active"] is True


@pytest.mark.parametrize("ordinal", ["first", 1.5, 10**30, [], True])
def test_an_ordinal_is_a_whole_number(service: Service, ordinal: Any) -> None:
    """`{"ordinal"?: int}`"""
    adapter = service.create()
    service.refused("POST", f"/adapters/{adapter['id']}/activate", 422, json={"ordinal": ordinal})


def test_claims_are_stored_as_stated(service: Service) -> None:
    """What a client or a document states (`primary_file_*`, sizes, hashes) is stored as stated"""
    adapter = service.create(primary_file_sha256="00" * 32, primary_file_size_kb=1e6, primary_file_name="other.pt")
    now = service.adapter(adapter["id"])
    assert (now["primary_file_sha256"], now["primary_file_size_kb"]) == ("00" * 32, 1e6)
    assert now["primary_file_name"] == "other.pt"


def results_of(service: Service, body: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """The results of a bulk change by id."""
    answer = service.post("/adapters/bulk", body)
    found = {result.get("lora_id") or result.get("id"): result for result in answer["results"]}
    assert list(found) == list(dict.fromkeys(body["lora_ids"]))
    return found


def test_bulk_changes_many(service: Service) -> None:
    """`POST /bulk` (activate, deactivate, tag, delete for many ids, one transaction, a result per id)"""
    ids = [service.create()["id"] for _ in range(3)]
    results_of(service, {"action": "activate", "lora_ids": ids})
    assert [service.adapter(each)["active"] for each in ids] == [True] * 3
    results_of(service, {"action": "deactivate", "lora_ids": ids})
    assert [service.adapter(each)["active"] for each in ids] == [False] * 3
    tag = service.name("bulk").replace(" ", "")
    results_of(service, {"action": "tag", "lora_ids": ids, "tags": [tag]})
    assert service.get("/adapters", tag=tag)["total"] == 3
    results_of(service, {"action": "delete", "lora_ids": ids})
    for each in ids:
        service.refused("GET", f"/adapters/{each}", 404)


def test_bulk_says_which_are_unknown(service: Service) -> None:
    """a result per id"""
    adapter = service.create()
    results = results_of(service, {"action": "activate", "lora_ids": [adapter["id"], UNKNOWN_ID]})
    assert results[adapter["id"]] != {**results[UNKNOWN_ID], "id": adapter["id"], "lora_id": adapter["id"]}
    assert service.adapter(adapter["id"])["active"] is True


@pytest.mark.parametrize("body", [{}, {"action": "explode", "lora_ids": []}, {"action": "delete", "lora_ids": "all"}])
def test_bulk_refuses_what_it_does_not_know(service: Service, body: dict[str, Any]) -> None:
    """`POST /bulk` (activate, deactivate, tag, delete for many ids …)"""
    service.refused("POST", "/adapters/bulk", 422, json=body)


def test_tags_come_with_counts(service: Service) -> None:
    """`GET /v1/adapters/tags` `{"tags": [str]}` (counts under another key)"""
    tag = service.name("tagged").replace(" ", "")
    service.create(tags=[tag.upper()])
    service.create(tags=[tag, "other"])
    answer = service.get("/adapters/tags", limit=10_000)
    assert tag in answer["tags"]
    assert all(isinstance(each, str) for each in answer["tags"])
    (counts,) = [value for key, value in answer.items() if key != "tags"]
    assert {"tag": tag, "count": 2} in counts


def test_provenance_says_which_source_gave_a_field(service: Service) -> None:
    """`GET /{id}/provenance` (which file gave each field, and when)"""
    adapter = service.create(description="By hand.")
    answer = service.get(f"/adapters/{adapter['id']}/provenance")
    sources = {item["field"]: item["source"] for item in answer["fields"]}
    assert sources["name"] == sources["description"] == "user"
    assert "last_ingested_at" in answer


def test_provenance_names_documents(world: World, service: Service) -> None:
    """`GET /{id}/provenance` (which file gave each field, and when)"""
    items = service.get("/adapters", limit=100)["items"]
    documented = next(item for item in items if item["json_file_path"] and item["file_state"] == "present")
    answer = service.get(f"/adapters/{documented['id']}/provenance")
    assert documented["json_file_path"] in {item["source"] for item in answer["fields"]}
    assert answer["last_ingested_at"] == documented["last_ingested_at"]


def test_previews_are_images(world: World, service: Service) -> None:
    """`GET /{id}/preview`"""
    items = service.get("/adapters", limit=100)["items"]
    shown = next(item for item in items if item["preview_url"])
    for path in (shown["preview_url"], f"{API}/adapters/{shown['id']}/preview"):
        assert service.client.get(path).headers["content-type"].startswith("image/")
    service.refused("GET", f"/adapters/{service.create()['id']}/preview", 404)
