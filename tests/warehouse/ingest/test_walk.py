import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from warehouse.ingest.walk import Walk, outermost


def _paths(walk: Walk) -> list[str]:
    return sorted(entry.path for entry in walk.entries())


def test_loops_end_and_linked_folders_are_walked_once_under_their_real_name(tmp_path: Path) -> None:
    (tmp_path / "z").mkdir()
    (tmp_path / "z" / "a.json").touch()
    (tmp_path / "a-link").symlink_to(tmp_path / "z")
    (tmp_path / "z" / "loop").symlink_to(tmp_path)
    assert _paths(Walk([tmp_path])) == [str(tmp_path / "z" / "a.json")]


def test_a_link_out_of_the_library_is_followed(tmp_path: Path) -> None:
    (tmp_path / "library").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "a.safetensors").write_bytes(b"12345")
    (tmp_path / "library" / "more").symlink_to(tmp_path / "elsewhere")
    (tmp_path / "library" / "b.safetensors").symlink_to(tmp_path / "elsewhere" / "a.safetensors")
    entries = {entry.path: entry.size for entry in Walk([tmp_path / "library"]).entries()}
    assert entries == {
        str(tmp_path / "library" / "b.safetensors"): 5,
        str(tmp_path / "library" / "more" / "a.safetensors"): 5,
    }


def test_names_in_any_script_and_names_that_are_no_text(tmp_path: Path) -> None:
    for name in ("日本語.json", "Ünïcödé ✨🦊.json", "עברית.json", "new\nline.json", "' OR 1=1 --.json", "%_[a].json"):
        (tmp_path / name).touch()
    (tmp_path / os.fsdecode(b"caf\xe9.json")).touch()
    (tmp_path / os.fsdecode(b"d\xff")).mkdir()
    walk = Walk([tmp_path])
    assert len(_paths(walk)) == 6
    assert [obstacle.code for obstacle in walk.obstacles] == ["name_not_text", "name_not_text"]
    messages = "\n".join(obstacle.message for obstacle in walk.obstacles)
    assert "caf\\xe9.json" in messages
    assert "convmv" in messages
    messages.encode("utf-8")


def test_broken_links_pipes_and_folders_with_suffixes(tmp_path: Path) -> None:
    (tmp_path / "gone.safetensors").symlink_to(tmp_path / "nowhere")
    os.mkfifo(tmp_path / "pipe.json")
    (tmp_path / "folder.safetensors").mkdir()
    (tmp_path / "folder.safetensors" / "a.json").touch()
    walk = Walk([tmp_path])
    assert _paths(walk) == [str(tmp_path / "folder.safetensors" / "a.json")]
    (obstacle,) = walk.obstacles
    assert obstacle.code == "broken_link"
    assert not obstacle.hides


def test_hidden_foreign_and_own_folders_are_not_entered(tmp_path: Path) -> None:
    for name in (".git", "__pycache__", "data", "good"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "a.json").touch()
    walk = Walk([tmp_path], excluded=frozenset({str(tmp_path / "data")}))
    assert _paths(walk) == [str(tmp_path / "good" / "a.json")]


@pytest.fixture
def public_folder() -> Iterator[Path]:
    """A folder that a user without privileges can reach."""
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    yield folder
    for path in folder.rglob("*"):
        if path.is_dir():
            path.chmod(0o755)
    shutil.rmtree(folder)


def test_a_folder_without_permission_is_an_obstacle_that_hides_its_content(public_folder: Path) -> None:
    (public_folder / "closed").mkdir()
    (public_folder / "closed" / "a.json").touch()
    (public_folder / "b.json").touch()
    (public_folder / "closed").chmod(0)
    is_root = os.geteuid() == 0
    if is_root:
        os.seteuid(65534)  # permission bits do not bind root
    try:
        walk = Walk([public_folder])
        paths = _paths(walk)
    finally:
        if is_root:
            os.seteuid(0)
    assert paths == [str(public_folder / "b.json")]
    (obstacle,) = walk.obstacles
    assert (obstacle.code, obstacle.path, obstacle.hides) == ("folder_unreadable", str(public_folder / "closed"), True)
    assert "Permission denied" in obstacle.message


def test_only_outermost_roots_are_walked() -> None:
    roots = [Path("/a/b"), Path("/a"), Path("/ab"), Path("/a")]
    assert outermost(roots) == [Path("/a"), Path("/ab")]
