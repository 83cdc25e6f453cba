"""A system that is used, destroyed and restored, and one that moves to another database: by the commands of a user."""

import os
import shutil
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import text

from tests import programs
from tests.databases import scratch_postgresql
from tests.pipelines.jobs.working import until
from tests.releases.using import use, users_state
from tests.serving.conftest import Server, scratch_settings
from tests.serving.generating import Studio, studio
from tests.warehouse.ingest.library import Library
from warehouse.engine import Database, connect
from warehouse.samples import generate_library
from warehouse.settings import Settings
from warehouse.transfer.digests import digest_of
from warehouse.transfer.shapes import shapes

pytestmark = [pytest.mark.platform, pytest.mark.slow, pytest.mark.failure]

PUBLISHED = {"generations", "pointers"}
SYNCED = {*PUBLISHED, "roots", "activity", "recommendation_cache", "duplicates", "change_counts"}
"""Tables that a sync writes which finds nothing new: that it was there, what it published, duplicates grouped anew."""


class System:
    """A data folder, a database, and the commands on them."""

    def __init__(self, data: Path, url: str, models: Path) -> None:
        self.data, self.models = data, models
        self.url = url or f"sqlite:///{data / 'warehouse.sqlite3'}"

    def run(self, *arguments: str) -> str:
        """The output of a command that succeeds."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith("LORA_MANAGER_")}
        environment = {
            **kept,
            "LORA_MANAGER_DATA_DIR": str(self.data),
            "LORA_MANAGER_DATABASE_URL": self.url,
            "DAGSTER_DISABLE_TELEMETRY": "1",
        }
        done = programs.run(
            "serving.cli.main", *arguments, folder=self.data.parent, environment=environment, timeout=280
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    @contextmanager
    def database(self) -> Iterator[Database]:
        """The database, for the block."""
        opened = connect(self.url)
        try:
            yield opened
        finally:
            opened.dispose()

    def digests(self) -> dict[str, str]:
        """Of every table."""
        with self.database() as database, database.read() as connection:
            return {shape.name: digest_of(connection, shape).hexadecimal for shape in shapes()}

    def files(self) -> dict[str, bytes]:
        """What of the data folder nobody else can make."""
        kept = ("pictures", "attachments", "serving.secret")
        return {
            path.relative_to(self.data).as_posix(): path.read_bytes()
            for name in kept
            for path in sorted([self.data / name, *(self.data / name).rglob("*")])
            if path.is_file()
        }

    def asked(self) -> dict[str, Any]:
        """The user's state as the API shows it; and what it answers to a question."""
        with self.database() as database:
            server = Server(scratch_settings(database, self.data, self.models))
            server.start()
            try:
                state = users_state(server.client)
                path = f"/api/v1/recommendations/similar/{next(iter(state['adapters']))}"
                until(lambda: "is loading" not in server.client.get(path).text)
                return {"state": state, "answer": server.client.get(path)}
            finally:
                server.stop()

    def destroy(self) -> None:
        """Everything is gone."""
        shutil.rmtree(self.data)
        if self.url.startswith("postgresql"):
            with self.database() as database, database.write() as connection:
                for schema in ("public", "dagster"):
                    connection.execute(text(f"DROP SCHEMA IF EXISTS {schema} CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))


@pytest.fixture(params=["sqlite", "postgresql"])
def system(request: pytest.FixtureRequest, tmp_path: Path, models_dir: Path) -> System:
    """A system without a library."""
    url = "" if request.param == "sqlite" else scratch_postgresql(request.getfixturevalue("postgresql_server"))
    return System(tmp_path / "data", url, models_dir)


@contextmanager
def _writing(used: Studio) -> Iterator[str]:
    """Somebody edits an adapter's notes again and again; its id."""
    items = used.client.get("/api/v1/adapters", params={"limit": 100}).json()["items"]
    adapter, over, written = items[-1]["id"], threading.Event(), threading.Event()

    def write() -> None:
        number = 0
        with httpx.Client(base_url=used.client.base_url, trust_env=False, timeout=60) as api:
            while not over.is_set():
                number += 1
                changed = api.patch(f"/api/v1/adapters/{adapter}", json={"user_notes": str(number)})
                assert changed.status_code == httpx.codes.OK, changed.text
                written.set()

    writer = threading.Thread(target=write)
    writer.start()
    try:
        assert written.wait(60)
        yield adapter
    finally:
        over.set()
        writer.join()


def test_used_destroyed_restored_and_moved(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    generate_library(tmp_path / "library", adapters=24)
    system.run("upgrade")

    def settings_for(database: Database, **fields: Any) -> Settings:
        return scratch_settings(database, system.data, system.models, **fields)

    with system.database() as database, studio(database, settings_for, monkeypatch) as (used, _):
        Library(tmp_path / "library", database, used.settings).sync()
        use(used)
        with _writing(used) as edited:
            system.run("backup", "busy.tar")
    # Vectors, and publications.
    system.run("sync")
    system.run("backup", "quiet.tar")
    before, files, asked = system.digests(), system.files(), system.asked()
    assert len([name for name in files if name.startswith("pictures/")]) >= 2
    # Asking keeps answers, which is a change of the one table.
    before_asking = {name: digest for name, digest in before.items() if name != "recommendation_cache"}

    # Taken while somebody wrote: of one moment, in which each change has its entry in the log.
    system.destroy()
    system.run("restore", "busy.tar")
    with system.database() as database, database.read() as connection:
        notes = connection.execute(text("SELECT user_notes FROM adapters WHERE id = :id"), {"id": edited}).scalar_one()
        log = "SELECT count(*) FROM audit_entries WHERE subject_id = :id AND action = 'update'"
        assert connection.execute(text(log), {"id": edited}).scalar_one() == int(notes) > 0

    system.destroy()
    system.run("restore", "quiet.tar")
    after = system.digests()
    assert {name for name in before_asking if before[name] != after[name]} == PUBLISHED
    assert system.files() == files
    restored = system.asked()
    assert restored["state"] == asked["state"]
    # Nothing is published yet: it answers out of the tables.
    assert _names(restored) == _names(asked)
    vectors = system.digests()["embeddings"]
    system.run("sync")
    assert system.digests()["embeddings"] == vectors
    again = system.asked()
    assert again["state"] == asked["state"]
    assert _names(again) == _names(asked)

    if system.url.startswith("sqlite"):
        _move(system, request)


def _names(asked: dict[str, Any]) -> list[str]:
    assert asked["answer"].status_code == httpx.codes.OK, asked["answer"].text
    return [item["lora_id"] for item in asked["answer"].json()["recommendations"]]


def _move(system: System, request: pytest.FixtureRequest) -> None:
    """To PostgreSQL; the data folder stays."""
    asked, before = system.asked(), system.digests()
    url = scratch_postgresql(request.getfixturevalue("postgresql_server"))
    system.run("migrate-database", "--to", url)
    system.url = url
    assert system.digests() == before
    # What was published answers at once.
    moved = system.asked()
    assert (moved["state"], _names(moved)) == (asked["state"], _names(asked))
    system.run("sync")
    after = system.digests()
    assert {name for name in before if before[name] != after[name]} <= SYNCED
    assert system.asked()["state"] == asked["state"]
