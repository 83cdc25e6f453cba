"""Two syncs start at once on one data folder, as processes, and nothing is there before them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import func, select

from tests.databases import DIALECTS, scratch_postgresql
from tests.failures.service import environment
from tests.programs import ROOT
from warehouse.contracts import SYNCED_KINDS, ExitCode
from warehouse.engine import connect
from warehouse.generations import current, require_whole
from warehouse.models import Adapter, Embedding, Lock
from warehouse.samples import generate_library
from warehouse.settings import Settings


@pytest.mark.parametrize("dialect", DIALECTS)
def test_two_syncs_at_once(request: pytest.FixtureRequest, tmp_path: Path, models_dir: Path, dialect: str) -> None:
    data, folder = tmp_path / "data", tmp_path / "library"
    data.mkdir()
    (data / "models").symlink_to(models_dir)
    generate_library(folder, adapters=24, seed=5)
    url = "" if dialect == "sqlite" else scratch_postgresql(request.getfixturevalue("postgresql_server"))
    command = (sys.executable, "-m", "pipelines.run", "sync_library", "--path", os.fspath(folder), "--no-progress")
    variables = environment(data, LORA_MANAGER_DATABASE_URL=url, LORA_MANAGER_INGEST_WORKERS="1")

    def begin() -> "subprocess.Popen[str]":
        return subprocess.Popen(
            command, env=variables, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    runs = [begin(), begin()]
    ended = [(run.returncode, err) for run in runs for _, err in (run.communicate(timeout=280),)]
    codes = [code for code, _ in ended]
    # Whoever finds the other at work is told so; one at least did it all.
    assert set(codes) <= {ExitCode.OK, ExitCode.TEMPORARY}, ended
    assert ExitCode.OK in codes
    for code, err in ended:
        assert code == ExitCode.OK or "is being worked on by process" in err, err
    settings = Settings(_env_file=None, data_dir=data, database_url=url)
    database = connect(settings.url)
    with database.read() as connection:
        adapters = connection.execute(select(func.count()).select_from(Adapter)).scalar_one()
        keys = connection.execute(select(func.count(Adapter.source_key.distinct()))).scalar_one()
        vectors = connection.execute(select(func.count()).select_from(Embedding)).scalar_one()
        locks = connection.execute(select(func.count()).select_from(Lock)).scalar_one()
    assert adapters == keys >= 24
    assert (vectors, locks) == (3 * adapters, 0)
    for kind in SYNCED_KINDS:
        published = current(database, settings, kind)
        assert published is not None
        require_whole(published)
    database.dispose()
