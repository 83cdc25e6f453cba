"""A small generated library, one real sync of it, and the means to compare what two syncs left behind."""

import json
import os
import sqlite3
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import select

from tests import programs
from warehouse.engine import Database, connect, open_database
from warehouse.models import Adapter, Base, Embedding
from warehouse.samples import generate_library
from warehouse.settings import Settings
from warehouse.vectors import decode_vector

ROOT = Path(__file__).parents[2]
ADAPTERS = 12

_VOLATILE = {
    *("pk", "id", "bundle_pk", "file_pk", "adapter_pk", "document_pk", "inode", "revision", "built_revision"),
    *("first_seen_at", "inspected_at", "read_at", "found_at", "created_at", "updated_at", "last_ingested_at"),
    "compared_at",
    "embedding_data",
}
"""Numbers of rows, times of the sync itself, and vectors, which are compared by value."""

COMPARED = (
    "adapters",
    "adapter_details",
    "adapter_tags",
    "documents",
    "files",
    "inspections",
    "findings",
    "embeddings",
)


def settings_in(folder: Path, *, models: Path | None = None, **changes: Any) -> Settings:
    """Settings of a data folder, untouched by the caller's environment.

    Args:
        models: where exported encoders are; none: they are exported anew, which takes seconds.
    """
    if models is not None:
        folder.mkdir()
        (folder / "models").symlink_to(models, target_is_directory=True)
    return Settings(_env_file=None, data_dir=folder, **changes)  # type: ignore[call-arg]


def environment_of(settings: Settings) -> dict[str, str]:
    """The environment of a process that works in a data folder."""
    return {
        **os.environ,
        "LORA_MANAGER_DATA_DIR": str(settings.data_dir),
        "DAGSTER_HOME": str(settings.dagster_home),
        "PYTHONPATH": str(ROOT),
    }


@dataclass(frozen=True)
class Ran:
    """What a process of `pipelines.run` answered."""

    code: int
    out: str
    err: str

    @property
    def summary(self) -> Mapping[str, Any]:
        """Its JSON."""
        answer: Mapping[str, Any] = json.loads(self.out)
        return answer


def run_job(settings: Settings, *arguments: str) -> Ran:
    """Run `python -m pipelines.run` to its end."""
    folder, environment = settings.data_dir.parent, environment_of(settings)
    done = programs.run("pipelines.run", *arguments, folder=folder, environment=environment, timeout=290)
    return Ran(done.returncode, done.stdout, done.stderr)


def state_of(settings: Settings) -> dict[str, list[str]]:
    """The rows of the tables that a sync derives, without numbers and times, in an order of their own."""
    database = open_database(settings)
    state: dict[str, list[str]] = {}
    with database.read() as connection:
        for name in COMPARED:
            columns = [column for column in Base.metadata.tables[name].columns if column.name not in _VOLATILE]
            state[name] = sorted(repr(tuple(row)) for row in connection.execute(select(*columns)))
    database.dispose()
    return state


def vectors_of(settings: Settings) -> dict[tuple[str, str], np.ndarray[Any, Any]]:
    """Every vector by adapter and space."""
    database = open_database(settings)
    statement = select(Adapter.source_key, Embedding.embedding_type, Embedding.embedding_data).join(
        Embedding, Embedding.adapter_pk == Adapter.pk
    )
    with database.read() as connection:
        vectors = {(key, space): decode_vector(data) for key, space, data in connection.execute(statement)}
    database.dispose()
    return vectors


def assert_same_library(left: Settings, right: Settings) -> None:
    """Two data folders know the same of the same files; vectors may differ by the rounding of another batch."""
    assert state_of(left) == state_of(right)
    ours, theirs = vectors_of(left), vectors_of(right)
    assert ours.keys() == theirs.keys()
    assert all(abs(ours[key] - theirs[key]).max() < 1e-3 for key in ours)


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A generated library with some broken files in it. Read only, for all tests."""
    folder = tmp_path_factory.mktemp("library") / "loras"
    generate_library(folder, adapters=ADAPTERS)
    return folder


@dataclass(frozen=True)
class Synced:
    """A data folder after its first sync from the command line."""

    settings: Settings
    library: Path
    ran: Ran


@pytest.fixture(scope="session")
def synced(library: Path, models_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Synced:
    """One real sync, shared by the tests that only look at it."""
    settings = settings_in(tmp_path_factory.mktemp("synced") / "data", models=models_dir)
    return Synced(settings, library, run_job(settings, "sync_library", "--path", str(library), "--json"))


@pytest.fixture
def synced_copy(synced: Synced, tmp_path: Path) -> Iterator[Database]:
    """The database after the first sync, to be broken."""
    target = tmp_path / "copy.sqlite3"
    original = synced.settings.data_dir / "warehouse.sqlite3"
    with closing(sqlite3.connect(original)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)
    database = connect(f"sqlite:///{target}")
    yield database
    database.dispose()
