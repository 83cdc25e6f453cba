"""The sample library from the command line."""

from pathlib import Path

from tests.serving.cli.conftest import Run


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_the_same_seed_gives_the_same_files(run: Run, tmp_path: Path) -> None:
    for name, seed in (("one", "7"), ("two", "7"), ("other", "8")):
        assert run("sample", str(tmp_path / name), "--adapters", "12", "--seed", seed).returncode == 0
    one = _files(tmp_path / "one")
    assert one
    assert one == _files(tmp_path / "two")
    assert one != _files(tmp_path / "other")


def test_a_folder_with_somebodys_files_is_refused(run: Run, tmp_path: Path) -> None:
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "precious.safetensors").write_bytes(b"precious")
    refused = run("sample", str(mine), "--adapters", "3")
    assert refused.returncode == 2
    assert str(mine) in refused.stderr
    assert _files(mine) == {"precious.safetensors": b"precious"}
