"""Generations over HTTP: asked for, waited for, queued, followed, cancelled; by a real lane and a fake SD.Next."""

import asyncio
import base64
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import select

from serving import backends
from serving.backends import Backends
from serving.schemas.generation import RANGES
from tests.databases import scratch_database
from tests.fakes.sdnext import FakeLora, Mishap
from tests.pipelines.jobs.working import show, until
from tests.serving.conftest import KEYS
from tests.serving.generating import API, ASKED, SMALL, Studio, studio
from tests.serving.test_live import hear, listening
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.backends import BackendPlugin, Description, UnavailableError, plugins
from warehouse.engine import Database
from warehouse.jobs import JobKind
from warehouse.models import Job
from warehouse.settings import Settings

BOTH = {
    "Ink Dragon": FakeLora("styles/ink-dragon"),
    "Red Cape": FakeLora("red-cape"),
}


@pytest.fixture
def place(
    sqlite_database: Database, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> Iterator[tuple[Studio, str]]:
    with studio(sqlite_database, settings_for, monkeypatch) as made:
        yield made


@pytest.fixture
def at(place: tuple[Studio, str]) -> Studio:
    return place[0]


def two_loras(at: Studio) -> list[str]:
    """Two adapters of the library that the server has under names of its own; their ids."""
    rows = [
        adapter_values(number, name=name, file_path=f"/library/{lora.path}.safetensors", active=False)
        for number, (name, lora) in enumerate(BOTH.items(), 1)
    ]
    insert_adapters(at.database, rows)
    at.fake.loras = list(BOTH.values())
    return [row["id"] for row in rows]


def generate(at: Studio, path: str = "generate", **question: Any) -> httpx.Response:
    return at.client.post(f"{API}/{path}", json={**ASKED, **question})


def problem(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    content: dict[str, Any] = response.json()
    return content


# From the request to the pictures.


@pytest.mark.parametrize("dialect", ["sqlite", "postgresql"])
def test_a_queued_generation_with_two_loras_from_the_request_to_the_bytes_of_the_server(
    request: pytest.FixtureRequest,
    dialect: str,
    settings_for: Callable[..., Settings],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    with scratch_database(request, tmp_path, dialect) as database, studio(database, settings_for, monkeypatch) as place:
        at, url = place
        at.fake.step_seconds = 0.05
        ids = two_loras(at)
        with at.working(), listening(at.client) as socket:
            hear(socket, "hello")
            adapters = [{"id": ids[0], "weight": 0.8}, {"lora_id": ids[1]}]
            job_id = at.queue(steps=12, n_iter=2, lora_adapters=adapters)
            progress = []
            while (message := hear(socket, None))["type"] != "generation_complete":
                if message["type"] == "generation_progress":
                    progress.append(message)
        assert {message["job_id"] for message in progress} == {job_id}
        assert [each["progress"] for each in progress] == sorted(each["progress"] for each in progress)
        assert any(0 < each["progress"] < 100 and each["steps"] == 12 for each in progress)
        images = message["result"]["images"]
        (sent,) = at.sent()
        assert sent["prompt"] == "a knight <lora:styles/ink-dragon:0.8> <lora:red-cape:1>"
        assert images == at.made(url, sent)
        assert len(images) == 2
        shown = at.job(job_id)
        assert (shown["status"], shown["progress"], shown["result"]["images"]) == ("completed", 100, images)
        assert [each["lora_id"] for each in shown["lora_report"]["applied"]] == ids
        assert [each["id"] for each in shown["params"]["lora_adapters"]] == ids
        for image, address in zip(images, shown["result"]["image_urls"], strict=True):
            assert at.client.get(address).content == base64.b64decode(image)


def test_a_request_waits_for_its_pictures(place: tuple[Studio, str]) -> None:
    at, url = place
    with at.working():
        answer = generate(at, sampler_name="Euler a", batch_size=2, vae_type="Tiny")
    assert answer.status_code == httpx.codes.OK, answer.text
    content = answer.json()
    (sent,) = at.sent()
    assert sent["vae_type"] == "Tiny"  # a parameter of the server's that nothing here knows
    assert content["images"] == at.made(url, sent)
    assert (content["status"], content["backend"], content["prompt"]) == ("completed", "sdnext", "a knight")
    assert content["parameters"]["sampler_name"] == "Euler a"
    assert content["info"]["all_seeds"] == [7, 8]
    assert content["generation_time"] > 0
    assert content["lora_report"]["applied"] == []
    assert at.job(content["job_id"])["result"]["images"] == content["images"]


def test_composing_and_generating_in_one_request(at: Studio) -> None:
    ids = two_loras(at)
    with at.working():
        given = {"prefix": "a knight", "suffix": "at dawn", "include_triggers": True, "adapters": [ids[0]], **SMALL}
        answer = at.client.post(f"{API}/compose-and-generate", json=given)
        nothing = at.client.post(f"{API}/compose-and-generate", json={"prompt": "a horse", **SMALL})
    content = answer.json()
    assert content["prompt"] == "a knight <lora:Ink Dragon:1> trigger1 at dawn"
    assert content["composition"]["tokens"] == ["<lora:Ink Dragon:1>"]
    assert content["composition"]["prompt"] == content["prompt"]
    assert at.sent()[0]["prompt"] == "a knight <lora:styles/ink-dragon:1> trigger1 at dawn"
    # None of what says how to compose reaches the server.
    assert at.sent()[0].keys() & {"prefix", "suffix", "include_triggers", "adapters", "lora_adapters"} == set()
    assert nothing.json()["prompt"] == "a horse"
    assert any("no adapter is active" in warning for warning in nothing.json()["warnings"])


def test_what_is_waited_for_comes_before_what_is_queued(at: Studio) -> None:
    queued = at.queue()
    waiting = threading.Thread(target=generate, args=(at,), kwargs={"prompt": "a queen"})
    waiting.start()
    until(lambda: at.client.get(f"{API}/jobs").json()["total"] == 2)
    with at.working():
        waiting.join(30)
        at.finished(queued)
    assert [body["prompt"] for body in at.sent()] == ["a queen", "a knight"]


# What can go wrong.


@pytest.mark.parametrize(
    ("mishap", "status", "failure"),
    [
        (Mishap.EXCEPTION, 502, "error"),
        (Mishap.HANG_UP, 502, "lost"),
        (Mishap.OUT_OF_MEMORY, 502, "no_picture"),
        (Mishap.NO_MODEL, 502, "no_picture"),
    ],
)
def test_a_failure_of_the_server_is_a_problem_that_names_the_job(
    at: Studio, mishap: Mishap, status: int, failure: str
) -> None:
    at.fake.mishaps.append(mishap)
    with at.working():
        content = problem(generate(at), status)
    assert content["failure"] == failure
    shown = at.job(content["job_id"])
    assert (shown["status"], shown["failure"], shown["result"]) == ("failed", failure, None)
    assert shown["error"] in content["detail"]


def test_what_the_server_does_not_take_is_a_422(at: Studio) -> None:
    with at.working():
        content = problem(generate(at, sampler_name="Nonsense"), 422)
    assert (content["failure"], content["errors"][0]["type"]) == ("refused", "refused")
    assert "Sampler not found" in content["detail"]


def test_strict_loras_fail_and_say_which(at: Studio) -> None:
    (known, _) = two_loras(at)
    at.fake.loras = []
    with at.working():
        content = problem(generate(at, lora_adapters=[known], strict_loras=True), 422)
        lenient = generate(at, lora_adapters=[known]).json()
    assert content["failure"] == "loras"
    assert "Ink Dragon" in content["detail"]
    assert at.job(content["job_id"])["lora_report"]["unknown"][0]["name"] == "Ink Dragon"
    assert lenient["lora_report"]["unknown"][0]["name"] == "Ink Dragon"
    assert any("Ink Dragon" in warning for warning in lenient["warnings"])


def test_a_server_that_is_down_is_a_502_and_one_that_is_slow_a_504(
    sqlite_database: Database, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    dead = {"sdnext_url": "http://127.0.0.1:9"}
    with studio(sqlite_database, settings_for, monkeypatch, **dead) as (at, _), at.working():
        assert problem(generate(at), 502)["failure"] == "unreachable"
    limits = {"generation_timeout_seconds": 0.5}
    with studio(sqlite_database, settings_for, monkeypatch, **limits) as (at, _), at.working():
        at.fake.step_seconds = 0.05
        assert problem(generate(at, steps=150), 504)["failure"] == "timeout"


def test_a_wait_that_ends_before_the_generation_names_the_job_which_goes_on(
    sqlite_database: Database, settings_for: Callable[..., Settings], monkeypatch: pytest.MonkeyPatch
) -> None:
    with studio(sqlite_database, settings_for, monkeypatch, generate_wait_seconds=0.2) as (at, _):
        content = problem(generate(at), 504)
        assert content["type"].endswith(":generation-unfinished")
        assert content["job_id"] in content["detail"]
        assert at.job(content["job_id"])["status"] == "queued"
        with at.working():
            assert at.finished(content["job_id"]).status == "succeeded"


def _hang_up(at: Studio, when: Callable[[], bool], **headers: str) -> str:
    """Ask for pictures and hang up as soon as something is true; the id of the job."""
    address = at.client.base_url
    connection = HTTPConnection(address.host, address.port)
    body = json.dumps(ASKED | {"steps": 150})
    connection.request("POST", f"{API}/generate", body, {"Content-Type": "application/json", **headers})
    until(when)
    connection.close()
    (item,) = at.client.get(f"{API}/jobs", params={"limit": 1}).json()["items"]
    job_id: str = item["id"]
    return job_id


def test_hanging_up_cancels_the_generation(at: Studio) -> None:
    at.fake.step_seconds = 0.05
    with at.working():
        assert at.finished(_hang_up(at, lambda: bool(at.sent()))).status == "cancelled"
    assert at.fake.interrupts_taken >= 1


def test_hanging_up_with_a_key_leaves_it_to_be_asked_for_again(at: Studio) -> None:
    key = {"Idempotency-Key": "again"}
    job_id = _hang_up(at, lambda: at.client.get(f"{API}/jobs").json()["total"] == 1, **key)
    time.sleep(0.3)
    assert show(at.database, job_id).cancel_requested is False
    at.fake.step_seconds = 0.001
    with at.working():
        again = at.client.post(f"{API}/generate", json=ASKED | {"steps": 150}, headers=key)
    assert (again.status_code, again.json()["job_id"]) == (200, job_id)
    assert len(at.sent()) == 1


def test_one_that_somebody_cancels_is_a_409_for_who_waits(at: Studio) -> None:
    answers: list[httpx.Response] = []
    waiting = threading.Thread(target=lambda: answers.append(generate(at)))
    waiting.start()
    until(lambda: at.client.get(f"{API}/jobs").json()["total"] == 1)
    (active,) = at.client.get(f"{API}/jobs/active").json()
    assert at.client.post(f"{API}/jobs/{active['id']}/cancel").json()["success"] is True
    waiting.join(30)
    assert problem(answers[0], 409)["job_id"] == active["id"]


# Requests that are refused.


def test_large_pictures_reach_the_backend_and_no_list(at: Studio) -> None:
    image = base64.b64encode(bytes(100_000)).decode()
    with at.working():
        job_id = at.queue(init_images=[image])
        assert at.finished(job_id).status == "succeeded"
    (sent,) = [body for _, path, body in at.fake.requests if path.endswith("img2img")]
    assert sent["init_images"] == [image]
    for path in (f"{API}/jobs", f"{API}/jobs/{job_id}", "/api/v1/deliveries", f"/api/v1/deliveries/{job_id}"):
        text = at.client.get(path).text
        assert f'"bytes":{len(image)}' in text, path
        assert image[:200] not in text, path


@pytest.mark.parametrize(
    ("question", "loc"),
    [
        ({"prompt": None}, ["body", "prompt"]),
        ({"prompt": 5}, ["body", "prompt"]),
        ({"prompt": "a\x00b"}, ["body", "prompt"]),
        ({"prompt": "x" * 100_001}, ["body", "prompt"]),
        ({"steps": 0}, ["body", "steps"]),
        ({"steps": 151}, ["body", "steps"]),
        ({"steps": "many"}, ["body", "steps"]),
        ({"steps": 2**70}, ["body", "steps"]),
        ({"seed": 2**32}, ["body", "seed"]),
        ({"width": 63}, ["body", "width"]),
        ({"height": 4097}, ["body", "height"]),
        ({"cfg_scale": -1}, ["body", "cfg_scale"]),
        ({"batch_size": 16, "n_iter": 100}, ["body"]),
        ({"backend": "http"}, ["body", "backend"]),
        ({"backend": "fax"}, ["body", "backend"]),
        ({"backend": "a1111"}, ["body", "backend"]),
        ({"outpath_samples": "/etc"}, ["body", "outpath_samples"]),
        ({"init_images": ["http://169.254.169.254/"]}, ["body", "init_images", 0]),
        ({"extra": {"a": 2**70}}, ["body", "extra", "a"]),
        ({"extra": {"a": "\x00"}}, ["body", "extra", "a"]),
        ({"extra": {"$attached": "0" * 64}}, ["body"]),
        ({"lora_adapters": ["nobody"]}, ["body", "lora_adapters", 0, "id"]),
        ({"lora_adapters": [{"id": "x", "weight": 5_000}]}, ["body", "lora_adapters", 0, "weight"]),
        ({"lora_adapters": [{"weight": 1}]}, ["body", "lora_adapters", 0, "id"]),
        ({"lora_adapters": 5}, ["body", "lora_adapters"]),
    ],
)
def test_what_cannot_be_generated_is_refused_where_it_is_wrong(at: Studio, question: Any, loc: list[Any]) -> None:
    for path in ("generate", "queue-generation"):
        content = problem(generate(at, path, **question), 422)
        assert content["errors"][0]["loc"] == loc
    assert at.client.get(f"{API}/jobs").json()["total"] == 0


@pytest.mark.parametrize("levels", [65, 500, 5_000])
def test_parameters_nested_without_end_are_refused(at: Studio, levels: int) -> None:
    nested = b'{"prompt": "a", "extra": ' + b"[" * levels + b"]" * levels + b"}"
    for path in ("generate", "queue-generation", "compose-and-generate"):
        answer = at.client.post(f"{API}/{path}", content=nested, headers={"Content-Type": "application/json"})
        problem(answer, 422)
    delivery = b'{"prompt": "a", "mode": "http", "params": {"url": "http://x/", "body": ' + nested + b"}}"
    answer = at.client.post("/api/v1/deliveries", content=delivery, headers={"Content-Type": "application/json"})
    problem(answer, 422)


@pytest.mark.parametrize("number", [b"NaN", b"-Infinity", b"1e999"])
def test_what_is_no_number_is_refused_and_not_taken_for_nothing(at: Studio, number: bytes) -> None:
    for path in ("generate", "queue-generation", "compose-and-generate"):
        body = b'{"prompt": "a", "extra": {"deep": [' + number + b"]}}"
        problem(at.client.post(f"{API}/{path}", content=body, headers={"Content-Type": "application/json"}), 422)


def test_half_a_character_is_refused_wherever_it_is(at: Studio) -> None:
    for extra in (rb'{"\ud800": 1}', rb'{"deep": [{"\udfff x": 1}]}', rb'{"deep": "\ud800"}'):
        generation = b'{"prompt": "a", "extra": ' + extra + b"}"
        for path in ("generate", "queue-generation"):
            answer = at.client.post(f"{API}/{path}", content=generation, headers={"Content-Type": "application/json"})
            problem(answer, 422)
        composed = b'{"prefix": "a", "extra": ' + extra + b"}"
        path = f"{API}/compose-and-generate"
        problem(at.client.post(path, content=composed, headers={"Content-Type": "application/json"}), 422)


@pytest.mark.parametrize(
    "question",
    [
        {"prefix": "a", "prompt": "b"},
        {"adapters": [], "lora_adapters": []},
        {"delivery": {"mode": "http"}},
        {"prefix": "x" * 20_001},
        {"steps": 0},
    ],
)
def test_what_cannot_be_composed_is_refused(at: Studio, question: Any) -> None:
    problem(at.client.post(f"{API}/compose-and-generate", json=question), 422)
    assert at.client.get(f"{API}/jobs").json()["total"] == 0


def test_without_a_backend_the_setting_is_named(sqlite_client: httpx.Client) -> None:
    answer = sqlite_client.post(f"{API}/queue-generation", json=ASKED)
    assert "LORA_MANAGER_SDNEXT_URL" in problem(answer, 503)["detail"]
    assert sqlite_client.get(f"{API}/backends").json() == {"backends": [], "details": []}


def test_the_ranges_that_are_told_are_those_of_the_backends() -> None:
    for name in ("sdnext", "a1111"):
        properties = plugins()[name].params.model_json_schema()["properties"]
        told = {name: (properties[name]["minimum"], properties[name]["maximum"]) for name in RANGES}
        assert told == RANGES


def test_the_same_key_gives_the_same_job(at: Studio) -> None:
    def queue(key: str, **question: Any) -> httpx.Response:
        return at.client.post(f"{API}/queue-generation", json={**ASKED, **question}, headers={"Idempotency-Key": key})

    ids = two_loras(at)
    first = queue("one", lora_adapters=[ids[0]])
    at.client.patch(f"/api/v1/adapters/{ids[0]}", json={"weight": 0.5})
    assert queue("one", lora_adapters=[ids[0]]).json()["job_id"] == first.json()["job_id"]
    assert problem(queue("one", lora_adapters=[ids[1]]), 422)["errors"][0]["type"] == "key_reused"
    assert queue("two").json()["job_id"] != first.json()["job_id"]


# Jobs.


def test_a_delivery_to_a_generator_is_a_generation_under_the_same_id(at: Studio) -> None:
    created = at.client.post("/api/v1/deliveries", json={"prompt": "a knight", "mode": "sdnext", "params": SMALL})
    job_id = created.json()["delivery_id"]
    other = at.client.post("/api/v1/deliveries", json={"prompt": "p", "mode": "cli"}).json()["delivery_id"]
    assert at.job(job_id)["status"] == "queued"
    queued = at.queue()
    assert at.client.get(f"/api/v1/deliveries/{queued}").json()["status"] == "pending"
    with at.working():
        at.finished(queued)
    for key in (job_id, queued):
        delivery = at.client.get(f"/api/v1/deliveries/{key}").json()
        assert (delivery["status"], delivery["kind"]) == ("succeeded", "generation")
        assert delivery["result"]["images"] == at.job(key)["result"]["images"]
    listed = at.client.get(f"{API}/jobs", params={"status": "completed"}).json()
    assert [item["id"] for item in listed["items"]] == [queued, job_id]
    assert all("images" not in item["result"] and item["result"]["image_urls"] for item in listed["items"])
    assert at.client.get(f"{API}/jobs/{other}").status_code == httpx.codes.NOT_FOUND
    assert at.client.post(f"{API}/jobs/{other}/cancel").status_code == httpx.codes.NOT_FOUND
    stats = at.client.get("/api/v1/dashboard/stats").json()
    assert stats["stats"]["deliveries_by_status"] == {
        "pending": 1,
        "running": 0,
        "succeeded": 2,
        "failed": 0,
        "cancelled": 0,
    }
    assert (stats["system_health"]["queue_status"], stats["system_health"]["queue_length"]) == ("active", 1)


def test_progress_and_cancelling_of_one_that_runs(at: Studio) -> None:
    at.fake.step_seconds = 0.1
    first, second = at.queue(steps=100), at.queue()
    with at.working():
        until(lambda: (at.client.get(f"{API}/progress/{first}").json()["step"] or 0) > 1)
        progress = at.client.get(f"{API}/progress/{first}").json()
        assert (progress["job_id"], progress["status"], progress["steps"]) == (first, "running", 100)
        assert 0 < progress["progress"] < 100
        waiting = at.client.get(f"{API}/progress/{second}").json()
        assert waiting == {
            "job_id": second,
            "progress": 0,
            "status": "queued",
            "eta": None,
            "step": None,
            "steps": None,
        }
        active = at.client.get(f"{API}/jobs/active").json()
        assert [(item["id"], item["status"]) for item in active] == [(second, "queued"), (first, "running")]
        assert at.client.post(f"{API}/jobs/{second}/cancel").json()["status"] == "cancelled"
        asked = at.client.post(f"{API}/jobs/{first}/cancel").json()
        assert (asked["success"], asked["status"], asked["cancel_requested"]) == (True, "running", True)
        assert at.finished(first).status == "cancelled"
    assert at.client.get(f"{API}/jobs/active").json() == []
    assert at.client.post(f"{API}/jobs/{first}/cancel").status_code == httpx.codes.OK
    assert at.client.get(f"{API}/progress/{first}").json()["eta"] is None


@pytest.mark.parametrize("job_id", ["0190a6f2-7c1e-7b5a-9c55-0b8f6f2f7f11", "nobody", "%00"])
def test_nobodys_job_is_not_found(sqlite_client: httpx.Client, job_id: str) -> None:
    for path in (f"jobs/{job_id}", f"progress/{job_id}", f"results/{job_id}", f"results/{job_id}/download"):
        problem(sqlite_client.get(f"{API}/{path}"), 404)
    problem(sqlite_client.post(f"{API}/jobs/{job_id}/cancel"), 404)
    problem(sqlite_client.delete(f"{API}/results/{job_id}"), 404)
    problem(sqlite_client.put(f"{API}/results/{job_id}/rating", json={"rating": 3}), 404)


def test_parameters_may_stand_one_level_deeper_as_other_front_ends_send_them(at: Studio) -> None:
    nested = {"generation_params": {**SMALL, "prompt": "another"}, "mode": "immediate"}
    delivery = {"mode": "sdnext", "sdnext": nested}
    composed = at.client.post("/api/v1/compose", json={"prefix": "a knight", "delivery": delivery}).json()
    with at.working():
        at.finished(composed["delivery"]["id"])
    (sent,) = at.sent()
    assert (sent["prompt"], sent["steps"], sent["seed"]) == ("a knight", SMALL["steps"], SMALL["seed"])
    wrong = {"prompt": "a", "mode": "sdnext", "params": {"generation_params": {"steps": 0}}}
    problem(at.client.post("/api/v1/deliveries", json=wrong), 422)


def test_a_composed_prompt_is_delivered(at: Studio) -> None:
    (known, _) = two_loras(at)
    body = {"prefix": "a knight", "adapters": [{"id": known}], "delivery": {"mode": "sdnext", "sdnext": SMALL}}
    answer = at.client.post("/api/v1/compose", json=body).json()
    assert answer["delivery"]["status"] == "pending"
    with at.database.read() as connection:
        (row,) = connection.execute(select(Job.id, Job.prompt, Job.params, Job.mode)).all()
    assert tuple(row) == (answer["delivery"]["id"], answer["prompt"], SMALL, "sdnext")
    for delivery, loc in (
        ({"mode": "sdnext", "steps": 0}, ["body", "delivery", "steps"]),
        ({"mode": "http"}, ["body", "delivery"]),
    ):
        refused = at.client.post("/api/v1/compose", json={"delivery": delivery})
        assert problem(refused, 422)["errors"][0]["loc"] == loc
    assert at.client.get("/api/v1/deliveries").json()["total"] == 1


# Backends.


def _plugin(name: str, describe: Any) -> BackendPlugin:
    base = plugins()["sdnext"]
    return BackendPlugin(name, "…", JobKind.GENERATION, base.params, base.open, describe=describe)


def test_backends_say_what_they_are_together_and_within_their_time(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backends, "PATIENCE", 0.3)
    asked: list[str] = []

    async def fine(_settings: Settings) -> Description:
        asked.append("fine")
        return Description("1.0", ["tiny"], ["Euler a"])

    async def down(_settings: Settings) -> Description:
        raise UnavailableError("it cannot be reached")

    async def silent(_settings: Settings) -> Description:
        await asyncio.sleep(60)
        return Description()

    async def defective(_settings: Settings) -> Description:
        raise ZeroDivisionError("/home/secret")

    hooks = {"sdnext": silent, "zeta": fine, "comfyui": down, "alpha": defective, "mute": None}
    installed = {name: _plugin(name, hook) for name, hook in hooks.items()} | {"http": plugins()["http"]}

    async def ask() -> list[tuple[str, Any, str | None]]:
        asking = Backends(settings, installed)
        await asking.reports()
        return [(each.plugin.name, each.reachable, each.error) for each in await asking.reports()]

    assert asyncio.run(ask()) == [
        ("sdnext", False, "no answer within 0.3 s"),
        ("comfyui", False, "it cannot be reached"),
        ("alpha", False, "unexpected error; the log has it"),
        ("mute", None, "this backend cannot be asked; a generation shows whether it works"),
        ("zeta", True, None),
    ]
    assert asked == ["fine"]


def test_backends_are_listed_both_ways_for_readers(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    client = serve(sqlite_database, api_keys=KEYS, sdnext_url="http://127.0.0.1:9", a1111_url="http://127.0.0.1:9")
    reader = {"X-API-Key": "reader-secret"}
    answer = client.post(f"{API}/backends", headers=reader)
    assert answer.json()["backends"] == ["sdnext", "a1111"]
    assert [each["is_default"] for each in answer.json()["details"]] == [True, False]
    assert client.get(f"{API}/backends", headers=reader).json() == answer.json()
    assert client.get(f"{API}/backends").status_code == httpx.codes.UNAUTHORIZED
    asked = client.post(f"{API}/queue-generation", json=ASKED, headers=reader)
    assert asked.status_code == httpx.codes.FORBIDDEN
    assert client.get(f"{API}/results", headers=reader).status_code == httpx.codes.OK


def test_a_digest_is_of_the_bytes(at: Studio) -> None:
    job_id = at.queue()
    with at.working():
        at.finished(job_id)
    result = at.job(job_id)["result"]
    digest = hashlib.sha256(base64.b64decode(result["images"][0])).hexdigest()
    assert result["image_urls"][0].startswith(f"{API}/images/{digest}?")
