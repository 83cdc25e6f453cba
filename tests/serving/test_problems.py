"""Whatever goes wrong leaves as problem details, with a request id and without secrets of the machine."""

import logging
import socket
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from serving import problems
from serving.middleware import MAX_BODY_BYTES
from serving.problems import ProblemDetails
from warehouse.queries import pages


def problem_of(response: httpx.Response, status: int) -> dict[str, Any]:
    assert response.status_code == status, response.text
    assert response.headers["content-type"] == "application/problem+json"
    problem: dict[str, Any] = response.json()
    ProblemDetails.model_validate(problem)
    assert problem["status"] == status
    assert problem["request_id"] == response.headers["x-request-id"]
    return problem


@pytest.mark.parametrize("path", ["/nothing", "/api", "/api/v1/nothing", "/api/v2/adapters", "/static/nothing.js"])
def test_unknown_routes(sqlite_client: httpx.Client, path: str) -> None:
    assert problem_of(sqlite_client.get(path), 404)["instance"] == path


def test_methods_that_a_path_has_not(sqlite_client: httpx.Client) -> None:
    response = sqlite_client.post("/api/v1/dashboard/stats")
    problem_of(response, 405)
    assert response.headers["allow"] == "GET, HEAD"


def test_the_methods_of_a_path_are_those_of_all_its_routes() -> None:
    app = FastAPI()
    problems.install(app)

    @app.get("/things/{number}")
    async def get(number: int) -> int:
        return number

    @app.delete("/things/{number}")
    async def delete(number: int) -> int:
        return number

    with TestClient(app) as client:
        assert client.put("/things/1").headers["allow"] == "DELETE, GET, HEAD"


def test_malformed_json(sqlite_client: httpx.Client) -> None:
    response = sqlite_client.post(
        "/api/v1/recommendations/prompt", content=b'{"prompt": ', headers={"content-type": "application/json"}
    )
    assert problem_of(response, 422)["errors"][0]["type"] == "json_invalid"


@pytest.mark.parametrize("body", [b'{"prompt": "\xff"}', b"[" * 100_000, b'{"limit": ' + b"9" * 5_000 + b"}"])
def test_json_that_cannot_be_read_is_told_like_any_other(sqlite_client: httpx.Client, body: bytes) -> None:
    response = sqlite_client.post(
        "/api/v1/recommendations/prompt", content=body, headers={"content-type": "application/json"}
    )
    (error,) = problem_of(response, 422)["errors"]
    assert (error["loc"], error["type"]) == (["body"], "json_invalid")


@pytest.mark.parametrize("media_type", ["", "text/plain", "application/x-www-form-urlencoded"])
def test_a_body_that_is_no_json_is_told_what_to_say(sqlite_client: httpx.Client, media_type: str) -> None:
    headers = {"content-type": media_type} if media_type else {}
    response = sqlite_client.post("/api/v1/recommendations/prompt", content=b'{"prompt": "x"}', headers=headers)
    assert "Content-Type: application/json" in problem_of(response, 422)["detail"]


def test_a_body_without_end_is_refused(sqlite_client: httpx.Client) -> None:
    def chunks() -> Iterator[bytes]:
        yield b'{"prompt": "'
        for _ in range(MAX_BODY_BYTES // 2**20 + 1):
            yield b"x" * 2**20
        yield b'"}'

    headers = {"content-type": "application/json"}
    streamed = sqlite_client.post("/api/v1/recommendations/prompt", content=chunks(), headers=headers)
    assert problem_of(streamed, 413)["title"] == "Content Too Large"


def test_a_body_that_announces_too_much_is_not_read(sqlite_client: httpx.Client) -> None:
    with socket.create_connection((sqlite_client.base_url.host, sqlite_client.base_url.port or 0), timeout=30) as raw:
        raw.sendall(
            b"POST /api/v1/recommendations/prompt HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n" % (MAX_BODY_BYTES + 1)
        )
        assert raw.recv(4096).startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize("path", ["/api/v1/adapters", "/api/v1/adapters/tags", "/api/dashboard/stats", "/health", "/"])
def test_head_is_get_without_the_body(sqlite_client: httpx.Client, path: str) -> None:
    head, get = sqlite_client.head(path), sqlite_client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_of_what_has_no_get(sqlite_client: httpx.Client) -> None:
    response = sqlite_client.head("/api/v1/recommendations/prompt")
    assert (response.status_code, response.headers["allow"], response.content) == (405, "POST", b"")


@pytest.mark.parametrize(("asked", "status"), [("bytes=9999999-", 416), ("bytes=b-a", 400)])
def test_ranges_that_a_file_has_not(sqlite_client: httpx.Client, asked: str, status: int) -> None:
    response = sqlite_client.get("/static/app.js", headers={"Range": asked})
    assert problem_of(response, status)["detail"]
    assert status == 400 or "*/" in response.headers["content-range"]
    assert sqlite_client.get("/static/app.js", headers={"Range": "bytes=0-1"}).status_code == 206


def test_errors_say_where_and_nothing_of_the_value(sqlite_client: httpx.Client) -> None:
    problem = problem_of(sqlite_client.get("/api/v1/adapters", params={"limit": "secret-value"}), 422)
    assert [sorted(error) for error in problem["errors"]] == [["loc", "msg", "type"]]
    assert "secret-value" not in str(problem)


def test_the_unexpected_tells_an_id_and_the_log_the_rest(
    sqlite_client: httpx.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("SELECT secret FROM /etc/passwd")

    monkeypatch.setattr(pages, "page", broken)
    with caplog.at_level(logging.ERROR):
        response = sqlite_client.get("/api/v1/adapters", headers={"X-Request-ID": "mine-7"})
    problem = problem_of(response, 500)
    assert problem["request_id"] == "mine-7"
    assert "SELECT" not in response.text
    assert "passwd" not in response.text
    assert any(record.exc_info and "passwd" in str(record.exc_info[1]) for record in caplog.records)
    monkeypatch.undo()
    assert sqlite_client.get("/api/v1/adapters").status_code == 200


@pytest.mark.parametrize("given", ["abc-123", "a" * 128])
def test_a_request_id_is_taken_over(sqlite_client: httpx.Client, given: str) -> None:
    assert sqlite_client.get("/health", headers={"X-Request-ID": given}).headers["x-request-id"] == given


@pytest.mark.parametrize("given", [b"", b"a b", b"a" * 129, b'{"x": 1}', "é".encode()])
def test_any_other_request_id_is_replaced(sqlite_client: httpx.Client, given: bytes) -> None:
    made = sqlite_client.get("/health", headers=[(b"X-Request-ID", given)]).headers["x-request-id"]
    assert len(made) == 36
