"""Migrations from the command line."""

from pathlib import Path

from tests.serving.cli.conftest import Run
from warehouse import migrations
from warehouse.engine import connect


def test_upgrade_makes_the_tables_and_is_nothing_the_second_time(run: Run, tmp_path: Path) -> None:
    first, second = run("upgrade"), run("upgrade")
    assert (first.returncode, second.returncode) == (0, 0)
    assert f"no tables -> {migrations.head()}" in first.stdout
    assert "already" in second.stdout


def test_a_database_of_another_version_is_refused_with_the_remedy(run: Run, tmp_path: Path) -> None:
    run("upgrade")
    database = connect(f"sqlite:///{tmp_path / 'data' / 'warehouse.sqlite3'}")
    with database.write() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    database.dispose()
    refused = run("status")
    assert refused.returncode == 1
    assert "9999" in refused.stderr
    assert "lora-manager upgrade" in refused.stderr
