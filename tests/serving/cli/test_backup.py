"""Backup, restoration and change of the database from the command line."""

import shutil
from pathlib import Path

from sqlalchemy import select

from serving.cli.running import not_restored
from tests.databases import migrated_sqlite, scratch_postgresql
from tests.platform.conftest import free_port
from tests.serving.cli.conftest import Run
from tests.warehouse.queries.library import adapter_values, insert_adapters
from warehouse.engine import connect
from warehouse.folders import held
from warehouse.models import Adapter


def _library(folder: Path) -> None:
    (folder / "data").mkdir()
    database = connect(f"sqlite:///{migrated_sqlite(folder / 'data' / 'warehouse.sqlite3')}")
    insert_adapters(database, [adapter_values(1, user_notes="mine"), adapter_values(2, user_notes=None)])
    database.dispose()


def _notes(url: str) -> list[str | None]:
    database = connect(url)
    try:
        with database.read() as connection:
            return list(connection.execute(select(Adapter.user_notes).order_by(Adapter.pk)).scalars())
    finally:
        database.dispose()


def test_backed_up_destroyed_and_restored(run: Run, tmp_path: Path) -> None:
    _library(tmp_path)
    (tmp_path / "data" / "serving.secret").write_bytes(b"s" * 32)
    named = run("backup", "backups/")
    assert named.stdout.startswith(f"{tmp_path}/backups/lora-manager-"), named
    made = run("backup", "b.tar")
    assert (made.returncode, made.stdout.split(": ")[0]) == (0, str(tmp_path / "b.tar"))
    refused = run("restore", "b.tar")
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith("error: ")
    assert "--replace" in refused.stderr
    shutil.rmtree(tmp_path / "data")
    restored = run("restore", "b.tar")
    assert restored.returncode == 0, restored.stderr
    assert "lora-manager up" in restored.stderr
    assert _notes(f"sqlite:///{tmp_path}/data/warehouse.sqlite3") == ["mine", None]
    assert (tmp_path / "data" / "serving.secret").read_bytes() == b"s" * 32
    replaced = run("restore", "b.tar", "--replace")
    assert replaced.returncode == 0
    assert "is kept in" in replaced.stderr
    damaged = tmp_path / "b.tar"
    damaged.write_bytes(damaged.read_bytes()[:9_000])
    refused = run("restore", "b.tar", "--replace")
    assert (refused.returncode, "cut short or damaged" in refused.stderr) == (1, True)
    assert run("restore", "nowhere.tar").returncode == 2


def test_the_database_is_changed_there_and_back(run: Run, tmp_path: Path, postgresql_server: str) -> None:
    _library(tmp_path)
    url = scratch_postgresql(postgresql_server).replace("postgresql+psycopg", "postgresql")
    same = run("migrate-database", "--to", "sqlite")
    assert (same.returncode, "in use already" in same.stderr) == (2, True)
    other = run("migrate-database", "--to", "mysql://x/y")
    assert (other.returncode, "--to names neither" in other.stderr) == (2, True)
    unquoted = run("migrate-database", "--to", "postgresql://lora:p@ss/word@127.0.0.1:1/lora")
    assert (unquoted.returncode, "%40" in unquoted.stderr) == (1, True)
    copied = run("migrate-database", "--to", url)
    assert copied.returncode == 0, copied.stderr
    rows = dict(line.split("\t")[:2] for line in copied.stdout.splitlines())
    assert rows["adapters"] == "2"
    assert "set LORA_MANAGER_DATABASE_URL=postgresql://" in copied.stderr
    again = run("migrate-database", "--to", url)
    assert (again.returncode, "holds a library already" in again.stderr) == (1, True)
    assert run("status", "--json", LORA_MANAGER_DATABASE_URL=url).returncode == 0
    (tmp_path / "data" / "warehouse.sqlite3").unlink()
    back = run("migrate-database", "--to", "sqlite", LORA_MANAGER_DATABASE_URL=url)
    assert back.returncode == 0, back.stderr
    assert _notes(f"sqlite:///{tmp_path}/data/warehouse.sqlite3") == ["mine", None]


def test_nothing_is_restored_or_copied_beside_an_api(run: Run, tmp_path: Path) -> None:
    _library(tmp_path)
    assert run("backup", "b.tar").returncode == 0
    with not_restored(tmp_path / "data"):
        refused = run("restore", "b.tar", "--replace")
        copied = run("migrate-database", "--to", f"sqlite:///{tmp_path}/other.sqlite3")
    assert (refused.returncode, "an API" in refused.stderr) == (1, True)
    assert (copied.returncode, "an API" in copied.stderr) == (75, True)
    assert not (tmp_path / "other.sqlite3").exists()
    with held(tmp_path / "data", alone=True):
        assert run("serve", "--port", str(free_port())).returncode == 75
