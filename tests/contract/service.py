"""The service under test as its clients see it: an address, perhaps a key, and a library folder they can write to.

Belongs here: asking over HTTP and holding answers against what is promised of every one of them. Does not: what a
single clause promises (the tests), and how a server of our own is started (`conftest`).
"""

import itertools
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.warehouse.ingest.library import weights

API = "/api/v1"
UNKNOWN_ID = "0190a6f2-0000-7000-8000-000000000000"
PROBLEM = "application/problem+json"
_seeds = itertools.count(1)


def as_problem(response: httpx.Response, status: int) -> dict[str, Any]:
    """The problem details of a response, which must be a whole one of this status."""
    asked = f"{response.request.method} {response.request.url}"
    assert response.status_code == status, f"{asked}: {response.status_code} {response.text[:500]}"
    assert response.headers["content-type"].partition(";")[0] == PROBLEM, asked
    problem: dict[str, Any] = response.json()
    assert {"type", "title", "status", "detail", "instance"} <= problem.keys(), asked
    assert problem["status"] == status
    assert isinstance(problem["detail"], str)
    assert problem["detail"]
    if status == 422:
        assert problem["errors"], asked
        for error in problem["errors"]:
            assert isinstance(error["loc"], list)
            assert {"loc", "msg", "type"} <= error.keys()
    return problem


class Service:
    """One test's view of the service: it remembers what the test made and takes it away again."""

    def __init__(self, client: httpx.Client, library: Path) -> None:
        self.client = client
        self.library = library
        """A folder below a configured library root."""
        self._made: list[str] = []
        self._files: list[Path] = []

    def ask(self, method: str, path: str, status: int = 200, **options: Any) -> Any:
        """The JSON of an answer that must have this status; None of an empty one. Paths are below /api/v1."""
        response = self.client.request(method, API + path if path.startswith("/") else path, **options)
        assert response.status_code == status, f"{method} {path}: {response.status_code} {response.text[:800]}"
        if status == 204:
            assert response.content == b""
            return None
        assert response.headers["content-type"].partition(";")[0] == "application/json"
        return response.json()

    def get(self, path: str, **params: Any) -> Any:
        """The JSON of a successful GET."""
        return self.ask("GET", path, params=params)

    def post(self, path: str, body: Any = None, status: int = 200) -> Any:
        """The JSON of a POST with a JSON body."""
        return self.ask("POST", path, status, json=body)

    def refused(self, method: str, path: str, status: int, **options: Any) -> dict[str, Any]:
        """The problem details with which a request must be refused."""
        return as_problem(self.client.request(method, API + path, **options), status)

    def name(self, word: str = "Contract") -> str:
        """A name that nothing else has."""
        return f"{word} {uuid.uuid4().hex[:10]}"

    def path(self, name: str | None = None) -> Path:
        """Where a new file of the library may lie."""
        path = self.library / (name or f"{uuid.uuid4().hex}.safetensors")
        path.parent.mkdir(parents=True, exist_ok=True)
        self._files.append(path)
        return path

    def weight_file(self, name: str | None = None) -> Path:
        """A new sound weight file, unlike every other."""
        path = self.path(name)
        path.write_bytes(weights(next(_seeds), metadata={"ss_output_name": uuid.uuid4().hex}))
        return path

    def create(self, **fields: Any) -> dict[str, Any]:
        """A new adapter, by default of a new file and a new name; the test's end deletes it."""
        body = {"name": self.name(), **fields}
        if "file_path" not in body:
            body["file_path"] = str(self.weight_file())
        adapter: dict[str, Any] = self.post("/adapters", body, 201)["adapter"]
        self._made.append(adapter["id"])
        return adapter

    def adapter(self, adapter_id: str) -> dict[str, Any]:
        """An adapter as it is now."""
        adapter: dict[str, Any] = self.get(f"/adapters/{adapter_id}")["adapter"]
        return adapter

    def patch(self, adapter_id: str, **fields: Any) -> dict[str, Any]:
        """An adapter after a change."""
        adapter: dict[str, Any] = self.ask("PATCH", f"/adapters/{adapter_id}", json=fields)["adapter"]
        return adapter

    def names(self, **params: Any) -> list[str]:
        """The names on one page of the list."""
        return [item["name"] for item in self.get("/adapters", **params)["items"]]

    def every_active(self) -> list[dict[str, Any]]:
        """All active adapters."""
        items: list[dict[str, Any]] = []
        cursor: dict[str, str] = {}
        while True:
            page = self.get("/adapters", active="true", limit=500, **cursor)
            items += page["items"]
            if page["next_cursor"] is None:
                return items
            cursor = {"cursor": page["next_cursor"]}

    @contextmanager
    def nothing_active(self) -> Iterator[None]:
        """No adapter is active within; afterwards those that were are again."""
        before = self.every_active()
        for adapter in before:
            self.post(f"/adapters/{adapter['id']}/deactivate")
        try:
            yield
        finally:
            for adapter in self.every_active():
                self.post(f"/adapters/{adapter['id']}/deactivate")
            for adapter in before:
                body = None if adapter["ordinal"] is None else {"ordinal": adapter["ordinal"]}
                self.post(f"/adapters/{adapter['id']}/activate", body)

    def clean(self) -> None:
        """Take away what the test made."""
        for adapter_id in self._made:
            self.client.delete(f"{API}/adapters/{adapter_id}")
        for path in self._files:
            path.unlink(missing_ok=True)
