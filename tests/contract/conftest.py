"""The service that the contract is held against: our own on either dialect, or any that runs somewhere.

With `LORA_MANAGER_TEST_BASE_URL` set, every test asks the service there, with the key `LORA_MANAGER_TEST_API_KEY` (an
admin's, if keys are configured) and `LORA_MANAGER_TEST_LIBRARY`, a folder below one of its library roots that the
tests may write to. What needs a server with settings of its own is skipped then.
"""

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.contract.service import Service
from tests.databases import scratch_database
from tests.serving.conftest import KEYS, Server, scratch_settings
from warehouse import ingest, learning
from warehouse.engine import Database
from warehouse.marts import export_marts, snapshot_statistics
from warehouse.samples import generate_library
from warehouse.settings import Settings
from warehouse.vectors import compute_embeddings, find_near_duplicates
from warehouse.vectors.indices import publish_index
from warehouse.vectors.spaces import SpaceName

ORIGIN = "https://front.example"
BASE_URL = os.environ.get("LORA_MANAGER_TEST_BASE_URL", "")
_OWN = [
    pytest.param(dialect, marks=pytest.mark.xdist_group(f"contract-{dialect}")) for dialect in ("sqlite", "postgresql")
]


@dataclass
class World:
    """A library, its database, and servers of it with any settings."""

    library: Path
    database: Database
    settings_for: Callable[..., Settings]
    servers: dict[str, Server]

    @property
    def settings(self) -> Settings:
        return self.settings_for(library_roots=[self.library])

    def sync(self) -> None:
        """What the job `sync_library` does up to the adapters."""
        ingest.scan_library(self.database, self.settings, [self.library])
        ingest.read_documents(self.database, self.settings)
        ingest.build_adapters(self.database, self.settings)
        ingest.inspect_files(self.database, self.settings)

    def publish(self) -> None:
        """Vectors, index and marts of what there is."""
        for space in SpaceName:
            compute_embeddings(self.database, self.settings, space)
        publish_index(self.database, self.settings)
        find_near_duplicates(self.database, self.settings)
        snapshot_statistics(self.database, datetime.now(UTC).date())
        export_marts(self.database, self.settings)

    def learn(self) -> None:
        """What the run does that learns from use, where keys are configured as on the server `guarded`."""
        settings = self.settings_for(api_keys=KEYS)
        learning.count_pairs(self.database, settings)
        learning.derive_profiles(self.database, settings)

    def client(self, name: str, **fields: Any) -> httpx.Client:
        """A client of the server with this name, which is started with these settings when it is first asked for."""
        if name not in self.servers:
            server = Server(self.settings_for(**fields))
            server.start()
            self.servers[name] = server
            wait_until_ready(server.client)
        return self.servers[name].client


def wait_until_ready(client: httpx.Client) -> None:
    """Until every part that is needed is ready."""
    deadline = time.monotonic() + 60
    while (answer := client.get("/health/ready")).status_code != 200:
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)


@contextmanager
def own_world(request: pytest.FixtureRequest, folder: Path, dialect: str, *, adapters: int) -> Iterator[World]:
    """A sample library, synced and published, on a scratch database."""
    models: Path = request.getfixturevalue("models_dir")
    generate_library(folder / "library" / "sample", adapters=adapters, seed=11)
    with scratch_database(request, folder, dialect) as database:

        def settings_for(**fields: Any) -> Settings:
            return scratch_settings(database, folder / "data", models, **fields)

        world = World(folder / "library", database, settings_for, {})
        world.sync()
        world.publish()
        try:
            yield world
        finally:
            for server in world.servers.values():
                server.stop()


@pytest.fixture(scope="session", params=["external"] if BASE_URL else _OWN)
def running(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World | None]:
    """The world of one dialect; None where the service runs somewhere else."""
    if BASE_URL:
        yield None
        return
    with own_world(request, tmp_path_factory.mktemp(request.param), request.param, adapters=40) as world:
        yield world


@pytest.fixture
def world(running: World | None) -> World:
    """The world around our own server, for tests that need more of it than its address."""
    if running is None:
        pytest.skip("needs a server with settings or a pipeline of its own; LORA_MANAGER_TEST_BASE_URL names another")
    return running


@pytest.fixture(scope="session")
def client(running: World | None) -> Iterator[httpx.Client]:
    """A client that may do everything."""
    if running is not None:
        yield running.client("open", library_roots=[running.library])
        return
    key = os.environ.get("LORA_MANAGER_TEST_API_KEY", "")
    headers = {"X-API-Key": key} if key else {}
    with httpx.Client(base_url=BASE_URL, headers=headers, timeout=30) as client:
        yield client


@pytest.fixture
def service(running: World | None, client: httpx.Client) -> Iterator[Service]:
    """The service, which the test leaves as it found it."""
    library = running.library if running is not None else Path(os.environ.get("LORA_MANAGER_TEST_LIBRARY", ""))
    if not library.is_absolute() or not library.is_dir():
        pytest.skip("LORA_MANAGER_TEST_LIBRARY names no folder (whole path) below a library root")
    service = Service(client, library / "contract")
    yield service
    service.clean()


@pytest.fixture
def nothing_active(service: Service) -> Iterator[None]:
    """No adapter is active but those that the test activates."""
    with service.nothing_active():
        yield


@pytest.fixture
def guarded(world: World) -> httpx.Client:
    """A client without a key of a server with keys and one allowed origin, on the same library."""
    return world.client("guarded", library_roots=[world.library], api_keys=KEYS, cors_origins=[ORIGIN])


@pytest.fixture
def rootless(world: World) -> httpx.Client:
    """A client of a server that has no library roots configured, on the same library."""
    return world.client("rootless")
