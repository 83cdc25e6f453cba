"""Whatever goes wrong leaves as problem details, with a request id and without secrets of the machine."""

import logging
from typing import Any

import httpx
import pytest

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
    assert "GET" in response.headers["allow"]


def test_malformed_json(sqlite_client: httpx.Client) -> None:
    response = sqlite_client.post(
        "/api/v1/recommendations/prompt", content=b'{"prompt": ', headers={"content-type": "application/json"}
    )
    assert problem_of(response, 422)["errors"][0]["type"] == "json_invalid"


def test_a_body_that_is_no_json_is_refused(sqlite_client: httpx.Client) -> None:
    problem_of(sqlite_client.post("/api/v1/recommendations/prompt", content=b"prompt=x"), 422)


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
