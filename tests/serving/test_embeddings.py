"""Computing vectors over HTTP: one adapter, a few, and many, which is a run of Dagster."""

import http.server
import json
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
import pytest
from pydantic import TypeAdapter
from sqlalchemy import func, select, update

from serving.schemas.recommendations import EmbeddingBatch, EmbeddingComputed
from tests.serving.test_recommendations import WEIGHTS, Library, names, served
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.contracts import Tag
from warehouse.engine import Database
from warehouse.models import Adapter, Embedding
from warehouse.settings import Settings
from warehouse.vectors.work import compute_embeddings

UNKNOWN = "0190a6f2-0000-7000-8000-000000000000"


@pytest.fixture
def library(database: Database, settings_for: Callable[..., Settings]) -> Iterator[Library]:
    yield from served(database, settings_for(database))


def compute(client: httpx.Client, adapter_id: str, **body: Any) -> dict[str, Any]:
    response = client.post("/api/v1/recommendations/embeddings/compute", json={"lora_id": adapter_id, **body})
    assert response.status_code == 200, response.text
    answer: dict[str, Any] = response.json()
    TypeAdapter(EmbeddingComputed).validate_python(answer)
    return answer


def batch(client: httpx.Client, ids: list[str], **body: Any) -> dict[str, Any]:
    response = client.post("/api/v1/recommendations/embeddings/batch", json={"lora_ids": ids, **body})
    assert response.status_code == 202, response.text
    answer: dict[str, Any] = response.json()
    TypeAdapter(EmbeddingBatch).validate_python(answer)
    return answer


def counts(answer: dict[str, Any]) -> tuple[int, int, int]:
    return answer["processed_count"], answer["skipped_count"], answer["failed_count"]


def insert(database: Database, count: int) -> list[str]:
    rows = [adapter_values(number, tags=["dragon"]) for number in range(1_000, 1_000 + count)]
    insert_adapters(database, rows)
    return [row["id"] for row in rows]


def vectors(database: Database) -> int:
    with database.read() as connection:
        return connection.execute(select(func.count()).select_from(Embedding)).scalar_one()


def test_an_adapter_is_computed_as_a_run_would_and_found_at_once(library: Library) -> None:
    new = adapter_values(100, name="Dragon Rider", tags=["dragon"])
    insert_adapters(library.database, [new])
    assert "Dragon Rider" not in names(library.similar(0, similarity_threshold=0))
    answer = compute(library.client, new["id"])
    assert (answer["lora_id"], answer["status"]) == (new["id"], "completed")
    stats = answer["embedding_stats"]
    assert (stats["computed"], stats["embedding_count"], stats["error"]) == (True, 3, None)
    assert stats["spaces"].keys() == set(WEIGHTS)
    assert 0 < stats["quality_score"] <= 1
    assert "Dragon Rider" in names(library.similar(0, similarity_threshold=0))
    for space in WEIGHTS:
        assert compute_embeddings(library.database, library.settings, space).changed == 0
    status = library.client.get(f"/api/v1/recommendations/embeddings/{new['id']}/status").json()
    assert status["last_computed"] == stats["last_computed"]

    again = compute(library.client, new["id"].upper())
    assert (again["status"], again["embedding_stats"]["computed"]) == ("completed", False)
    assert again["embedding_stats"]["last_computed"] == stats["last_computed"]
    forced = compute(library.client, new["id"], force_recompute=True)["embedding_stats"]
    assert forced["computed"]
    assert forced["last_computed"] > stats["last_computed"]
    assert "Dragon Rider" in names(library.similar(0, similarity_threshold=0))


def test_an_edited_adapter_is_computed_again(library: Library) -> None:
    with library.database.write() as connection:
        edited = (
            update(Adapter).where(Adapter.id == library.ids[7]).values(name="Ink Dragon Skin", content_digest="new")
        )
        connection.execute(edited)
    before = {item["lora_id"]: item for item in library.similar(0, similarity_threshold=0)["recommendations"]}
    assert compute(library.client, library.ids[7])["embedding_stats"]["computed"]
    after = {item["lora_id"]: item for item in library.similar(0, similarity_threshold=0)["recommendations"]}
    key = library.ids[7]
    assert after[key]["semantic_similarity"] > before[key]["semantic_similarity"] + 0.1


def test_many_at_once_compute_the_same_adapter(library: Library) -> None:
    new = insert(library.database, 2)
    with ThreadPoolExecutor(8) as pool:
        one = [pool.submit(compute, library.client, new[0], force_recompute=True) for _ in range(6)]
        both = [pool.submit(batch, library.client, new, force_recompute=True) for _ in range(3)]
    assert {future.result()["status"] for future in one} == {"completed"}
    assert {counts(future.result()) for future in both} == {(2, 0, 0)}
    assert vectors(library.database) == 3 * (len(library.ids) + 2)


def test_a_few_are_computed_inside_the_call(library: Library) -> None:
    new = insert(library.database, 3)
    hostile = ["not an id", "\x00", "' OR 1=1 --", UNKNOWN]
    answer = batch(library.client, [*new, new[0].upper(), library.ids[0], *hostile, UNKNOWN])
    assert counts(answer) == (3, 1, 4)
    assert [failure["lora_id"] for failure in answer["failures"]] == [text.lower() for text in hostile]
    assert {failure["reason"] for failure in answer["failures"]} == {"there is no such adapter"}
    assert (answer["run_id"], answer["queued_count"]) == (None, 0)
    assert counts(batch(library.client, new)) == (0, 3, 0)
    assert counts(batch(library.client, new, force_recompute=True)) == (3, 0, 0)
    alias = library.client.post("/api/recommendations/embeddings/batch", json={"lora_ids": new})
    assert (alias.status_code, counts(alias.json())) == (202, (0, 3, 0))


def test_what_is_no_question_is_named(sqlite_client: httpx.Client) -> None:
    for path, body in (
        ("compute", {}),
        ("compute", {"lora_id": None}),
        ("compute", {"lora_id": 5}),
        ("compute", {"lora_id": UNKNOWN, "force": True}),
        ("compute", {"lora_id": "x" * 201}),
        ("batch", {}),
        ("batch", {"lora_ids": []}),
        ("batch", {"lora_ids": UNKNOWN}),
        ("batch", {"lora_ids": [None]}),
        ("batch", {"lora_ids": [UNKNOWN] * 10_001}),
        ("batch", {"lora_ids": [UNKNOWN], "force_recompute": "maybe"}),
    ):
        response = sqlite_client.post(f"/api/v1/recommendations/embeddings/{path}", json=body)
        assert (response.status_code, bool(response.json()["errors"])) == (422, True), (path, str(body)[:80])
    for unknown in (UNKNOWN, "nobody", "\x00", ""):
        response = sqlite_client.post("/api/v1/recommendations/embeddings/compute", json={"lora_id": unknown})
        assert (response.status_code, response.headers["content-type"]) == (404, "application/problem+json"), unknown


def test_a_model_that_is_not_there_is_a_failure_with_its_reason(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    client = serve(sqlite_database, embedding_model_artistic="/nowhere/at/all")
    [known] = insert(sqlite_database, 1)
    answer = compute(client, known)
    assert answer["status"] == "failed"
    assert "lora-manager doctor" in answer["embedding_stats"]["error"]
    assert "nowhere" not in json.dumps(answer)
    assert counts(batch(client, [known])) == (0, 0, 1)
    unknown = client.post("/api/v1/recommendations/embeddings/compute", json={"lora_id": UNKNOWN})
    assert unknown.status_code == 404


# Many: a run --------------------------------------------------------------------------------------------------------


class Dagster:
    """A stand-in for Dagster's webserver on a real socket, which answers what a test tells it to."""

    def __init__(self) -> None:
        self.asked: list[dict[str, Any]] = []
        self.answer: Any = {"data": {"launchRun": {"__typename": "LaunchRunSuccess", "run": {"runId": "run-1"}}}}
        dagster = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["content-length"])))
                if "variables" in body:
                    dagster.asked.append(body["variables"]["parameters"])
                content = dagster.answer if isinstance(dagster.answer, bytes) else json.dumps(dagster.answer).encode()
                self.send_response(200)
                self.send_header("content-length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, *_: object) -> None:
                pass

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        self.url = f"http://127.0.0.1:{self.server.server_port}"

    def close(self) -> None:
        """Refuse connections from now on."""
        self.server.shutdown()
        self.server.server_close()


@pytest.fixture
def dagster() -> Iterator[Dagster]:
    standing_in = Dagster()
    yield standing_in
    standing_in.close()


def test_many_become_a_run_of_those_that_are_due(
    sqlite_database: Database, serve: Callable[..., httpx.Client], dagster: Dagster
) -> None:
    client = serve(sqlite_database, dagster_url=dagster.url)
    new = insert(sqlite_database, 70)
    assert counts(batch(client, new[:2])) == (2, 0, 0)
    before = vectors(sqlite_database)
    response = client.post(
        "/api/v1/recommendations/embeddings/batch",
        json={"lora_ids": [*new, UNKNOWN]},
        headers={"X-Request-ID": "my-request"},
    )
    answer = response.json()
    assert (response.status_code, counts(answer), answer["queued_count"]) == (202, (0, 2, 1), 68)
    assert answer["run_id"] == "run-1"
    # What it says of its daemons is not what was asked: nobody claims that the run starts.
    assert "daemon" in answer["note"]
    assert vectors(sqlite_database) == before
    [parameters] = dagster.asked
    assert parameters["selector"]["jobName"] == "refresh_vectors"
    tags = {tag["key"]: tag["value"] for tag in parameters["executionMetadata"]["tags"]}
    assert tags == {Tag.TRIGGER: "api", Tag.REQUEST: "my-request"}
    configs = [op["config"] for op in parameters["runConfigData"]["ops"].values()]
    assert len(configs) == 3
    assert all(config == {"force": False, "adapter_ids": sorted(new[2:])} for config in configs)


def test_without_dagster_many_are_refused_and_said_to_be(
    sqlite_database: Database, serve: Callable[..., httpx.Client], dagster: Dagster
) -> None:
    new = insert(sqlite_database, 70)
    client = serve(sqlite_database, dagster_url=dagster.url)
    refusals: list[Any] = [
        {"data": {"launchRun": {"__typename": "PythonError", "message": "/secret/path exploded"}}},
        {"data": {"launchRun": {"__typename": "PipelineNotFoundError", "message": "no job"}}},
        {"data": None, "errors": [{"message": "/secret/path"}]},
        [],
        b"<html>/secret/path</html>",
    ]
    for refusal in refusals:
        dagster.answer = refusal
        response = client.post("/api/v1/recommendations/embeddings/batch", json={"lora_ids": new})
        assert (response.status_code, response.headers["retry-after"]) == (503, "10"), refusal
        assert response.json()["type"] == "urn:lora-manager:problem:dagster-not-ready"
        assert "more than 32 adapters are due" in response.json()["detail"]
        assert "secret" not in response.text
    dagster.close()
    response = client.post("/api/v1/recommendations/embeddings/batch", json={"lora_ids": new})
    assert response.status_code == 503
    assert vectors(sqlite_database) == 0
    # Few need no run.
    assert counts(batch(client, new[:3])) == (3, 0, 0)
