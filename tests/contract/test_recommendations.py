"""Recommendations: computing vectors, what is similar, what fits a prompt, figures."""

import json
from typing import Any

import httpx
import pytest

from tests.contract.conftest import World
from tests.contract.service import UNKNOWN_ID, Service
from tests.warehouse.ingest.library import model, version
from warehouse import jobs

SPACES = ("semantic", "artistic", "technical")
ITEM = {"lora_id", "lora_name", "lora_description", "similarity_score", "final_score", "explanation"}
ITEM |= {"semantic_similarity", "artistic_similarity", "technical_similarity", "quality_boost", "popularity_boost"}


@pytest.fixture
def target(service: Service) -> str:
    """The id of an adapter that has vectors."""
    for item in service.get("/adapters", sort="-downloads", limit=50)["items"]:
        if service.get(f"/recommendations/embeddings/{item['id']}/status")["has_embeddings"]:
            return str(item["id"])
    pytest.skip("no adapter of this library has vectors")


def similar(service: Service, adapter_id: str, **params: Any) -> list[dict[str, Any]]:
    """The items of an answer, held against what is promised of every answer."""
    answer = service.get(f"/recommendations/similar/{adapter_id}", **params)
    assert {"recommendations", "total_candidates", "processing_time"} <= answer.keys()
    assert {"processing_time_ms", "recommendation_config", "generated_at"} <= answer.keys()
    assert isinstance(answer["recommendation_config"], dict)
    items: list[dict[str, Any]] = answer["recommendations"]
    assert adapter_id not in {item["lora_id"] for item in items}
    check_items(items)
    return items


def check_items(items: list[dict[str, Any]]) -> None:
    for item in items:
        assert not ITEM - item.keys()
        for name in ("similarity_score", *(f"{space}_similarity" for space in SPACES)):
            assert 0 <= item[name] <= 1
    assert len({item["lora_id"] for item in items}) == len(items)
    finals = [item["final_score"] for item in items]
    assert finals == sorted(finals, reverse=True)


def embedded(service: Service, **fields: Any) -> dict[str, Any]:
    """A new adapter with vectors."""
    adapter = service.create(**fields)
    assert service.post("/recommendations/embeddings/compute", {"lora_id": adapter["id"]})["status"] == "completed"
    return adapter


def test_computing_one(service: Service) -> None:
    """`POST /embeddings/compute` `{"lora_id"}` 200 `{"lora_id", "status": "completed"|"failed", "embedding_stats":
    {…}}`"""
    adapter = service.create(description="Dragons in ink.", tags=["dragon"])
    path = f"/recommendations/embeddings/{adapter['id']}/status"
    assert service.get(path)["has_embeddings"] is False
    answer = service.post("/recommendations/embeddings/compute", {"lora_id": adapter["id"]})
    assert (answer["lora_id"], answer["status"]) == (adapter["id"], "completed")
    assert isinstance(answer["embedding_stats"], dict)
    status = service.get(path)
    assert (status["has_embeddings"], status["embedding_count"]) == (True, 3)
    assert status["last_computed"]
    assert 0 <= status["quality_score"] <= 1


def test_computing_nobodys(service: Service) -> None:
    """`POST /embeddings/compute` …; 404."""
    service.refused("POST", "/recommendations/embeddings/compute", 404, json={"lora_id": UNKNOWN_ID})
    service.refused("POST", "/recommendations/embeddings/compute", 422, json={})
    service.refused("POST", "/recommendations/embeddings/compute", 422, json={"lora_id": 1})


def test_computing_several(service: Service) -> None:
    """202 `{"processed_count", "skipped_count", "failed_count", "processing_time", "run_id"?}` … small batches
    finish inside the call"""
    ids = [service.create()["id"] for _ in range(3)]
    counts = ("processed_count", "skipped_count", "failed_count")
    for body, expected in (({}, (3, 0, 0)), ({}, (0, 3, 0)), ({"force_recompute": True}, (3, 0, 0))):
        answer = service.post("/recommendations/embeddings/batch", {"lora_ids": ids, **body}, 202)
        assert tuple(answer[name] for name in counts) == expected
        assert answer["processing_time"] >= 0
    for each in ids:
        assert service.get(f"/recommendations/embeddings/{each}/status")["has_embeddings"] is True
    for wrong in ({}, {"lora_ids": "all"}, {"lora_ids": [1]}):
        service.refused("POST", "/recommendations/embeddings/batch", 422, json=wrong)


def test_the_status_of_one(service: Service, target: str) -> None:
    """`{"lora_id", "has_embeddings", "embedding_count", "last_computed", "quality_score"}`"""
    status = service.get(f"/recommendations/embeddings/{target}/status")
    assert (status["lora_id"], status["has_embeddings"], status["embedding_count"]) == (target, True, 3)
    service.refused("GET", f"/recommendations/embeddings/{UNKNOWN_ID}/status", 404)


def test_what_is_similar(service: Service, target: str) -> None:
    """200 `{"recommendations", "total_candidates", "processing_time"}` … ordered by `final_score`"""
    assert 0 < len(similar(service, target)) <= 10
    assert similar(service, target, limit=3) == similar(service, target)[:3]
    service.refused("GET", f"/recommendations/similar/{UNKNOWN_ID}", 404)


@pytest.mark.parametrize("weights", [(1, 1, 1), (1, 0, 0), (0.2, 0.5, 0.3), (0, 0, 1)])
def test_the_score_is_the_weighted_mean(service: Service, target: str, weights: tuple[float, ...]) -> None:
    """`similarity_score` = Σ w·s / Σ w over the three, s = max(0, cosine)"""
    given = dict(zip(SPACES, weights, strict=True))
    items = similar(service, target, weights=json.dumps(given), similarity_threshold=0)
    assert items
    for item in items:
        mean = sum(given[space] * item[f"{space}_similarity"] for space in SPACES) / sum(weights)
        assert item["similarity_score"] == pytest.approx(mean, abs=1e-5)


def test_weights_one_by_one(service: Service, target: str) -> None:
    """`weight_semantic, weight_artistic, weight_technical`"""
    single = similar(service, target, weight_semantic=1, weight_artistic=0, weight_technical=0)
    assert single == similar(service, target, weights='{"semantic": 1, "artistic": 0, "technical": 0}')
    assert all(item["similarity_score"] == pytest.approx(item["semantic_similarity"], abs=1e-5) for item in single)


def test_the_threshold_is_on_the_similarity(service: Service, target: str) -> None:
    """the threshold applies to `similarity_score`"""
    scores = sorted(item["similarity_score"] for item in similar(service, target, similarity_threshold=0, limit=100))
    middle = scores[len(scores) // 2]
    kept = similar(service, target, similarity_threshold=middle, limit=100)
    assert 0 < len(kept) < len(scores)
    assert all(item["similarity_score"] >= middle - 1e-6 for item in kept)


@pytest.mark.parametrize(
    "params",
    [
        {"limit": 0},
        {"limit": 101},
        {"similarity_threshold": -0.1},
        {"similarity_threshold": 1.1},
        {"similarity_threshold": "nan"},
        {"weights": "{"},
        {"weights": '{"colour": 1}'},
        {"weights": '{"semantic": -1}'},
        {"weights": '{"semantic": 0}'},
    ],
)
def test_bounds(service: Service, target: str, params: dict[str, Any]) -> None:
    """`limit` 1..100 and threshold 0..1, else 422."""
    service.refused("GET", f"/recommendations/similar/{target}", 422, params=params)
    if "weights" not in params:
        service.refused("POST", "/recommendations/prompt", 422, json={"prompt": "ink", **params})


def test_by_base_model_and_level(service: Service, target: str) -> None:
    """Also `base_model`, `nsfw_max`"""
    word = service.name("x").split()[-1]
    model = f"Model {word}"
    inside = embedded(service, name=f"Inside {word}", base_model=model, nsfw_level=1)
    strong = embedded(service, name=f"Strong {word}", base_model=model, nsfw_level=16)
    found = {item["lora_id"] for item in similar(service, target, base_model=model, similarity_threshold=0)}
    assert found == {inside["id"], strong["id"]}
    params = {"base_model": model, "similarity_threshold": 0}
    assert [item["lora_id"] for item in similar(service, target, nsfw_max=1, **params)] == [inside["id"]]
    body = {"prompt": f"inside {word}", "base_model": model, "similarity_threshold": 0}
    items = service.post("/recommendations/prompt", body)["recommendations"]
    assert {item["lora_id"] for item in items} == {inside["id"], strong["id"]}


def test_diversity_and_explanations(service: Service, target: str) -> None:
    """`diversity` … `include_explanations, diversify_results`"""
    plain = similar(service, target, limit=20, similarity_threshold=0)
    assert all(item["explanation"] for item in plain)
    assert all(not item["explanation"] for item in similar(service, target, include_explanations="false"))
    for params in ({"diversity": 0.5}, {"diversify_results": "true"}):
        assert similar(service, target, limit=5, similarity_threshold=0, **params)
    service.refused("GET", f"/recommendations/similar/{target}", 422, params={"diversity": 2})


def test_files_that_are_elsewhere_are_marked(service: Service, world: World, target: str) -> None:
    """`available_only` (false: adapters whose file is elsewhere or missing are included and marked by `file_state`)"""
    everything = similar(service, target, limit=100, similarity_threshold=0)
    assert {item["file_state"] for item in everything} > {"present"}
    present = similar(service, target, limit=100, similarity_threshold=0, available_only="true")
    assert {item["file_state"] for item in present} == {"present"}


def test_versions_are_folded_on_request(service: Service) -> None:
    """Versions and near-duplicates are folded into one entry only with `fold=true`"""
    word = service.name("Heron")
    fields = {"tags": ["heron", word], "description": f"The {word} in a marsh.", "base_model": "Pony"}
    one, two = (embedded(service, name=word, version=version, **fields) for version in ("v1", "v2"))
    asked = embedded(service, name=f"{word} asked", **fields)
    ids = {one["id"], two["id"]}
    params = {"limit": 100, "similarity_threshold": 0}
    assert ids <= {item["lora_id"] for item in similar(service, asked["id"], **params)}
    folded = similar(service, asked["id"], fold="true", **params)
    assert len(ids & {item["lora_id"] for item in folded}) == 1


def test_a_new_adapter_is_found_and_a_deleted_one_is_not(service: Service) -> None:
    """an adapter deleted a moment ago is in no list."""
    word = service.name("Quetzal")
    asked, other = (embedded(service, name=f"{word} {n}", description=f"The {word} bird.") for n in range(2))
    assert other["id"] in {item["lora_id"] for item in similar(service, asked["id"])}
    service.ask("DELETE", f"/adapters/{other['id']}", 204)
    assert other["id"] not in {item["lora_id"] for item in similar(service, asked["id"], limit=100)}
    found = service.post("/recommendations/prompt", {"prompt": word})["recommendations"]
    assert other["id"] not in {item["lora_id"] for item in found}


def deliver(service: Service, world: World, *adapters: dict[str, Any]) -> None:
    """A prompt with these adapters is asked for and arrives."""
    prompt = " ".join(f"<lora:{adapter['name']}:1>" for adapter in adapters)
    body = {"prompt": prompt, "mode": "cli", "params": {"command": "print"}}
    delivery_id = service.post("/deliveries", body, 201)["delivery_id"]
    # What the lane does with whatever waits, without the run of Dagster.
    with world.database.write() as connection:
        taken = jobs.claim(connection, "cli", "contract", "run", limit=1_000)
        ended = [jobs.Ended(job, jobs.JobStatus.SUCCEEDED, {}) for job in taken]
        jobs.update_jobs(connection, "contract", list(ended))
    assert delivery_id in {job.id for job in taken}


def test_what_is_used_together_is_raised(service: Service, world: World) -> None:
    """the explanation names what is shared (…, used together), … boosts bounded and shown; used-together from
    deliveries and generations"""
    word = service.name("Egret")
    asked, other, third = (embedded(service, name=f"{word} {n}", description=f"The {word} bird.") for n in range(3))
    params = {"limit": 100, "similarity_threshold": 0, "personal": "false"}
    before = {item["lora_id"]: item for item in similar(service, asked["id"], **params)}
    assert before[other["id"]]["shared"]["used_together"] is None
    assert before[other["id"]]["used_together_boost"] == 0
    for _ in range(7):
        deliver(service, world, asked, other)
    world.learn()
    after = {item["lora_id"]: item for item in similar(service, asked["id"], **params)}
    assert after[other["id"]]["shared"]["used_together"] == 7
    assert 0 < after[other["id"]]["used_together_boost"] <= 0.05
    assert "used together 7 times" in after[other["id"]]["explanation"]
    assert after[other["id"]]["final_score"] > before[other["id"]]["final_score"]
    assert after[third["id"]] == before[third["id"]]
    back = {item["lora_id"]: item for item in similar(service, other["id"], **params)}
    assert back[asked["id"]]["shared"]["used_together"] == 7
    service.ask("DELETE", f"/adapters/{other['id']}", 204)
    assert other["id"] not in {item["lora_id"] for item in similar(service, asked["id"], **params)}


def test_what_the_holder_of_a_key_uses_is_raised(service: Service, world: World, guarded: httpx.Client) -> None:
    """preference of a key holder from activations, likes and generations (opt-out); cold start falls back cleanly"""
    word = service.name("Stork")
    tag = word.lower()
    asked, used, alike = (
        embedded(service, name=f"{word} {n}", description=f"The {word} bird.", tags=[tag] if n else [])
        for n in range(3)
    )
    path = f"/api/v1/recommendations/similar/{asked['id']}"

    def ask(role: str, **params: Any) -> dict[str, dict[str, Any]]:
        answer = guarded.get(
            path, params={"limit": 100, "similarity_threshold": 0, **params}, headers={"X-API-Key": f"{role}-secret"}
        )
        assert answer.status_code == 200, answer.text
        check_items(answer.json()["recommendations"])
        return {item["lora_id"]: item for item in answer.json()["recommendations"]}

    before = ask("editor", personal="false")
    headers = {"X-API-Key": "editor-secret"}
    for action in ("deactivate", "activate"):
        response = guarded.post(f"/api/v1/adapters/{used['id']}/{action}", headers=headers)
        assert response.status_code == 200
    world.learn()
    after = ask("editor")
    assert 0 < after[alike["id"]]["preference_boost"] <= 0.05
    assert f"tag {tag}" in after[alike["id"]]["explanation"]
    assert after[alike["id"]]["final_score"] > before[alike["id"]]["final_score"]
    assert ask("reader")[alike["id"]] == before[alike["id"]]
    assert ask("editor", personal="false") == before
    body = {"prompt": word, "similarity_threshold": 0}
    boosts = {}
    for personal in (True, False):
        response = guarded.post("/api/v1/recommendations/prompt", json={**body, "personal": personal}, headers=headers)
        items = {item["lora_id"]: item for item in response.json()["recommendations"]}
        boosts[personal] = items[alike["id"]]["preference_boost"]
    assert boosts[True] > boosts[False] == 0


def test_a_kept_answer_never_outlives_what_it_says(service: Service) -> None:
    """a cached answer never outlives what it was computed from (… a recomputed embedding, an edited or deleted
    adapter)"""
    word = service.name("Ibis")
    asked, other = (embedded(service, name=f"{word} {n}", description=f"The {word} bird.") for n in range(2))
    for _ in range(2):
        assert other["id"] in {item["lora_id"] for item in similar(service, asked["id"])}
    renamed = service.name("Renamed")
    service.patch(other["id"], name=renamed)
    shown = {item["lora_id"]: item["lora_name"] for item in similar(service, asked["id"], limit=100)}
    assert shown.get(other["id"], renamed) == renamed
    service.patch(other["id"], description="Trains and rails.", tags=["train"])
    service.post("/recommendations/embeddings/compute", {"lora_id": other["id"]})
    before = [item["lora_id"] for item in similar(service, asked["id"], limit=100, similarity_threshold=0)]
    service.ask("DELETE", f"/adapters/{other['id']}", 204)
    after = [item["lora_id"] for item in similar(service, asked["id"], limit=100, similarity_threshold=0)]
    assert other["id"] in before
    assert other["id"] not in after


def test_its_hit_rate_is_in_the_statistics(service: Service, target: str) -> None:
    """its hit rate is in the statistics."""
    for _ in range(3):
        similar(service, target, limit=7)
    stats = service.get("/recommendations/stats")
    assert 0 < stats["cache"]["hit_rate"] <= 1


def test_what_fits_a_prompt(service: Service, target: str) -> None:
    """200 `{"recommendations", "prompt_analysis", "processing_time"}`; `prompt_analysis` holds the parsed LoRA tags,
    the concepts found and suggested additions."""
    adapter = service.adapter(target)
    prompt = f"a {adapter['tags'][0] if adapter['tags'] else 'dragon'}, <lora:{adapter['name']}:0.6>"
    answer = service.post("/recommendations/prompt", {"prompt": prompt, "limit": 5, "similarity_threshold": 0})
    assert 0 < len(answer["recommendations"]) <= 5
    check_items(answer["recommendations"])
    assert answer["processing_time"] >= 0
    analysis = answer["prompt_analysis"]
    (tag,) = analysis["lora_tags"]
    assert (tag["name"], tag["weight"]) == (adapter["name"], 0.6)
    assert {"concepts", "suggested_additions"} <= analysis.keys()


def test_strengths_come_with_evidence(service: Service, world: World) -> None:
    """Strength suggestions with evidence ("median 0.7 in 24 example images")."""
    path, name = service.weight_file(), service.name("Strength")
    images = [{"url": f"u{n}", "meta": {"prompt": f"a heron <lora:{path.stem}:0.{n}>"}} for n in (5, 7, 8)]
    number = int(name[-6:], 16)
    document = model(number, version(number, file=path.name, images=images), name=name)
    service.path(path.with_suffix(".json").name).write_text(json.dumps(document), encoding="utf-8")
    world.sync()
    adapter = next(item for item in service.get("/adapters", q=name)["items"] if item["file_path"] == str(path))
    assert service.post("/recommendations/embeddings/compute", {"lora_id": adapter["id"]})["status"] == "completed"
    answer = service.post(
        "/recommendations/prompt",
        {"prompt": f"{name}, <lora:{name}:1> <lora:nobody-has-this:1>", "similarity_threshold": 0, "limit": 100},
    )
    expected = {
        "suggested_weight": 0.7,
        "evidence": "median 0.7 in 3 example images",
        "count": 3,
        "low": 0.6,
        "high": 0.75,
    }
    items = {item["lora_id"]: item["strength"] for item in answer["recommendations"]}
    assert items[adapter["id"]] == expected
    assert [tag["strength"] for tag in answer["prompt_analysis"]["lora_tags"]] == [expected, None]


def test_prompts_take_weights(service: Service, target: str) -> None:
    """`POST /prompt` `{"prompt", "limit"?, "similarity_threshold"?, "weights"?, "base_model"?}`"""
    body = {"prompt": "ink", "weights": {"semantic": 1, "artistic": 0, "technical": 0}, "similarity_threshold": 0}
    for item in service.post("/recommendations/prompt", body)["recommendations"]:
        assert item["similarity_score"] == pytest.approx(item["semantic_similarity"], abs=1e-5)
    for wrong in ({}, {"prompt": ""}, {"prompt": 1}, {"prompt": "x", "weights": {"colour": 1}}):
        service.refused("POST", "/recommendations/prompt", 422, json=wrong)


def test_figures(service: Service) -> None:
    """`GET /stats`: `{"total_loras", "loras_with_embeddings", "embedding_coverage", "gpu_available", "gpu_details",
    …}`."""
    stats = service.get("/recommendations/stats")
    assert stats["total_loras"] == service.get("/adapters")["total"]
    assert 0 < stats["loras_with_embeddings"] <= stats["total_loras"]
    assert 0 < stats["embedding_coverage"] <= 1
    assert isinstance(stats["gpu_available"], bool)
    assert isinstance(stats["gpu_details"], list)
