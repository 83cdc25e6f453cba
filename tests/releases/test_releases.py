"""What a release left opens in this version: brought up, shown, asked, synced, and nothing of a user's is lost."""

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests import programs
from tests.pipelines.jobs.working import until
from tests.releases.make import HERE, PLACE, place, unpack
from tests.releases.using import users_state
from tests.serving.conftest import Server, scratch_settings
from tests.warehouse.ingest.library import Library
from warehouse import migrations
from warehouse.engine import Database, connect
from warehouse.settings import Settings
from warehouse.transfer.digests import digest_of
from warehouse.transfer.shapes import shapes

RELEASES = sorted(path.name.removesuffix(".tar.xz") for path in HERE.glob("*.tar.xz"))
USERS_TABLES = {"tombstones", "jobs", "generated_images", "adapter_uses", "audit_entries", "job_counts"}
"""Tables that no sync of an unchanged library has anything to do with."""


@pytest.fixture(params=RELEASES)
def release(request: pytest.FixtureRequest) -> Iterator[str]:
    """A release whose folders are in their place."""
    with place() as folder:
        unpack(request.param, folder)
        yield request.param


def _run(data: Path, *arguments: str) -> str:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LORA_MANAGER_")}
    done = programs.run(
        "serving.cli.main",
        *arguments,
        folder=data.parent,
        environment={**kept, "LORA_MANAGER_DATA_DIR": str(data)},
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def _served(settings: Settings, ask: Callable[[Server], Any]) -> Any:
    server = Server(settings)
    server.start()
    try:
        return ask(server)
    finally:
        server.stop()


def _ask(server: Server) -> dict[str, Any]:
    api = server.client
    state = users_state(api)
    first = next(iter(state["adapters"]))
    path = f"/api/v1/recommendations/similar/{first}"
    # It loads its models and the index first.
    until(lambda: api.get(path).status_code != httpx.codes.SERVICE_UNAVAILABLE)
    similar = api.get(path, params={"limit": 5})
    assert similar.status_code == httpx.codes.OK, similar.text
    assert similar.json()["recommendations"]
    answered = api.post("/api/v1/recommendations/prompt", json={"prompt": "a dress of gingham", "limit": 3})
    assert answered.status_code == httpx.codes.OK, answered.text
    assert len(answered.json()["recommendations"]) == 3
    for result in api.get("/api/v1/generation/results").json():
        assert hashlib.sha256(api.get(result["image_url"]).content).hexdigest() == result["sha256"]
    return state


def _digests(database: Database) -> dict[str, str]:
    with database.read() as connection:
        return {shape.name: digest_of(connection, shape).hexadecimal for shape in shapes()}


def test_it_opens_and_nothing_of_its_user_is_lost(release: str, models_dir: Path) -> None:
    left = json.loads((HERE / f"{release}.json").read_text(encoding="utf-8"))
    data = PLACE / "data"
    _run(data, "upgrade")
    assert json.loads(_run(data, "status", "--json"))["adapters"] == len(left["adapters"])
    database = connect(f"sqlite:///{data / 'warehouse.sqlite3'}")
    migrations.require_head(database)
    settings = scratch_settings(database, data, models_dir)
    # With what that version published, before anything is made anew.
    assert _served(settings, _ask) == left
    before = _digests(database)
    reports = Library(PLACE / "library", database, settings).sync()
    # What a later version derives differently may change; not a file that is as it was.
    assert reports["files"].changed == 0
    after = _digests(database)
    assert {name for name in USERS_TABLES if before[name] != after[name]} == set()
    assert _served(settings, _ask) == left
    database.dispose()
