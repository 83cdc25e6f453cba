"""No file outside the library roots is opened, whatever links and paths say; nothing but a regular file ever is."""

import os
import threading
from pathlib import Path

import pytest

from warehouse import confinement
from warehouse.confinement import NoFileError, OutsideRootsError, open_under_roots, resolve_under_roots
from warehouse.engine import Database
from warehouse.ingest import roots
from warehouse.settings import Settings


@pytest.fixture
def library(tmp_path: Path) -> Path:
    folder = tmp_path / "library"
    (folder / "inner").mkdir(parents=True)
    (folder / "inner" / "a.png").write_bytes(b"image")
    (tmp_path / "secret.png").write_bytes(b"secret")
    (tmp_path / "library-of-another").mkdir()
    (tmp_path / "library-of-another" / "a.png").write_bytes(b"secret")
    return folder


def content(path: Path, *folders: Path) -> bytes:
    opened = open_under_roots(path, folders)
    with opened.stream:
        assert opened.stream.fileno() > 2
        return opened.stream.readall() or b""


def test_what_lies_below_a_root_is_opened(library: Path, tmp_path: Path) -> None:
    assert content(library / "inner" / "a.png", library) == b"image"
    assert content(library / "inner" / ".." / "inner" / "a.png", tmp_path / "gone", library) == b"image"
    assert resolve_under_roots(library / "inner", [library]) == library / "inner"


def test_links_within_the_roots_are_followed(library: Path, tmp_path: Path) -> None:
    (tmp_path / "linked").symlink_to(library)
    (library / "b.png").symlink_to("inner/a.png")
    (library / "folder").symlink_to("inner")
    for path in (tmp_path / "linked" / "inner" / "a.png", library / "b.png", library / "folder" / "a.png"):
        assert content(path, library) == b"image"
        assert content(path, tmp_path / "linked") == b"image"


@pytest.mark.parametrize(
    "path",
    ["../secret.png", "link.png", "folder/secret.png", "chain.png", "../library-of-another/a.png", "/etc/hostname"],
)
def test_what_lies_elsewhere_is_not(library: Path, path: str) -> None:
    (library / "link.png").symlink_to("../secret.png")
    (library / "folder").symlink_to("..")
    (library / "chain.png").symlink_to("link.png")
    with pytest.raises(OutsideRootsError, match="LORA_MANAGER_LIBRARY_ROOTS"):
        open_under_roots(library / path, [library])
    with pytest.raises(OutsideRootsError):
        resolve_under_roots(library / path, [])


def test_only_regular_files_are_opened(library: Path) -> None:
    os.mkfifo(library / "pipe.png")
    (library / "loop.png").symlink_to("loop.png")
    (library / "device.png").symlink_to("/dev/zero")
    opened_by_a_reader = threading.Event()

    def write_to_the_pipe() -> None:
        with (library / "pipe.png").open("wb"):
            opened_by_a_reader.set()

    threading.Thread(target=write_to_the_pipe, daemon=True).start()
    for name in ("pipe.png", "inner", "loop.png", "gone.png", "a.png/b.png", "x\0.png", ".", "n" * 300):
        with pytest.raises(NoFileError):
            open_under_roots(library / name, [library])
    assert not opened_by_a_reader.is_set()
    with pytest.raises(OutsideRootsError):
        open_under_roots(library / "device.png", [library])
    with (library / "pipe.png").open("rb"):
        opened_by_a_reader.wait(10)


def test_a_folder_exchanged_for_a_link_after_the_check_leads_nowhere(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "a.png").write_bytes(b"secret")
    locate = confinement._locate

    def exchanging(path: Path, folders: list[Path]) -> tuple[Path, Path]:
        found = locate(path, folders)
        (library / "inner").rename(library / "moved")
        (library / "inner").symlink_to(outside)
        return found

    monkeypatch.setattr(confinement, "_locate", exchanging)
    before = len(list(Path("/dev/fd").iterdir()))
    with pytest.raises(NoFileError):
        open_under_roots(library / "inner" / "a.png", [library])
    assert len(list(Path("/dev/fd").iterdir())) == before


def test_roots_are_those_configured_and_those_registered(database: Database, settings: Settings) -> None:
    with database.write() as connection:
        roots.register(connection, [Path("/b"), Path("/a")])
    configured = settings.model_copy(update={"library_roots": [Path("/c"), Path("/b")]})
    with database.read() as connection:
        assert confinement.library_roots(connection, configured) == [Path("/c"), Path("/b"), Path("/a")]
