"""While the database cannot be had, every route says 503 and when to ask again; then everything works as before."""

import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from typing import Any

import httpx
import pytest
from fastapi import FastAPI
from sqlalchemy import URL
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DBAPIError, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.pool import QueuePool
from starlette.testclient import TestClient
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect as websocket

from serving.app import create_app
from tests.databases import scratch_postgresql
from tests.serving.test_problems import problem_of
from warehouse import engine
from warehouse.availability import Unavailability, unavailability
from warehouse.engine import Database, connect
from warehouse.ids import new_id
from warehouse.settings import Settings

WITHOUT_DATABASE = {
    "/health",
    "/api/v1/system/status",
    "/api/v1/deliveries/modes",
    "/api/v1/generation/backends",
    "/metrics",
}
"""Answer also then."""
PICTURES = "/api/v1/generation/images/"
"""Are files, and there is none."""
READINESS = "/health/ready"
"""Says so in its own words."""
BACKEND = "http://127.0.0.1:9"
"""Of a generator that is not there: without one configured, generations are refused before the database is asked."""
DELIVERY = {"prompt": "a knight", "mode": "cli"}
OVERFLOW = 10
"""Connections that SQLAlchemy's pool opens beyond its size."""


class Gate:
    """What stands between a service and a real PostgreSQL server, so that it can go and come back for one test."""

    def __init__(self, server: URL) -> None:
        folder = server.query.get("host")
        # The server of the tests listens on a socket file in a folder, or on a port.
        self._target: Any = f"{folder}/.s.PGSQL.{server.port or 5432}" if folder else (server.host, server.port or 5432)
        self._open: list[socket.socket] = []
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._start()

    def _start(self) -> None:
        threading.Thread(target=self._accept, args=(self._listener,), daemon=True).start()

    def _accept(self, listener: socket.socket) -> None:
        with suppress(OSError):
            while True:
                client, _ = listener.accept()
                server = socket.socket(socket.AF_UNIX if isinstance(self._target, str) else socket.AF_INET)
                server.connect(self._target)
                self._open += [client, server]
                for one, other in ((client, server), (server, client)):
                    threading.Thread(target=_pump, args=(one, other), daemon=True).start()

    def close(self) -> None:
        """The server is gone: connections end, and none is taken."""
        for each in (self._listener, *self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
        self._open.clear()

    def reopen(self) -> None:
        """The server is back."""
        self._listener = socket.create_server(("127.0.0.1", self.port))
        self._start()


def _pump(source: socket.socket, target: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_RDWR)


@pytest.fixture
def gate(postgresql_server: str, postgresql_template: str) -> Iterator[tuple[Gate, Database]]:
    """A gate, and a migrated scratch database behind it."""
    url = make_url(scratch_postgresql(postgresql_server, template=postgresql_template))
    gate = Gate(url)
    database = connect(url.set(host="127.0.0.1", port=gate.port, query={}))
    yield gate, database
    database.dispose()
    gate.close()


def requests_of(app: FastAPI) -> Iterator[tuple[str, str, Any]]:
    """(method, path, body) of every operation of the document, with the bodies of its examples."""
    document = app.openapi()
    for template, methods in document["paths"].items():
        path = template
        for name in ("adapter_id", "delivery_id", "job_id", "result_id", "image_id", "lora_id"):
            path = path.replace(f"{{{name}}}", new_id())
        path = path.replace("{sha256}", "0" * 64)
        assert "{" not in path, path
        for method, operation in methods.items():
            body = operation.get("requestBody", {}).get("content", {}).get("application/json")
            yield method.upper(), path, None if body is None else _example(document, body["schema"])


def _example(document: dict[str, Any], schema: dict[str, Any]) -> Any:
    for each in (schema, *schema.get("anyOf", ())):
        named = document["components"]["schemas"].get(each.get("$ref", "").rpartition("/")[2], each)
        if named.get("examples"):
            return named["examples"][0]
    raise AssertionError(schema)


def assert_unavailable(response: httpx.Response) -> None:
    problem = problem_of(response, 503)
    assert problem["type"] == "urn:lora-manager:problem:database-unavailable"
    assert int(response.headers["retry-after"]) > 0


def assert_every_route_says_so(client: httpx.Client, app: FastAPI) -> None:
    for method, path, body in requests_of(app):
        response = client.request(method, path, json=body)
        if path in WITHOUT_DATABASE:
            assert response.status_code == 200, (path, response.text)
        elif path.startswith(PICTURES):
            problem_of(response, 404)
        elif path == READINESS:
            assert response.json()["checks"]["database"]["status"] == "unreachable"
        elif "recommender-not-ready" not in response.text:
            assert_unavailable(response)


def test_every_route_says_so_while_postgresql_is_gone_and_works_when_it_is_back(
    gate: tuple[Gate, Database], serve: Callable[..., httpx.Client], settings: Settings
) -> None:
    server, database = gate
    client = serve(database, sdnext_url=BACKEND)
    assert client.post("/api/v1/deliveries", json=DELIVERY).status_code == 201
    server.close()
    assert_every_route_says_so(client, create_app(settings))
    server.reopen()
    assert client.post("/api/v1/deliveries", json=DELIVERY).status_code == 201
    assert client.get("/api/v1/deliveries").json()["total"] == 2


def test_who_follows_progress_is_told_to_come_again_and_then_hears_all(
    gate: tuple[Gate, Database], serve: Callable[..., httpx.Client]
) -> None:
    server, database = gate
    client = serve(database)
    address = str(client.base_url).replace("http", "ws", 1).rstrip("/") + "/ws/progress"
    server.close()
    with websocket(address, proxy=None) as connection, pytest.raises(ConnectionClosed) as closed:
        connection.recv(timeout=10)
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1013
    server.reopen()
    with websocket(address, proxy=None) as connection:
        assert json.loads(connection.recv(timeout=10))["type"] == "hello"
        created = client.post("/api/v1/deliveries", json=DELIVERY).json()["delivery_id"]
        while created not in connection.recv(timeout=10):
            continue


def test_a_server_that_takes_connections_and_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    # The least that the driver waits; as it is set, it is longer than a test should take.
    monkeypatch.setitem(engine._POSTGRESQL_CONNECTIONS, "connect_timeout", 2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        database = connect(f"postgresql+psycopg://name:key@127.0.0.1:{silent.getsockname()[1]}/warehouse")
        with pytest.raises(OperationalError) as failed, database.read():
            pass
    assert unavailability(failed.value) is Unavailability.GONE


def test_a_write_waits_for_a_lock_and_then_says_so_while_reads_go_on(
    sqlite_database: Database, serve: Callable[..., httpx.Client]
) -> None:
    client = serve(sqlite_database, database_wait_seconds=0.2)
    with sqlite_database.write():
        assert_unavailable(client.post("/api/v1/deliveries", json=DELIVERY))
        assert client.get("/api/v1/deliveries").json()["total"] == 0
    assert client.post("/api/v1/deliveries", json=DELIVERY).status_code == 201


def hold_all_connections(database: Database, held: ExitStack) -> None:
    """Takes also those that the service itself uses now and again, and which it would give back to a request."""
    pool = database.engine.pool
    assert isinstance(pool, QueuePool)
    taken, all_of_them = 0, pool.size() + OVERFLOW
    deadline = time.monotonic() + 30
    while taken < all_of_them:
        assert time.monotonic() < deadline, f"{taken} of {all_of_them} connections"
        with suppress(PoolTimeoutError):
            held.enter_context(database.read())
            taken += 1
    with pytest.raises(PoolTimeoutError), database.read():
        pass


def test_every_route_says_so_while_the_pool_is_exhausted(
    database: Database, settings_for: Callable[..., Settings]
) -> None:
    app = create_app(settings_for(database, database_wait_seconds=0.02, sdnext_url=BACKEND))
    with TestClient(app, base_url="http://127.0.0.1") as client:
        with ExitStack() as held:
            hold_all_connections(app.state.services.database, held)
            assert_every_route_says_so(client, app)
        assert client.get("/api/v1/deliveries").status_code == 200


def test_a_query_that_is_wrong_is_not_called_unavailable(database: Database) -> None:
    with pytest.raises(DBAPIError) as failed, database.read() as connection:
        connection.exec_driver_sql("SELECT nothing FROM nowhere")
    assert unavailability(failed.value) is None
