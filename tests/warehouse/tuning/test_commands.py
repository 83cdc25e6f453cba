"""The command line of what learns the files that come with the package."""

import sys
from pathlib import Path

import pytest
from sqlalchemy import select

from warehouse import migrations
from warehouse.engine import Database, open_database
from warehouse.models import Adapter
from warehouse.settings import Settings
from warehouse.tuning.commands import learn_and_write


def _learned(database: Database, settings: Settings) -> str:
    with database.read() as connection:
        count = len(connection.execute(select(Adapter.pk)).all())
    return f"{count} adapters of {settings.data_dir}"


def _write(learned: str, path: Path) -> None:
    path.write_text(learned)


@pytest.mark.parametrize("named", [True, False])
def test_the_library_that_is_named_is_learned_from(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, named: bool
) -> None:
    data, shipped, other = tmp_path / "data", tmp_path / "shipped", tmp_path / "other"
    data.mkdir()
    migrations.upgrade(open_database(Settings(data_dir=data)))
    monkeypatch.setattr(sys, "argv", ["learn", "--data", str(data), *(["--output", str(other)] if named else [])])
    learn_and_write("warehouse.tuning.example", None, shipped, _learned, _write)
    assert (other if named else shipped).read_text() == f"0 adapters of {data}"
    assert not (shipped if named else other).exists()


def test_no_library_is_guessed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["learn"])
    with pytest.raises(SystemExit):
        learn_and_write("warehouse.tuning.example", None, tmp_path / "shipped", _learned, _write)
    assert "python -m warehouse.tuning.example: error: the following arguments are required: --data" in (
        capsys.readouterr().err
    )
