"""Every test here breaks real processes: it is left out of the suite and run by `make test-failures`."""

from pathlib import Path

import pytest

from tests.databases import migrated_sqlite
from tests.platform.conftest import make_up  # noqa: F401 - a fixture
from tests.warehouse.vectors.conftest import embedded, shared_data  # noqa: F401 - fixtures

FOLDER = Path(__file__).parent


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what stands in this folder; the hook is given the tests of all."""
    for item in items:
        if item.path.is_relative_to(FOLDER):
            item.add_marker(pytest.mark.failure)
            # A whole system that starts, dies and comes back, on a machine that others use too.
            item.add_marker(pytest.mark.timeout(1200))


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data folder with a migrated database and nothing in it."""
    folder = tmp_path / "data"
    folder.mkdir()
    migrated_sqlite(folder / "warehouse.sqlite3")
    return folder
