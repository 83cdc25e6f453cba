"""Library roots as arguments of commands."""

from pathlib import Path

import pytest

from serving.cli.errors import CommandError, Exit
from serving.cli.folders import existing_roots
from warehouse.storage import StoreUrl


def test_folders_are_looked_at_and_stores_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "loras").mkdir()
    monkeypatch.chdir(tmp_path)
    named = ["loras", "s3://models/x/", str(tmp_path / "loras"), "s3://models/x"]
    assert existing_roots(named) == [tmp_path / "loras", StoreUrl("models", "x")]


@pytest.mark.parametrize("name", ["nowhere", "s3://", "s3://models//x"])
def test_what_is_neither_is_refused_before_anything_starts(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(CommandError) as caught:
        existing_roots([name])
    assert caught.value.code == Exit.USAGE
