"""Publications killed at any step, and on a full disk: the generation before stays in use, and the next one comes."""

import os
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select

from tests import programs
from tests.databases import migrated_sqlite
from tests.failures.disk import small_disk
from tests.failures.publishing import KINDS
from tests.warehouse.vectors import library
from tests.warehouse.vectors.conftest import COUNT
from warehouse.engine import Database, connect
from warehouse.generations import collect, current, require_whole
from warehouse.lexical.publishing import publish_words
from warehouse.lexical.searching import LexicalSearcher
from warehouse.lexical.tokens import asked
from warehouse.marts import export_marts, repair_catalog, run_query
from warehouse.models import Base, Lock
from warehouse.prompts import parse
from warehouse.settings import Settings
from warehouse.vectors import Recommender, publish_index
from warehouse.vectors.filters import ANY

AT = (0.1, 0.4, 0.7, 0.95)
"""Where in a publication it is killed."""


@dataclass
class Warehouse:
    """A data folder with everything published once."""

    database: Database
    settings: Settings

    @property
    def url(self) -> str:
        return self.database.engine.url.render_as_string(hide_password=False)

    def publish(self, kind: str, *victim: str) -> Any:
        """Publish a kind in a process of its own."""
        arguments = (str(self.settings.data_dir), self.url, kind, *victim)
        return programs.run(
            "tests.failures.publishing", *arguments, folder=programs.ROOT, environment=os.environ, timeout=120
        )

    def name(self, kind: str) -> str:
        """The current generation of a kind."""
        published = current(self.database, self.settings, kind)
        assert published is not None
        return published.name

    def assert_answers(self) -> None:
        """Every kind is there whole, and answers as its reader asks it."""
        for kind in KINDS:
            published = current(self.database, self.settings, kind)
            assert published is not None
            require_whole(published)
        found = Recommender(self.database, self.settings).similar(7, k=5)
        assert found.searched == COUNT
        assert len(found.matches) == 5
        with self.database.read() as connection:
            words = LexicalSearcher(self.database, self.settings).now(connection)
            assert words.search(asked(parse("airships with propellers")), 3, ANY)
        rows = run_query(self.database, self.settings, "SELECT count(*) FROM adapters").rows
        assert [list(row) for row in rows] == [[COUNT]]

    def folders(self, kind: str) -> set[str]:
        """What lies there."""
        return {path.name for path in (self.settings.generations_dir / kind).iterdir()}


def _publish_all(database: Database, settings: Settings) -> None:
    publish_index(database, settings)
    publish_words(database, settings)
    export_marts(database, settings)


def _fill(database: Database, embedded: list[dict[str, Any]]) -> None:
    library.fill(database, *(library.adapter(pk) for pk in range(1, COUNT + 1)))
    with database.write() as connection:
        connection.execute(insert(Base.metadata.tables["embeddings"]), embedded)


@pytest.fixture(scope="module")
def published(
    tmp_path_factory: pytest.TempPathFactory, shared_data: Path, embedded: list[dict[str, Any]]
) -> tuple[Path, dict[str, int]]:
    """A data folder to copy, and the steps of a publication of each kind."""
    folder = tmp_path_factory.mktemp("published") / "data"
    folder.mkdir()
    (folder / "models").symlink_to(shared_data / "models")
    settings = Settings(_env_file=None, data_dir=folder)
    database = connect(f"sqlite:///{migrated_sqlite(folder / 'warehouse.sqlite3')}")
    _fill(database, embedded)
    _publish_all(database, settings)
    steps = {}
    for kind in KINDS:
        done = Warehouse(database, settings).publish(kind)
        assert done.returncode == 0, done.stderr
        steps[kind] = int(done.stdout)
    database.dispose()
    return folder, steps


@pytest.fixture
def warehouse(published: tuple[Path, dict[str, int]], tmp_path: Path) -> Iterator[Warehouse]:
    """A copy of that folder."""
    shutil.copytree(published[0], tmp_path / "data", symlinks=True)
    settings = Settings(_env_file=None, data_dir=tmp_path / "data")
    database = connect(settings.url)
    # Its catalogs name the folder they were made in.
    repair_catalog(database, settings)
    yield Warehouse(database, settings)
    database.dispose()


@pytest.fixture
def postgresql(database: Database, settings: Settings, shared_data: Path, embedded: list[dict[str, Any]]) -> Warehouse:
    """The same on PostgreSQL."""
    settings.data_dir.mkdir()
    settings.models_dir.symlink_to(shared_data / "models")
    _fill(database, embedded)
    _publish_all(database, settings)
    return Warehouse(database, settings)


def _age(folder: Path) -> None:
    """Let two days pass for what lies there."""
    then = time.time() - timedelta(days=2).total_seconds()
    for path in folder.iterdir():
        os.utime(path, (then, then))


def _killed_and_published(warehouse: Warehouse, kind: str, step: int) -> None:
    before = warehouse.name(kind)
    died = warehouse.publish(kind, str(step))
    assert died.returncode == -signal.SIGKILL, died.stderr
    left = warehouse.name(kind)
    warehouse.assert_answers()
    done = warehouse.publish(kind)
    assert done.returncode == 0, done.stderr
    assert warehouse.name(kind) not in (before, left)
    warehouse.assert_answers()
    # What it left behind goes, a day later; what readers may have open stays.
    _age(warehouse.settings.generations_dir / kind)
    collect(warehouse.database, warehouse.settings, kind, keep=2)
    assert len(warehouse.folders(kind)) == 2
    warehouse.assert_answers()
    with warehouse.database.read() as connection:
        assert connection.execute(select(Lock)).all() == []


@pytest.mark.parametrize("at", AT)
@pytest.mark.parametrize("kind", KINDS)
def test_killed_at_any_step(warehouse: Warehouse, published: tuple[Path, dict[str, int]], kind: str, at: float) -> None:
    _killed_and_published(warehouse, kind, max(1, int(published[1][kind] * at)))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("database", ["postgresql"], indirect=True)
def test_killed_at_its_last_step_on_postgresql(postgresql: Warehouse, kind: str) -> None:
    done = postgresql.publish(kind)
    assert done.returncode == 0, done.stderr
    _killed_and_published(postgresql, kind, int(done.stdout) - 1)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_leaves_the_generation_before(warehouse: Warehouse, kind: str) -> None:
    before = warehouse.name(kind)
    with small_disk(warehouse.settings.generations_dir / kind, room=24 * 2**10) as disk:
        failed = warehouse.publish(kind)
        assert failed.returncode == 1
        assert "was not published" in failed.stderr, failed.stderr
        assert "free disk space" in failed.stderr
        assert warehouse.name(kind) == before
        assert warehouse.folders(kind) >= {before}
        assert not any(name.startswith(".building") for name in warehouse.folders(kind))
        warehouse.assert_answers()
        disk.grow()
        done = warehouse.publish(kind)
        assert done.returncode == 0, done.stderr
        assert warehouse.name(kind) != before
        warehouse.assert_answers()
