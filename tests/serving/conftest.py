"""A real server per test: uvicorn on a free port, on a scratch database of either dialect."""

import asyncio
import socket
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn

from serving.app import create_app
from serving.server import configuration
from warehouse.engine import Database
from warehouse.settings import Settings

KEYS = "reading:reader:reader-secret,editing:editor:editor-secret,ruling:admin:admin-secret"


class _Uvicorn(uvicorn.Server):
    """Sees at once that it is to stop: uvicorn looks ten times a second, which a thousand servers wait for."""

    async def main_loop(self) -> None:
        while not await self.on_tick(0):
            await asyncio.sleep(0.01)


class Server:
    """A running server and a client of it."""

    def __init__(self, settings: Settings) -> None:
        self._socket = socket.socket()
        self._socket.bind(("127.0.0.1", 0))
        port = self._socket.getsockname()[1]
        self._server = _Uvicorn(configuration(settings, app=create_app(settings)))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]}, daemon=True)
        self.url = f"http://127.0.0.1:{port}"
        # Nothing is encrypted here, and reading the certificates of all authorities takes longer than most tests.
        self.client = httpx.Client(base_url=self.url, trust_env=False, timeout=30, verify=False)

    def start(self) -> None:
        """Start it and wait until it answers."""
        self._thread.start()
        while not self._server.started:
            if not self._thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.01)

    def stop(self) -> None:
        """Stop it and wait until it has."""
        self.client.close()
        self._server.should_exit = True
        self._thread.join()
        self._socket.close()


def scratch_settings(database: Database, data_dir: Path, models_dir: Path, **fields: Any) -> Settings:
    """Settings of a database in a fresh data folder, with the given fields. Exported models are shared."""
    data_dir.mkdir(exist_ok=True)
    if not (data_dir / "models").exists():
        (data_dir / "models").symlink_to(models_dir, target_is_directory=True)
    return Settings(
        _env_file=None,
        data_dir=data_dir,
        database_url=database.engine.url.render_as_string(hide_password=False),
        **{"dagster_url": "http://127.0.0.1:9", **fields},
    )


@pytest.fixture
def settings_for(tmp_path: Path, models_dir: Path) -> Callable[..., Settings]:
    """Settings of a database in a fresh data folder, with the given fields."""

    def make(database: Database, **fields: Any) -> Settings:
        return scratch_settings(database, tmp_path / "data", models_dir, **fields)

    return make


@pytest.fixture
def serve(settings_for: Callable[..., Settings]) -> Iterator[Callable[..., httpx.Client]]:
    """Serve a database with the given settings; the client is closed and the server stopped with the test."""
    running: list[Server] = []

    def start(database: Database, **fields: Any) -> httpx.Client:
        server = Server(settings_for(database, **fields))
        server.start()
        running.append(server)
        return server.client

    yield start
    for server in running:
        server.stop()


@pytest.fixture
def client(database: Database, serve: Callable[..., httpx.Client]) -> httpx.Client:
    """A client of a server without keys on the scratch database, once per dialect."""
    return serve(database)


@pytest.fixture
def sqlite_client(sqlite_database: Database, serve: Callable[..., httpx.Client]) -> httpx.Client:
    """A client of a server without keys on a scratch SQLite database."""
    return serve(sqlite_database)
